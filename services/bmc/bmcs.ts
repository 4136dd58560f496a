// All BMCs: one queue for each, so that what is asked of one BMC happens in order, and a bad BMC holds up no other.

import { isDeepStrictEqual } from 'node:util'
import type { Logger } from 'pino'
import type { BmcAccess, OperatorBmc } from '../../src/domain/bmc.ts'
import type { ConsoleLine, ConsoleListener, ConsoleOptions } from '../../src/domain/console.ts'
import type { QuirkCard } from '../../src/domain/quirk-card.ts'
import { AppError } from '../../src/domain/error.ts'
import { admits, afterFailure, CLOSED, type Breaker } from '../../src/decide/bmc-breaker.ts'
import type { ExamOptions } from '../../src/decide/bmc-exam.ts'
import { consoleGivenUp, leftAlone, queueFull, stopping } from '../../src/decide/bmc-failure.ts'
import { SESSION_TIMING, type SessionTiming } from '../../src/decide/bmc-session-state.ts'
import { SOL_TIMING, type SolTiming } from '../../src/decide/sol.ts'
import { drivers, type DriverBmc, type DriverDeps } from './drivers.ts'
import { examine } from './exam.ts'
import { openConsoles, type OpenConsoles } from './open-consoles.ts'
import { places } from './places.ts'

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
  /** The least time between two commands to one BMC, milliseconds (0). */
  gap?: number
  /** Log-ins under way at once, over all BMCs (128). */
  logins?: number
  timing?: SessionTiming
  solTiming?: SolTiming
  /** Milliseconds since the epoch, for cards of exams. */
  wallClock?: () => number
  /** How long an exam waits for a boot device to lapse, milliseconds (65 s). */
  lapse?: number
}

export type Bmcs = {
  /**
   * The BMC of a node. What is held of it (session, cipher suite that worked) is kept from call to call; `card` is what an
   * exam found out, for the first call.
   */
  bmc(nodeUuid: string, access: BmcAccess, card?: QuirkCard | null): OperatorBmc
  /**
   * Opens the serial console in a session of its own, beside the queue: it lasts. Where the BMC has no second session, the
   * first one is for power and boot device, and the console is given up (`lost`). Rejects as a Bmc does, and with `bmc-busy`
   * (detail.reason `console-taken`) where another console has it.
   */
  console(
    access: BmcAccess,
    options: ConsoleOptions,
    listener: ConsoleListener,
    card?: QuirkCard | null
  ): Promise<ConsoleLine>
  /** Examines a BMC when its turn comes: its sessions are closed for that. Takes seconds, or with `wait` over a minute. */
  examine(access: BmcAccess, options: ExamOptions): Promise<QuirkCard>
  /** Cuts short what is under way, and closes every session. */
  close(): Promise<void>
}

/** One BMC's queue: `tail` is over when everything asked so far is. */
type Lane = {
  access: BmcAccess
  driver: DriverBmc
  tail: Promise<unknown>
  breaker: Breaker
  consoles: OpenConsoles
}

export function startBmcs(deps: BmcsDeps): Bmcs {
  const { now, random, operation = 20_000, idle = 3_000, gap = 0, timing = SESSION_TIMING } = deps
  const log = deps.log.child({ service: 'bmc' })
  const lanes = new Map<string, Lane>()
  // Silent by the time of the second packet, a BMC is no load on anything.
  const logins = places(deps.logins ?? 128, { silent: timing.loginWait, longest: timing.loginWait * 5 })
  const stop = new AbortController()
  let closed = false

  function driverDeps(card: QuirkCard | null): DriverDeps {
    const common = { now, random, log, timing, operation, idle, loginPlace: logins.take }
    const { gap: slow = 0, way = null, identity = null } = card ?? {}
    return { ...common, gap: Math.max(gap, slow), remembered: way, maker: identity?.manufacturer ?? null }
  }

  function connect(access: BmcAccess, card: QuirkCard | null): DriverBmc {
    // The driver waits for a session, and perhaps it is a console of ours that has it.
    const noFreeSession = (): void => lanes.get(keyOf(access))?.consoles.giveUp(consoleGivenUp(access))
    return drivers[access.driver](access, { ...driverDeps(card), noFreeSession })
  }

  function keyOf({ driver, address, port }: BmcAccess): string {
    return `${driver} ${address} ${port}`
  }

  function laneOf(access: BmcAccess, card: QuirkCard | null): Lane {
    const lane = lanes.get(keyOf(access)) ?? {
      access,
      driver: connect(access, card),
      tail: Promise.resolve(),
      breaker: CLOSED,
      consoles: openConsoles(card?.sessions?.more === false && card.sessions.opened < 2)
    }
    lanes.set(keyOf(access), lane)
    return lane
  }

  /** Does `work` when everything asked before is over. */
  async function inTurn<T>(
    access: BmcAccess,
    card: QuirkCard | null,
    work: (lane: Lane) => Promise<T>
  ): Promise<T> {
    if (closed) throw stopping(access)
    const lane = laneOf(access, card)
    const turn = (async () => {
      await within(lane.tail, operation, () => queueFull(access, operation / 1000))
      if (closed) throw stopping(access)
      if (!isDeepStrictEqual(lane.access, access)) {
        // Another user, password or key: nothing of the old log-in may serve the new one.
        await lane.driver.close()
        Object.assign(lane, { access, driver: connect(access, card), breaker: CLOSED })
      }
      return work(lane)
    })()
    lane.tail = Promise.allSettled([lane.tail, turn])
    return turn
  }

  /** Does `work` unless the BMC is to be left alone, and takes note of how it went. */
  async function judged<T>(lane: Lane, work: (bmc: OperatorBmc) => Promise<T>): Promise<T> {
    const { breaker } = lane
    if (!admits(breaker, now()) && breaker.last) {
      throw leftAlone((breaker.retryAt - now()) / 1000, breaker.last)
    }
    try {
      const result = await work(lane.driver)
      lane.breaker = CLOSED
      return result
    } catch (error) {
      if (error instanceof AppError && !closed) {
        const [jitter = 0] = random(1)
        lane.breaker = afterFailure(breaker, error, now(), jitter / 256)
      }
      throw error
    }
  }

  return {
    bmc(nodeUuid, access, card = null) {
      async function ask<T>(what: string, work: (bmc: OperatorBmc) => Promise<T>): Promise<T> {
        const startedAt = now()
        const facts = () => ({ node: nodeUuid, bmc: access.address, what, ms: Math.round(now() - startedAt) })
        try {
          const result = await inTurn(access, card, (lane) => judged(lane, work))
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
        softOff: () => ask('soft off', (bmc) => bmc.softOff()),
        bootDevice: () => ask('boot device', (bmc) => bmc.bootDevice()),
        setBootDevice: (device, options) =>
          ask(`set boot device ${device}`, (bmc) => bmc.setBootDevice(device, options)),
        identify: (light) => ask(`identify ${light}`, (bmc) => bmc.identify(light)),
        identifyState: () => ask('identify state', (bmc) => bmc.identifyState()),
        identity: () => ask('identity', (bmc) => bmc.identity()),
        events: () => ask('events', (bmc) => bmc.events()),
        clearEvents: () => ask('clear events', (bmc) => bmc.clearEvents()),
        sensors: () => ask('sensors', (bmc) => bmc.sensors()),
        product: () => ask('product', (bmc) => bmc.product()),
        inventory: () => ask('inventory', (bmc) => bmc.inventory()),
        lan: () => ask('lan', (bmc) => bmc.lan()),
        users: () => ask('users', (bmc) => bmc.users()),
        setPassword: (password) => ask('set password', (bmc) => bmc.setPassword(password))
      }
    },
    async console(access, options, listener, card = null) {
      if (closed) throw stopping(access)
      const lane = laneOf(access, card)
      const { breaker } = lane
      const known = isDeepStrictEqual(lane.access, access)
      if (known && !admits(breaker, now()) && breaker.last) {
        throw leftAlone((breaker.retryAt - now()) / 1000, breaker.last)
      }
      try {
        const sol = deps.solTiming ?? SOL_TIMING
        const line = await lane.consoles.open(access, options, listener, { ...driverDeps(card), sol })
        if (!closed) return line
        await line.close()
        throw stopping(access)
      } catch (error) {
        // Wrong log-ins count on the BMC, whoever makes them; nothing else here says anything about power control.
        const counts = error instanceof AppError && (error.code === 'bmc-auth' || error.code === 'bmc-cipher')
        if (counts && known && !closed) lane.breaker = afterFailure(breaker, error, now(), 0.5)
        throw error
      }
    },
    examine: (access, options) =>
      inTurn(access, null, async (lane) => {
        await lane.driver.close()
        const { lapse } = deps
        const examDeps = {
          ...driverDeps(null),
          wallClock: deps.wallClock ?? Date.now,
          signal: stop.signal,
          ...(lapse && { lapse })
        }
        const card = await examine(access, options, examDeps)
        Object.assign(lane, { driver: connect(access, card), breaker: CLOSED })
        return card
      }),
    async close() {
      closed = true
      stop.abort()
      for (const { consoles, access } of lanes.values()) consoles.giveUp(stopping(access))
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
