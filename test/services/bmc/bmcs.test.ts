import t from 'tap'
import { SESSION_TIMING } from '../../../src/decide/bmc-session-state.ts'
import type { Bmc, BmcAccess } from '../../../src/domain/bmc.ts'
import type { FakeBmc, FakeBmcOptions } from '../../support/fake-bmc.ts'
import { seededRandom } from '../../support/mutate.ts'
import { failureOf, fake, NODE, started } from './started.ts'

t.test('power on, off and status with suites 17 and 3', async (t) => {
  for (const suite of [17, 3]) {
    const bmc = await fake(t, { suites: [suite] })
    const { powerState, powerOn, powerOff } = started(t).bmc(NODE, bmc.access())
    t.equal(await powerState(), 'off')
    await powerOn()
    t.equal(bmc.power, 'on')
    t.equal(await powerState(), 'on')
    await powerOff()
    t.equal(bmc.power, 'off')
    t.equal(bmc.sessions(), 1, 'all in one session')
  }
})

t.test('every boot device, with persistence and EFI bits, is set and read back', async (t) => {
  const bmc = await fake(t)
  const { bootDevice, setBootDevice } = started(t).bmc(NODE, bmc.access())
  for (const device of ['pxe', 'disk', 'cdrom', 'bios', 'safe'] as const) {
    for (const options of [
      { persistent: false, efi: false },
      { persistent: false, efi: true },
      { persistent: true, efi: false },
      { persistent: true, efi: true }
    ]) {
      const expected = { device, valid: true, ...options }
      t.same(await setBootDevice(device, options), expected)
      t.same(await bootDevice(), expected)
    }
  }
  t.equal(bmc.keep, 0x08, 'the flags are to outlive 60 seconds')
  t.same(await setBootDevice('none', { persistent: true, efi: true }), {
    device: 'none',
    valid: false,
    persistent: false,
    efi: false
  })
  bmc.boot = { valid: true, persistent: false, efi: true, device: 9 }
  t.match(await bootDevice(), { device: 'other', valid: true }, 'remote media has no word of ours')
})

t.test('what the BMC made of the boot device is answered, not what was asked', async (t) => {
  const bmc = await fake(t)
  const { setBootDevice } = started(t).bmc(NODE, bmc.access())
  Object.defineProperty(bmc, 'boot', {
    get: () => ({ valid: false, persistent: false, efi: false, device: 1 }),
    set: () => undefined
  })
  t.match(await setBootDevice('disk', { persistent: true, efi: true }), { device: 'pxe', valid: false })
})

t.test('a BMC without parameter 3 gets its boot device all the same', async (t) => {
  const bmc = await fake(t)
  bmc.faults.refusedParameters = [3]
  const { setBootDevice } = started(t).bmc(NODE, bmc.access())
  t.match(await setBootDevice('pxe', { persistent: false, efi: true }), { device: 'pxe', valid: true })
  t.equal(bmc.keep, 0)
})

t.test('boot options that another console left "in progress" are taken over', async (t) => {
  const bmc = await fake(t)
  bmc.faults.bootOptionsTaken = true
  const { setBootDevice } = started(t).bmc(NODE, bmc.access())
  t.match(await setBootDevice('pxe', { persistent: false, efi: true }), { device: 'pxe', valid: true })
})

type Failing = {
  bmc?: FakeBmcOptions
  faults?: Partial<FakeBmc['faults']>
  access?: Partial<BmcAccess>
  work?: (bmc: Bmc) => Promise<unknown>
  code: string
  message: RegExp
  detail?: Record<string, unknown>
}

const FAILURES: Record<string, Failing> = {
  'a silent BMC': {
    faults: { silent: true },
    code: 'bmc-unreachable',
    message: /nothing answered within 0\.6 s\. Check/
  },
  'a wrong password': {
    access: { password: 'not the one' },
    code: 'bmc-auth',
    message: /password/,
    detail: { reason: 'password' }
  },
  'an unknown user': {
    access: { username: 'nobody' },
    code: 'bmc-auth',
    message: /no enabled user "nobody"/,
    detail: { reason: 'username' }
  },
  'a wrong BMC key': {
    access: { kg: 'c0ffee00' },
    code: 'bmc-auth',
    message: /ipmi_hex_kg_key/,
    detail: { reason: 'kg' }
  },
  'RAKP 2 tampered with': { faults: { tamper: 'rakp-2' }, code: 'bmc-auth', message: /password/ },
  'RAKP 4 tampered with': { faults: { tamper: 'rakp-4' }, code: 'bmc-auth', message: /K_g/ },
  'no common suite': {
    bmc: { suites: [0, 1, 2] },
    code: 'bmc-cipher',
    message: /it offers 0, 1, 2/,
    detail: { offered: [0, 1, 2] }
  },
  'a role above the user’s': {
    bmc: { privilegeLimits: { admin: 2 } },
    code: 'bmc-privilege',
    message: /may not log in as administrator/
  },
  'a command above the user’s privilege': {
    faults: { refuses: { 'Chassis Control': 0xd4 } },
    work: (bmc) => bmc.powerOn(),
    code: 'bmc-privilege',
    message: /may not use Chassis Control/
  },
  'no free session': { faults: { sessionLimit: 0 }, code: 'bmc-busy', message: /no free session/ },
  'a BMC that stays busy': {
    faults: { busy: 1e6 },
    code: 'bmc-busy',
    message: /0xC0, node busy/,
    detail: { completionCode: 0xc0 }
  },
  'a command the BMC does not know': {
    faults: { refuses: { 'Get Chassis Status': 0xc1 } },
    code: 'bmc-refused',
    message: /refused Get Chassis Status \(0xC1, command unknown to this BMC\)/,
    detail: { completionCode: 0xc1 }
  },
  'a boot parameter the BMC does not have': {
    faults: { refusedParameters: [5] },
    work: (bmc) => bmc.setBootDevice('pxe', { persistent: false, efi: false }),
    code: 'bmc-refused',
    message: /0x80, parameter not supported/,
    detail: { completionCode: 0x80 }
  },
  'an authentic answer out of shape': {
    faults: { cutAnswers: 1 },
    code: 'bmc-protocol',
    message: /answer to Get Chassis Status makes no sense/
  },
  'a BMC of IPMI 1.5': { faults: { only15: true }, code: 'bmc-protocol', message: /IPMI 1\.5 only/ },
  'answers with wrong authentication codes': {
    faults: { tamper: 'command' },
    code: 'bmc-unreachable',
    message: /left .* unanswered/
  }
}

for (const [name, failing] of Object.entries(FAILURES)) {
  t.test(`told apart: ${name}`, async (t) => {
    const bmc = await fake(t, failing.bmc)
    const access = bmc.access(failing.access)
    Object.assign(bmc.faults, failing.faults)
    const bmcs = started(t, { operation: 600 })
    const { work = ({ powerState }: Bmc) => powerState() } = failing
    const error = await failureOf(work(bmcs.bmc(NODE, access)), access)
    t.equal(error.code, failing.code)
    t.match(error.message, failing.message)
    t.match(error.message, `${bmc.address}:${bmc.port}`)
    t.match(error.detail, { ...failing.detail, port: bmc.port })
    bmc.faults.tamper = null
    await bmcs.close()
    if (name !== 'a wrong BMC key' && name !== 'RAKP 4 tampered with') {
      t.equal(bmc.sessions(), 0, 'no session is left behind')
    }
  })
}

t.test('a dead port, a name that is none and no way there are told apart from silence', async (t) => {
  const bmc = await fake(t)
  const access = bmc.access()
  const bmcs = started(t, { timing: SESSION_TIMING })
  const gone = await fake(t)
  const deadPort = gone.access({ port: 1 })
  const dead = await failureOf(bmcs.bmc(NODE, deadPort).powerState(), deadPort)
  t.equal(dead.code, 'bmc-unreachable')
  t.match(dead.message, /nothing listens on that port/)
  const nameless = { ...access, address: 'bmc-1.invalid' }
  const error = await failureOf(bmcs.bmc(NODE, nameless).powerState(), nameless)
  t.equal(error.code, 'bmc-unreachable')
  t.match(error.message, /nothing can be sent to it .*bmc-1\.invalid/)
  // The kernel refuses it at once, as it does what it has no route to.
  const nowhere = { ...access, address: '255.255.255.255' }
  const refused = await failureOf(bmcs.bmc(NODE, nowhere).powerState(), nowhere)
  t.equal(refused.code, 'bmc-unreachable')
  t.match(refused.message, /nothing can be sent to it .*EACCES/)
})

t.test('a wrong password is tried once: the BMC must not lock the user', async (t) => {
  const bmc = await fake(t)
  const access = bmc.access({ password: 'wrong' })
  await failureOf(started(t).bmc(NODE, access).powerState(), access)
  t.equal(bmc.asked.filter((asked) => asked === 'Open Session Request').length, 1)
})

t.test('the suite that worked is remembered, also over the end of the session', async (t) => {
  const bmc = await fake(t, { suites: [3] })
  const { powerState } = started(t, { idle: 10 }).bmc(NODE, bmc.access())
  await powerState()
  await new Promise((resolve) => setTimeout(resolve, 100))
  t.equal(bmc.sessions(), 0, 'an idle session is closed')
  bmc.asked.length = 0
  await powerState()
  t.equal(bmc.asked.filter((asked) => asked === 'Open Session Request').length, 1)
})

t.test('operations on one BMC happen one after another, in order', async (t) => {
  const bmc = await fake(t)
  bmc.faults.sessionLimit = 1
  const bmcs = started(t)
  const seen: string[] = []
  const ask = (name: string, work: Promise<unknown>) => work.then(() => seen.push(name))
  await Promise.all([
    ask('on', bmcs.bmc(NODE, bmc.access()).powerOn()),
    ask('boot', bmcs.bmc(NODE, bmc.access()).setBootDevice('pxe', { persistent: false, efi: true })),
    ask('off', bmcs.bmc(NODE, bmc.access()).powerOff()),
    ask('state', bmcs.bmc(NODE, bmc.access()).powerState())
  ])
  t.same(seen, ['on', 'boot', 'off', 'state'])
  t.equal(bmc.power, 'off')
  t.equal(bmc.asked.filter((asked) => asked === 'Open Session Request').length, 1)
})

t.test('a dead BMC delays no other, and its own queue no longer than twice the bound', async (t) => {
  const dead = await fake(t)
  dead.faults.silent = true
  const good = await fake(t)
  const bmcs = started(t, { operation: 600 })
  const before = performance.now()
  const failures = [1, 2, 3, 4, 5].map(() =>
    failureOf(bmcs.bmc(NODE, dead.access()).powerState(), dead.access())
  )
  const first = await Promise.race([bmcs.bmc(NODE, good.access()).powerState(), ...failures])
  t.equal(first, 'off')
  const codes = (await Promise.all(failures)).map(({ code }) => code)
  t.same(new Set(codes), new Set(['bmc-unreachable', 'bmc-busy']))
  t.ok(performance.now() - before < 2400, 'not five times the bound')
})

t.test('Chassis Control without an answer is not repeated when the state is already as wanted', async (t) => {
  const bmc = await fake(t)
  bmc.faults.mute = { 'Chassis Control': 1e6 }
  const { powerOn } = started(t).bmc(NODE, bmc.access())
  await powerOn()
  t.equal(bmc.power, 'on')
  const commands = bmc.asked.filter((asked) => asked.includes('Chassis'))
  t.same(commands, ['Chassis Control', 'Get Chassis Status'], 'one packet; looked, and let it be')
})

t.test('Chassis Control that was lost is sent again after a look, and in the same session', async (t) => {
  const bmc = await fake(t)
  const { powerOn, bootDevice } = started(t).bmc(NODE, bmc.access())
  await bootDevice()
  bmc.asked.length = 0
  bmc.faults.dropNext = 1
  await powerOn()
  t.equal(bmc.power, 'on')
  t.same(bmc.asked, ['Get Chassis Status', 'Chassis Control'])
})

t.test('the privilege is raised when a command takes it, and not for a look', async (t) => {
  const bmc = await fake(t)
  const { powerOn, powerState } = started(t).bmc(NODE, bmc.access())
  const raising = (): number => bmc.asked.filter((name) => name === 'Set Session Privilege Level').length
  await powerState()
  t.equal(raising(), 0)
  await powerOn()
  await powerState()
  t.equal(raising(), 1)
  t.equal(bmc.sessions(), 1)
})

t.test('a BMC whose sessions begin with less than a user’s privilege is asked to raise it', async (t) => {
  const bmc = await fake(t, { power: 'on' })
  bmc.faults.beginsAt = 1
  t.equal(await started(t).bmc(NODE, bmc.access()).powerState(), 'on')
  t.equal(bmc.sessions(), 1)
})

t.test('a slow BMC that makes a second RAKP 2 of a RAKP 1 sent again is no wrong password', async (t) => {
  const bmc = await fake(t, { power: 'on' })
  bmc.faults.newRandoms = true
  const delay = { get: () => (bmc.asked.at(-1) === 'RAKP 1' ? 100 : 0) }
  Object.defineProperty(bmc.faults, 'delay', delay)
  const { powerState } = started(t, { timing: { ...SESSION_TIMING, loginWait: 80 } }).bmc(NODE, bmc.access())
  t.equal(await powerState(), 'on')
  t.ok(bmc.asked.filter((name) => name === 'RAKP 3').length > 1)
})

t.test(
  'a BMC slower than the first wait, which forgets a log-in begun twice, is given more time',
  async (t) => {
    const bmc = await fake(t, { power: 'on' })
    bmc.faults.delay = 100
    const { powerState } = started(t, { timing: { ...SESSION_TIMING, loginWait: 80 } }).bmc(
      NODE,
      bmc.access()
    )
    t.equal(await powerState(), 'on')
  }
)

t.test('a power button is pressed once, whatever becomes of the answer', async (t) => {
  const bmc = await fake(t, { power: 'on' })
  bmc.faults.mute = { 'Chassis Control': 1e6 }
  const access = bmc.access()
  const off = started(t).bmc(NODE, access)
  await off.softOff()
  t.equal(bmc.controls.length, 1, 'it reads off: so be it')
  bmc.button('on')
  bmc.faults.ignoresSoft = true
  t.match(await failureOf(off.softOff(), access), { code: 'bmc-unreachable' })
  t.equal(bmc.controls.length, 2)
})

t.test('"not in this state" is no failure where the state is the wanted one', async (t) => {
  const bmc = await fake(t)
  bmc.faults.refuses = { 'Chassis Control': 0xd5 }
  const access = bmc.access()
  const { powerOff, powerOn } = started(t).bmc(NODE, access)
  await powerOff()
  t.match(await failureOf(powerOn(), access), { code: 'bmc-refused', detail: { completionCode: 0xd5 } })
})

t.test('a BMC that restarts between two operations is logged in again', async (t) => {
  const bmc = await fake(t)
  const { powerState } = started(t).bmc(NODE, bmc.access())
  await powerState()
  bmc.restart()
  t.equal(await powerState(), 'off')
})

t.test('a changed password takes effect at once, in a new session', async (t) => {
  const bmc = await fake(t)
  const bmcs = started(t)
  await bmcs.bmc(NODE, bmc.access()).powerState()
  const wrong = bmc.access({ password: 'changed' })
  t.match(await failureOf(bmcs.bmc(NODE, wrong).powerState(), wrong), { code: 'bmc-auth' })
  t.equal(bmc.sessions(), 0)
  t.equal(await bmcs.bmc(NODE, bmc.access()).powerState(), 'off')
})

t.test('close cuts short what is under way and leaves no session', async (t) => {
  const slow = await fake(t)
  const idle = await fake(t)
  const bmcs = started(t, { operation: 20_000, idle: 20_000 })
  await bmcs.bmc(NODE, idle.access()).powerState()
  slow.faults.busy = 1e6
  const cut = failureOf(bmcs.bmc(NODE, slow.access()).powerState(), slow.access())
  await new Promise((resolve) => setTimeout(resolve, 100))
  const before = performance.now()
  await bmcs.close()
  t.ok(performance.now() - before < 5000)
  t.match(await cut, { code: 'bmc-busy', message: /Seedling is stopping/ })
  t.equal(idle.sessions() + slow.sessions(), 0)
  t.match(await failureOf(bmcs.bmc(NODE, idle.access()).powerState(), idle.access()), { code: 'bmc-busy' })
})

t.test('IPv6', async (t) => {
  const bmc = await fake(t, { address: '::1' })
  const access = bmc.access()
  t.equal(await started(t).bmc(NODE, access).powerState(), 'off')
  bmc.faults.silent = true
  const error = await failureOf(started(t, { operation: 200 }).bmc(NODE, access).powerState(), access)
  t.match(error.message, `[::1]:${bmc.port}`)
})

t.test('a hundred BMCs at once', async (t) => {
  const fakes = await Promise.all(Array.from({ length: 100 }, () => fake(t)))
  const bmcs = started(t, { timing: SESSION_TIMING, operation: 20_000 })
  const before = performance.now()
  const states = await Promise.all(fakes.map((bmc) => bmcs.bmc(NODE, bmc.access()).powerState()))
  t.comment(`${Math.round(performance.now() - before)} ms, both sides in one process`)
  t.same(new Set(states), new Set(['off']))
})

t.test('twenty BMCs behind a network that loses 30 % each way are all switched on', async (t) => {
  const random = seededRandom(5)
  const fakes = await Promise.all(Array.from({ length: 20 }, () => fake(t)))
  for (const bmc of fakes) bmc.faults.loses = () => random() < 0.3
  const bmcs = started(t)
  await Promise.all(fakes.map((bmc) => bmcs.bmc(NODE, bmc.access()).powerOn()))
  t.same(new Set(fakes.map(({ power }) => power)), new Set(['on']))
})

t.test('a close while the next log-in waits for the last session to end opens nothing', async (t) => {
  const bmc = await fake(t)
  const bmcs = started(t, { idle: 0, operation: 20_000, timing: SESSION_TIMING })
  await bmcs.bmc(NODE, bmc.access()).powerState()
  bmc.faults.mute = { 'Close Session': 1 }
  await new Promise((resolve) => setTimeout(resolve, 10))
  const next = failureOf(bmcs.bmc(NODE, bmc.access()).powerState(), bmc.access())
  await new Promise((resolve) => setTimeout(resolve, 5))
  await bmcs.close()
  t.match(await next, { code: 'bmc-busy', message: /stopping/ })
  t.equal(bmc.asked.filter((asked) => asked === 'Open Session Request').length, 1)
})

t.test(
  'a BMC that stays silent is left alone for a while, and tried again when its driver_info changes',
  async (t) => {
    const bmc = await fake(t)
    bmc.faults.silent = true
    const bmcs = started(t, { operation: 150 })
    const ask = () => failureOf(bmcs.bmc(NODE, bmc.access()).powerState(), bmc.access())
    for (let count = 0; count < 3; count++)
      t.match(await ask(), { code: 'bmc-unreachable', message: /nothing answered/ })
    const before = performance.now()
    t.match(await ask(), {
      code: 'bmc-unreachable',
      message: /nothing answered.*Not tried again for \d+ s/,
      detail: { leftAlone: true }
    })
    t.ok(performance.now() - before < 100, 'without asking')
    bmc.faults.silent = false
    t.equal(await bmcs.bmc(NODE, bmc.access({ privilege: 'operator' })).powerState(), 'off')
  }
)

t.test('a wrong password is tried once a minute, not with every question', async (t) => {
  const bmc = await fake(t)
  const access = bmc.access({ password: 'wrong' })
  const bmcs = started(t)
  for (let count = 0; count < 20; count++) {
    t.match(await failureOf(bmcs.bmc(NODE, access).powerState(), access), { code: 'bmc-auth' })
  }
  t.equal(bmc.asked.filter((asked) => asked === 'Open Session Request').length, 1)
})

t.test('a BMC that needs time between commands gets it', async (t) => {
  const bmc = await fake(t)
  const { powerState } = started(t, { gap: 120 }).bmc(NODE, bmc.access())
  const before = performance.now()
  for (let count = 0; count < 4; count++) await powerState()
  t.ok(performance.now() - before >= 3 * 119, 'three gaps')
})

t.test('a hundred BMCs that accept and never finish do not hold up a good one', async (t) => {
  const tarpits = await Promise.all(Array.from({ length: 100 }, () => fake(t)))
  for (const { faults } of tarpits) faults.mute = { 'Set Session Privilege Level': 1e6 }
  const good = await fake(t)
  const bmcs = started(t, { timing: SESSION_TIMING, operation: 3000 })
  const stuck = tarpits.map((bmc) => failureOf(bmcs.bmc(NODE, bmc.access()).powerOn(), bmc.access()))
  const before = performance.now()
  await bmcs.bmc(NODE, good.access()).powerOn()
  t.comment(`${Math.round(performance.now() - before)} ms`)
  t.equal(good.power, 'on')
  t.equal(await Promise.race([...stuck, Promise.resolve('none is over')]), 'none is over')
  await bmcs.close()
  await Promise.all(stuck)
})

t.test('power that is not what was asked for is seen, not assumed', async (t) => {
  const bmc = await fake(t)
  const { powerState, powerOn, powerOff } = started(t).bmc(NODE, bmc.access())
  bmc.faults.ignoresOn = 1
  await powerOn()
  t.equal(await powerState(), 'off', 'an "on" that does not turn on')
  await powerOn()
  t.equal(await powerState(), 'on')
  bmc.faults.offComesBackAfter = 50
  await powerOff()
  t.equal(await powerState(), 'off')
  await new Promise((resolve) => setTimeout(resolve, 100))
  t.equal(await powerState(), 'on', 'an "off" that comes back')
})

t.test('corrupted answers are asked for again', async (t) => {
  const random = seededRandom(11)
  const bmc = await fake(t)
  bmc.faults.corrupts = () => random() < 0.1
  const { powerState } = started(t).bmc(NODE, bmc.access())
  for (let count = 0; count < 50; count++) t.equal(await powerState(), 'off')
  t.equal(bmc.asked.filter((asked) => asked === 'Open Session Request').length, 1)
})

t.test('answers that are late are waited for', async (t) => {
  const bmc = await fake(t)
  bmc.faults.delay = 300
  const { powerState } = started(t, { timing: SESSION_TIMING, operation: 20_000 }).bmc(NODE, bmc.access())
  t.equal(await powerState(), 'off')
})

t.test(
  'boot flags stay without a chassis control where the BMC can keep them, and lapse where not',
  async (t) => {
    const bmc = await fake(t)
    bmc.faults.flagsLapseAfter = 50
    const { bootDevice, setBootDevice } = started(t).bmc(NODE, bmc.access())
    await setBootDevice('pxe', { persistent: false, efi: true })
    await new Promise((resolve) => setTimeout(resolve, 100))
    t.match(await bootDevice(), { valid: true })
    bmc.faults.refusedParameters = [3]
    bmc.keep = 0
    await setBootDevice('pxe', { persistent: false, efi: true })
    await new Promise((resolve) => setTimeout(resolve, 100))
    t.match(await bootDevice(), { valid: false })
  }
)

t.test('whoever has to wait for a place to log in has the whole time for the rest', async (t) => {
  const tarpits = await Promise.all(Array.from({ length: 8 }, () => fake(t)))
  for (const { faults } of tarpits) faults.mute = { 'Set Session Privilege Level': 1e6 }
  const good = await fake(t)
  // One place, kept for 200 ms by each of those that answer and never finish.
  const bmcs = started(t, { logins: 1, operation: 400 })
  const stuck = tarpits.map((bmc) => failureOf(bmcs.bmc(NODE, bmc.access()).powerOn(), bmc.access()))
  t.equal(await bmcs.bmc(NODE, good.access()).powerState(), 'off')
  for (const error of await Promise.all(stuck))
    t.match(error, { code: 'bmc-unreachable', message: /within 0\.4 s/ })
})
