// What systemd is told, heard by a socket of the same kind.

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { dirname, join } from 'node:path'
import t from 'tap'
import { openSystemd } from '../../services/systemd.ts'

const LISTENER = `
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
name = sys.argv[1]
s.bind('\\0' + name[1:] if name[0] == '@' else name)
print('open', flush=True)
while True:
    print(s.recv(100).decode(), flush=True)
`

for (const kind of ['file', 'abstract'] as const)
  t.test(`ready, alive for as long as we are, stopping: ${kind}`, async (t) => {
    const path =
      kind === 'file' ? join(mkdtempSync('/tmp/seedling-systemd-'), 's') : `@seedling-test-${process.pid}`
    const listener = spawn('python3', ['-c', LISTENER, path])
    t.teardown(() => {
      listener.kill()
      // A name of a Unix socket is short, so not in the test's own folder.
      if (kind === 'file') rmSync(dirname(path), { recursive: true })
    })
    const lines = createInterface({ input: listener.stdout })[Symbol.asyncIterator]()
    const next = async () => (await lines.next()).value as string
    t.equal(await next(), 'open')
    const env = { NOTIFY_SOCKET: path, WATCHDOG_USEC: '60000' }
    const systemd = await openSystemd(env)
    t.same(env, {}, 'no child of ours speaks for us')
    const awake = setInterval(() => {}, 1000)
    systemd.ready()
    t.equal(await next(), 'READY=1')
    t.equal(await next(), 'WATCHDOG=1')
    t.equal(await next(), 'WATCHDOG=1')
    systemd.stopping()
    let said = await next()
    while (said === 'WATCHDOG=1') said = await next()
    t.equal(said, 'STOPPING=1')
    clearInterval(awake)
  })

t.test('silent elsewhere, and nobody there is told', async (t) => {
  const systemd = await openSystemd({})
  systemd.ready()
  systemd.stopping()
  const deaf = await openSystemd({ NOTIFY_SOCKET: '/nonexistent/s' })
  t.throws(() => deaf.ready(), /cannot be told/)
})
