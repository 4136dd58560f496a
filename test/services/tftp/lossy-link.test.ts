// TFTP over a link that loses datagrams: two namespaces, nftables drops at random what comes in at either end.

import { createHash } from 'node:crypto'
import t from 'tap'
import { aHostAndItsClients } from '../../support/namespace.ts'
import { content } from './content.ts'
import { serveApart } from './serving.ts'

const SIZE = 50_000
/** atftp stops at an OACK that comes twice, as it must when the first answer to it was lost: three times in ten, here. */
const TRIES = 8

/** Loses this share, in percent, of what comes in. */
const loss = (percent: number): string => `table ip lossy {
  chain input {
    type filter hook input priority 0
    meta l4proto udp numgen random mod 100 < ${percent} drop
  }
}`

t.test('real clients through 20 % loss get every byte', { timeout: 110_000 }, async (t) => {
  const { host, room } = await aHostAndItsClients(t)
  const wrap = ['ip', 'netns', 'exec', host.name]
  const serve = { address: '192.0.2.1', port: 69, loaders: { 'a.efi': SIZE }, clients: ['192.0.2.100'] }
  const tftp = await serveApart(serve, wrap)
  t.teardown(() => tftp.stop())
  for (const namespace of [host, room]) await namespace.run('nft', loss(20))

  const folder = t.testdir({})
  const wanted = createHash('sha256').update(content(SIZE)).digest('hex')
  const clients: Record<string, string[]> = {
    // Their own patience is a matter of seconds: they try until it works, as firmware does.
    curl: ['curl', '-sS', '--tftp-blksize', '1468', '-o', `${folder}/got`, 'tftp://192.0.2.1/a.efi'],
    'tftp-hpa': ['tftp', '-m', 'binary', '192.0.2.1', '-c', 'get', 'a.efi', `${folder}/got`],
    atftp: [
      ...['atftp', '--option', 'blksize 1468', '--option', 'windowsize 8'],
      ...['-g', '-r', 'a.efi', '-l', `${folder}/got`, '192.0.2.1']
    ]
  }
  for (const [name, command] of Object.entries(clients)) {
    let sum = ''
    for (let attempt = 1; attempt <= TRIES && !sum.startsWith(wanted); attempt++) {
      await room.run('rm', '-f', `${folder}/got`)
      await room.run('timeout', '25', ...command).catch(() => '')
      sum = await room.run('sha256sum', `${folder}/got`).catch(() => '')
    }
    t.match(sum, wanted, `${name}: every byte`)
  }
  const resent = tftp.log.reduce((sum, { resent = 0 }) => sum + Number(resent), 0)
  t.ok(resent > 3, `${resent} blocks were sent again: there was loss`)
})
