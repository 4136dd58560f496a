// The commands that look into BMCs, as child processes: through API and conductor to the reference BMC and ipmi_sim.

import t, { type Test } from 'tap'
import { bmcAccess } from '../../../src/domain/bmc-access.ts'
import type { BmcAccess } from '../../../src/domain/bmc.ts'
import { aNode } from '../../support/builders.ts'
import { startIpmiSim } from '../bmc/ipmi-sim.ts'
import { fake, started } from '../bmc/started.ts'
import { bench } from './bench.ts'

/** One node, ctl-1, whose BMC this is. */
async function prepared(t: Test, { address, port }: Pick<BmcAccess, 'address' | 'port'>) {
  const bmcs = started(t, { operation: 5000, lapse: 300 })
  const b = await bench(t, {
    bmc: (node) => bmcs.bmc(node.uuid, bmcAccess(node), node.quirkCard),
    examine: (node, wait) => bmcs.examine(bmcAccess(node), { bootDevice: true, wait })
  })
  const driverInfo = {
    ipmi_address: address,
    ipmi_port: port,
    ipmi_username: 'admin',
    ipmi_password: 'secret123'
  }
  b.change([{ put: 'node', row: aNode({ driverInfo, createdAt: Date.now() }) }])
  return b
}

t.test('power: read, switched, and asked for softly', async (t) => {
  const bmc = await fake(t, { power: 'on' })
  const b = await prepared(t, bmc)
  t.match(await b.run('node', 'power', 'status', 'ctl-1'), { code: 0, out: /^ctl-1: power on$/m })
  t.match(await b.run('node', 'power', 'status', 'ctl-1', 'ctl-9'), {
    code: 1,
    err: /ctl-9 could not be found/
  })
  t.match(await b.run('node', 'power', 'soft', 'ctl-1', '--timeout', '20', '--wait'), {
    code: 0,
    out: /ctl-1: soft power off: done/
  })
  t.equal(bmc.power, 'off')
  t.match(await b.run('node', 'power', 'on', 'ctl-1', '--wait'), { code: 0 })
  t.match(await b.run('node', 'power', 'cycle', 'ctl-1', '--wait'), { code: 0 })
  t.same(
    bmc.controls.map(({ control }) => control),
    ['soft-off', 'on', 'off', 'on']
  )
  t.match(await b.run('node', 'power', 'soft', 'ctl-1', '--timeout', 'soon'), {
    code: 1,
    err: /--timeout soon is no number of seconds/
  })
  const [status] = JSON.parse((await b.run('node', 'power', 'status', 'ctl-1', '--json')).out)
  t.match(status, { node: 'ctl-1', ok: true, power_state: 'power on' })
})

t.test('boot device and light', async (t) => {
  const bmc = await fake(t)
  const b = await prepared(t, bmc)
  t.match(await b.run('node', 'boot-device', 'get', 'ctl-1'), { code: 0, out: /none set/ })
  t.match(await b.run('node', 'boot-device', 'set', 'ctl-1', 'pxe', '--persistent'), {
    code: 0,
    out: /ctl-1: pxe, always/
  })
  t.match(await b.run('node', 'boot-device', 'get', 'ctl-1'), { out: /ctl-1: pxe, always/ })
  t.match(await b.run('node', 'boot-device', 'set', 'ctl-1', 'moon'), { code: 1, err: /Seedling has pxe/ })
  t.match(await b.run('node', 'identify', 'ctl-1'), { code: 0, out: /the light is on$/m })
  t.equal(bmc.identify, 'always')
  t.match(await b.run('node', 'identify', 'ctl-1', '30'), { code: 0, out: /on for 30 s/ })
  t.match(await b.run('node', 'identify', 'ctl-1', 'off'), { code: 0 })
  t.equal(bmc.identify, 0)
  t.match(await b.run('node', 'identify', 'ctl-1', '999'), { code: 1, err: /from 1 to 255/ })
})

t.test('bmc check: a card that is kept and shown, and power switched only when asked for', async (t) => {
  const bmc = await fake(t, { suites: [0, 3] })
  const b = await prepared(t, bmc)
  t.match(await b.run('bmc', 'show', 'ctl-1'), {
    code: 0,
    out: /not examined yet; "seedling bmc check ctl-1"/
  })
  const checked = await b.run('bmc', 'check', 'ctl-1')
  t.match(checked, {
    code: 0,
    out: /log-in +cipher suite 3 as administrator[\s\S]*suite 0 opens +yes[\s\S]*lapses: no[\s\S]*danger: .*suite 0/
  })
  t.same(bmc.controls, [], 'nothing was switched')
  t.match(await b.run('node', 'show', 'ctl-1'), { out: /\nBMC\nexamined/ })
  t.match(JSON.parse((await b.run('bmc', 'show', 'ctl-1', '--json')).out), {
    quirk_card: { accepts_suite_zero: true, power: null }
  })
  t.match(await b.run('bmc', 'check', 'ctl-1', '--power'), {
    code: 0,
    out: /power +on after [\d.]+ s, off after/
  })
  t.same(
    bmc.controls.map(({ control }) => control),
    ['on', 'off']
  )
  const events = await b.run('event', 'list', '--node', 'ctl-1')
  t.match(
    events.out,
    /the exam of the BMC found: danger: [\s\S]*✓ the BMC is examined[\s\S]*check-power done/
  )

  bmc.setPassword('admin', 'changed')
  const wrong = await b.run('bmc', 'check', 'ctl-1')
  t.match(wrong, { code: 1, out: /problem: .*password/ })
})

t.test('event log and sensors of ipmi_sim', async (t) => {
  const sim = await startIpmiSim(t, ['true "admin" "secret123" admin 10'])
  const b = await prepared(t, { address: '127.0.0.1', port: sim.port })
  t.match(await b.run('node', 'sel', 'ctl-1'), { code: 0, out: /RECORD +AT +SENSOR[\s\S]*1 .*MB Temp/ })
  t.match(await b.run('node', 'sensors', 'ctl-1'), { code: 0, out: /MB Temp +\S+.* 34 / })
  t.match(await b.run('node', 'sel', 'ctl-1', '--clear'), { code: 0, out: /cleared/ })
  t.match(await b.run('node', 'sel', 'ctl-1'), { code: 0, out: /the event log is empty/ })
})
