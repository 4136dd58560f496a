// The order loop's judgement: rows and one look at the BMC in, ticks and at most one act out (src/README.md).
// Nothing here is remembered: losing the process at any point changes nothing but delay.

import type { PowerState } from '../domain/bmc.ts'
import type { Change } from '../domain/change.ts'
import type { ErrorCode } from '../domain/error.ts'
import type { Event, EventDetail, EventKind } from '../domain/event.ts'
import { bootMode, type Node, type StableState } from '../domain/node.ts'
import { loadersInVain, LOADER_SECONDS, silenceEnds, silenceWords } from './loader-ladder.ts'
import { nextMilestone, type Failure, type Milestone, type Order } from '../domain/order.ts'

/** How patient orders are. Seconds. */
export type OrderLimits = {
  attempts: number
  /** From power-on to the ramdisk's first call. */
  agentSeconds: number
  /** Without any progress of the write. */
  writeStallSeconds: number
  /** From the end of the write to the installed system's sign of life. */
  instanceSeconds: number
  /** A machine stays off this long before it is switched on: power supplies and BMCs want it. */
  minimumOffSeconds: number
}

/** For a BMC to carry out one power command, all repeats included. */
const POWER_SECONDS = 180
/** Ask again for the same power change after this long. */
const ASK_AGAIN_SECONDS = 20
/** How often a power change is looked for. */
const LOOK_MILLISECONDS = 1000

/** What one look at the BMC gave. */
export type Observation = { power: PowerState } | { trouble: { code: ErrorCode; message: string } } | null

export type Act =
  | { act: 'power-off' }
  /** Boot device (when given) and power on, always as one step: BMCs drop the override after 60 s. */
  | { act: 'power-on'; bootDevice: { device: 'pxe'; efi: boolean } | null }

export type Turn = { changes: Change[]; act: Act | null; wakeAt: number | null }

/** Troubles that repeating cannot cure and that may lock the account: the order ends at once. */
const HOPELESS: ReadonlySet<string> = new Set(['bmc-auth', 'bmc-cipher', 'bmc-privilege'])

/** What the agent may report that another attempt would meet again. */
export const FATAL_AGENT_CODES: ReadonlySet<string> = new Set([
  'disk-missing',
  'disk-too-small',
  'disk-ambiguous',
  'disk-changed',
  'chunk-corrupt',
  'wrong-machine',
  'refused'
])

/** Does the order's next line need a look at the BMC? */
export function needsLook(order: Order, now: number): boolean {
  if (order.state !== 'open' || now < order.notBefore) return false
  const next = nextMilestone(order)
  return next === 'bmc-verified' || next === 'powered-off' || next === 'powered-on'
}

/** The event builder used by everything that concerns one order. */
export function orderEvent<K extends EventKind>(
  order: Pick<Order, 'id' | 'nodeUuid'>,
  at: number,
  kind: K,
  subject: string,
  detail: EventDetail[K]
): { event: Event } {
  return { event: { kind, at, nodeUuid: order.nodeUuid, orderId: order.id, subject, detail } as Event }
}

/**
 * One turn for one open order. `seen` is null when no look was needed. `token` is fresh randomness for a new attempt,
 * used only if there is one.
 */
export function decideTurn(
  order: Order,
  node: Node,
  seen: Observation,
  limits: OrderLimits,
  now: number,
  token: string
): Turn {
  if (order.state !== 'open') return { changes: [], act: null, wakeAt: null }
  if (now < order.notBefore) return { changes: [], act: null, wakeAt: order.notBefore }
  const changes: Change[] = []
  let current = order

  if (seen && 'power' in seen) {
    changes.push(...powerSeen(node, seen.power, now))
    node = { ...node, powerState: seen.power, powerStateAt: now }
    const next = nextMilestone(current)
    const reached =
      (next === 'bmc-verified' && 'the BMC answered') ||
      (next === 'powered-off' && seen.power === 'off' && 'the BMC reads off') ||
      (next === 'powered-on' && seen.power === 'on' && 'the BMC reads on')
    if (next && reached) {
      current = { ...current, ticks: { ...current.ticks, [next]: now }, asked: null, trouble: null }
      changes.push({ put: 'order', row: current })
      changes.push(orderEvent(order, now, 'milestone-reached', next, { milestone: next, by: reached }))
    } else if (current.trouble) {
      current = { ...current, trouble: null }
      changes.push({ put: 'order', row: current })
    }
  }

  const next = nextMilestone(current)
  if (!next) return { changes: [...changes, ...finished(current, node, now)], act: null, wakeAt: null }

  if (seen && 'trouble' in seen) {
    changes.push(orderEvent(order, now, 'bmc-trouble', seen.trouble.code, seen.trouble))
    const count = (current.trouble?.count ?? 0) + 1
    if (HOPELESS.has(seen.trouble.code))
      return ended(changes, current, node, failure(next, seen.trouble.code, seen.trouble.message, now))
    current = { ...current, trouble: { ...seen.trouble, count } }
    if (now >= deadline(current, next, limits))
      return retryOrEnd(
        changes,
        current,
        node,
        failure(next, seen.trouble.code, seen.trouble.message, now),
        limits,
        now,
        token
      )
    // 2, 4, 8, … 30 s: a BMC that is busy or restarting is left alone for longer each time.
    const wait = Math.min(30, 2 ** count) * 1000
    current = { ...current, notBefore: now + wait }
    return { changes: [...changes, { put: 'order', row: current }], act: null, wakeAt: current.notBefore }
  }

  const due = deadline(current, next, limits)
  if (now >= due)
    return retryOrEnd(changes, current, node, lapsed(current, next, limits, now), limits, now, token)

  if (next === 'powered-off' || next === 'powered-on') {
    if (!seen) return { changes, act: null, wakeAt: now }
    const act = next === 'powered-off' ? 'power-off' : 'power-on'
    const offAt = current.ticks['powered-off']
    if (act === 'power-on' && offAt !== undefined && now < offAt + limits.minimumOffSeconds * 1000)
      return { changes, act: null, wakeAt: offAt + limits.minimumOffSeconds * 1000 }
    if (current.asked?.act === act && now < current.asked.at + ASK_AGAIN_SECONDS * 1000)
      return { changes, act: null, wakeAt: now + LOOK_MILLISECONDS }
    current = { ...current, asked: { act, at: now } }
    changes.push({ put: 'order', row: current }, orderEvent(order, now, 'power-asked', act, { act }))
    const netboot = current.kind === 'deploy' || current.kind === 'inspect'
    return {
      changes,
      act:
        act === 'power-off'
          ? { act }
          : { act, bootDevice: netboot ? { device: 'pxe', efi: bootMode(node) === 'uefi' } : null },
      wakeAt: now + LOOK_MILLISECONDS
    }
  }
  return { changes, act: null, wakeAt: due }
}

/** The reading as it is stored and, when it differs from the last one, told. */
export function powerSeen(node: Node, power: PowerState, now: number): Change[] {
  const changes: Change[] = [{ put: 'node', row: { ...node, powerState: power, powerStateAt: now } }]
  if (node.powerState !== power)
    changes.push({
      event: {
        kind: 'power-seen',
        at: now,
        nodeUuid: node.uuid,
        orderId: null,
        subject: power,
        detail: { power }
      }
    })
  return changes
}

/** When the wait for this line is over. */
function deadline(order: Order, next: Milestone, limits: OrderLimits): number {
  const since = Math.max(order.attemptStartedAt, ...Object.values(order.ticks))
  switch (next) {
    case 'bmc-verified':
      return since + 60_000
    case 'powered-off':
    case 'powered-on':
      return since + POWER_SECONDS * 1000
    case 'agent-seen':
      return Math.min(since + limits.agentSeconds * 1000, silenceEnds(order) ?? Infinity)
    case 'image-written':
      return Math.max(since, order.progress?.at ?? 0) + limits.writeStallSeconds * 1000
    case 'instance-up':
      return since + limits.instanceSeconds * 1000
  }
}

function failure(milestone: Milestone, code: string, message: string, at: number): Failure {
  return { milestone, code, message, at }
}

function lapsed(order: Order, next: Milestone, limits: OrderLimits, now: number): Failure {
  const loader = next === 'agent-seen' && silenceEnds(order) !== null && order.loaderTrial?.fetched?.loader
  if (loader)
    return failure(
      next,
      'loader-silent',
      `${loader} was fetched and nothing followed for ${LOADER_SECONDS} s: ${silenceWords(loader)}`,
      now
    )
  const told: Record<Milestone, string> = {
    'bmc-verified': 'the BMC did not answer in time',
    'powered-off': `the BMC still reads "on" ${POWER_SECONDS} s after it was told to switch off; check the BMC or switch the machine off by hand`,
    'powered-on': `the BMC still reads "off" ${POWER_SECONDS} s after it was told to switch on; check power supply and BMC log`,
    'agent-seen': `the deploy ramdisk did not call within ${limits.agentSeconds} s of power-on; the timeline shows how far the machine came (no DHCP: cabling, VLAN or boot order; loader but no script: firmware)`,
    'image-written': `no progress of the write for ${limits.writeStallSeconds} s; look at the machine's console`,
    'instance-up': `the installed system gave no sign of life within ${limits.instanceSeconds} s; look at its console: boot order, boot loader, network configuration`
  }
  return failure(
    next,
    'timeout',
    order.trouble ? `${told[next]}; last: ${order.trouble.message}` : told[next],
    now
  )
}

/** Another attempt with a new token and an empty list, or the end of the order. */
function retryOrEnd(
  changes: Change[],
  order: Order,
  node: Node,
  why: Failure,
  limits: OrderLimits,
  now: number,
  token: string
): Turn {
  if (order.attempt >= limits.attempts + loadersInVain(order) || order.kind === 'manage')
    return ended(changes, order, node, why)
  const attempt = order.attempt + 1
  const notBefore = now + Math.min(300, 15 * 2 ** (attempt - 2)) * 1000
  const row: Order = {
    ...order,
    attempt,
    token,
    attemptStartedAt: notBefore,
    notBefore,
    ticks: {},
    asked: null,
    trouble: null,
    progress: null
  }
  return {
    changes: [
      ...changes,
      { put: 'order', row },
      orderEvent(order, now, 'attempt-started', String(attempt), { attempt, reason: why.message })
    ],
    act: null,
    wakeAt: notBefore
  }
}

function ended(changes: Change[], order: Order, node: Node, why: Failure): Turn {
  return { changes: [...changes, ...failOrder(order, node, why)], act: null, wakeAt: null }
}

/** The order ends with a reason; the node keeps its stable state, and the gate closes. */
export function failOrder(order: Order, node: Node, why: Failure): Change[] {
  return [
    { put: 'order', row: { ...order, state: 'failed', failure: why, finishedAt: why.at } },
    { put: 'node', row: { ...node, lastError: why.message, provisionUpdatedAt: why.at } },
    orderEvent(order, why.at, 'order-failed', why.code, why)
  ]
}

/** What the ramdisk or we found out about this attempt: another one, or the end when it would only meet the same again. */
export function failAttempt(
  order: Order,
  node: Node,
  why: Failure,
  limits: OrderLimits,
  now: number,
  token: string
): Change[] {
  if (FATAL_AGENT_CODES.has(why.code)) return failOrder(order, node, why)
  return retryOrEnd([], order, node, why, limits, now, token).changes
}

/** The stable state a finished order leaves; null: unchanged. */
const LEAVES: Readonly<Record<Order['kind'], StableState | null>> = {
  manage: 'manageable',
  'power-on': null,
  'power-off': null,
  reboot: null,
  inspect: null,
  deploy: 'active',
  undeploy: 'available'
}

function finished(order: Order, node: Node, now: number): Change[] {
  const state = LEAVES[order.kind]
  const changes: Change[] = [
    { put: 'order', row: { ...order, state: 'done', finishedAt: now } },
    {
      put: 'node',
      row: {
        ...node,
        state: state ?? node.state,
        lastError: null,
        instanceUuid:
          order.kind === 'deploy' ? order.instanceUuid : order.kind === 'undeploy' ? null : node.instanceUuid,
        provisionUpdatedAt: state ? now : node.provisionUpdatedAt,
        updatedAt: now
      }
    },
    orderEvent(order, now, 'order-done', order.kind, {
      order: order.kind,
      seconds: Math.round((now - order.createdAt) / 100) / 10
    })
  ]
  if (order.kind === 'undeploy' && node.instanceUuid)
    changes.push({ remove: 'instance', uuid: node.instanceUuid })
  return changes
}
