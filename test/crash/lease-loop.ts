// The lease store under disasters: a crowd of clients loads a real server, the server ends without warning, and what it had
// acknowledged must still be so when it is back.

import { join } from 'node:path'
import Database from 'better-sqlite3'
import type { Test } from 'tap'
import type { Ip, Mac } from '../../src/wire/address.ts'
import type { Serve } from '../services/dhcp/serve.ts'
import { serveIn } from '../services/dhcp/serving.ts'
import { seededRandom } from '../support/mutate.ts'
import type { Promised } from './crowd.ts'
import { crowdIn } from './crowding.ts'
import { requestsIn } from './host-name.ts'
import { cuttingPower, killing } from './disaster.ts'
import { addRoom, enrol, RELAY, served, SERVER } from './room.ts'

export type LeaseLoop = {
  disaster: 'kill' | 'power-cut'
  times: number
  /** Machines with a reserved address. */
  enrolled: number
  /** Clients that share a pool that is hardly larger; some give their address back, and others come. */
  strangers: number
  sabotage?: Serve['sabotage']
}

export type LoopReport = {
  acks: number
  /** How often an address went from one client to the next. */
  inherited: number
  /** Leases that were asked for after a restart, all restarts together. */
  checked: number
  /** How many questions the server had not answered, each time it ended. */
  open: number[]
  /** Milliseconds from the start of the server's process to its first OFFER. */
  firstOffers: number[]
  /** What was promised to a client and not kept, on the wire. */
  breaches: string[]
  /** What was acknowledged and is not in the database. */
  missing: string[]
  /** What SQLite found wrong. */
  corrupt: string[]
}

/** Ends the server `times` times; `seed` says when. */
export async function loseLeases(t: Test, loop: LeaseLoop, seed = Date.now()): Promise<LoopReport> {
  t.comment(`seed ${seed}`)
  const random = seededRandom(seed)
  const { enrolled, strangers } = loop
  const { host, site } = await addRoom(t)
  const folder = t.testdir({ state: {}, found: {}, disk: {} })
  const [state, found] = [join(folder, 'state'), join(folder, 'found')]
  enrol(state, enrolled)
  const disaster =
    loop.disaster === 'kill' ? killing(state) : await cuttingPower(t, state, join(folder, 'disk'))
  const { dataDir, wrap } = disaster
  const addresses = Math.ceil(strangers * 1.05) + 64
  const given = { ...served(addresses), dataDir, ...(loop.sabotage && { sabotage: loop.sabotage }) }
  const start = () => serveIn(host, given, { wrap })
  const crowd = crowdIn(site, { server: SERVER, relay: RELAY, enrolled, leases: enrolled + strangers, seed })

  const report: LoopReport = {
    acks: 0,
    inherited: 0,
    checked: 0,
    open: [],
    firstOffers: [],
    breaches: [],
    missing: [],
    corrupt: []
  }
  let server = await start()
  await crowd('fill')
  for (let time = 1; time <= loop.times; time++) {
    await crowd('load', 1 + Math.floor(random() * 400))
    await disaster.strike(server)
    report.open.push(await crowd('settle'))

    const copy = 'rm -f "$2"/* && cp "$1"/seedling.db* "$2"'
    await disaster.inside('sh', '-c', copy, 'copy', dataDir, found)
    const { corrupt, missing } = examine(join(found, 'seedling.db'), await crowd('ledger'))
    report.corrupt.push(...corrupt.map((text) => `${time}: ${text}`))
    report.missing.push(...missing.map((text) => `${time}: ${text}`))

    const started = performance.now()
    const offer = crowd('offer', 20).then(() =>
      report.firstOffers.push(Math.round(performance.now() - started))
    )
    server = await start()
    await offer
    report.checked += await crowd('check')
    const { breaches, ...counts } = await crowd('tell')
    report.breaches.push(...breaches.map((text) => `${time}: ${text}`))
    Object.assign(report, counts)
  }
  await server.stop()
  return report
}

/** Compares the database, as the server left it, with what clients were told. */
function examine(file: string, ledger: Promised[]): { corrupt: string[]; missing: string[] } {
  const db = new Database(file)
  const faults = db.prepare('PRAGMA integrity_check').pluck().all() as string[]
  const rows = db.prepare('SELECT mac, ip, state, hostname FROM lease').all() as Row[]
  db.close()
  const byIp = new Map(rows.map((row) => [row.ip, row]))
  const missing = ledger.flatMap(({ mac, ip, xid }) => {
    const row = byIp.get(ip)
    const by = requestsIn(row?.hostname ?? '')[0] ?? 0
    if (row?.mac === mac && row.state === 'bound' && by >= xid) return []
    const stored = row ? `${row.state} ${row.mac} by ${by}` : 'no lease'
    return [`${mac} was acknowledged ${ip} by ${xid}; stored is ${stored}`]
  })
  return { corrupt: faults.filter((fault) => fault !== 'ok'), missing }
}

type Row = { mac: Mac; ip: Ip; state: string; hostname: string | null }

/** For people. */
export function summary({ acks, inherited, checked, firstOffers }: LoopReport): string {
  const [least, most] = [Math.min(...firstOffers), Math.max(...firstOffers)]
  return (
    `${acks} ACKs, ${inherited} addresses passed on, ${checked} leases checked after restarts; ` +
    `first OFFER ${least} to ${most} ms after the start of the process`
  )
}
