import t from 'tap'
import { provisionOrder, shown, type Shown } from '../../src/decide/provision-state.ts'
import type { StableState } from '../../src/domain/node.ts'
import type { Order } from '../../src/domain/order.ts'
import { anOrder, NOW } from '../support/builders.ts'

const ticked = (...names: (keyof Order['ticks'])[]) => Object.fromEntries(names.map((name) => [name, NOW]))

t.test('what is shown of a node', async (t) => {
  const cases: Record<string, [StableState, Partial<Order>[], Partial<Shown>]> = {
    'a new node': ['enroll', [], { state: 'enroll', target: null, targetPower: null }],
    'its BMC is being verified': [
      'enroll',
      [{ kind: 'manage' }],
      { state: 'verifying', target: 'manageable' }
    ],
    'its BMC could not be verified': [
      'enroll',
      [{ kind: 'manage', state: 'failed' }],
      { state: 'enroll', target: null }
    ],
    'its BMC is verified': ['manageable', [{ kind: 'manage', state: 'done' }], { state: 'manageable' }],
    'an inspection switches it off': [
      'manageable',
      [{ kind: 'inspect' }],
      { state: 'inspecting', target: 'manageable' }
    ],
    'an inspection waits for the ramdisk': [
      'manageable',
      [{ kind: 'inspect', ticks: ticked('powered-off', 'powered-on') }],
      { state: 'inspect wait' }
    ],
    'the ramdisk of an inspection has called': [
      'manageable',
      [{ kind: 'inspect', ticks: ticked('powered-on', 'agent-seen') }],
      { state: 'inspecting' }
    ],
    'an inspection failed': [
      'manageable',
      [{ kind: 'inspect', state: 'failed' }],
      { state: 'inspect failed', target: 'manageable' }
    ],
    'an inspection was aborted': [
      'manageable',
      [{ kind: 'inspect', state: 'cancelled' }],
      { state: 'manageable', target: null }
    ],
    'a deployment begins': ['available', [{}], { state: 'deploying', target: 'active' }],
    'it is off': ['available', [{ ticks: ticked('powered-off') }], { state: 'deploying' }],
    'it is on, and the ramdisk has not called': [
      'available',
      [{ ticks: ticked('powered-off', 'powered-on') }],
      { state: 'wait call-back', target: 'active' }
    ],
    'the ramdisk writes': [
      'available',
      [{ ticks: ticked('powered-off', 'powered-on', 'agent-seen') }],
      { state: 'deploying' }
    ],
    'the image is written': [
      'available',
      [{ ticks: ticked('powered-on', 'agent-seen', 'image-written') }],
      { state: 'deploying' }
    ],
    'a new attempt begins': ['available', [{ attempt: 2, ticks: {} }], { state: 'deploying' }],
    'a deployment failed': ['available', [{ state: 'failed' }], { state: 'deploy failed', target: 'active' }],
    'a deployment is done': ['active', [{ state: 'done' }], { state: 'active', target: null }],
    'an active node is built anew': ['active', [{ state: 'done' }, {}], { state: 'deploying' }],
    'building an active node anew failed': [
      'active',
      [{ state: 'done' }, { state: 'failed' }],
      { state: 'deploy failed' }
    ],
    'a deployment was ended by undeploy': [
      'available',
      [{ state: 'cancelled' }, { kind: 'undeploy' }],
      { state: 'deleting', target: 'available' }
    ],
    'an active node is undeployed': [
      'active',
      [{ state: 'done' }, { kind: 'undeploy' }],
      { state: 'deleting' }
    ],
    'an undeployment failed': [
      'active',
      [{ kind: 'undeploy', state: 'failed' }],
      { state: 'error', target: 'available' }
    ],
    'an undeployment is done': ['available', [{ kind: 'undeploy', state: 'done' }], { state: 'available' }],
    'power on was asked for': [
      'active',
      [{ state: 'done' }, { kind: 'power-on' }],
      { state: 'active', targetPower: 'power on' }
    ],
    'power off was asked for': [
      'manageable',
      [{ kind: 'power-off' }],
      { state: 'manageable', targetPower: 'power off' }
    ],
    'a reboot was asked for': ['active', [{ kind: 'reboot' }], { state: 'active', targetPower: 'rebooting' }],
    'power was switched': ['active', [{ kind: 'power-on', state: 'done' }], { targetPower: null }],
    'switching power failed': [
      'active',
      [{ kind: 'power-on', state: 'failed' }],
      { state: 'active', targetPower: null }
    ],
    'power off after a failed deployment does not hide it': [
      'available',
      [{ state: 'failed' }, { kind: 'power-off', state: 'done' }],
      { state: 'deploy failed' }
    ],
    'a deployment does not show as a change of power': ['available', [{}], { targetPower: null }]
  }
  for (const [name, [state, orders, expected]] of Object.entries(cases))
    t.match(shown({ state }, orders.map(anOrder)), expected, name)
})

t.test('the order that states are made of is the latest that is about more than power', async (t) => {
  const orders = [
    anOrder({ id: 'a', kind: 'manage' }),
    anOrder({ id: 'b' }),
    anOrder({ id: 'c', kind: 'reboot' })
  ]
  t.equal(provisionOrder(orders)?.id, 'b')
  t.equal(provisionOrder([anOrder({ kind: 'power-on' })]), null)
  t.equal(provisionOrder([]), null)
})
