// The machine-facing HTTP service in a process of its own, to be timed: the real store with a machine in its ramdisk window at each address. Argument:
// JSON of `Serve`. Logs "listening" with the paths of its files; ends when its stdin does.

import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import pino from 'pino'
import { bootFileHashes, imagePath, openBootFiles } from '../../../services/boot/files.ts'
import { startBoot } from '../../../services/boot/server.ts'
import { createApply } from '../../../services/store/apply.ts'
import { createFacts } from '../../../services/store/facts.ts'
import { openStore } from '../../../services/store/open.ts'
import { enrolRoom } from '../../support/room.ts'

export type Serve = {
  address: string
  port: number
  /** Paths of files. */
  kernel: string
  ramdisk: string
  /** Paths and sha256 of chunks. */
  chunks: { path: string; sha256: string }[]
  clients: string[]
}

const serve = JSON.parse(process.argv[2] ?? '') as Serve
const dataDir = mkdtempSync(join(tmpdir(), 'seedling-boot-'))
const store = openStore(dataDir)
const facts = createFacts(store)
const apply = createApply(store)
const log = pino({ level: 'info' }, pino.destination({ fd: 1, sync: true }))
enrolRoom(store, apply, serve.clients)
for (const { path, sha256 } of serve.chunks) {
  const chunk = imagePath(dataDir, 'chunks', sha256)
  mkdirSync(dirname(chunk), { recursive: true })
  symlinkSync(path, chunk)
}
const files = await openBootFiles({ x86_64: serve })
const boot = await startBoot({
  store,
  facts,
  apply,
  log: log.child({}, { level: 'warn' }),
  now: Date.now,
  dataDir,
  files,
  loaders: new Map(),
  settings: {
    url: `http://${serve.address}`,
    ramdisks: bootFileHashes(files),
    console: [],
    kernelArguments: []
  },
  routes: [],
  listen: { host: serve.address, port: serve.port }
})
/** Milliseconds; rarely enough not to disturb what is measured. What is recorded is the time between two looks, this much of it not delay. */
const LOOKS = 10
const delay = monitorEventLoopDelay({ resolution: LOOKS })
delay.enable()
const hashes = bootFileHashes(files).x86_64!
const paths = {
  kernel: `/boot/kernel/${hashes.kernel}`,
  ramdisk: `/boot/ramdisk/${hashes.ramdisk}`,
  chunks: serve.chunks.map(({ sha256 }) => `/images/chunks/${sha256}`)
}
log.info({ paths }, 'listening')
process.stdin.resume()
process.stdin.on('end', () => {
  void boot.close().then(async () => {
    log.info({ rss: process.memoryUsage().rss, loopP99: delay.percentile(99) / 1e6 - LOOKS }, 'closed')
    await files.close()
    store.close()
    rmSync(dataDir, { recursive: true })
  })
})
