// Examines a BMC: does the probes that src/decide/bmc-exam.ts asks for, one after another.

import { setTimeout } from 'node:timers/promises'
import type { BmcAccess, BootDevice, BootDeviceSetting, LoginWay } from '../../src/domain/bmc.ts'
import { AppError } from '../../src/domain/error.ts'
import type { QuirkCard } from '../../src/domain/quirk-card.ts'
import {
  LATENCY_SAMPLES,
  nextProbe,
  NOTHING_SEEN,
  quirkCard,
  SESSIONS_TRIED,
  type ExamFacts,
  type ExamOptions,
  type Probe
} from '../../src/decide/bmc-exam.ts'
import { stopping } from '../../src/decide/bmc-failure.ts'
import type { SessionTiming } from '../../src/decide/bmc-session-state.ts'
import { getDeviceId } from '../../src/wire/ipmi/command/get-device-id.ts'
import { ipmiBmc, type IpmiDriverDeps } from './ipmi.ts'
import { ipmiSession, type IpmiSession } from './ipmi-session.ts'
import { answersPing, offersSuiteZero } from './probe.ts'

export type ExamDeps = IpmiDriverDeps & {
  /** Milliseconds since the epoch, for the card. */
  wallClock: () => number
  /** Cuts the exam short. */
  signal: AbortSignal
  /** Milliseconds after which an override that lapses has lapsed (65 s). */
  lapse?: number
}

/** Ends with a card whatever the BMC does. AppError `bmc-busy` when cut short. */
export async function examine(access: BmcAccess, options: ExamOptions, deps: ExamDeps): Promise<QuirkCard> {
  const { timing, operation } = deps
  let facts: ExamFacts = NOTHING_SEEN

  function session(
    way: LoginWay | null,
    suites: readonly number[],
    patience: SessionTiming = timing
  ): IpmiSession {
    const settings = { access: { ...access, cipherSuites: suites }, remembered: way, timing: patience }
    const one = ipmiSession(settings, deps)
    deps.signal.addEventListener('abort', () => void one.close(), { once: true })
    return one
  }

  async function login(suite: number): Promise<ExamFacts['logins'][number]> {
    const one = session(null, [suite])
    try {
      return { suite, way: await one.open(deps.now() + operation), trouble: null }
    } catch (error) {
      return { suite, way: null, trouble: troubleOf(error) }
    } finally {
      await one.close()
    }
  }

  /** Does `work` with the driver, as it will be used later. */
  async function driven<T>(work: (bmc: ReturnType<typeof ipmiBmc>) => Promise<T>): Promise<T> {
    // Not cut short: what it has set it puts back, which takes no longer than an operation.
    const bmc = ipmiBmc({ ...access, cipherSuites: workingSuites(facts) }, deps)
    try {
      return await work(bmc)
    } finally {
      await bmc.close()
    }
  }

  async function latencies(): Promise<number[]> {
    const one = session(workingWay(facts), workingSuites(facts))
    const { name, netFn, command } = getDeviceId
    try {
      await one.open(deps.now() + operation)
      const found: number[] = []
      for (let count = 0; count < LATENCY_SAMPLES; count++) {
        const before = deps.now()
        await one.request({ name, netFn, command, data: Buffer.alloc(0) }, before + operation)
        found.push(deps.now() - before)
      }
      return found
    } catch (error) {
      troubleOf(error)
      return [operation]
    } finally {
      await one.close()
    }
  }

  async function sessions(): Promise<{ opened: number; more: boolean }> {
    const open: IpmiSession[] = []
    try {
      for (let opened = 0; opened < SESSIONS_TRIED; opened++) {
        const next = session(workingWay(facts), workingSuites(facts))
        open.push(next)
        try {
          // Too short to wait for a free session.
          await next.open(deps.now() + timing.sessionPause)
        } catch (error) {
          troubleOf(error)
          return { opened, more: false }
        }
      }
      return { opened: SESSIONS_TRIED, more: true }
    } finally {
      for (const one of open) await one.close()
    }
  }

  function bootDevice(wait: boolean): Promise<ExamFacts['bootDevice']> {
    return driven(async (bmc) => {
      try {
        const before = await bmc.bootDevice()
        const asked: BootDeviceSetting = { device: 'pxe', persistent: false, efi: true, valid: true }
        try {
          const readBack = await bmc.setBootDevice('pxe', { persistent: false, efi: true })
          const canBeKept = await bmc.keepsBootDevice()
          if (!wait) return { asked, readBack, canBeKept, later: null }
          await setTimeout(deps.lapse ?? 65_000, undefined, { signal: deps.signal }).catch(() => undefined)
          return { asked, readBack, canBeKept, later: await bmc.bootDevice() }
        } finally {
          const { device, persistent, efi, valid } = before
          const old: BootDevice = valid && device !== 'other' ? device : 'none'
          await bmc.setBootDevice(old, { persistent, efi })
        }
      } catch (error) {
        return { trouble: troubleOf(error).message }
      }
    })
  }

  async function look(probe: Probe): Promise<Partial<ExamFacts>> {
    switch (probe.probe) {
      case 'ping':
        return { ping: await answersPing(access, deps.random) }
      case 'suite-zero':
        return { suiteZero: await offersSuiteZero(access, deps.random) }
      case 'login':
        return { logins: [...facts.logins, await login(probe.suite)] }
      case 'identity':
        return {
          identity: await driven((bmc) => bmc.identity()).catch((error: unknown) => {
            troubleOf(error)
            return 'refused' as const
          })
        }
      case 'latency':
        return { latencies: await latencies() }
      case 'sessions':
        return { sessions: await sessions() }
      case 'boot-device':
        return { bootDevice: await bootDevice(probe.wait) }
    }
  }

  for (let probe = nextProbe(facts, access, options); probe; probe = nextProbe(facts, access, options)) {
    if (deps.signal.aborted) throw stopping(access)
    facts = { ...facts, ...(await look(probe)) }
  }
  if (deps.signal.aborted) throw stopping(access)
  return quirkCard(facts, deps.wallClock())
}

function workingWay({ logins }: ExamFacts): LoginWay | null {
  return logins.find(({ way }) => way !== null)?.way ?? null
}

/** The suites that let us in, in the order they were tried. */
function workingSuites({ logins }: ExamFacts): number[] {
  return logins.filter(({ way }) => way !== null).map(({ suite }) => suite)
}

/** What an AppError says; anything else is our fault, and thrown. */
function troubleOf(error: unknown): { code: AppError['code']; message: string } {
  if (error instanceof AppError) return { code: error.code, message: error.message }
  throw error
}
