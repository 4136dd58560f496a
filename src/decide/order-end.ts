// How an order goes on after an attempt, or ends: done, or failed with a named reason.

import type { Change } from '../domain/change.ts'
import type { Node, StableState } from '../domain/node.ts'
import type { Failure, Order } from '../domain/order.ts'
import type { OrderLimits } from './order-deadline.ts'
import { orderEvent } from './order-event.ts'
import { loadersInVain } from './loader-ladder.ts'
import { isSoft } from './power-loop.ts'

/** What a turn comes to when there is nothing to ask of the BMC. */
type Ending = { changes: Change[]; act: null; wakeAt: number | null }

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

/** Nobody waits for these to be tried again by themselves. */
const ONCE: ReadonlySet<Order['kind']> = new Set(['manage', 'check', 'check-power'])

/** Another attempt with a new token and an empty list, or the end of the order. */
export function retryOrEnd(
  changes: Change[],
  order: Order,
  node: Node,
  why: Failure,
  limits: OrderLimits,
  now: number,
  token: string
): Ending {
  if (order.attempt >= limits.attempts + loadersInVain(order) || ONCE.has(order.kind) || isSoft(order.kind))
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
    reading: null,
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

/** The order fails here and now, after `changes`. */
export function ended(changes: Change[], order: Order, node: Node, why: Failure): Ending {
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
  check: null,
  'check-power': null,
  'power-on': null,
  'power-off': null,
  reboot: null,
  'soft-power-off': null,
  'soft-reboot': null,
  inspect: null,
  deploy: 'active',
  undeploy: 'available'
}

/** Every line is ticked. */
export function finished(order: Order, node: Node, now: number): Change[] {
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
