// HTTP over a link that loses packets: a large file arrives whole, by a connection that was set up for it as soon as that was seen.

import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { sha256 } from '../../support/machine-facing.ts'
import { aHostAndItsClients, losePackets } from '../../support/namespace.ts'
import { content } from '../tftp/content.ts'
import { serveBootApart } from './serving.ts'

const SIZE = 8 * 2 ** 20

t.test('one packet in ten is lost, each way', { timeout: 110_000 }, async (t) => {
  const { host, room } = await aHostAndItsClients(t)
  // As on a kernel that takes each loss for congestion, whatever this one's habit is.
  await host.run('ip', 'route', 'change', '192.0.2.0/24', 'dev', 'lan', 'src', '192.0.2.1', 'congctl', 'reno')
  const bytes = content(SIZE)
  const sum = sha256(bytes)
  const path = join(t.testdir({ chunk: Buffer.from(bytes) }), 'chunk')
  const chunks = [{ path, sha256: sum }]
  const serve = { address: '192.0.2.1', port: 80, kernel: path, ramdisk: path, clients: ['192.0.2.100'] }
  const http = await serveBootApart({ ...serve, chunks }, ['ip', 'netns', 'exec', host.name])
  t.teardown(() => http.stop())
  await losePackets(host, room, 10)

  const seen = new Set<string>()
  let over = false
  const looking = (async () => {
    while (!over) {
      const said = await host.run('ss', '-tinH', 'sport', '=', ':80')
      for (const [name] of said.matchAll(/\b(reno|cubic|bbr)\b/g)) seen.add(name)
      await sleep(100)
    }
  })()
  const got = join(t.testdirName, 'got')
  await room.run('curl', '-fsS', '--retry', '5', '-o', got, `http://192.0.2.1${http.paths.chunks[0]}`)
  over = true
  await looking
  t.match(await room.run('sha256sum', got), sum, 'every byte')
  t.same([...seen], ['reno', 'bbr'], 'how the connection was carried')
})
