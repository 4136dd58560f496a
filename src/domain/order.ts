// An order is a checklist (src/README.md). A line is ticked only by what was observed, never by what was asked for.

export type OrderKind = 'manage' | 'power-on' | 'power-off' | 'reboot' | 'inspect' | 'deploy' | 'undeploy'

export type Milestone =
  'bmc-verified' | 'powered-off' | 'powered-on' | 'agent-seen' | 'image-written' | 'instance-up'

/** The lines of every kind of order, in the order in which they are worked through. */
export const CHECKLIST: Readonly<Record<OrderKind, readonly Milestone[]>> = {
  manage: ['bmc-verified'],
  'power-on': ['powered-on'],
  'power-off': ['powered-off'],
  reboot: ['powered-off', 'powered-on'],
  inspect: ['powered-off', 'powered-on', 'agent-seen'],
  deploy: ['powered-off', 'powered-on', 'agent-seen', 'image-written', 'instance-up'],
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
  /** The last thing asked of the BMC, so that it is not asked again at once. */
  asked: { act: 'power-off' | 'power-on'; at: number } | null
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
