// All BMCs: one queue for each, so that what is asked of one BMC happens in order, and a bad BMC holds up no other.

import { isDeepStrictEqual } from 'node:util'
import type { Logger } from 'pino'
import type { Bmc, BmcAccess } from '../../src/domain/bmc.ts'
import { AppError } from '../../src/domain/error.ts'
import { queueFull, stopping } from '../../src/decide/bmc-failure.ts'
import { SESSION_TIMING, type SessionTiming } from '../../src/decide/bmc-session.ts'
import { drivers, type DriverBmc } from './drivers.ts'

export type BmcsDeps = {
  /** Milliseconds of a clock that never goes back: `performance.now`, not the time of day, which may be set. */
  now: () => number
  /** Cryptographically strong random bytes. */
  random: (length: number) => Uint8Array
  log: Logger
  /** The longest one operation may take, milliseconds (20 s); waiting for earlier ones may take as long again. */
  operation?: number
  /** How long a session with a BMC is kept after an operation, milliseconds (3 s). */
  idle?: number
  timing?: SessionTiming
}

export type Bmcs = {
  /** The BMC of a node. What is held of it (session, cipher suite that worked) is kept from call to call. */
  bmc(nodeUuid: string, access: BmcAccess): Bmc
  /** Cuts short what is under way, and closes every session. */
  close(): Promise<void>
}

/** One BMC's queue: `tail` is over when everything asked so far is. */
type Lane = { access: BmcAccess; driver: DriverBmc; tail: Promise<unknown> }

export function startBmcs(deps: BmcsDeps): Bmcs {
  const { now, random, operation = 20_000, idle = 3_000, timing = SESSION_TIMING } = deps
  const log = deps.log.child({ service: 'bmc' })
  const lanes = new Map<string, Lane>()
  let closed = false

  function connect(access: BmcAccess): DriverBmc {
    return drivers[access.driver](access, { now, random, log, timing, operation, idle })
  }

  function laneOf(access: BmcAccess): Lane {
    const key = `${access.driver} ${access.address} ${access.port}`
    const lane = lanes.get(key) ?? { access, driver: connect(access), tail: Promise.resolve() }
    lanes.set(key, lane)
    return lane
  }

  /** Does `work` when everything asked before is over. */
  async function inTurn<T>(access: BmcAccess, work: (bmc: Bmc) => Promise<T>): Promise<T> {
    if (closed) throw stopping(access)
    const lane = laneOf(access)
    const turn = (async () => {
      await within(lane.tail, operation, () => queueFull(access, operation / 1000))
      if (closed) throw stopping(access)
      if (!isDeepStrictEqual(lane.access, access)) {
        // Another user, password or key: nothing of the old log-in may serve the new one.
        await lane.driver.close()
        Object.assign(lane, { access, driver: connect(access) })
      }
      return work(lane.driver)
    })()
    lane.tail = Promise.allSettled([lane.tail, turn])
    return turn
  }

  return {
    bmc(nodeUuid, access) {
      async function ask<T>(what: string, work: (bmc: Bmc) => Promise<T>): Promise<T> {
        const startedAt = now()
        const facts = () => ({ node: nodeUuid, bmc: access.address, what, ms: Math.round(now() - startedAt) })
        try {
          const result = await inTurn(access, work)
          log.debug({ ...facts(), result }, 'bmc')
          return result
        } catch (error) {
          if (error instanceof AppError) log.warn({ ...facts(), code: error.code }, error.message)
          throw error
        }
      }
      return {
        powerState: () => ask('power state', (bmc) => bmc.powerState()),
        powerOn: () => ask('power on', (bmc) => bmc.powerOn()),
        powerOff: () => ask('power off', (bmc) => bmc.powerOff()),
        bootDevice: () => ask('boot device', (bmc) => bmc.bootDevice()),
        setBootDevice: (device, options) =>
          ask(`set boot device ${device}`, (bmc) => bmc.setBootDevice(device, options))
      }
    },
    async close() {
      closed = true
      await Promise.all([...lanes.values()].map(({ driver }) => driver.close()))
      await Promise.all([...lanes.values()].map(({ tail }) => tail))
    }
  }
}

/** Waits for `before`, which never rejects, but not longer than `limit` milliseconds. */
async function within(before: Promise<unknown>, limit: number, late: () => AppError): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const tooLong = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), limit)
  })
  try {
    await Promise.race([before, tooLong])
  } finally {
    clearTimeout(timer)
  }
}
