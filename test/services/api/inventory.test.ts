import t from 'tap'
import { anApi, fault } from './api-under-test.ts'

const machine = (n: number, given = {}) => ({
  name: `ctl-${n}`,
  pm_type: 'ipmi',
  pm_addr: `10.0.0.${n}`,
  pm_password: 'secret',
  ports: [{ address: `52:54:00:00:00:0${n}` }],
  ...given
})

t.test('an import reserves addresses, in the order of the file', async (t) => {
  const api = anApi()
  t.teardown(() => api.close())
  const far = machine(3, {
    ports: [
      { address: '52:54:00:00:00:03', physical_network: '198.51.100.0/24' },
      { address: '52:54:00:00:00:04', pxe_enabled: false }
    ]
  })
  const answer = await api.ask('POST', '/v1/inventory', { nodes: [machine(1), machine(2), far] })
  t.match(answer, {
    status: 200,
    body: { created: [{ name: 'ctl-1' }, { name: 'ctl-2' }, { name: 'ctl-3' }] }
  })
  const ip = (mac: string) => api.deps.facts.portByMac(mac)?.reservedIp
  t.equal(ip('52:54:00:00:00:01'), '192.0.2.100')
  t.equal(ip('52:54:00:00:00:02'), '192.0.2.101')
  t.equal(ip('52:54:00:00:00:03'), '198.51.100.10', 'of the subnet that physical_network names')
  t.equal(ip('52:54:00:00:00:04'), null, 'a port that does not boot needs none')
  const before = api.rows()
  t.match((await api.ask('POST', '/v1/inventory', [machine(1), machine(2)])).body, {
    created: [],
    unchanged: [{}, {}]
  })
  t.same(api.rows(), before)
  const changed = await api.ask('POST', '/v1/inventory', [machine(1, { pm_password: 'other' })])
  t.match(changed.body.updated, [{ name: 'ctl-1', fields: ['driver_info'] }])
  t.equal(api.deps.facts.nodeByName('ctl-1')?.driverInfo['ipmi_password'], 'other')
})

t.test('one fault and nothing of the file is taken', async (t) => {
  const api = anApi({ pool: { start: '192.0.2.100', end: '192.0.2.101' } })
  t.teardown(() => api.close())
  const before = api.rows()
  const bad = await api.ask('POST', '/v1/inventory', {
    nodes: [machine(1), machine(2, { pm_typ: 'x', cpu: 'y' })]
  })
  t.equal(bad.status, 400)
  t.match(fault(bad), {
    code: 'bad-inventory',
    faultstring: /2 faults; nothing was changed[\s\S]*node 1 \(ctl-2\): unknown key "pm_typ"[\s\S]*cpu/
  })
  const full = await api.ask('POST', '/v1/inventory', [machine(1), machine(2), machine(3)])
  t.match(fault(full), {
    code: 'pool-exhausted',
    faultstring: /192\.0\.2\.100 to 192\.0\.2\.101 .* is used up/
  })
  t.match(
    fault(await api.ask('POST', '/v1/inventory', 'text' as never, { 'content-type': 'application/json' })),
    { code: 'bad-request' }
  )
  t.same(api.rows(), before)
  t.equal(
    (await api.ask('POST', '/v1/inventory', [machine(1), machine(2)])).status,
    200,
    'the pool is still whole'
  )
})

t.test('ports take and keep addresses', async (t) => {
  const api = anApi({ pool: { start: '192.0.2.100', end: '192.0.2.101' } })
  t.teardown(() => api.close())
  await api.ask('POST', '/v1/inventory', [machine(1)])
  const add = (address: string, more = {}) =>
    api.ask('POST', '/v1/ports', { node_uuid: 'ctl-1', address, ...more })
  const second = await add('52-54-00-00-00-02')
  t.match(second, {
    status: 201,
    body: { address: '52:54:00:00:00:02', internal_info: { reserved_ip: '192.0.2.101' } }
  })
  t.equal(fault(await add('52:54:00:00:00:03')).code, 'pool-exhausted')
  const quiet = await add('52:54:00:00:00:03', { pxe_enabled: false })
  t.match(quiet, { status: 201, body: { internal_info: {} } })
  const boot = (on: boolean) =>
    api.ask('PATCH', `/v1/ports/${quiet.body.uuid}`, [{ op: 'replace', path: '/pxe_enabled', value: on }])
  t.equal(fault(await boot(true)).code, 'pool-exhausted')
  t.equal((await api.ask('DELETE', `/v1/ports/${second.body.uuid}`)).status, 204)
  t.match((await boot(true)).body, { internal_info: { reserved_ip: '192.0.2.101' } })
  t.match(
    (await boot(false)).body,
    { internal_info: { reserved_ip: '192.0.2.101' } },
    'an address is not taken away from a running machine'
  )
  t.equal((await api.ask('POST', '/v1/ports', { address: '52:54:00:00:00:09' })).status, 400)
  t.equal((await add('52:54:00:00:00:09', { local_link_connection: { switch_id: 'a' } })).status, 400)
  t.equal(
    (await api.ask('POST', '/v1/ports', { node_uuid: 'nobody', address: '52:54:00:00:00:09' })).status,
    404
  )
})
