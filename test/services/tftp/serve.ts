// A TFTP service of its own process, so that it can run inside a network namespace or be timed: the real store with a machine in its
// ramdisk window at each address, and the real service. Argument: JSON of `Serve`. One line of JSON to stdout when it listens;
// then its log. Ends when its stdin does.

import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import pino from 'pino'
import { createApply } from '../../../services/store/apply.ts'
import { createFacts } from '../../../services/store/facts.ts'
import { openStore } from '../../../services/store/open.ts'
import { startTftp } from '../../../services/tftp/server.ts'
import { enrolRoom } from '../../support/room.ts'
import { content } from './content.ts'

export type Serve = {
  address: string
  /** 0 or not given: any. */
  port?: number
  /** Name → size; what is in them, `content` tells. */
  loaders: Record<string, number>
  /** The machines' addresses. */
  clients: string[]
  singlePort?: boolean
  mtu?: number
}

const serve = JSON.parse(process.argv[2] ?? '') as Serve
const dataDir = mkdtempSync(join(tmpdir(), 'seedling-tftp-'))
const store = openStore(dataDir)
const facts = createFacts(store)
const apply = createApply(store)
const log = pino({ level: 'info' }, pino.destination({ fd: 1, sync: true }))
enrolRoom(store, apply, serve.clients)
const socket = createSocket({ type: 'udp4', recvBufferSize: 4 * 2 ** 20 })
socket.bind(serve.port ?? 0, serve.address)
await once(socket, 'listening')
const { mtu } = serve
const tftp = await startTftp({
  store,
  facts,
  apply,
  log,
  now: Date.now,
  socket,
  address: serve.address,
  loaders: new Map(
    Object.entries(serve.loaders).map(([name, size]) => [name, { bytes: content(size), sha256: '' }])
  ),
  settings: { url: 'http://192.0.2.1', ramdisks: {}, console: [], kernelArguments: [] },
  singlePort: serve.singlePort ?? false,
  ...(mtu === undefined ? {} : { mtu: () => mtu })
})
const delay = monitorEventLoopDelay({ resolution: 2 })
delay.enable()
log.info({ port: socket.address().port }, 'listening')
process.stdin.resume()
process.stdin.on('end', () => {
  void tftp.close().then(() => {
    const { rss } = process.memoryUsage()
    const { user, system } = process.resourceUsage() as unknown as { user: number; system: number }
    log.info({ rss, user, system, loopP99: delay.percentile(99) / 1e6 }, 'closed')
    store.close()
    rmSync(dataDir, { recursive: true })
  })
})
