// The clock that leases run on. A wall clock jumps: by years where a battery is dead, by an hour where somebody helps, and a lease that
// seems over because of it is an address given to two machines. So this one only ever goes by time that is known to have passed:
// within a run by the monotonic clock; from one run to the next by the machine's own time since it started; across a
// restart of the machine by the wall clock, and only if that was known to be right before and after. What is in doubt has not passed:
// leases then last longer than promised, which harms nobody.

import { existsSync, readFileSync } from 'node:fs'
import type { ClockMark } from '../src/domain/subnet.ts'
import type { Apply } from './store/apply.ts'
import type { Facts } from './store/facts.ts'
import type { Store } from './store/open.ts'

export type LeaseClock = {
  /** Milliseconds; starts at the wall clock's epoch time and may drift away from it. */
  now(): number
  /** How long nothing ran before this run, ms, as far as is known; null: this is the first. */
  away: number | null
  close(): void
}

/** The machine's clocks. */
export type Clocks = {
  wall(): number
  /** Milliseconds of this process, never going back. */
  monotonic(): number
  /** Milliseconds since the machine started, its sleep not included. */
  uptime(): number
  bootId: string
  /** Whether the wall clock follows a time server. */
  synchronised(): boolean
}

const KEEP_MILLISECONDS = 60_000

/** The clocks of this host. */
export function hostClocks(): Clocks {
  return {
    wall: () => Date.now(),
    monotonic: () => performance.now(),
    // What hrtime counts from is the start of the machine, and unlike /proc/uptime it is not cut to hundredths of a second.
    uptime: () => Number(process.hrtime.bigint()) / 1e6,
    bootId: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
    // systemd-timesyncd makes it when it has reached a server; other time services have a way to make it too.
    synchronised: () => existsSync('/run/systemd/timesync/synchronized')
  }
}

/** Where the clock stands now, from where it stood at the last mark. */
export function resumed(
  mark: ClockMark | null,
  now: Pick<ClockMark, 'wallTime' | 'uptime' | 'bootId' | 'synchronised'>
): number {
  if (mark === null) return now.wallTime
  if (mark.bootId === now.bootId) return mark.leaseTime + Math.max(0, now.uptime - mark.uptime)
  const passed = mark.synchronised && now.synchronised ? now.wallTime - mark.wallTime : 0
  return mark.leaseTime + Math.max(0, passed)
}

/** Goes on from the stored mark, and stores one every minute. */
export function startLeaseClock(
  { store, facts, apply }: { store: Store; facts: Facts; apply: Apply },
  clocks: Clocks = hostClocks()
): LeaseClock {
  const read = () => ({
    wallTime: Math.round(clocks.wall()),
    uptime: Math.round(clocks.uptime()),
    bootId: clocks.bootId,
    synchronised: clocks.synchronised()
  })
  const mark = facts.clockMark()
  const base = resumed(mark, read())
  // Read last, as a mark's lease time is read first: what reading takes is lost, not counted twice.
  const started = clocks.monotonic()
  const now = () => base + (clocks.monotonic() - started)
  const keep = () => {
    const row: ClockMark = { id: 1, leaseTime: Math.round(now()), ...read() }
    // Without a newer mark time is only taken for shorter than it was. The next one is tried in a minute.
    store.note(() => apply([{ put: 'clock', row }]))
  }
  keep()
  const keeping = setInterval(keep, KEEP_MILLISECONDS)
  return {
    now: () => Math.round(now()),
    away: mark === null ? null : base - mark.leaseTime,
    close() {
      clearInterval(keeping)
      keep()
    }
  }
}
