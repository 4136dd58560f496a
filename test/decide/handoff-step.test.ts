import t from 'tap'
import { ironicNode } from '../../src/decide/handoff-export.ts'
import { planHandoff } from '../../src/decide/handoff-plan.ts'
import {
  nextHandoffStep,
  nextUndoStep,
  type HandoffStep,
  type LastDone,
  type Remote,
  type RemoteNode
} from '../../src/decide/handoff-step.ts'
import { anImage, anInstance, aNode, aPort, someHandoffOptions } from '../support/builders.ts'

const node = planHandoff(
  {
    nodes: [
      {
        node: aNode({ state: 'active', powerState: 'on' }),
        ports: [aPort()],
        orders: [],
        instance: anInstance(),
        image: anImage(),
        bootDevice: null
      }
    ],
    subnets: []
  },
  someHandoffOptions()
).nodes[0]!.export
const mac = aPort().address
const there = (given: Partial<RemoteNode> = {}): Remote => ({
  node: {
    ...(ironicNode(node) as Pick<RemoteNode, 'uuid' | 'name' | 'driver'>),
    driver_info: { ...node.driverInfo, ipmi_password: '******' },
    provision_state: 'enroll',
    target_provision_state: null,
    power_state: null,
    last_error: null,
    maintenance: false,
    maintenance_reason: null,
    protected: false,
    instance_info: node.instanceInfo,
    ...given
  },
  ports: { [mac]: { node_uuid: node.uuid } }
})
const on = { power_state: 'power on' }
const next = (remote: Remote, last: LastDone = null, nova = false) =>
  nextHandoffStep(node, remote, last, { nova })
/** The paths that are patched. */
const patched = (step: HandoffStep) => (step.do === 'patch' ? step.patch.map(({ path }) => path) : step)

t.test('from nothing to protected, one step at a time', async (t) => {
  t.same(next({ node: null, ports: { [mac]: null } }), { do: 'create-node', body: ironicNode(node) })
  t.match(next({ ...there(), ports: { [mac]: null } }), {
    do: 'create-port',
    body: { address: mac, node_uuid: node.uuid }
  })
  t.same(patched(next(there())), ['/driver_info/ipmi_password'], 'a masked password may be another')
  t.same(next(there(), 'patch'), { do: 'provision', target: 'manage' })
  t.same(next(there({ provision_state: 'verifying', target_provision_state: 'manageable' }), 'manage'), {
    do: 'wait'
  })
  const manageable = (given: Partial<RemoteNode> = {}) => there({ provision_state: 'manageable', ...given })
  t.same(next(manageable(), 'manage'), { do: 'wait' }, 'its power is not known yet')
  t.same(next(manageable(on)), { do: 'provision', target: 'adopt' })
  t.same(next(there({ provision_state: 'adopting' })), { do: 'wait' })
  const active = (given: Partial<RemoteNode> = {}) => there({ provision_state: 'active', ...on, ...given })
  t.same(patched(next(active())), ['/protected'])
  t.same(next(active({ protected: true })), { do: 'validate' })
})

t.test('what was begun otherwise is made what it is to be; what was added stays', async (t) => {
  const begun = { name: null, driver: 'fake-hardware', driver_info: {}, instance_info: { mine: 1 } }
  const paths = patched(next(there(begun))) as string[]
  for (const path of ['/name', '/driver', '/driver_info/ipmi_address', '/instance_info/image_source'])
    t.ok(paths.includes(path), path)
  t.notOk(paths.includes('/instance_info/mine'))
  const bare = there({ provision_state: 'manageable', instance_info: {}, ...on })
  t.match(patched(next(bare)), ['/instance_info/image_source'])
  t.same(next(bare, 'patch'), { do: 'provision', target: 'adopt' }, 'never twice for one thing')
  const awkward = { ...node, instanceInfo: { 'a/b~c': { deep: [1] } } }
  const step = (info: object) =>
    nextHandoffStep(
      awkward,
      there({ provision_state: 'manageable', instance_info: info as never, ...on }),
      null,
      {
        nova: false
      }
    )
  t.match(patched(step({})), ['/instance_info/a~1b~0c'])
  t.match(step({ 'a/b~c': { deep: [1] } }), { do: 'provision' })
})

t.test('what only people can mend stops it, with a reason', async (t) => {
  const trouble = (remote: Remote, last: LastDone = null): string => {
    const step = next(remote, last)
    return step.do === 'stop' ? step.trouble : step.do
  }
  const other = { [mac]: { node_uuid: 'another' } }
  t.match(trouble({ node: null, ports: other }), /MAC .* is enrolled there already, at node another/)
  t.match(trouble({ ...there(), ports: other }), /belongs to another node/)
  t.match(
    trouble(there({ last_error: 'IPMI call failed: power status' }), 'manage'),
    /does not answer there: IPMI call failed/
  )
  t.equal(trouble(there({ last_error: 'an old one' })), 'patch', 'a failure before we asked says nothing')
  t.match(trouble(there({ provision_state: 'manageable', power_state: 'power off' })), /would keep it so/)
  t.match(trouble(there({ provision_state: 'adopt failed', last_error: 'no image' }), 'adopt'), /no image/)
  t.equal(
    trouble(there({ provision_state: 'adopt failed', ...on })),
    'provision',
    'asked again after somebody has repaired it'
  )
  t.match(trouble(there({ provision_state: 'available' })), /somebody else does something/)
  const active = { provision_state: 'active', protected: true, ...on }
  t.match(trouble(there({ ...active, power_state: 'power off' })), /would keep it so/, 'active, and off')
  t.match(
    trouble(there({ ...active, maintenance: true, maintenance_reason: 'broken' })),
    /maintenance there \(broken\)/
  )
  const elsewhere = { driver_info: { ipmi_address: '198.51.100.9' } }
  for (const state of ['manageable', 'active'])
    t.match(
      trouble(there({ ...active, ...elsewhere, provision_state: state })),
      /another BMC \(198\.51\.100\.9\)/
    )
})

t.test('with Nova: deployed by it through a driver that does nothing, then given the real one', async (t) => {
  const nova = (given: Partial<RemoteNode>, last: LastDone = null) =>
    next(there({ driver: 'fake-hardware', driver_info: {}, instance_info: {}, ...given }), last, true)
  t.match(next({ node: null, ports: { [mac]: null } }, null, true), {
    do: 'create-node',
    body: { driver: 'fake-hardware', driver_info: {} }
  })
  t.same(nova({}), { do: 'provision', target: 'manage' })
  t.same(nova({ provision_state: 'manageable' }), { do: 'provision', target: 'provide' })
  t.match(nova({ provision_state: 'available' }), { do: 'stop', trouble: /Nova has to take it/ })
  t.same(nova({ provision_state: 'deploying' }), { do: 'wait' })
  const active = { provision_state: 'active' }
  t.same(nova(active), { do: 'power-on' }, 'what Ironic believes is what it enforces later')
  t.match(nova({ ...active, ...on }), { do: 'maintenance', reason: 'handed over by Seedling' })
  const ours = { maintenance: true, maintenance_reason: 'handed over by Seedling' }
  t.match(nova({ ...active, ...on, ...ours }), {
    do: 'patch',
    patch: [{ path: '/driver', value: 'ipmi' }, { path: '/driver_info/ipmi_address' }]
  })
  const given = { ...active, ...on, driver: 'ipmi', driver_info: node.driverInfo }
  t.same(nova({ ...given, ...ours }), { do: 'maintenance', reason: null })
  t.same(patched(nova(given)), ['/protected'])
  t.same(nova({ ...given, protected: true }), { do: 'validate' })
})

t.test('back: its record goes, and nothing is done to the machine', async (t) => {
  const back = (given: Partial<RemoteNode>) => nextUndoStep(there(given).node)
  t.match(back({ protected: true, provision_state: 'active' }), {
    patch: [{ path: '/protected', value: false }]
  })
  t.match(back({ provision_state: 'active' }), { do: 'maintenance' })
  for (const state of ['enroll', 'manageable', 'adopt failed', 'active'])
    t.same(back({ provision_state: state, maintenance: true }), { do: 'delete' })
  t.same(nextUndoStep(null), { do: 'give-back' })
})
