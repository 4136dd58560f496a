import t from 'tap'
import {
  decideCheck,
  decidePower,
  decideProvision,
  LEGAL,
  type DeploySpec,
  type Fresh,
  type ProvisionVerb
} from '../../src/decide/provision.ts'
import { shown, type ProvisionState } from '../../src/decide/provision-state.ts'
import type { Change } from '../../src/domain/change.ts'
import { AppError } from '../../src/domain/error.ts'
import type { Node } from '../../src/domain/node.ts'
import type { Order } from '../../src/domain/order.ts'
import { aNode, anImage, anInstance, anOrder, aPort, NOW } from '../support/builders.ts'

const FRESH: Fresh = {
  orderId: 'new-order',
  orderToken: 'f'.repeat(64),
  instanceUuid: 'new-instance',
  instanceToken: 'e'.repeat(64)
}
const SPEC: DeploySpec = { image: anImage(), hostname: 'web', publicKeys: {}, userData: null, metadata: {} }

/** Rows that show as each state. */
const ROWS: Readonly<Record<ProvisionState, { node: Partial<Node>; order?: Partial<Order> }>> = {
  enroll: { node: { state: 'enroll' } },
  verifying: { node: { state: 'enroll' }, order: { kind: 'manage' } },
  manageable: { node: { state: 'manageable' } },
  inspecting: { node: { state: 'manageable' }, order: { kind: 'inspect' } },
  'inspect wait': { node: { state: 'manageable' }, order: { kind: 'inspect', ticks: { 'powered-on': NOW } } },
  'inspect failed': { node: { state: 'manageable' }, order: { kind: 'inspect', state: 'failed' } },
  available: { node: { state: 'available' } },
  deploying: { node: { state: 'available' }, order: { kind: 'deploy' } },
  'wait call-back': { node: { state: 'available' }, order: { kind: 'deploy', ticks: { 'powered-on': NOW } } },
  'deploy failed': { node: { state: 'available' }, order: { kind: 'deploy', state: 'failed' } },
  active: {
    node: { state: 'active', instanceUuid: anInstance().uuid },
    order: { kind: 'deploy', state: 'done' }
  },
  deleting: { node: { state: 'active' }, order: { kind: 'undeploy' } },
  error: { node: { state: 'active' }, order: { kind: 'undeploy', state: 'failed' } }
}

function facts(state: ProvisionState, given: Partial<Node> = {}) {
  const { node, order } = ROWS[state]
  return {
    node: aNode({ ...node, ...given }),
    ports: [aPort()],
    orders: order ? [anOrder(order)] : [],
    instance: node.instanceUuid ? anInstance() : null
  }
}

function attempt(work: () => Change[]): Change[] | string {
  try {
    return work()
  } catch (error) {
    if (error instanceof AppError) return error.code
    throw error
  }
}

const put = <K extends 'order' | 'node' | 'instance'>(changes: Change[] | string, what: K) =>
  (changes as Change[]).flatMap((change) =>
    'put' in change && change.put === what ? [change.row] : []
  ) as Extract<Change, { put: K }>['row'][]

t.test('every verb in every state: legal, refused, or busy', async (t) => {
  for (const state of Object.keys(ROWS) as ProvisionState[]) {
    const known = facts(state)
    t.equal(shown(known.node, known.orders).state, state, `the rows show as ${state}`)
    const open = known.orders.at(-1)?.state === 'open'
    for (const verb of Object.keys(LEGAL) as ProvisionVerb[]) {
      const result = attempt(() => decideProvision(known, verb, SPEC, FRESH, NOW))
      const legal = LEGAL[verb].includes(state)
      if (legal) t.type(result, Array, `${verb} in ${state} is legal`)
      else t.equal(result, open ? 'busy' : 'wrong-state', `${verb} in ${state} is refused`)
    }
  }
})

t.test('what verbs make', async (t) => {
  const cases: Record<
    string,
    { state: ProvisionState; verb: ProvisionVerb; node?: object; orders: Partial<Order>[] }
  > = {
    'manage verifies the BMC': {
      state: 'enroll',
      verb: 'manage',
      orders: [{ kind: 'manage', state: 'open' }]
    },
    'manage takes an available node back without asking its BMC': {
      state: 'available',
      verb: 'manage',
      node: { state: 'manageable' },
      orders: []
    },
    'provide needs no cleaning': {
      state: 'manageable',
      verb: 'provide',
      node: { state: 'available' },
      orders: []
    },
    'adopt touches nothing': { state: 'manageable', verb: 'adopt', node: { state: 'active' }, orders: [] },
    'inspect boots the ramdisk': {
      state: 'manageable',
      verb: 'inspect',
      orders: [{ kind: 'inspect', state: 'open' }]
    },
    'active deploys': {
      state: 'available',
      verb: 'active',
      orders: [
        {
          kind: 'deploy',
          state: 'open',
          attempt: 1,
          imageId: anImage().id,
          instanceUuid: 'new-instance',
          token: FRESH.orderToken,
          ticks: {},
          notBefore: NOW,
          attemptStartedAt: NOW
        }
      ]
    },
    'rebuild keeps the instance': {
      state: 'active',
      verb: 'rebuild',
      orders: [{ kind: 'deploy', instanceUuid: anInstance().uuid }]
    },
    'deleted undeploys': {
      state: 'active',
      verb: 'deleted',
      node: { instanceInfo: {} },
      orders: [{ kind: 'undeploy', state: 'open' }]
    },
    'deleted ends a deployment under way': {
      state: 'wait call-back',
      verb: 'deleted',
      orders: [
        { kind: 'deploy', state: 'cancelled', finishedAt: NOW },
        { kind: 'undeploy', state: 'open' }
      ]
    },
    'abort ends a verification': {
      state: 'verifying',
      verb: 'abort',
      orders: [{ kind: 'manage', state: 'cancelled' }]
    },
    'abort ends an inspection and switches off': {
      state: 'inspect wait',
      verb: 'abort',
      orders: [
        { kind: 'inspect', state: 'cancelled' },
        { kind: 'power-off', state: 'open' }
      ]
    }
  }
  for (const [name, { state, verb, node, orders }] of Object.entries(cases)) {
    const changes = decideProvision(facts(state), verb, SPEC, FRESH, NOW)
    const made = put(changes, 'order')
    t.equal(made.length, orders.length, name)
    t.match(made, orders, name)
    if (node) t.match(put(changes, 'node').at(-1), node, name)
    t.ok(
      changes.some((change) => 'event' in change),
      `${name}: an event tells`
    )
    t.ok(
      put(changes, 'node').every((row) => row.lastError === null),
      `${name}: the old error is gone`
    )
  }
})

t.test('a deployment', async (t) => {
  const spec = { ...SPEC, publicKeys: { me: 'ssh-ed25519 AAAA' }, userData: 'IyE=', metadata: { a: 1 } }
  const changes = decideProvision(facts('available'), 'active', spec, FRESH, NOW)
  t.match(put(changes, 'instance'), [
    {
      uuid: 'new-instance',
      hostname: 'web',
      publicKeys: { me: /ssh/ },
      userData: 'IyE=',
      metadata: { a: 1 },
      token: FRESH.instanceToken
    }
  ])
  t.match(put(changes, 'node').at(-1), {
    instanceInfo: { image_source: 'tiny', image_os_hash_algo: 'sha256', display_name: 'web' }
  })
  const order = changes.findIndex((change) => 'put' in change && change.put === 'order')
  const instance = changes.findIndex((change) => 'put' in change && change.put === 'instance')
  t.ok(instance < order, 'the instance is there before the order that names it')

  t.test('takes the instance_uuid that was set beforehand', async (t) => {
    const changes = decideProvision(
      facts('available', { instanceUuid: 'chosen' }),
      'active',
      SPEC,
      FRESH,
      NOW
    )
    t.match(put(changes, 'order'), [{ instanceUuid: 'chosen' }])
  })
  t.test('after one that failed removes what that one left', async (t) => {
    const changes = decideProvision(facts('deploy failed'), 'active', SPEC, FRESH, NOW)
    t.match(
      changes.filter((change) => 'remove' in change),
      [{ remove: 'instance', uuid: anOrder().instanceUuid }]
    )
  })
  t.test('built anew keeps token and uuid, so that the metadata address stays', async (t) => {
    const [instance] = put(decideProvision(facts('active'), 'rebuild', SPEC, FRESH, NOW), 'instance')
    t.match(instance, { uuid: anInstance().uuid, token: anInstance().token })
  })
})

t.test('what a node lacks is told before anything is made', async (t) => {
  const no = (name: string, code: string, message: RegExp, work: () => unknown) =>
    t.throws(work, { code, message }, name)
  no('no image named', 'bad-request', /image_source/, () =>
    decideProvision(facts('available'), 'active', null, FRESH, NOW)
  )
  no('no BMC address', 'bad-request', /ipmi_address is missing/, () =>
    decideProvision(facts('available', { driverInfo: {} }), 'active', SPEC, FRESH, NOW)
  )
  no('no port', 'bad-request', /no port that boots/, () =>
    decideProvision({ ...facts('available'), ports: [] }, 'active', SPEC, FRESH, NOW)
  )
  no('only a port that does not boot', 'bad-request', /no port that boots/, () =>
    decideProvision(
      { ...facts('available'), ports: [aPort({ pxeEnabled: false })] },
      'active',
      SPEC,
      FRESH,
      NOW
    )
  )
  for (const verb of ['active', 'inspect'] as const)
    no(`${verb} in maintenance`, 'wrong-state', /in maintenance \(fan\)/, () =>
      decideProvision(
        facts(verb === 'active' ? 'available' : 'manageable', {
          maintenance: true,
          maintenanceReason: 'fan'
        }),
        verb,
        SPEC,
        FRESH,
        NOW
      )
    )
})

t.test('power', async (t) => {
  const cases = {
    'power on': 'power-on',
    'power off': 'power-off',
    rebooting: 'reboot',
    'soft power off': 'soft-power-off',
    'soft rebooting': 'soft-reboot'
  } as const
  for (const [verb, kind] of Object.entries(cases)) {
    const changes = decidePower(facts('active'), verb as 'power on', 20, FRESH, NOW)
    t.match(put(changes, 'order'), [{ kind, state: 'open', imageId: null, softSeconds: 20 }], verb)
    t.equal(put(changes, 'node').at(-1)?.provisionUpdatedAt, null, 'the provision state did not change')
  }
  t.throws(() => decidePower(facts('wait call-back'), 'power off', null, FRESH, NOW), {
    code: 'busy',
    message: /ctl-1 is busy: deploy, attempt 1, waiting for powered-off/
  })
  const trouble = { code: 'bmc-unreachable', message: 'no answer from 10.0.0.1', count: 2 }
  const stuck = { ...facts('enroll'), orders: [anOrder({ kind: 'power-on', trouble })] }
  t.throws(() => decidePower(stuck, 'power off', null, FRESH, NOW), { message: /no answer from 10\.0\.0\.1/ })
  t.throws(
    () => decideProvision({ ...stuck, node: aNode({ state: 'active' }) }, 'deleted', null, FRESH, NOW),
    { code: 'busy' },
    'undeploy does not break into a change of power'
  )
})

t.test(
  'an exam may be ordered of every machine, and its power be switched only where nothing runs',
  async (t) => {
    t.match(put(decideCheck(facts('active'), false, FRESH, NOW), 'order'), [{ kind: 'check' }])
    t.match(put(decideCheck(facts('available'), true, FRESH, NOW), 'order'), [{ kind: 'check-power' }])
    t.throws(() => decideCheck(facts('active'), true, FRESH, NOW), {
      code: 'wrong-state',
      message: /undeploy it/
    })
    t.throws(() => decideCheck(facts('deploying'), false, FRESH, NOW), { code: 'busy' })
  }
)
