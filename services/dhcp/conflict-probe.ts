// Finds out, beside the work and never in its way, whether somebody else holds an address: sends a datagram there and looks at what
// the kernel learns from it. Needs no raw socket and no capability. What it means is judged in src/decide/address-conflict.ts.

import type { Logger } from 'pino'
import { CONFLICT_TIMES, judgeConflict, type ConflictTimes } from '../../src/decide/address-conflict.ts'
import type { Ip, Mac } from '../../src/wire/address.ts'
import type { Link } from '../listen.ts'
import { knock, readNeighbours, type Knock } from '../neighbours.ts'

export type ConflictProbeDeps = {
  link: Link
  log: Logger
  /** Milliseconds since the epoch. */
  now: () => number
  /** Called when a probe finds a holder that was not known. `mac` null: it is not on our link. */
  onConflict?: (ip: Ip, mac: Mac | null) => void
  times?: ConflictTimes
}

export type Conflict = { mac: Mac | null; at: number }

export type ConflictCounters = { probed: number; skipped: number; found: number }

export type ConflictProbe = {
  /**
   * Begins to find out whether anyone but the host with these MACs holds the address. Skipped when too many are under way, or this
   * one is. For an address behind a relay: only while the machine has none itself, since no MAC is seen from here.
   */
  probe(ip: Ip, macs: readonly Mac[]): void
  /** Whether it was looked at within the last minute, and nobody held it but the machine that it is for. */
  isClear(ip: Ip): boolean
  /** Who else was found to hold it within the last minute. */
  conflict(ip: Ip): Conflict | null
  counters: Readonly<ConflictCounters>
  close(): void
}

const MOST_AT_ONCE = 64
const LOOK_EVERY_MS = 500
const KEEP_MS = 60_000
const MOST_KEPT = 1024

type Probe = {
  macs: readonly Mac[]
  before: Mac | null
  refused: boolean
  startedAt: number
  knock: Knock | null
}

export function startConflictProbe(deps: ConflictProbeDeps): ConflictProbe {
  const { link, now, onConflict = () => {}, times = CONFLICT_TIMES } = deps
  const log = deps.log.child({ service: 'conflict-probe' })
  const counters: ConflictCounters = { probed: 0, skipped: 0, found: 0 }
  const underWay = new Map<Ip, Probe>()
  /** The oldest first. */
  const conflicts = new Map<Ip, Conflict>()
  /** When they were found to be so; the oldest first. */
  const clear = new Map<Ip, number>()
  let timer: NodeJS.Timeout | undefined
  let closed = false

  function probe(ip: Ip, macs: readonly Mac[]): void {
    if (closed || underWay.has(ip)) return
    if (underWay.size >= MOST_AT_ONCE) return void counters.skipped++
    counters.probed++
    underWay.set(ip, { macs, before: null, refused: false, startedAt: 0, knock: null })
    // What comes in one turn of the loop shares one look at the table.
    if (timer === undefined) timer = setTimeout(() => void look(), 0)
  }

  /** Judges those that were sent to, sends to the new ones, once more to the undecided. */
  async function look(): Promise<void> {
    const neighbours = await readNeighbours(link.interface)
    if (closed) return
    for (const [ip, probe] of underWay) {
      const mac = neighbours.get(ip) ?? null
      if (probe.knock === null) begin(ip, probe, mac)
      else judge(ip, probe, mac)
    }
    timer = underWay.size === 0 ? undefined : setTimeout(() => void look(), LOOK_EVERY_MS)
  }

  function begin(ip: Ip, probe: Probe, before: Mac | null): void {
    probe.before = before
    probe.startedAt = performance.now()
    probe.knock = knock(link, ip, () => (probe.refused = true))
  }

  function judge(ip: Ip, probe: Probe, mac: Mac | null): void {
    const milliseconds = performance.now() - probe.startedAt
    const verdict = judgeConflict({ ...probe, now: mac, milliseconds }, times)
    if (verdict === 'wait') return probe.knock?.again()
    probe.knock?.close()
    underWay.delete(ip)
    const known = conflict(ip)
    conflicts.delete(ip)
    clear.delete(ip)
    if (verdict.held !== 'by-another') return keep(clear, ip, performance.now())
    keep(conflicts, ip, { mac: verdict.mac, at: now() })
    if (known && known.mac === verdict.mac) return
    counters.found++
    log.warn(
      { ip, mac: verdict.mac },
      `${ip} is held by ${verdict.mac ?? 'another host'}, not by the machine it is for`
    )
    onConflict(ip, verdict.mac)
  }

  function keep<T>(found: Map<Ip, T>, ip: Ip, what: T): void {
    found.set(ip, what)
    if (found.size > MOST_KEPT) found.delete(found.keys().next().value as Ip)
  }

  function conflict(ip: Ip): Conflict | null {
    const found = conflicts.get(ip)
    if (!found) return null
    // A clock that was set back makes nothing last longer.
    if (Math.abs(now() - found.at) < KEEP_MS) return found
    conflicts.delete(ip)
    return null
  }

  return {
    probe,
    conflict,
    isClear: (ip) => performance.now() - (clear.get(ip) ?? -Infinity) < KEEP_MS,
    counters,
    close() {
      closed = true
      clearTimeout(timer)
      for (const { knock } of underWay.values()) knock?.close()
      underWay.clear()
    }
  }
}
