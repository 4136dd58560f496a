// No ACK leaves before its lease is on disk: the server's system calls, in their order.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { decodeDhcp } from '../../src/wire/dhcp.ts'
import type { Serve } from '../services/dhcp/serve.ts'
import { serveIn } from '../services/dhcp/serving.ts'
import { crowdIn } from './crowding.ts'
import { requestsIn } from './host-name.ts'
import { addRoom, enrol, RELAY, served, SERVER } from './room.ts'

const [ENROLLED, LEASES] = [100, 200]
// -D: the server is the process that is started, not strace's child. Enough of each buffer to hold a page of the database.
const STRACE = ['strace', '-D', '-f', '-ttt', '-y', '-xx', '-s', '8192']
const CALLS = 'trace=pwrite64,fdatasync,fsync,sendto,sendmsg,sendmmsg'

/** Has the server acknowledge at least so many requests; its system calls, a line each. */
async function trace(t: Test, acks: number, sabotage?: Serve['sabotage']): Promise<string[]> {
  const { host, site } = await addRoom(t)
  const folder = t.testdir({ state: {} })
  const [dataDir, file] = [join(folder, 'state'), join(folder, 'trace')]
  enrol(dataDir, ENROLLED)
  const given = { ...served(300), dataDir, ...(sabotage && { sabotage }) }
  const server = await serveIn(host, given, { wrap: [...STRACE, '-o', file, '-e', CALLS] })
  const crowd = crowdIn(site, { server: SERVER, relay: RELAY, enrolled: ENROLLED, leases: LEASES, seed: 1 })
  await crowd('load', acks)
  await crowd('settle')
  await server.stop()
  // strace outlives it, and writes the rest then.
  for (;;) {
    const lines = readFileSync(file, 'latin1').trim().split('\n')
    if (lines.some((line) => line.startsWith(`${server.pid} `) && line.includes('+++ exited'))) return lines
    await sleep(50)
  }
}

/** The buffers in a line, and paths. */
const strings = (line: string): Buffer[] =>
  [...line.matchAll(/["<]((?:\\x[0-9a-f]{2})+)[">]/g)].map(([, hex]) =>
    Buffer.from((hex as string).replaceAll('\\x', ''), 'hex')
  )

/**
 * Follows each REQUEST's transaction id: into a page of the write-ahead log, whose last page of a transaction makes it a
 * commit, through a sync that began after that and has ended, to the ACK. `early`: ACKs before that.
 */
function follow(lines: string[]): { acks: number; syncs: number; early: number[] } {
  const [written, committed, durable] = [new Set<number>(), new Set<number>(), new Set<number>()]
  const syncing = new Map<string, number[]>()
  const early: number[] = []
  let [acks, syncs, commits] = [0, 0, false]
  for (const line of lines) {
    // strace fills short process numbers up with blanks.
    const [, thread = '', call = ''] = /^(\d+) +\S+ (?:<\.\.\. )?(\w+)/.exec(line) ?? []
    const [path, bytes] = strings(line)
    const toLog = path?.toString().endsWith('-wal') ?? false
    if (call === 'pwrite64' && toLog && bytes) {
      // A frame is a header of 24 bytes, with the size of the database if it is the last of a commit, and the page.
      if (bytes.length === 24) commits = bytes.readUInt32BE(4) !== 0
      else for (const xid of requestsIn(bytes.toString('latin1'))) written.add(xid)
      if (bytes.length > 32 && commits) for (const xid of written) committed.add(xid)
    } else if (call === 'fsync' || call === 'fdatasync') {
      if (toLog) syncing.set(thread, [...committed])
      if (!/ = 0$/.test(line)) continue
      for (const xid of syncing.get(thread) ?? []) durable.add(xid)
      if (syncing.delete(thread)) syncs++
    } else if (call.startsWith('send'))
      for (const packet of strings(line).filter(({ length }) => length >= 300)) {
        const { xid, options } = decodeDhcp(packet)
        if (options.messageType !== 'ack') continue
        acks++
        if (!durable.has(xid)) early.push(xid)
      }
  }
  return { acks, syncs, early }
}

t.test('of 500 ACKs none leaves before a sync of its lease', async (t) => {
  const { acks, syncs, early } = follow(await trace(t, 500))
  t.comment(`${acks} ACKs, ${syncs} syncs`)
  t.ok(acks >= 500, 'all are seen')
  t.ok(syncs < acks, 'many share a sync')
  t.same(early, [])
})

// What would be seen if it were not so.
for (const sabotage of ['late-commit', 'no-sync'] as const)
  t.test(`a store that answers too early is found out (${sabotage})`, async (t) => {
    const { acks, early } = follow(await trace(t, 50, sabotage))
    t.ok(acks >= 50 && early.length > 0, `${early.length} of ${acks} ACKs are early`)
  })
