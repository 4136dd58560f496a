// The exam of a BMC: which probe comes next, and what the answers come down to. It changes nothing that it does not put
// back, and logs in with a wrong password at most once.

import type { BmcAccess, BootDeviceSetting, LoginWay } from '../domain/bmc.ts'
import type { BmcIdentity } from '../domain/bmc-report.ts'
import type { ErrorCode } from '../domain/error.ts'
import type { BootDeviceQuirks, Finding, QuirkCard } from '../domain/quirk-card.ts'

export type Probe =
  | { probe: 'ping' }
  | { probe: 'suite-zero' }
  | { probe: 'login'; suite: number }
  | { probe: 'identity' }
  | { probe: 'latency' }
  | { probe: 'sessions' }
  /** `wait`: until the override would have lapsed. */
  | { probe: 'boot-device'; wait: boolean }

/** What has been seen so far; null and empty: not looked yet. */
export type ExamFacts = {
  ping: boolean | null
  suiteZero: 'accepted' | 'refused' | 'silent' | null
  logins: { suite: number; way: LoginWay | null; trouble: { code: ErrorCode; message: string } | null }[]
  identity: BmcIdentity | 'refused' | null
  /** Milliseconds. */
  latencies: number[]
  sessions: { opened: number; more: boolean } | null
  bootDevice:
    | {
        asked: BootDeviceSetting
        readBack: BootDeviceSetting
        canBeKept: boolean
        /** Read again after a minute; null: nobody waited. */
        later: BootDeviceSetting | null
      }
    | { trouble: string }
    | null
}

export type ExamOptions = {
  /** Set the boot device, read it back, put the old one back. Not while the machine may be about to boot. */
  bootDevice: boolean
  /** Wait a minute to see whether the override lapses. */
  wait: boolean
}

export const NOTHING_SEEN: ExamFacts = {
  ping: null,
  suiteZero: null,
  logins: [],
  identity: null,
  latencies: [],
  sessions: null,
  bootDevice: null
}

/** Round trips whose times are taken. */
export const LATENCY_SAMPLES = 10
/** Sessions opened at once to see how many there are. */
export const SESSIONS_TRIED = 4
/** Slower than this now and then: commands are kept apart. */
const SLOW = 1000
const SLOW_GAP = 1000

/** The next thing to look at, or null when the exam is over. */
export function nextProbe(facts: ExamFacts, access: BmcAccess, options: ExamOptions): Probe | null {
  if (facts.ping === null) return { probe: 'ping' }
  const untried = access.cipherSuites.find((id) => !facts.logins.some(({ suite }) => suite === id))
  // With a wrong password or user every further try is one towards a locked user.
  const wrong = facts.logins.some(({ trouble }) => trouble?.code === 'bmc-auth')
  const unreachable = facts.logins.some(({ trouble }) => trouble?.code === 'bmc-unreachable')
  if (untried !== undefined && !wrong && !unreachable) return { probe: 'login', suite: untried }
  if (facts.suiteZero === null && !unreachable) return { probe: 'suite-zero' }
  if (!facts.logins.some(({ way }) => way !== null)) return null
  if (facts.identity === null) return { probe: 'identity' }
  if (facts.latencies.length === 0) return { probe: 'latency' }
  if (facts.sessions === null) return { probe: 'sessions' }
  if (options.bootDevice && facts.bootDevice === null) return { probe: 'boot-device', wait: options.wait }
  return null
}

/** `now` is milliseconds since the epoch. */
export function quirkCard(facts: ExamFacts, now: number): QuirkCard {
  const latencies = [...facts.latencies].sort((a, b) => a - b)
  const worst = latencies.at(-1)
  const median = latencies[latencies.length >> 1]
  const card: Omit<QuirkCard, 'findings'> = {
    examinedAt: now,
    identity: facts.identity === 'refused' ? null : facts.identity,
    way: facts.logins.find(({ way }) => way !== null)?.way ?? null,
    suites: facts.logins.map(({ suite, way }) => ({ id: suite, works: way !== null })),
    acceptsSuiteZero: facts.suiteZero === 'accepted' ? true : facts.suiteZero === 'refused' ? false : null,
    answersPing: facts.ping === true,
    sessions: facts.sessions,
    latency: median === undefined || worst === undefined ? null : { median, worst },
    bootDevice: bootDeviceQuirks(facts),
    power: null,
    gap: (worst ?? 0) > SLOW ? SLOW_GAP : 0
  }
  return { ...card, findings: findings(facts, card) }
}

function bootDeviceQuirks({ bootDevice }: ExamFacts): BootDeviceQuirks | null {
  if (!bootDevice || 'trouble' in bootDevice) return null
  const { asked, readBack, canBeKept, later } = bootDevice
  return {
    truthful: sameOverride(asked, readBack),
    keepsEfi: readBack.efi === asked.efi,
    canBeKept,
    lapses: later && !sameOverride(readBack, later)
  }
}

/** Whether two settings make the machine do the same at its next boot. */
export function sameOverride(a: BootDeviceSetting, b: BootDeviceSetting): boolean {
  // Without the valid bit the rest is stale, and overrides nothing.
  if (!a.valid && !b.valid) return true
  return a.valid === b.valid && a.device === b.device && a.efi === b.efi && a.persistent === b.persistent
}

function findings(facts: ExamFacts, card: Omit<QuirkCard, 'findings'>): Finding[] {
  const found: Finding[] = []
  const tell = (kind: Finding['kind'], code: string, message: string): void => {
    found.push({ kind, code, message })
  }
  // A wrong password says more than a suite that is not there.
  const troubles = facts.logins.flatMap((login) => (login.trouble === null ? [] : [login.trouble]))
  const trouble = troubles.find(({ code }) => code === 'bmc-auth') ?? troubles[0]
  if (card.way === null && trouble) tell('problem', trouble.code, trouble.message)
  if (card.acceptsSuiteZero) {
    tell(
      'danger',
      'suite-zero',
      'It opens sessions under cipher suite 0, in which any password is right: whoever reaches it can switch the machine. Disable suite 0 in its LAN settings'
    )
  }
  if (card.way?.suite === null) {
    tell('danger', 'ipmi-1.5', 'Its sessions are IPMI 1.5: nothing is encrypted')
  } else if (card.way && card.way.suite !== 17) {
    tell('note', 'suite', `It is spoken to with cipher suite ${card.way.suite}; 17 is the better one`)
  }
  if (card.way?.privilege === 'operator') {
    tell('note', 'operator', 'The user is an operator: power and boot device work, a new password does not')
  }
  if (card.way?.quirk) tell('note', 'log-in', `The log-in needs the work-around "${card.way.quirk}"`)
  if (facts.identity === 'refused') tell('note', 'identity', 'It does not say who made it')
  if (card.sessions && !card.sessions.more && card.sessions.opened < 2) {
    tell(
      'note',
      'one-session',
      'It has one session at a time: any other console or tool that uses it keeps Seedling out'
    )
  }
  if (card.gap > 0)
    tell(
      'note',
      'slow',
      `An answer took ${Math.round(card.latency?.worst ?? 0)} ms; its commands are kept a second apart`
    )
  if (facts.bootDevice && 'trouble' in facts.bootDevice) {
    tell('problem', 'boot-device', `Its boot device cannot be set: ${facts.bootDevice.trouble}`)
  }
  const boot = card.bootDevice
  if (boot && !boot.keepsEfi) {
    tell(
      'problem',
      'boot-efi',
      'It loses the EFI bit of the boot device: UEFI machines may boot in legacy mode'
    )
  } else if (boot && !boot.truthful) {
    tell('problem', 'boot-read-back', 'The boot device it reads back is not the one that was set')
  }
  if (boot?.lapses || (boot && !boot.canBeKept)) {
    tell('note', 'boot-lapses', 'A boot device that was set lapses unless power is switched within a minute')
  }
  return found
}
