// A machine on its way to Ironic: what is there now → the one thing to do next. Looks first every time, so it may be cut off anywhere and goes on, and
// what somebody did by hand meanwhile is not done twice.

import type { HandoffNode } from '../domain/handoff.ts'
import { ironicNode, ironicPort } from './handoff-export.ts'

/** What the target has. `node` null: nothing under this UUID. `ports`: for each of our MACs who has it there, null: nobody. */
export type Remote = {
  node: {
    provision_state: string
    target_provision_state: string | null
    power_state: string | null
    last_error: string | null
    protected: boolean
    instance_info: Readonly<Record<string, unknown>>
  } | null
  ports: Readonly<Record<string, { node_uuid: string } | null>>
}

export type HandoffStep =
  | { do: 'create-node'; body: Record<string, unknown> }
  | { do: 'create-port'; body: Record<string, unknown> }
  | { do: 'patch'; patch: { op: 'add'; path: string; value: unknown }[] }
  | { do: 'provision'; target: 'manage' | 'adopt' }
  | { do: 'validate' }
  | { do: 'wait' }
  /** Nothing more can be done before somebody mends this. */
  | { do: 'stop'; trouble: string }

/** `asked`: the verb that we last asked for, since a failure that is older than it says nothing. */
export function nextHandoffStep(
  node: HandoffNode,
  remote: Remote,
  asked: 'manage' | 'adopt' | null
): HandoffStep {
  const there = remote.node
  if (!there) {
    for (const { address } of node.ports)
      if (remote.ports[address])
        return stop(
          `the MAC ${address} is enrolled there already, at node ${remote.ports[address]?.node_uuid}; delete that one or its port`
        )
    return { do: 'create-node', body: ironicNode(node) }
  }
  for (const port of node.ports) {
    const holder = remote.ports[port.address]
    if (!holder) return { do: 'create-port', body: { ...ironicPort(port), node_uuid: node.uuid } }
    if (holder.node_uuid !== node.uuid)
      return stop(`the MAC ${port.address} belongs to another node there, ${holder.node_uuid}`)
  }
  const state = there.provision_state
  const missing = Object.entries(node.instanceInfo).filter(
    ([key, value]) => there.instance_info[key] !== value
  )
  if (state === 'enroll' || state === 'manageable' || state === 'adopt failed') {
    if (missing.length > 0)
      return {
        do: 'patch',
        patch: missing.map(([key, value]) => ({ op: 'add', path: `/instance_info/${key}`, value }))
      }
  }
  switch (state) {
    case 'enroll':
      if (asked === 'manage' && there.last_error && there.target_provision_state === null)
        return stop(`its BMC does not answer there: ${there.last_error}`)
      return { do: 'provision', target: 'manage' }
    case 'verifying':
    case 'adopting':
      return { do: 'wait' }
    case 'manageable':
      // What power it sees now is what Ironic enforces ever after.
      if (there.power_state === null) return { do: 'wait' }
      if (there.power_state !== 'power on')
        return stop(
          `Ironic sees its power as "${there.power_state}" and would keep it so; switch the machine on, then try again`
        )
      return { do: 'provision', target: 'adopt' }
    case 'adopt failed':
      if (asked === 'adopt') return stop(`adoption failed there: ${there.last_error ?? 'no reason given'}`)
      return { do: 'provision', target: 'adopt' }
    case 'active':
      return there.protected
        ? { do: 'validate' }
        : { do: 'patch', patch: [{ op: 'add', path: '/protected', value: true }] }
    default:
      return stop(
        `it is "${state}" there, which is not on the way to active; somebody else does something with it`
      )
  }
}

const stop = (trouble: string): HandoffStep => ({ do: 'stop', trouble })
