// Keeps a flood of forged packets from crowding out the machines that are enrolled. What strangers may cost is bounded twice: only so many of their
// packets in a second are looked into, and where more come the kernel is told to let through only some of them, so that the
// socket's room is left to enrolled machines.

import type { Logger } from 'pino'
import { FILTER_KEYS, strangersByLot } from '../../src/wire/socket-filter.ts'
import type { Mac } from '../../src/wire/address.ts'

export type FloodShield = {
  /** Counts a stranger's packet that came at `at` (ms); true: it is one too many, and is not to be looked into. */
  tooMany(at: number): boolean
  /** The sockets were read empty. */
  drained(): void
  /** The share of strangers' packets that the kernel lets through; 1: all. */
  share(): number
  close(): void
}

export type FloodShieldDeps = {
  /** Strangers' packets that are looked into in a second. */
  perSecond: number
  /** Of the sockets (`DatagramSockets`); absent: without koffi there is no filter, only the first bound. */
  filter?: ((program: Buffer | null) => boolean) | undefined
  /** Whose packets always come through; asked again every second, for who is enrolled meanwhile. */
  enrolled: () => Iterable<Mac>
  log: Logger
}

/** One step of the share, down when too many come, up when this many times fewer come than may. */
const STEP = 4
/** Enough for a million packets in a second; and after a flood it takes as many seconds as steps until all are let in again. */
const LEAST_SHARE = 1 / STEP ** 5
const SECOND = 1000
/** What lay in the socket before is worked off by then (ms). */
const SETTLED = 100

export function createFloodShield({ perSecond, filter, enrolled, log }: FloodShieldDeps): FloodShield {
  let share = 1
  let second = { number: 0, strangers: 0 }
  let empty = true
  let timer: NodeJS.Timeout | undefined

  let raisedAt = -Infinity
  function raise(at: number): void {
    if (!filter || share <= LEAST_SHARE || at - raisedAt < SETTLED) return
    raisedAt = at
    if (share === 1) log.warn({ moreThan: perSecond }, 'a flood from machines that are not enrolled')
    share /= STEP
    second.strangers = 0
    letIn()
    timer ??= setInterval(look, SECOND).unref()
  }

  function letIn(): void {
    FILTER_KEYS.some((most) => filter?.(strangersByLot(enrolled(), share, most)))
  }

  let passed = 0
  function look(): void {
    // Half a step below the bound, so that a steady flood does not make the share swing.
    if (passed < perSecond / STEP / 2) share = Math.min(1, share * STEP)
    passed = 0
    if (share < 1) letIn()
    else lower()
  }

  function lower(): void {
    clearInterval(timer)
    timer = undefined
    filter?.(null)
    log.info('the flood is over')
  }

  return {
    tooMany(at) {
      const number = Math.floor(at / SECOND)
      // As long as there is always more in the sockets, we are too slow for what comes, however long it takes to count it.
      if (second.number !== number && empty) {
        second = { number, strangers: 0 }
        empty = false
      }
      passed++
      if (++second.strangers <= perSecond) return false
      raise(at)
      return true
    },
    drained() {
      empty = true
    },
    share: () => share,
    close() {
      clearInterval(timer)
    }
  }
}
