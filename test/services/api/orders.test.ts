// What makes orders: provision and power verbs, deployments. And what they need: images, key pairs.

import t from 'tap'
import { aNode, anImage, anInstance, anOrder, aPort } from '../../support/builders.ts'
import { anApi, fault, KEY } from './api-under-test.ts'

const NODE = aNode().uuid

/** An API with one available node, ctl-1, and one image, tiny. */
function prepared(given: Parameters<typeof aNode>[0] = {}) {
  const api = anApi()
  api.change([
    { put: 'node', row: aNode(given) },
    { put: 'port', row: aPort() },
    { put: 'image', row: anImage() }
  ])
  return api
}

t.test('a verb makes an order and wakes the conductor', async (t) => {
  const api = prepared({ state: 'enroll' })
  t.teardown(() => api.close())
  const answer = await api.ask('PUT', '/v1/nodes/ctl-1/states/provision', { target: 'manage' })
  t.match(answer, { status: 202, body: '', headers: { location: /\/v1\/nodes\/ctl-1\/states$/ } })
  t.match(api.deps.facts.latestOrder(NODE), {
    kind: 'manage',
    state: 'open',
    attempt: 1,
    token: /^[0-9a-f]{64}$/
  })
  t.same(api.woken, [NODE])
  t.match((await api.ask('GET', '/v1/nodes/ctl-1')).body, {
    provision_state: 'verifying',
    target_provision_state: 'manageable',
    reservation: 'seedling'
  })
  const busy = await api.ask('PUT', '/v1/nodes/ctl-1/states/power', { target: 'power on' })
  t.equal(busy.status, 409)
  t.match(fault(busy), {
    code: 'busy',
    faultstring: /ctl-1 is busy: manage, attempt 1, waiting for bmc-verified/
  })
  t.equal((await api.ask('DELETE', '/v1/nodes/ctl-1')).status, 409)
  t.equal(
    (
      await api.ask('PATCH', '/v1/nodes/ctl-1', [
        { op: 'add', path: '/driver_info/ipmi_address', value: '10.0.0.9' }
      ])
    ).status,
    409
  )
  t.equal((await api.ask('PUT', '/v1/nodes/ctl-1/states/provision', { target: 'abort' })).status, 202)
  t.match((await api.ask('GET', '/v1/nodes/ctl-1')).body, { provision_state: 'enroll', reservation: null })
})

t.test("Ironic's way to deploy: instance_info, then active with a config drive", async (t) => {
  const api = prepared()
  t.teardown(() => api.close())
  const target = (body: object) => api.ask('PUT', '/v1/nodes/ctl-1/states/provision', body)
  const before = api.rows()
  const refused: Record<string, [object, number, RegExp]> = {
    'no image named': [{ target: 'active' }, 400, /image_source/],
    'a target that is not known': [
      { target: 'rescue', rescue_password: 'x' },
      400,
      /"rescue" is not supported/
    ],
    'an unknown key': [{ target: 'active', colour: 1 }, 400, /unknown key "colour"/]
  }
  for (const [name, [body, status, message]] of Object.entries(refused)) {
    const answer = await target(body)
    t.equal(answer.status, status, name)
    t.match(fault(answer).faultstring, message, name)
  }
  t.same(api.rows(), before)
  const source = (value: string) =>
    api.ask('PATCH', '/v1/nodes/ctl-1', [{ op: 'add', path: '/instance_info/image_source', value }])
  await source('huge')
  const missing = await target({ target: 'active' })
  t.equal(missing.status, 404)
  t.match(fault(missing), { code: 'image-missing', faultstring: /no image "huge"; there is tiny/ })

  await source('tiny')
  for (const configdrive of [
    'H4sIAAAA',
    { meta_data: {}, network_data: { links: [] } },
    { meta_data: { hostname: 'a b' } }
  ])
    t.equal((await target({ target: 'active', configdrive })).status, 400, JSON.stringify(configdrive))
  const configdrive = {
    meta_data: { hostname: 'h1', public_keys: { me: KEY }, meta: { role: 'x' } },
    user_data: '#!/bin/sh\n',
    network_data: {}
  }
  t.equal((await target({ target: 'active', configdrive })).status, 202)
  const order = api.deps.facts.latestOrder(NODE)
  t.match(order, { kind: 'deploy', imageId: anImage().id })
  t.match(api.deps.facts.instanceByUuid(order?.instanceUuid ?? ''), {
    hostname: 'h1',
    publicKeys: { me: KEY },
    userData: Buffer.from('#!/bin/sh\n').toString('base64'),
    metadata: { role: 'x' }
  })
  t.match((await api.ask('GET', '/v1/nodes/ctl-1')).body, {
    provision_state: 'deploying',
    deploy_step: { step: 'powered-off', attempt: 1 }
  })

  // The order fails; deployed again without a config drive, the machine becomes what it was to be.
  if (order) api.change([{ put: 'order', row: { ...order, state: 'failed' } }])
  t.match((await api.ask('GET', '/v1/nodes/ctl-1')).body, {
    provision_state: 'deploy failed',
    target_provision_state: 'active'
  })
  t.equal((await target({ target: 'active' })).status, 202)
  const again = api.deps.facts.latestOrder(NODE)
  t.match(api.deps.facts.instanceByUuid(again?.instanceUuid ?? ''), {
    hostname: 'h1',
    publicKeys: { me: KEY }
  })
  t.equal(api.rows()['instance'], 1, 'what the failed one left is gone')
  t.equal((await target({ target: 'deleted' })).status, 202)
  t.match((await api.ask('GET', '/v1/nodes/ctl-1')).body, { provision_state: 'deleting', instance_info: {} })
})

t.test('deployments', async (t) => {
  const api = prepared()
  t.teardown(() => api.close())
  const second = aNode({
    uuid: '6e6f6465-0000-4000-8000-000000000002',
    name: 'ctl-2',
    driverInfo: { ipmi_address: '10.0.0.2' }
  })
  api.change([
    { put: 'node', row: second },
    {
      put: 'port',
      row: aPort({
        uuid: 'p2',
        nodeUuid: second.uuid,
        address: '52:54:00:00:00:02',
        reservedIp: '192.0.2.101'
      })
    }
  ])
  await api.ask('POST', '/v1/keypairs', { name: 'me', public_key: KEY })
  const before = api.rows()
  const refused: Record<string, [object, number, RegExp]> = {
    'no node': [{ image: 'tiny' }, 400, /"node" or "nodes"/],
    'an unknown node': [{ node: 'ctl-9', image: 'tiny' }, 404, /ctl-9 could not be found/],
    'one of two unknown: neither is ordered': [{ nodes: ['ctl-1', 'ctl-9'], image: 'tiny' }, 404, /ctl-9/],
    'an unknown image': [{ node: 'ctl-1', image: 'huge' }, 404, /there is tiny/],
    'an unknown key pair': [
      { node: 'ctl-1', image: 'tiny', key_names: ['you'] },
      404,
      /no key pair "you"; there is me/
    ],
    'user data that is no base64': [{ node: 'ctl-1', image: 'tiny', user_data: '#cloud' }, 400, /base64/],
    'a host name that is none': [{ node: 'ctl-1', image: 'tiny', hostname: 'a_b' }, 400, /not a host name/],
    'one host name for two': [
      { nodes: ['ctl-1', 'ctl-2'], image: 'tiny', hostname: 'a' },
      400,
      /one hostname/
    ],
    'no image': [{ node: 'ctl-1' }, 400, /"image" is missing/],
    'metadata that is no object': [{ node: 'ctl-1', image: 'tiny', metadata: [] }, 400, /metadata/]
  }
  for (const [name, [body, status, message]] of Object.entries(refused)) {
    const answer = await api.ask('POST', '/v1/deployments', body)
    t.equal(answer.status, status, name)
    t.match(fault(answer).faultstring, message, name)
  }
  t.same(api.rows(), before, 'nothing was written')

  const answer = await api.ask('POST', '/v1/deployments', {
    nodes: ['ctl-1', 'ctl-2'],
    image: 'tiny',
    key_names: ['me']
  })
  t.equal(answer.status, 202)
  t.match(answer.body.deployments, [
    {
      node_name: 'ctl-1',
      hostname: 'ctl-1',
      image_name: 'tiny',
      key_names: ['me'],
      state: 'open',
      waiting_for: 'powered-off'
    },
    { node_name: 'ctl-2' }
  ])
  t.same(
    answer.body.deployments[0].milestones.map(({ name }: { name: string }) => name),
    ['powered-off', 'powered-on', 'network-seen', 'agent-seen', 'image-written', 'instance-up']
  )
  t.notMatch(
    JSON.stringify(answer.body),
    new RegExp(api.deps.facts.latestOrder(NODE)?.token ?? 'x'),
    'no token in the answer'
  )
  t.same(api.woken, [NODE, second.uuid])
  const { uuid } = answer.body.deployments[0]
  t.match((await api.ask('GET', `/v1/deployments/${uuid}`)).body, { uuid, node_name: 'ctl-1' })
  t.equal((await api.ask('GET', '/v1/deployments/none')).status, 404)
  t.equal((await api.ask('GET', '/v1/deployments?node=ctl-2')).body.deployments.length, 1)
  t.equal((await api.ask('GET', '/v1/deployments?state=failed')).body.deployments.length, 0)
  const twice = await api.ask('POST', '/v1/deployments', { node: 'ctl-1', image: 'tiny' })
  t.equal(fault(twice).code, 'busy')
})

t.test('rebuild keeps what the machine is', async (t) => {
  const api = prepared({
    state: 'active',
    instanceUuid: anInstance().uuid,
    instanceInfo: { image_source: 'tiny' }
  })
  t.teardown(() => api.close())
  api.change([
    { put: 'instance', row: anInstance({ hostname: 'web', publicKeys: { me: KEY } }) },
    { put: 'order', row: anOrder({ state: 'done' }) }
  ])
  t.equal((await api.ask('PUT', '/v1/nodes/ctl-1/states/provision', { target: 'rebuild' })).status, 202)
  t.match(api.deps.facts.instanceByUuid(anInstance().uuid), {
    hostname: 'web',
    publicKeys: { me: KEY },
    token: anInstance().token
  })
  t.equal(api.rows()['instance'], 1)
})

t.test('power: levels only', async (t) => {
  const api = prepared()
  t.teardown(() => api.close())
  const power = (target: string, more = {}) =>
    api.ask('PUT', '/v1/nodes/ctl-1/states/power', { target, ...more })
  t.match(fault(await power('on')).faultstring, /"on" is not known/)
  t.equal((await power('soft power off', { timeout: 20 })).status, 202)
  t.match(api.deps.facts.latestOrder(NODE), { kind: 'soft-power-off', softSeconds: 20 })
  t.match((await api.ask('GET', '/v1/nodes/ctl-1')).body, {
    target_power_state: 'soft power off',
    provision_state: 'available'
  })
})

t.test('images: streamed in, listed, kept while in use', async (t) => {
  const api = prepared()
  t.teardown(() => api.close())
  const added = await api.ask('PUT', '/v1/images/small', Buffer.from('disk'), {
    'content-type': 'application/octet-stream'
  })
  t.match(added, { status: 201, body: { name: 'small', size: 4, os_hash_algo: 'sha256' } })
  const untyped = await api.ask('PUT', '/v1/images/other', Buffer.from('disk'), {
    'content-type': 'application/x-www-form-urlencoded'
  })
  t.equal(untyped.status, 201, 'whatever the client calls it')
  t.match(
    (await api.ask('GET', '/v1/images')).body.images.map(({ name }: { name: string }) => name),
    ['other', 'small', 'tiny']
  )
  t.equal((await api.ask('GET', '/v1/images/small')).status, 200)
  t.equal((await api.ask('GET', `/v1/images/${anImage().id}`)).body.name, 'tiny')
  t.equal(
    (await api.ask('PUT', '/v1/images/x?sha256=zz', Buffer.from('d'), { 'content-type': 'a/b' })).status,
    400
  )
  t.equal((await api.ask('DELETE', '/v1/images/small')).status, 204)
  t.match(fault(await api.ask('DELETE', '/v1/images/small')), {
    code: 'image-missing',
    faultstring: /there are other, tiny/
  })
})

t.test('key pairs: checked, the same again is no fault', async (t) => {
  const api = anApi()
  t.teardown(() => api.close())
  const add = (name: string, public_key: string) => api.ask('POST', '/v1/keypairs', { name, public_key })
  t.match(await add('me', KEY), { status: 201, body: { name: 'me', type: 'ssh', fingerprint: /^SHA256:/ } })
  t.equal((await add('me', KEY + '\n')).status, 200)
  const another = KEY.replace('GhscHR4f', 'GhscHR4g')
  t.match(fault(await add('me', another)), { code: 'name-taken', faultstring: /holds another key/ })
  t.equal(api.rows()['keypair'], 1)
  t.equal((await api.ask('GET', '/v1/keypairs/me')).body.public_key, KEY)
  t.equal((await api.ask('DELETE', '/v1/keypairs/me')).status, 204)
  t.match(fault(await api.ask('DELETE', '/v1/keypairs/me')), {
    code: 'keypair-missing',
    faultstring: /none at all/
  })
})

t.test('nothing is deployed beside another DHCP server, unless its being there is known', async (t) => {
  const api = prepared({ instanceInfo: { image_source: 'tiny' } })
  t.teardown(() => api.close())
  api.around.intruder = 'another DHCP server on lan0: 192.0.2.66 (52:54:00:00:00:66)'
  const order = { nodes: ['ctl-1'], image: 'tiny' }
  const asked: [string, string, object][] = [
    ['POST', '/v1/deployments', order],
    ['PUT', '/v1/nodes/ctl-1/states/provision', { target: 'active' }]
  ]
  for (const [method, path, body] of asked) {
    const refused = await api.ask(method, path, body)
    t.equal(refused.status, 409, path)
    t.match(
      fault(refused),
      { code: 'foreign-dhcp', faultstring: /192\.0\.2\.66 .*tolerate.*despite_foreign_dhcp/ },
      path
    )
    t.equal(api.deps.facts.latestOrder(NODE), null, 'nothing is ordered')
  }
  t.equal((await api.ask('POST', '/v1/deployments?despite_foreign_dhcp=true', order)).status, 202)
  t.match(api.deps.facts.latestOrder(NODE), { kind: 'deploy', state: 'open' })
})
