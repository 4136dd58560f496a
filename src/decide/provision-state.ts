// (node, orders) → the words Ironic has for it (ironic.common.states). What is shown is computed from the rows every time, so it
// cannot disagree with them.

import type { Node, StableState } from '../domain/node.ts'
import type { Order, OrderKind } from '../domain/order.ts'

export type ProvisionState =
  | StableState
  | 'verifying'
  | 'inspecting'
  | 'inspect wait'
  | 'inspect failed'
  | 'deploying'
  | 'wait call-back'
  | 'deploy failed'
  | 'deleting'
  | 'error'

export type PowerWord = 'power on' | 'power off' | 'rebooting' | 'soft power off' | 'soft rebooting'

export type Shown = {
  state: ProvisionState
  /** Where it is going, or was going when it failed. */
  target: StableState | null
  targetPower: PowerWord | null
}

const POWER_TARGET: Readonly<Partial<Record<OrderKind, PowerWord>>> = {
  'power-on': 'power on',
  'power-off': 'power off',
  reboot: 'rebooting',
  'soft-power-off': 'soft power off',
  'soft-reboot': 'soft rebooting'
}

/** Is the order about the machine's power or its BMC, and not about what is on its disk? */
export function isPowerOrder(kind: OrderKind): boolean {
  return POWER_TARGET[kind] !== undefined || kind === 'check' || kind === 'check-power'
}

/** `orders` are all of the node's, oldest first. */
export function shown(node: Pick<Node, 'state'>, orders: readonly Order[]): Shown {
  const latest = orders.at(-1)
  const targetPower = latest?.state === 'open' ? (POWER_TARGET[latest.kind] ?? null) : null
  return { ...provision(node, provisionOrder(orders)), targetPower }
}

/** The latest order that is about more than power: switching a machine off for a look must not hide that its deploy failed. */
export function provisionOrder(orders: readonly Order[]): Order | null {
  return orders.findLast((order) => !isPowerOrder(order.kind)) ?? null
}

function provision(node: Pick<Node, 'state'>, order: Order | null): Omit<Shown, 'targetPower'> {
  const stable = { state: node.state, target: null }
  if (order?.state !== 'open' && order?.state !== 'failed') return stable
  const failed = order.state === 'failed'
  const waiting = order.ticks['powered-on'] !== undefined && order.ticks['agent-seen'] === undefined
  switch (order.kind) {
    case 'manage':
      // Ironic has no failed state here: back to where it was, and last_error tells.
      return failed ? stable : { state: 'verifying', target: 'manageable' }
    case 'inspect':
      return {
        state: failed ? 'inspect failed' : waiting ? 'inspect wait' : 'inspecting',
        target: 'manageable'
      }
    case 'deploy':
      return { state: failed ? 'deploy failed' : waiting ? 'wait call-back' : 'deploying', target: 'active' }
    case 'undeploy':
      return { state: failed ? 'error' : 'deleting', target: 'available' }
    default:
      return stable
  }
}
