// 64 MiB through every client: at 512 bytes a block the numbers go round twice.

import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { content } from './content.ts'
import { serveApart } from './serving.ts'

const run = promisify(execFile)
const SIZE = 64 * 2 ** 20

t.test('64 MiB, every byte', { timeout: 600_000 }, async (t) => {
  const tftp = await serveApart({ address: '127.0.0.1', loaders: { 'a.efi': SIZE }, clients: ['127.0.0.1'] })
  t.teardown(() => tftp.stop())
  const to = join(t.testdir({}), 'got')
  const at = ['127.0.0.1', String(tftp.port)]
  const atftp = ['-g', '-r', 'a.efi', '-l', to, ...at]
  const clients: Record<string, [string, ...string[]]> = {
    'tftp-hpa, 512': ['tftp', '-m', 'binary', ...at, '-c', 'get', 'a.efi', to],
    'curl, 512': ['curl', '-sS', '-o', to, `tftp://${at.join(':')}/a.efi`],
    'curl, 1468': ['curl', '-sS', '--tftp-blksize', '1468', '-o', to, `tftp://${at.join(':')}/a.efi`],
    'atftp, 512': ['atftp', ...atftp],
    'atftp, 512, window 64': ['atftp', '--option', 'windowsize 64', ...atftp],
    'atftp, 1468, window 8': ['atftp', '--option', 'blksize 1468', '--option', 'windowsize 8', ...atftp]
  }
  const wanted = createHash('sha256').update(content(SIZE)).digest('hex')
  for (const [name, [program, ...args]] of Object.entries(clients)) {
    rmSync(to, { force: true })
    await run(program, args)
    t.equal(createHash('sha256').update(readFileSync(to)).digest('hex'), wanted, name)
  }
})
