// What operators ask of BMCs, against the reference BMC and OpenIPMI's simulator.

import t, { type Test } from 'tap'
import { bmcAccess } from '../../../src/domain/bmc-access.ts'
import type { BmcAccess } from '../../../src/domain/bmc.ts'
import { aNode, anOrder, aQuirkCard } from '../../support/builders.ts'
import { startIpmiSim } from '../bmc/ipmi-sim.ts'
import { fake, started } from '../bmc/started.ts'
import { anApi, fault } from './api-under-test.ts'

const NODE = aNode().uuid

/** An API with one node, ctl-1, whose BMC this is. */
function prepared(
  t: Test,
  access: Pick<BmcAccess, 'address' | 'port'>,
  given: Parameters<typeof aNode>[0] = {}
) {
  const api = anApi()
  const bmcs = started(t, { operation: 5000 })
  t.teardown(() => api.close())
  api.deps.bmc = (node) => bmcs.bmc(node.uuid, bmcAccess(node), node.quirkCard)
  const driverInfo = {
    ipmi_address: access.address,
    ipmi_port: access.port,
    ipmi_username: 'admin',
    ipmi_password: 'secret123'
  }
  api.change([{ put: 'node', row: aNode({ driverInfo, ...given }) }])
  return api
}

t.test('power as it is now, and kept as last read', async (t) => {
  const bmc = await fake(t, { power: 'on' })
  const api = prepared(t, bmc)
  const answer = await api.ask('GET', '/v1/nodes/ctl-1/states/power')
  t.match(answer, { status: 200, body: { power_state: 'power on', read_at: /\+00:00$/ } })
  t.equal((await api.ask('GET', '/v1/nodes/ctl-1')).body.power_state, 'power on')
  bmc.setPassword('admin', 'changed')
  bmc.restart()
  const refused = await api.ask('GET', '/v1/nodes/ctl-1/states/power')
  t.equal(refused.status, 502)
  t.match(fault(refused), { code: 'bmc-auth', faultstring: /Correct ipmi_password/ })
})

t.test('boot device: set, read back, and named as Ironic names it', async (t) => {
  const bmc = await fake(t)
  const api = prepared(t, bmc)
  const path = '/v1/nodes/ctl-1/management/boot_device'
  t.same((await api.ask('GET', path)).body, { boot_device: null, persistent: false })
  t.same((await api.ask('GET', `${path}/supported`)).body, {
    supported_boot_devices: ['pxe', 'disk', 'cdrom', 'bios', 'safe']
  })
  t.equal((await api.ask('PUT', path, { boot_device: 'disk', persistent: true })).status, 204)
  t.same(bmc.boot, { valid: true, persistent: true, efi: true, device: 2 })
  t.same((await api.ask('GET', path)).body, { boot_device: 'disk', persistent: true })
  bmc.boot = { ...bmc.boot, valid: false }
  t.same((await api.ask('GET', path)).body, { boot_device: null, persistent: false }, 'stale flags are none')

  const unknown = await api.ask('PUT', path, { boot_device: 'wanboot' })
  t.equal(unknown.status, 400)
  t.match(fault(unknown).faultstring, /"wanboot" is not known; Seedling has pxe, disk/)
  bmc.faults.keepsFlags = (flags) => ({ ...flags, efi: false })
  const lost = await api.ask('PUT', path, { boot_device: 'pxe' })
  t.equal(lost.status, 502)
  t.match(fault(lost), { code: 'bmc-refused', faultstring: /took boot device pxe, but reads back pxe;/ })
  api.change([{ put: 'order', row: anOrder({ kind: 'reboot' }) }])
  t.equal((await api.ask('PUT', path, { boot_device: 'pxe' })).status, 409, 'an order sets its own')
})

t.test('the identify light is an indicator', async (t) => {
  const bmc = await fake(t)
  const api = prepared(t, bmc)
  const path = '/v1/nodes/ctl-1/management/indicators'
  t.match((await api.ask('GET', path)).body, { components: [{ name: 'chassis', links: [{ rel: 'self' }] }] })
  t.match((await api.ask('GET', `${path}/chassis`)).body, {
    indicators: [{ name: 'identify', readonly: false, states: ['on', 'off'] }]
  })
  const light = `${path}/chassis/identify`
  t.same((await api.ask('GET', light)).body, { state: 'off' })
  t.equal((await api.ask('PUT', light, { state: 'ON' })).status, 204)
  t.equal(bmc.identify, 'always')
  t.same((await api.ask('GET', light)).body, { state: 'on' })
  t.equal((await api.ask('PUT', light, { state: 'on', seconds: 30 })).status, 204)
  t.same((await api.ask('GET', light)).body, { state: 'blinking' })
  t.equal((await api.ask('PUT', light, { state: 'off' })).status, 204)
  t.equal(bmc.identify, 0)
  t.equal((await api.ask('PUT', light, { state: 'purple' })).status, 400)
  t.equal((await api.ask('GET', `${path}/disk/led`)).status, 400)
})

t.test('an exam is an order; its card is shown with the node, and goes with its BMC', async (t) => {
  const bmc = await fake(t)
  const api = prepared(t, bmc)
  t.equal((await api.ask('GET', '/v1/nodes/ctl-1/bmc')).body.quirk_card, null)
  t.equal((await api.ask('POST', '/v1/nodes/ctl-1/bmc/check')).status, 202)
  const order = api.deps.facts.latestOrder(NODE)
  t.match(order, { kind: 'check', state: 'open' })
  t.same(api.woken, [NODE])
  t.equal((await api.ask('POST', '/v1/nodes/ctl-1/bmc/check', { power: true })).status, 409)
  t.match((await api.ask('GET', '/v1/nodes/ctl-1')).body, {
    provision_state: 'available',
    reservation: 'seedling'
  })
  if (order) api.change([{ put: 'order', row: { ...order, state: 'done' } }])
  t.equal((await api.ask('POST', '/v1/nodes/ctl-1/bmc/check', { power: true })).status, 202)
  t.match(api.deps.facts.latestOrder(NODE), { kind: 'check-power' })
  const second = api.deps.facts.latestOrder(NODE)
  if (second) api.change([{ put: 'order', row: { ...second, state: 'done' } }])

  const node = api.deps.facts.nodeByUuid(NODE)
  if (!node) throw new Error('no node')
  const findings = [{ kind: 'note' as const, code: 'suite', message: 'cipher suite 3' }]
  api.change([{ put: 'node', row: { ...node, quirkCard: aQuirkCard({ findings }) } }])
  const card = {
    way: { cipher_suite: 17, privilege: 'administrator' },
    boot_device: { truthful: true, keeps_efi: true },
    findings
  }
  const shown = await api.ask('GET', '/v1/nodes/ctl-1/bmc')
  t.match(shown.body, { quirk_card: card, driver_info: { ipmi_password: '******' } })
  t.match((await api.ask('GET', '/v1/nodes/ctl-1')).body.driver_internal_info, { quirk_card: card })
  const patch = (key: string, value: unknown) =>
    api.ask('PATCH', '/v1/nodes/ctl-1', [{ op: 'add', path: `/driver_info/${key}`, value }])
  await patch('ipmi_password', 'another')
  t.match((await api.ask('GET', '/v1/nodes/ctl-1/bmc')).body.quirk_card, card, 'the same BMC')
  await patch('ipmi_address', '127.0.0.9')
  t.equal((await api.ask('GET', '/v1/nodes/ctl-1/bmc')).body.quirk_card, null, 'another BMC')
})

t.test('event log and sensors of ipmi_sim', async (t) => {
  const sim = await startIpmiSim(t, ['true "admin" "secret123" admin 10'])
  const api = prepared(t, { address: '127.0.0.1', port: sim.port })
  const sel = await api.ask('GET', '/v1/nodes/ctl-1/bmc/sel')
  t.match(sel.body.sel, [{ record_id: 1, subject: 'MB Temp', event: String }, { record_id: 2 }])
  const { sensors } = (await api.ask('GET', '/v1/nodes/ctl-1/bmc/sensors')).body
  t.match(sensors, [{ name: 'MB Temp', value: 34 }, { name: '12V' }])
  t.equal((await api.ask('DELETE', '/v1/nodes/ctl-1/bmc/sel')).status, 204)
  t.same((await api.ask('GET', '/v1/nodes/ctl-1/bmc/sel')).body, { sel: [] })
})
