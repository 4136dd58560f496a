// What an exam found out about one BMC: shown, exported, and used whenever the BMC is spoken to.

import type { BmcIdentity } from './bmc-report.ts'
import type { LoginWay } from './bmc.ts'

export type QuirkCard = {
  /** Milliseconds since the epoch. */
  examinedAt: number
  identity: BmcIdentity | null
  /** How a log-in works; tried first from now on. Null: none did. */
  way: LoginWay | null
  /** Suites that were tried with the password, and whether they let us in. */
  suites: { id: number; works: boolean }[]
  /** It opens sessions under suite 0, in which any password is right. Null: it did not say. */
  acceptsSuiteZero: boolean | null
  /** It answers ASF pings. */
  answersPing: boolean
  /** Sessions it gave us at once, and whether there were more to be had: the exam stops early. */
  sessions: { opened: number; more: boolean } | null
  /** Milliseconds of a round trip within a session. */
  latency: { median: number; worst: number } | null
  bootDevice: BootDeviceQuirks | null
  /** Seconds from the command to the reading that shows it; null: not tried. Only an exam that was told to switches power. */
  power: { onSeconds: number | null; offSeconds: number | null } | null
  /** The least time between two commands, milliseconds. */
  gap: number
  findings: Finding[]
}

export type BootDeviceQuirks = {
  /** What is read back is what was set. */
  truthful: boolean
  keepsEfi: boolean
  /** It can be told to keep the override although no chassis control follows (parameter 3). */
  canBeKept: boolean
  /** After a minute without a chassis control: still there, or gone. Null: nobody waited. */
  lapses: boolean | null
}

/** For people: `problem` keeps orders from working, `danger` is one for others, `note` is only good to know. */
export type Finding = { kind: 'problem' | 'danger' | 'note'; code: string; message: string }
