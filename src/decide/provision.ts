// Verbs of the operator: which is legal in which state, and what rows it makes. The words are those of Ironic's
// `states/provision` and `states/power`; "active" deploys, "deleted" undeploys.

import { bmcAccess } from '../domain/bmc-access.ts'
import type { Change } from '../domain/change.ts'
import { AppError } from '../domain/error.ts'
import type { Image } from '../domain/image.ts'
import type { Instance } from '../domain/instance.ts'
import type { Node, Port } from '../domain/node.ts'
import { nextMilestone, type Order, type OrderKind } from '../domain/order.ts'
import { orderEvent } from './order-event.ts'
import {
  isPowerOrder,
  provisionOrder,
  shown,
  type PowerWord,
  type ProvisionState
} from './provision-state.ts'

export type ProvisionVerb =
  'manage' | 'provide' | 'inspect' | 'adopt' | 'active' | 'rebuild' | 'deleted' | 'abort'

/** In which states a verb may be used. */
export const LEGAL: Readonly<Record<ProvisionVerb, readonly ProvisionState[]>> = {
  manage: ['enroll', 'available', 'inspect failed'],
  provide: ['manageable'],
  inspect: ['manageable', 'inspect failed'],
  adopt: ['manageable'],
  active: ['available', 'deploy failed'],
  rebuild: ['active', 'deploy failed', 'error'],
  deleted: ['active', 'deploy failed', 'error', 'deploying', 'wait call-back'],
  abort: ['verifying', 'inspecting', 'inspect wait']
}

export const POWER_ORDER: Readonly<Record<PowerWord, OrderKind>> = {
  'power on': 'power-on',
  'power off': 'power-off',
  rebooting: 'reboot',
  'soft power off': 'soft-power-off',
  'soft rebooting': 'soft-reboot'
}

/** What an instance is to be. */
export type DeploySpec = {
  image: Image
  hostname: string
  /** Key pair name → public key. */
  publicKeys: Readonly<Record<string, string>>
  /** base64. */
  userData: string | null
  metadata: Readonly<Record<string, unknown>>
}

export type ProvisionFacts = {
  node: Node
  ports: readonly Port[]
  /** All of the node's, oldest first. */
  orders: readonly Order[]
  /** The instance that the node has now. */
  instance: Instance | null
}

/** Randomness for the rows that a verb may make. */
export type Fresh = { orderId: string; orderToken: string; instanceUuid: string; instanceToken: string }

/**
 * One provision verb. `deploy` is needed for "active" and may change what "rebuild" installs. AppError `wrong-state` when the
 * verb has no place in the node's state, `busy` when an order is open, `bad-request` when the node lacks what the verb needs.
 */
export function decideProvision(
  facts: ProvisionFacts,
  verb: ProvisionVerb,
  deploy: DeploySpec | null,
  fresh: Fresh,
  now: number
): Change[] {
  const { node } = facts
  checkLegal(facts, verb)
  switch (verb) {
    case 'provide':
      return settle(node, 'available', now)
    case 'adopt':
      return settle(node, 'active', now)
    case 'manage':
      // Its BMC was verified on the way in, as in Ironic.
      if (shown(node, facts.orders).state === 'available') return settle(node, 'manageable', now)
      bmcAccess(node)
      return startOrder(node, { kind: 'manage' }, fresh, now)
    case 'inspect':
      checkBootable(facts, verb)
      return startOrder(node, { kind: 'inspect' }, fresh, now)
    case 'active':
    case 'rebuild':
      return startDeploy(facts, verb, deploy, fresh, now)
    case 'deleted':
      return startUndeploy(facts, fresh, now)
    case 'abort':
      return abort(facts, fresh, now)
  }
}

/**
 * One power verb, legal in every state as long as nothing else is going on. `softSeconds`: how long a soft one gives the
 * operating system; null: as long as is usual.
 */
export function decidePower(
  facts: ProvisionFacts,
  verb: PowerWord,
  softSeconds: number | null,
  fresh: Fresh,
  now: number
): Change[] {
  checkIdle(facts)
  bmcAccess(facts.node)
  return startOrder(facts.node, { kind: POWER_ORDER[verb], softSeconds }, fresh, now)
}

/** An exam of the BMC; with `power` the machine is switched on and off for it. AppError as `decidePower`, and `wrong-state`. */
export function decideCheck(facts: ProvisionFacts, power: boolean, fresh: Fresh, now: number): Change[] {
  const { node } = facts
  checkIdle(facts)
  bmcAccess(node)
  if (power && node.state === 'active')
    throw new AppError(
      'wrong-state',
      `Node ${label(node)} is active: switching it for an exam would stop what runs there. Leave the power out, or undeploy it first`
    )
  return startOrder(node, { kind: power ? 'check-power' : 'check' }, fresh, now)
}

/** Throws AppError `busy` when an order is open, telling what is going on. */
export function checkIdle({ node, orders }: Pick<ProvisionFacts, 'node' | 'orders'>): void {
  checkOurs(node)
  const order = orders.at(-1)
  if (order?.state !== 'open') return
  const waiting = nextMilestone(order)
  throw new AppError(
    'busy',
    `Node ${label(node)} is busy: ${order.kind}, attempt ${order.attempt}` +
      (waiting ? `, waiting for ${waiting}` : '') +
      (order.trouble ? ` (${order.trouble.message})` : '') +
      '; try again when it has ended',
    { order: order.id, kind: order.kind }
  )
}

/** AppError `wrong-state` for a machine that has another owner, or is about to. */
export function checkOurs(node: Pick<Node, 'name' | 'uuid' | 'handover'>): void {
  if (!node.handover) return
  throw new AppError(
    'wrong-state',
    `Node ${label(node)} is handed over to ${node.handover.target}: nothing is done to it or its BMC from here. To take it back: seedling handoff undo ${label(node)}`
  )
}

function checkLegal(facts: ProvisionFacts, verb: ProvisionVerb): void {
  const { node } = facts
  checkOurs(node)
  const { state } = shown(node, facts.orders)
  const open = facts.orders.at(-1)?.state === 'open'
  // Only two verbs break into what is going on: "deleted" ends a deploy, "abort" ends the rest.
  const legal = LEGAL[verb].includes(state)
  if (open && !(legal && (verb === 'abort' || (verb === 'deleted' && provisionOpen(facts))))) checkIdle(facts)
  if (!legal)
    throw new AppError(
      'wrong-state',
      `"${verb}" is not possible for node ${label(node)} in state "${state}"; it is in ` +
        LEGAL[verb].map((name) => `"${name}"`).join(', '),
      { state }
    )
  if (node.maintenance && (verb === 'active' || verb === 'rebuild' || verb === 'inspect'))
    throw new AppError(
      'wrong-state',
      `Node ${label(node)} is in maintenance${node.maintenanceReason ? ` (${node.maintenanceReason})` : ''}; ` +
        `take it out of maintenance before "${verb}"`,
      { state }
    )
}

function provisionOpen({ orders }: ProvisionFacts): boolean {
  return provisionOrder(orders)?.state === 'open'
}

function checkBootable({ node, ports }: ProvisionFacts, verb: ProvisionVerb): void {
  bmcAccess(node)
  if (!ports.some((port) => port.pxeEnabled))
    throw new AppError(
      'bad-request',
      `Node ${label(node)} has no port that boots from the network, so "${verb}" cannot reach it; ` +
        'create a port with the MAC of its boot NIC and pxe_enabled true'
    )
}

function startDeploy(
  facts: ProvisionFacts,
  verb: 'active' | 'rebuild',
  deploy: DeploySpec | null,
  fresh: Fresh,
  now: number
): Change[] {
  const { node } = facts
  checkBootable(facts, verb)
  if (!deploy)
    throw new AppError(
      'bad-request',
      `Nothing says what to install on ${label(node)}: set instance_info/image_source to the name of an image, or use ` +
        'POST /v1/deployments'
    )
  // An installed system keeps its name towards the metadata service when it is built anew.
  const kept = verb === 'rebuild' ? facts.instance : null
  const instance: Instance = {
    uuid: kept?.uuid ?? node.instanceUuid ?? fresh.instanceUuid,
    nodeUuid: node.uuid,
    imageId: deploy.image.id,
    hostname: deploy.hostname,
    publicKeys: deploy.publicKeys,
    userData: deploy.userData,
    metadata: deploy.metadata,
    token: kept?.token ?? fresh.instanceToken,
    createdAt: now
  }
  const instanceInfo = {
    ...node.instanceInfo,
    image_source: deploy.image.name,
    image_os_hash_algo: 'sha256',
    image_os_hash_value: deploy.image.sha256,
    display_name: deploy.hostname
  }
  return [
    ...withoutStaleInstance(facts, instance.uuid),
    { put: 'instance', row: instance },
    ...startOrder(
      { ...node, instanceInfo },
      { kind: 'deploy', imageId: deploy.image.id, instanceUuid: instance.uuid },
      fresh,
      now
    )
  ]
}

function startUndeploy(facts: ProvisionFacts, fresh: Fresh, now: number): Change[] {
  bmcAccess(facts.node)
  return [
    ...cancelOpen(facts, 'undeploy was asked for', now),
    ...withoutStaleInstance(facts, facts.node.instanceUuid),
    ...startOrder({ ...facts.node, instanceInfo: {} }, { kind: 'undeploy' }, fresh, now)
  ]
}

function abort(facts: ProvisionFacts, fresh: Fresh, now: number): Change[] {
  const inspecting = provisionOrder(facts.orders)?.kind === 'inspect'
  return [
    ...cancelOpen(facts, 'the operator aborted it', now),
    // The ramdisk may be running: leave no machine on that nobody is using.
    ...(inspecting ? startOrder(facts.node, { kind: 'power-off' }, fresh, now) : [])
  ]
}

function cancelOpen({ orders }: ProvisionFacts, reason: string, now: number): Change[] {
  const order = orders.at(-1)
  if (order?.state !== 'open') return []
  return [
    { put: 'order', row: { ...order, state: 'cancelled', finishedAt: now } },
    orderEvent(order, now, 'order-cancelled', order.kind, { order: order.kind, reason })
  ]
}

/** A deploy that did not end well leaves an instance that never came to life; it must not hold its image for ever. */
function withoutStaleInstance(facts: ProvisionFacts, keep: string | null): Change[] {
  const stale = provisionOrder(facts.orders)?.instanceUuid ?? null
  return stale === null || stale === keep || stale === facts.node.instanceUuid
    ? []
    : [{ remove: 'instance', uuid: stale }]
}

function settle(node: Node, state: Node['state'], now: number): Change[] {
  return [
    { put: 'node', row: { ...node, state, lastError: null, provisionUpdatedAt: now, updatedAt: now } },
    {
      event: {
        kind: 'node-updated',
        at: now,
        nodeUuid: node.uuid,
        orderId: null,
        subject: `state ${state}`,
        detail: { fields: [`provision_state (${state})`] }
      }
    }
  ]
}

function startOrder(
  node: Node,
  what: { kind: OrderKind; imageId?: string; instanceUuid?: string | null; softSeconds?: number | null },
  fresh: Fresh,
  now: number
): Change[] {
  const order: Order = {
    id: fresh.orderId,
    kind: what.kind,
    nodeUuid: node.uuid,
    imageId: what.imageId ?? null,
    instanceUuid: what.instanceUuid ?? null,
    state: 'open',
    attempt: 1,
    token: fresh.orderToken,
    attemptStartedAt: now,
    notBefore: now,
    ticks: {},
    asked: null,
    reading: null,
    softSeconds: what.softSeconds ?? null,
    trouble: null,
    progress: null,
    loaderTrial: null,
    failure: null,
    createdAt: now,
    finishedAt: null
  }
  const provisionUpdatedAt = isPowerOrder(what.kind) ? node.provisionUpdatedAt : now
  return [
    { put: 'node', row: { ...node, lastError: null, provisionUpdatedAt, updatedAt: now } },
    { put: 'order', row: order },
    orderEvent(order, now, 'order-started', order.kind, { order: order.kind })
  ]
}

function label(node: Pick<Node, 'name' | 'uuid'>): string {
  return node.name ?? node.uuid
}

/** The shown state of a node. */
export function provisionStateOf({ node, orders }: Pick<ProvisionFacts, 'node' | 'orders'>): ProvisionState {
  return shown(node, orders).state
}
