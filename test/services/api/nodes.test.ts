import t from 'tap'
import { aPort } from '../../support/builders.ts'
import { anApi, fault } from './api-under-test.ts'

const BMC = { ipmi_address: '127.0.0.1', ipmi_port: 16231, ipmi_username: 'admin', ipmi_password: 'secret' }

t.test('a node is created, shown by name and by uuid, changed and deleted', async (t) => {
  const api = anApi()
  t.teardown(() => api.close())
  const created = await api.ask('POST', '/v1/nodes', {
    driver: 'ipmi',
    name: 'ctl-1',
    driver_info: BMC,
    properties: { cpus: 4, capabilities: 'boot_mode:uefi' },
    extra: { rack: 'r1' },
    resource_class: 'baremetal'
  })
  t.equal(created.status, 201)
  t.equal(created.body.provision_state, 'enroll')
  t.match(created.headers['location'], /\/v1\/nodes\/[0-9a-f-]{36}$/)
  t.match(created.headers['openstack-request-id'], /^req-/)
  t.equal(created.body.driver_info.ipmi_password, '******', 'the password is masked')
  const { uuid } = created.body
  t.same((await api.ask('GET', '/v1/nodes/ctl-1')).body, (await api.ask('GET', `/v1/nodes/${uuid}`)).body)

  const patched = await api.ask('PATCH', '/v1/nodes/ctl-1', [
    { op: 'add', path: '/name', value: 'ctl-2' },
    { op: 'replace', path: '/properties/cpus', value: 8 },
    { op: 'add', path: '/driver_info/ipmi_password', value: '******' },
    { op: 'add', path: '/driver_info/ipmi_priv_level', value: 'OPERATOR' },
    { op: 'remove', path: '/extra/rack' },
    { op: 'remove', path: '/resource_class' }
  ])
  t.equal(patched.status, 200)
  t.match(patched.body, { name: 'ctl-2', properties: { cpus: 8 }, extra: {}, resource_class: null })
  t.not(patched.body.updated_at, null)
  t.equal(
    api.deps.facts.nodeByUuid(uuid)?.driverInfo['ipmi_password'],
    'secret',
    'the mask did not replace the password'
  )

  t.equal((await api.ask('DELETE', '/v1/nodes/ctl-2')).status, 204)
  t.equal((await api.ask('GET', `/v1/nodes/${uuid}`)).status, 404)
  t.match(
    api.deps.facts.events(0, 100).map(({ kind }) => kind),
    ['node-enrolled', 'node-updated', 'node-removed']
  )
})

t.test('what cannot be is refused, and nothing is written', async (t) => {
  const api = anApi()
  t.teardown(() => api.close())
  await api.ask('POST', '/v1/nodes', {
    driver: 'ipmi',
    name: 'one',
    driver_info: BMC,
    uuid: 'c0ffee00-0000-4000-8000-000000000001'
  })
  await api.ask('POST', '/v1/nodes', { driver: 'ipmi', name: 'two', driver_info: { ...BMC, ipmi_port: 1 } })
  const before = api.rows()
  const cases: Record<string, [string, string, unknown, number, RegExp]> = {
    'a second node of that name': ['POST', '/v1/nodes', { driver: 'ipmi', name: 'one' }, 409, /named one/],
    'a second node of that uuid': [
      'POST',
      '/v1/nodes',
      { driver: 'ipmi', uuid: 'c0ffee00-0000-4000-8000-000000000001' },
      409,
      /uuid/
    ],
    'a second node on that BMC': [
      'POST',
      '/v1/nodes',
      { driver: 'ipmi', driver_info: { ipmi_address: '127.0.0.1', ipmi_port: '16231' } },
      409,
      /belongs to node one/
    ],
    'no driver': ['POST', '/v1/nodes', { name: 'x' }, 400, /driver is missing/],
    'a driver we have not': ['POST', '/v1/nodes', { driver: 'redfish' }, 400, /"redfish" is not supported/],
    'an unknown attribute': [
      'POST',
      '/v1/nodes',
      { driver: 'ipmi', colour: 'red' },
      400,
      /unknown attribute "colour"/
    ],
    'several faults, all told': [
      'POST',
      '/v1/nodes',
      { driver: 'ipmi', name: 'a b', properties: { cpus: 'four', capabilities: { a: 'b' } } },
      400,
      /name.*cpus.*capabilities/
    ],
    'an interface we have not': [
      'POST',
      '/v1/nodes',
      { driver: 'ipmi', deploy_interface: 'ansible' },
      400,
      /deploy_interface is always "direct"/
    ],
    'a password longer than IPMI has': [
      'POST',
      '/v1/nodes',
      { driver: 'ipmi', driver_info: { ...BMC, ipmi_port: 3, ipmi_password: 'x'.repeat(21) } },
      400,
      /20 bytes/
    ],
    'a masked password that hides nothing': [
      'POST',
      '/v1/nodes',
      { driver: 'ipmi', driver_info: { ...BMC, ipmi_port: 3, ipmi_password: '******' } },
      400,
      /masked/
    ],
    'a name taken, by patch': [
      'PATCH',
      '/v1/nodes/two',
      [{ op: 'add', path: '/name', value: 'one' }],
      409,
      /named one/
    ],
    'removing what is not there': [
      'PATCH',
      '/v1/nodes/two',
      [{ op: 'remove', path: '/extra/x' }],
      400,
      /there is no "x"/
    ],
    'an attribute that is computed': [
      'PATCH',
      '/v1/nodes/two',
      [{ op: 'add', path: '/provision_state', value: 'active' }],
      400,
      /unknown attribute "provision_state"/
    ],
    'an op we have not': ['PATCH', '/v1/nodes/two', [{ op: 'move', path: '/a', value: 1 }], 400, /op/],
    'no such node': [
      'PATCH',
      '/v1/nodes/three',
      [{ op: 'add', path: '/name', value: 'x' }],
      404,
      /three could not be found/
    ],
    'an unknown query parameter': ['GET', '/v1/nodes?colour=red', undefined, 400, /unknown key "colour"/],
    'an unknown field': ['GET', '/v1/nodes/one?fields=colour', undefined, 400, /no field colour/],
    'a path that is not there': ['GET', '/v1/nothing', undefined, 404, /no GET \/v1\/nothing/]
  }
  for (const [name, [method, url, body, status, message]] of Object.entries(cases)) {
    const answer = await api.ask(method, url, body)
    t.equal(answer.status, status, name)
    t.match(fault(answer).faultstring, message, name)
    t.equal(fault(answer).faultcode, 'Client', name)
  }
  t.same(api.rows(), before)
})

t.test('lists: filters, fields, sorting and pages', async (t) => {
  const api = anApi()
  t.teardown(() => api.close())
  for (const name of ['b', 'c', 'a'])
    await api.ask('POST', '/v1/nodes', {
      driver: 'ipmi',
      name,
      resource_class: name === 'a' ? 'big' : 'small'
    })
  await api.ask('PUT', '/v1/nodes/c/maintenance', { reason: 'fan' })
  const names = async (query: string) => {
    const { body } = await api.ask('GET', `/v1/nodes${query}`)
    return (body.nodes as { name: string }[]).map(({ name }) => name)
  }
  t.same(await names(''), ['b', 'c', 'a'])
  t.same(await names('/?sort_key=name'), ['a', 'b', 'c'])
  t.same(await names('/?sort_key=name&sort_dir=desc'), ['c', 'b', 'a'])
  t.same(await names('?resource_class=small'), ['b', 'c'])
  t.same(await names('?maintenance=True'), ['c'])
  t.same(await names('?maintenance=False&associated=False'), ['b', 'a'])
  t.same(await names('?associated=true'), [])
  t.same(await names('?provision_state=active'), [])
  const { body } = await api.ask('GET', '/v1/nodes?sort_key=name&limit=2')
  t.equal(body.nodes.length, 2)
  const rest = await api.ask(
    'GET',
    new URL(body.next as string).pathname + new URL(body.next as string).search
  )
  t.match(rest.body, { nodes: [{ name: 'c' }] })
  t.notOk(rest.body.next)
  t.same(Object.keys((await api.ask('GET', '/v1/nodes?fields=name,power_state')).body.nodes[0]), [
    'name',
    'power_state',
    'links'
  ])
  t.ok('driver_info' in (await api.ask('GET', '/v1/nodes?detail=True')).body.nodes[0])
  t.match((await api.ask('GET', '/v1/nodes/c')).body, { maintenance: true, maintenance_reason: 'fan' })
  t.equal(
    (
      await api.ask('DELETE', '/v1/nodes/c/maintenance', undefined, {
        'content-type': 'application/octet-stream'
      })
    ).status,
    202
  )
  t.match((await api.ask('GET', '/v1/nodes/c')).body, { maintenance: false, maintenance_reason: null })
})

t.test('sub-lists and validation say what there is', async (t) => {
  const api = anApi()
  t.teardown(() => api.close())
  const { body: node } = await api.ask('POST', '/v1/nodes', { driver: 'ipmi', name: 'n', driver_info: BMC })
  t.match((await api.ask('GET', '/v1/nodes/n/validate')).body, {
    power: { result: true },
    boot: { result: false, reason: /no port/ },
    deploy: { result: false, reason: /image_source/ }
  })
  api.change([{ put: 'port', row: aPort({ nodeUuid: node.uuid }) }])
  t.match((await api.ask('GET', '/v1/nodes/n/validate')).body, { boot: { result: true } })
  t.match((await api.ask('GET', '/v1/nodes/n/ports')).body, { ports: [{ address: '52:54:00:00:00:01' }] })
  t.same((await api.ask('GET', '/v1/nodes/n/traits')).body, { traits: [] })
  t.same((await api.ask('GET', '/v1/portgroups')).body, { portgroups: [] })
  t.match((await api.ask('GET', '/v1/nodes/n/states')).body, { provision_state: 'enroll', power_state: null })
  t.equal((await api.ask('GET', '/v1/nodes/n/inventory')).status, 404)
})
