import t from 'tap'
import { ironicNode } from '../../src/decide/handoff-export.ts'
import { planHandoff } from '../../src/decide/handoff-plan.ts'
import { nextHandoffStep, type Remote } from '../../src/decide/handoff-step.ts'
import { aNode, anImage, anInstance, aPort } from '../support/builders.ts'

const node = planHandoff(
  {
    nodes: [
      {
        node: aNode({ state: 'active', powerState: 'on' }),
        ports: [aPort()],
        orders: [],
        instance: anInstance(),
        image: anImage()
      }
    ],
    subnets: []
  },
  { imageUrl: 'http://images.example', deployKernel: null, deployRamdisk: null, resourceClass: 'baremetal' }
).nodes[0]!.export
const mac = aPort().address
const there = (given: Partial<NonNullable<Remote['node']>> = {}): Remote => ({
  node: {
    provision_state: 'enroll',
    target_provision_state: null,
    power_state: null,
    last_error: null,
    protected: false,
    instance_info: node.instanceInfo,
    ...given
  },
  ports: { [mac]: { node_uuid: node.uuid } }
})

t.test('from nothing to protected, one step at a time', async (t) => {
  const next = (remote: Remote, asked: 'manage' | 'adopt' | null = null) =>
    nextHandoffStep(node, remote, asked)
  t.same(next({ node: null, ports: { [mac]: null } }), { do: 'create-node', body: ironicNode(node) })
  t.match(next({ ...there(), ports: { [mac]: null } }), {
    do: 'create-port',
    body: { address: mac, node_uuid: node.uuid }
  })
  t.match(next(there({ instance_info: {} })), {
    do: 'patch',
    patch: [{ path: '/instance_info/image_source' }]
  })
  t.same(next(there()), { do: 'provision', target: 'manage' })
  t.same(next(there({ provision_state: 'verifying', target_provision_state: 'manageable' }), 'manage'), {
    do: 'wait'
  })
  t.same(
    next(there({ provision_state: 'manageable' }), 'manage'),
    { do: 'wait' },
    'its power is not known yet'
  )
  t.same(next(there({ provision_state: 'manageable', power_state: 'power on' })), {
    do: 'provision',
    target: 'adopt'
  })
  t.same(next(there({ provision_state: 'adopting' })), { do: 'wait' })
  t.match(next(there({ provision_state: 'active', power_state: 'power on' })), {
    do: 'patch',
    patch: [{ path: '/protected', value: true }]
  })
  t.same(next(there({ provision_state: 'active', power_state: 'power on', protected: true })), {
    do: 'validate'
  })
})

t.test('what only people can mend stops it, with a reason', async (t) => {
  const trouble = (remote: Remote, asked: 'manage' | 'adopt' | null = null): string => {
    const step = nextHandoffStep(node, remote, asked)
    return step.do === 'stop' ? step.trouble : step.do
  }
  const other = { [mac]: { node_uuid: 'another' } }
  t.match(trouble({ node: null, ports: other }), /MAC .* is enrolled there already, at node another/)
  t.match(trouble({ ...there(), ports: other }), /belongs to another node/)
  t.match(
    trouble(there({ last_error: 'IPMI call failed: power status' }), 'manage'),
    /does not answer there: IPMI call failed/
  )
  t.equal(trouble(there({ last_error: 'an old one' })), 'provision', 'a failure before we asked says nothing')
  t.match(trouble(there({ provision_state: 'manageable', power_state: 'power off' })), /would keep it so/)
  t.match(trouble(there({ provision_state: 'adopt failed', last_error: 'no image' }), 'adopt'), /no image/)
  t.equal(
    trouble(there({ provision_state: 'adopt failed' })),
    'provision',
    'asked again after somebody has repaired it'
  )
  t.match(trouble(there({ provision_state: 'available' })), /somebody else does something/)
})
