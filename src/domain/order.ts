// An order is a checklist (src/README.md). A line is ticked only by what was observed, never by what was asked for.

import type { PowerState } from './bmc.ts'

export type OrderKind =
  | 'manage'
  | 'check'
  | 'check-power'
  | 'power-on'
  | 'power-off'
  | 'reboot'
  | 'soft-power-off'
  | 'soft-reboot'
  | 'inspect'
  | 'deploy'
  | 'undeploy'

export type Milestone =
  | 'bmc-verified'
  | 'bmc-examined'
  | 'powered-off'
  | 'powered-on'
  | 'network-seen'
  | 'agent-seen'
  | 'image-written'
  | 'instance-up'

/** The lines of every kind of order, in the order in which they are worked through. */
export const CHECKLIST: Readonly<Record<OrderKind, readonly Milestone[]>> = {
  manage: ['bmc-verified', 'bmc-examined'],
  check: ['bmc-examined'],
  // On before off: both are timed, and a machine that nobody uses ends as it should be.
  'check-power': ['bmc-examined', 'powered-on', 'powered-off'],
  'power-on': ['powered-on'],
  'power-off': ['powered-off'],
  reboot: ['powered-off', 'powered-on'],
  'soft-power-off': ['powered-off'],
  'soft-reboot': ['powered-off', 'powered-on'],
  inspect: ['powered-off', 'powered-on', 'network-seen', 'agent-seen'],
  deploy: ['powered-off', 'powered-on', 'network-seen', 'agent-seen', 'image-written', 'instance-up'],
  undeploy: ['powered-off']
}

export type Failure = {
  milestone: Milestone
  code: string
  /** For people: what happened, what was last seen, what to do. */
  message: string
  at: number
}

/** How far the ramdisk has come with the disk. */
export type Progress = {
  stage: 'writing' | 'verifying' | 'finishing'
  done: number
  total: number
  at: number
}

/** The last thing asked of the BMC. */
export type Asked = {
  act: 'power-off' | 'soft-off' | 'power-on'
  at: number
  /** No answer came: it may or may not have been done. */
  inDoubt?: boolean
  /** Of a power-on: what became of the boot device, and in words where it was not kept. */
  bootDevice?: { kept: boolean; words: string }
}

/** The BMC's latest readings of power, as far back as they agree. */
export type PowerReading = { power: PowerState; since: number; at: number; count: number }

/** How the boot loaders of our own fared in one order (src/decide/loader-ladder.ts). */
export type LoaderTrial = {
  /** Fetched whole, and nothing has followed yet. */
  fetched: { loader: string; at: number } | null
  /** The last one that something followed. */
  worked: string | null
  /** Fetched whole, and the firmware asked again or nothing came at all. */
  silent: readonly string[]
  /** One of them came back so soon that the firmware cannot have started it. */
  refused: boolean
}

export type Order = {
  id: string
  kind: OrderKind
  nodeUuid: string
  /** Deploy only. */
  imageId: string | null
  instanceUuid: string | null
  state: 'open' | 'done' | 'failed' | 'cancelled'
  attempt: number
  /** 256 random bits, hex, new for every attempt: what the ramdisk proves itself with. */
  token: string
  attemptStartedAt: number
  /** Nothing is done before this time (back-off). */
  notBefore: number
  ticks: Readonly<Partial<Record<Milestone, number>>>
  /** Of this attempt, so that nothing is asked again before its time; null: nothing was asked for the line that is next. */
  asked: Asked | null
  /** Of this attempt. */
  reading: PowerReading | null
  /** How long the operator gives the operating system to shut down, seconds; null: as long as is usual. */
  softSeconds: number | null
  /** The last trouble with the BMC in this attempt. */
  trouble: { code: string; message: string; count: number } | null
  progress: Progress | null
  /** Null: the machine has fetched no boot loader from us yet. Kept over the attempts. */
  loaderTrial: LoaderTrial | null
  failure: Failure | null
  createdAt: number
  finishedAt: number | null
}

/** The first unticked line; undefined when all are ticked. */
export function nextMilestone(order: Pick<Order, 'kind' | 'ticks'>): Milestone | undefined {
  return CHECKLIST[order.kind].find((milestone) => order.ticks[milestone] === undefined)
}
