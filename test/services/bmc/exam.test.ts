import t from 'tap'
import type { FakeBmc, FakeBmcOptions } from '../../support/fake-bmc.ts'
import { startIpmiSim } from './ipmi-sim.ts'
import { failureOf, fake, NODE, started } from './started.ts'

const LOOK = { bootDevice: true, wait: false }

type Case = {
  bmc?: FakeBmcOptions
  faults?: Partial<FakeBmc['faults']>
  card: Record<string, unknown>
  findings: string[]
}

const CASES: Record<string, Case> = {
  'a good one': {
    card: {
      way: { suite: 17, privilege: 'administrator', quirk: null },
      suites: [
        { id: 17, works: true },
        { id: 3, works: true }
      ],
      acceptsSuiteZero: false,
      answersPing: true,
      sessions: { opened: 4, more: true },
      bootDevice: { truthful: true, keepsEfi: true, canBeKept: true, lapses: null },
      gap: 0
    },
    findings: []
  },
  'an old one that lets anyone in': {
    bmc: { suites: [0, 3] },
    card: { acceptsSuiteZero: true, way: { suite: 3 } },
    findings: ['suite-zero', 'suite']
  },
  'one with a single session': {
    faults: { sessionLimit: 1 },
    card: { sessions: { opened: 1, more: false } },
    findings: ['one-session']
  },
  'one that loses the EFI bit and knows no parameter 3': {
    faults: { refusedParameters: [3], keepsFlags: (flags) => ({ ...flags, efi: false }) },
    card: { bootDevice: { truthful: false, keepsEfi: false, canBeKept: false, lapses: null } },
    findings: ['boot-efi', 'boot-lapses']
  },
  'one where the user is an operator, and the standard is not kept': {
    bmc: { privilegeLimits: { admin: 3 } },
    faults: { quirk: 'open-privilege' },
    card: { way: { privilege: 'operator' } },
    findings: ['operator', 'log-in']
  },
  'one with another password': {
    bmc: { users: { admin: 'changed' } },
    card: { way: null, suites: [{ id: 17, works: false }], latency: null },
    findings: ['bmc-auth']
  }
}
for (const [name, { bmc: options, faults, card, findings }] of Object.entries(CASES)) {
  t.test(`examined: ${name}`, async (t) => {
    const bmc = await fake(t, options)
    Object.assign(bmc.faults, faults)
    bmc.boot = { valid: true, persistent: true, efi: false, device: 2 }
    const bmcs = started(t)
    const seen = await bmcs.examine(bmc.access({ password: 'secret123' }), LOOK)
    t.match(seen, card)
    t.same(
      seen.findings.map(({ code }) => code),
      findings
    )
    t.same(bmc.boot, { valid: true, persistent: true, efi: false, device: 2 }, 'the boot device is as it was')
    t.equal(bmc.power, 'off')
    t.equal(bmc.sessions(), 0, 'no session is left behind')
  })
}

t.test('an override that lapses is seen when there is time to wait', async (t) => {
  const bmc = await fake(t)
  bmc.faults.refusedParameters = [3]
  bmc.faults.flagsLapseAfter = 100
  const card = await started(t, { lapse: 300 }).examine(bmc.access(), { bootDevice: true, wait: true })
  t.match(card, { bootDevice: { truthful: true, lapses: true }, findings: [{ code: 'boot-lapses' }] })
})

t.test('a silent BMC is asked no more than it takes', async (t) => {
  const bmc = await fake(t)
  bmc.faults.silent = true
  const card = await started(t, { operation: 300 }).examine(bmc.access(), LOOK)
  t.match(card, {
    way: null,
    answersPing: false,
    acceptsSuiteZero: null,
    findings: [{ code: 'bmc-unreachable' }]
  })
})

t.test('what was found out is used: suite, privilege and work-around at the first try', async (t) => {
  const bmc = await fake(t, { suites: [3], privilegeLimits: { admin: 3 } })
  const card = await started(t).examine(bmc.access(), LOOK)
  const later = started(t)
  bmc.asked.length = 0
  t.equal(await later.bmc(NODE, bmc.access(), card).powerState(), 'off')
  t.equal(bmc.asked.filter((asked) => asked === 'Open Session Request').length, 1)
})

t.test('an exam is cut short by the end', async (t) => {
  const bmc = await fake(t)
  const bmcs = started(t, { lapse: 60_000 })
  const exam = failureOf(bmcs.examine(bmc.access(), { bootDevice: true, wait: true }), bmc.access())
  while (!bmc.boot.valid) await new Promise((resolve) => setTimeout(resolve, 10))
  const before = performance.now()
  await bmcs.close()
  t.ok(performance.now() - before < 5000)
  t.match(await exam, { code: 'bmc-busy', message: /stopping/ })
  t.equal(bmc.boot.valid, false, 'the boot device is as it was')
})

t.test('ipmi_sim takes suite 0: told, and nothing but the question sent', async (t) => {
  const sim = await startIpmiSim(t, ['true "admin" "secret123" admin 10'])
  const access = { ...(await fake(t)).access(), port: sim.port }
  const card = await started(t, { operation: 10_000 }).examine(access, { bootDevice: false, wait: false })
  t.match(card, { acceptsSuiteZero: true, way: { suite: 3 }, identity: { manufacturer: 0x1291 } })
})
