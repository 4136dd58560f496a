// Names that no file has, for servers that serve files by name.

import { seededRandom } from './mutate.ts'

/** Names that mean the file `canary`, or would break a server that joins, decodes or expands them; seeded. */
export function hostileNames(canary: string, count: number): Buffer[] {
  const random = seededRandom(5)
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T
  const ups = [
    '../',
    '..\\',
    './../',
    '%2e%2e/',
    '%252e%252e%252f',
    '..%c0%af',
    '\xc0\xae\xc0\xae/',
    '....//',
    '..;/'
  ]
  const roots = [
    '',
    '/',
    '//',
    'C:\\',
    '\\\\?\\',
    'file://',
    '/proc/self/root',
    '/dev/fd/',
    '~root/',
    'one.efi/'
  ]
  const ends = [
    '',
    '%00.efi',
    '\\',
    '/.',
    '::$DATA',
    '.efi',
    '|id',
    ';id',
    '$(id)',
    '`id`',
    '\n',
    '\xff\xfe',
    ' '
  ]
  const targets = [
    canary,
    canary.slice(1),
    'link.efi',
    'seedling.db',
    'secret.key',
    'etc/passwd',
    'dev/zero',
    'CON',
    '-rf',
    '*',
    '{a,b}'
  ]
  return Array.from({ length: count }, (_, index) => {
    if (index % 50 === 0)
      return Buffer.alloc(1 + Math.floor(random() * 1900), pick(['a', '/', '.', '\xff', '%']), 'latin1')
    const name = pick(roots) + pick(ups).repeat(Math.floor(random() * 12)) + pick(targets) + pick(ends)
    return Buffer.from(name, 'latin1')
  })
}
