// The driver against a BMC that others wrote.

import t from 'tap'
import { SESSION_TIMING } from '../../../src/decide/bmc-session.ts'
import type { BmcAccess } from '../../../src/domain/bmc.ts'
import { startIpmiSim } from './ipmi-sim.ts'
import { failureOf, NODE, started } from './started.ts'

t.test('ipmi_sim', async (t) => {
  const sim = await startIpmiSim(t, [
    'true "admin" "secret123" admin 10',
    'true "oper" "secret456" operator 10'
  ])
  const access: BmcAccess = {
    driver: 'ipmi',
    address: '127.0.0.1',
    port: sim.port,
    username: 'admin',
    password: 'secret123',
    protocol: '2.0',
    cipherSuites: [17, 3],
    kg: '',
    privilege: 'highest',
    loginQuirk: null
  }
  const bmcs = started(t, { timing: SESSION_TIMING, operation: 20_000 })
  const { powerState, powerOn, powerOff, bootDevice, setBootDevice } = bmcs.bmc(NODE, access)

  await t.test('power', async (t) => {
    t.equal(await powerState(), 'off')
    await powerOn()
    t.equal(sim.chassis('power'), '1')
    t.equal(await powerState(), 'on')
    await powerOff()
    t.equal(sim.chassis('power'), '0')
    t.equal(await powerState(), 'off')
  })

  await t.test('boot device: it keeps the device alone, and that is what we say', async (t) => {
    const kept = { valid: false, persistent: false, efi: false }
    t.same(await setBootDevice('pxe', { persistent: true, efi: true }), { device: 'pxe', ...kept })
    t.equal(sim.chassis('boot'), 'pxe')
    t.same(await bootDevice(), { device: 'pxe', ...kept })
  })

  await t.test('a user with the privilege of an operator', async (t) => {
    const operator: BmcAccess = {
      ...access,
      username: 'oper',
      password: 'secret456',
      privilege: 'operator'
    }
    const bmc = bmcs.bmc(NODE, operator)
    await bmc.powerOn()
    t.equal(await bmc.powerState(), 'on')
  })

  const FAILURES: Record<string, [changes: Partial<BmcAccess>, code: string, detail: object]> = {
    'a wrong password': [{ password: 'wrong' }, 'bmc-auth', { reason: 'password' }],
    'an unknown user': [{ username: 'nobody' }, 'bmc-auth', { reason: 'username' }],
    'a wrong BMC key': [{ kg: '0123456789' }, 'bmc-auth', { reason: 'kg' }],
    'a suite it does not have': [{ cipherSuites: [17] }, 'bmc-cipher', { refusals: [{ suite: 17 }] }],
    'a dead port': [{ port: 1 }, 'bmc-unreachable', { port: 1 }]
  }
  for (const [name, [changes, code, detail]] of Object.entries(FAILURES)) {
    await t.test(name, async (t) => {
      const changed = { ...access, ...changes }
      const error = await failureOf(bmcs.bmc(NODE, changed).powerState(), changed)
      t.match(error, { code, detail })
    })
  }

  await t.test('and after all these it still works', async (t) => {
    t.equal(await powerState(), 'on')
  })
})
