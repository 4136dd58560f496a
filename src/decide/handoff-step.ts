// A machine on its way to Ironic, or back: what is there now → the one thing to do next. Looks first every time, so it may be cut off anywhere and goes
// on, and what somebody did by hand meanwhile is not done twice.

import type { HandoffNode } from '../domain/handoff.ts'
import { ironicNode, ironicPort } from './handoff-export.ts'

/** A node as Ironic shows it: secrets are masked. */
export type RemoteNode = {
  uuid: string
  name: string | null
  driver: string
  driver_info: Readonly<Record<string, unknown>>
  instance_info: Readonly<Record<string, unknown>>
  provision_state: string
  target_provision_state: string | null
  power_state: string | null
  last_error: string | null
  maintenance: boolean
  maintenance_reason: string | null
  protected: boolean
}

/** What the target has. `node` null: nothing under this UUID. `ports`: for each of our MACs who has it there, null: nobody. */
export type Remote = {
  node: RemoteNode | null
  ports: Readonly<Record<string, { node_uuid: string } | null>>
}

export type JsonPatch = readonly { op: 'add'; path: string; value: unknown }[]

export type HandoffStep =
  | { do: 'create-node'; body: Record<string, unknown> }
  | { do: 'create-port'; body: Record<string, unknown> }
  | { do: 'patch'; patch: JsonPatch }
  | { do: 'provision'; target: 'manage' | 'adopt' | 'provide' }
  /** For Nova's sake, while no driver acts on what is asked. */
  | { do: 'power-on' }
  /** null: out of it. */
  | { do: 'maintenance'; reason: string | null }
  | { do: 'validate' }
  | { do: 'delete' }
  /** It is no longer there. */
  | { do: 'give-back' }
  | { do: 'wait' }
  /** Nothing more can be done before somebody mends this. */
  | { do: 'stop'; trouble: string }

/** What we last did, since a failure that is older than it says nothing. */
export type LastDone = HandoffStep['do'] | 'manage' | 'adopt' | 'provide' | null

/** The maintenance that is ours to end. */
export const HANDED_OVER = 'handed over by Seedling'
const TAKEN_BACK = 'taken back by Seedling'
/** A driver that does nothing: what Nova deploys through it is left as it is. */
export const NO_DRIVER = 'fake-hardware'

export function nextHandoffStep(
  node: HandoffNode,
  remote: Remote,
  last: LastDone,
  { nova }: { nova: boolean }
): HandoffStep {
  const there = remote.node
  const wanted = ironicNode(node)
  if (nova) Object.assign(wanted, { driver: NO_DRIVER, driver_info: {} })
  if (!there) {
    for (const { address } of node.ports)
      if (remote.ports[address])
        return stop(
          `the MAC ${address} is enrolled there already, at node ${remote.ports[address]?.node_uuid}; delete that one or its port`
        )
    return { do: 'create-node', body: wanted }
  }
  for (const port of node.ports) {
    const holder = remote.ports[port.address]
    if (!holder) return { do: 'create-port', body: { ...ironicPort(port), node_uuid: node.uuid } }
    if (holder.node_uuid !== node.uuid)
      return stop(`the MAC ${port.address} belongs to another node there, ${holder.node_uuid}`)
  }
  // What Nova deploys it describes itself.
  const more = nova
    ? { description: node.description }
    : { description: node.description, owner: node.owner, instance_info: node.instanceInfo }
  switch (there.provision_state) {
    case 'enroll': {
      if (last === 'manage' && there.last_error && there.target_provision_state === null)
        return stop(`its BMC does not answer there: ${there.last_error}`)
      const patch = differences({ ...wanted, ...more }, there)
      // Once before each try: masked passwords always differ.
      if (patch.length > 0 && last !== 'patch') return { do: 'patch', patch }
      return { do: 'provision', target: 'manage' }
    }
    case 'verifying':
    case 'adopting':
      return { do: 'wait' }
    case 'manageable':
    case 'adopt failed': {
      if (!nova && !sameBmc(node.driverInfo, there.driver_info))
        return stop(
          `it is "${there.provision_state}" there with another BMC (${String(there.driver_info['ipmi_address'])}), whose power Ironic has read; delete it there`
        )
      if (last === 'adopt' && there.provision_state === 'adopt failed')
        return stop(`adoption failed there: ${there.last_error ?? 'no reason given'}`)
      const patch = differences({ ...wanted, ...more, driver: null, driver_info: null }, there)
      if (patch.length > 0 && last !== 'patch') return { do: 'patch', patch }
      if (nova) return { do: 'provision', target: 'provide' }
      // What power it sees now is what Ironic enforces ever after.
      if (there.power_state === null) return { do: 'wait' }
      return powerTrouble(there) ?? { do: 'provision', target: 'adopt' }
    }
    case 'active':
      return nova && there.driver === NO_DRIVER ? giveDriver(node, there) : guard(node, there, last, nova)
    case 'cleaning':
    case 'deploying':
    case 'wait call-back':
      if (nova) return { do: 'wait' }
      break
    case 'available':
      if (nova)
        return stop(
          `Nova has to take it: openstack server create, with a flavor of resource class ${node.resourceClass}; its driver there does nothing, so the machine goes on as it is`
        )
  }
  return stop(
    `it is "${there.provision_state}" there, which is not on the way to active; somebody else does something with it`
  )
}

/** Nova has it; now the driver that can do something. In maintenance, or Ironic would act on what it does not know yet. */
function giveDriver(node: HandoffNode, there: RemoteNode): HandoffStep {
  // Its own record only, and what it will enforce.
  if (there.power_state !== 'power on') return { do: 'power-on' }
  if (!there.maintenance) return { do: 'maintenance', reason: HANDED_OVER }
  const { driver, driverInfo } = node
  return { do: 'patch', patch: differences({ driver, driver_info: driverInfo }, there) }
}

/** It is active: may it stay so, and is it safe from being deleted and deployed by mistake? */
function guard(node: HandoffNode, there: RemoteNode, last: LastDone, nova: boolean): HandoffStep {
  if (there.maintenance)
    return there.maintenance_reason === HANDED_OVER
      ? { do: 'maintenance', reason: null }
      : stop(
          `it is in maintenance there (${there.maintenance_reason ?? 'no reason given'}); end that: baremetal node maintenance unset`
        )
  if (!sameBmc(node.driverInfo, there.driver_info))
    return stop(
      `it is active there with another BMC (${String(there.driver_info['ipmi_address'])}); put that right there`
    )
  if (there.power_state === null) return { do: 'wait' }
  const trouble = powerTrouble(there)
  if (trouble) return trouble
  const patch = differences({ protected: true, ...(nova ? {} : { instance_info: node.instanceInfo }) }, there)
  return patch.length > 0 && !(last === 'patch' && there.protected)
    ? { do: 'patch', patch }
    : { do: 'validate' }
}

/** On the way back: its record goes, and nothing is done to the machine, as "undeploy" would do. */
export function nextUndoStep(there: RemoteNode | null): HandoffStep {
  if (!there) return { do: 'give-back' }
  if (there.protected) return { do: 'patch', patch: [{ op: 'add', path: '/protected', value: false }] }
  // In maintenance a record can be deleted in any state, and no power action is taken.
  return there.maintenance ? { do: 'delete' } : { do: 'maintenance', reason: TAKEN_BACK }
}

function powerTrouble({ power_state: power }: RemoteNode): HandoffStep | null {
  return power === 'power on'
    ? null
    : stop(
        `Ironic sees its power as "${String(power)}" and would keep it so; switch the machine on, then try again`
      )
}

const sameBmc = (ours: HandoffNode['driverInfo'], theirs: RemoteNode['driver_info']): boolean =>
  ours['ipmi_address'] === theirs['ipmi_address'] &&
  String(ours['ipmi_port'] ?? 623) === String(theirs['ipmi_port'] ?? 623)

/** What is to be there and is not; what somebody added beside it, or where we want nothing (null), stays. */
function differences(wanted: Readonly<Record<string, unknown>>, there: object): JsonPatch {
  const theirs = there as Record<string, unknown>
  return Object.entries(wanted).flatMap(([field, value]) => {
    const found = theirs[field]
    if (value === null || value === undefined) return []
    if (!isObject(value) || !isObject(found)) return same(value, found) ? [] : [add(`/${field}`, value)]
    return Object.entries(value)
      .filter(([key, one]) => !same(one, found[key]))
      .map(([key, one]) => add(`/${field}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`, one))
  })
}

const add = (path: string, value: unknown) => ({ op: 'add', path, value }) as const

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

function same(one: unknown, other: unknown): boolean {
  if (!isObject(one) || !isObject(other)) return JSON.stringify(one ?? null) === JSON.stringify(other ?? null)
  const keys = new Set([...Object.keys(one), ...Object.keys(other)])
  return [...keys].every((key) => same(one[key], other[key]))
}

const stop = (trouble: string): HandoffStep => ({ do: 'stop', trouble })
