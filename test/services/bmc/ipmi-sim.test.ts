// The driver against a BMC that others wrote.

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'
import { SESSION_TIMING } from '../../../src/decide/bmc-session-state.ts'
import type { BmcAccess } from '../../../src/domain/bmc.ts'
import { startIpmiSim } from './ipmi-sim.ts'
import { failureOf, NODE, started } from './started.ts'

const run = promisify(execFile)

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
  const home = t.testdir()
  /** FreeIPMI's answer, line by line. It keeps what it learns of sensors below HOME. */
  async function freeipmi(program: string, ...args: string[]): Promise<string[]> {
    const target = [
      '-D',
      'LAN_2_0',
      '-h',
      `127.0.0.1:${sim.port}`,
      '-u',
      'admin',
      '-p',
      'secret123',
      '-I',
      '3'
    ]
    const { stdout } = await run(program, [...target, '-l', 'ADMIN', '-W', 'opensesspriv', ...args], {
      env: { ...process.env, HOME: home }
    })
    // What it says of its own cache is no answer.
    return stdout.split('\n').filter((line) => line !== '' && !line.startsWith('Caching'))
  }
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

  await t.test('a light, and an operating system that is asked to stop', async (t) => {
    const { identify, softOff } = bmcs.bmc(NODE, access)
    await identify(5)
    await identify(0)
    await powerOn()
    await softOff()
    t.equal(sim.chassis('power'), '1', 'this simulated machine does not listen')
  })

  await t.test('who it is', async (t) => {
    t.same(await bmcs.bmc(NODE, access).identity(), {
      manufacturer: 0x1291,
      product: 0x0f02,
      firmware: '9.08',
      ipmiVersion: '2.0',
      systemGuid: '00112233445566778899aabbccddeeff'
    })
  })

  await t.test('sensors, as FreeIPMI reads them', async (t) => {
    const ours = (await bmcs.bmc(NODE, access).sensors()).map(
      ({ sensor, name, type, value }) => `${sensor},${name},${type},${value?.toFixed(2)}`
    )
    const theirs = await freeipmi('ipmi-sensors', '--no-header-output', '--comma-separated-output')
    t.same(
      theirs.map((line) => line.split(',').slice(0, 4).join(',').toLowerCase()),
      ours.map((line) => line.toLowerCase())
    )
    t.same(ours, ['1,MB Temp,temperature,34.00', '2,12V,voltage,12.00'])
  })

  await t.test('the event log, as FreeIPMI reads it, and empty afterwards', async (t) => {
    const { events, clearEvents } = bmcs.bmc(NODE, access)
    const ours = await events()
    t.match(ours, [
      { recordId: 1, subject: 'MB Temp', event: 'upper non-critical going high', asserted: true },
      { recordId: 2, subject: 'power supply 99', event: 'failed', asserted: false, data: '01ffff' }
    ])
    const theirs = await freeipmi('ipmi-sel', '--no-header-output', '--comma-separated-output')
    t.match(theirs, [/^1,.*MB Temp.*Upper Non-critical - going high/, /^2,.*#99.*Failure detected/])
    await clearEvents()
    t.same(await events(), [])
    t.same(await freeipmi('ipmi-sel', '--no-header-output', '--comma-separated-output'), [])
  })

  await t.test('the inventory, as FreeIPMI reads it', async (t) => {
    const [fru] = await bmcs.bmc(NODE, access).inventory()
    t.match(await bmcs.bmc(NODE, access).product(), { fru: 0, product: fru?.product })
    t.match(fru, { fru: 0, board: { 'serial number': 'BRD0001' }, product: { 'asset tag': 'rack1-u1' } })
    const theirs = (await freeipmi('ipmi-fru')).join('\n')
    for (const text of Object.values({ ...fru?.board, ...fru?.product })) t.match(theirs, `: ${text}`)
  })

  await t.test('network and users', async (t) => {
    const { lan, users } = bmcs.bmc(NODE, access)
    t.match(await lan(), { channel: 1, vlan: null, suites: { length: 15 } })
    t.match(await users(), [
      { id: 1 },
      { id: 2, name: 'admin', ipmi: true, privilege: 4 },
      { id: 3, name: 'oper' }
    ])
  })

  await t.test('a new password is proved; one that the BMC would cut is not left there', async (t) => {
    const long = 'seventeen letters'
    const error = await failureOf(bmcs.bmc(NODE, access).setPassword(long), { ...access, password: long })
    t.match(error, { code: 'bmc-refused', message: /the old one is back/ })
    t.equal(await bmcs.bmc(NODE, access).powerState(), 'on', 'the old one works')
    await bmcs.bmc(NODE, access).setPassword('sixteen letters!')
    const changed = { ...access, password: 'sixteen letters!' }
    t.equal(await bmcs.bmc(NODE, changed).powerState(), 'on')
    await bmcs.bmc(NODE, changed).setPassword(access.password)
    const empty = await failureOf(bmcs.bmc(NODE, access).setPassword(''), access)
    t.equal(empty.code, 'bad-request')
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
