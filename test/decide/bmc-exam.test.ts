import t from 'tap'
import {
  nextProbe,
  NOTHING_SEEN,
  quirkCard,
  sameOverride,
  type ExamFacts
} from '../../src/decide/bmc-exam.ts'
import type { BmcAccess, BootDeviceSetting, LoginWay } from '../../src/domain/bmc.ts'

const ACCESS: BmcAccess = {
  driver: 'ipmi',
  address: '192.0.2.7',
  port: 623,
  username: 'admin',
  password: 'secret123',
  protocol: '2.0',
  cipherSuites: [17, 3],
  kg: '',
  privilege: 'highest',
  loginQuirk: null
}
const WAY: LoginWay = { suite: 17, privilege: 'administrator', quirk: null }
const IDENTITY = { manufacturer: 1, product: 2, firmware: '1.00', ipmiVersion: '2.0', systemGuid: null }
const PXE: BootDeviceSetting = { device: 'pxe', persistent: false, efi: true, valid: true }
const works = (suite: number, way = WAY) => ({ suite, way: { ...way, suite }, trouble: null })
const fails = (suite: number, code: 'bmc-auth' | 'bmc-cipher' | 'bmc-unreachable') => ({
  suite,
  way: null,
  trouble: { code, message: `${code}!` }
})
const GOOD: ExamFacts = {
  ping: true,
  suiteZero: 'refused',
  logins: [works(17), works(3)],
  identity: IDENTITY,
  latencies: [3, 1, 2],
  sessions: { opened: 4, more: true },
  bootDevice: { asked: PXE, readBack: PXE, canBeKept: true, later: PXE }
}

const NEXT: Record<string, [facts: Partial<ExamFacts>, probe: string | null]> = {
  'a ping first': [{ ping: null }, 'ping'],
  'then each suite': [{ logins: [works(17)] }, 'login'],
  'a suite that was refused leads to the next': [{ logins: [fails(17, 'bmc-cipher')] }, 'login'],
  'after a wrong password no other suite': [
    { logins: [fails(17, 'bmc-auth')], suiteZero: null },
    'suite-zero'
  ],
  'where nothing answers, nothing more': [{ logins: [fails(17, 'bmc-unreachable')], suiteZero: null }, null],
  'without a log-in no more': [
    { logins: [fails(17, 'bmc-cipher'), fails(3, 'bmc-cipher')], identity: null },
    null
  ],
  'who it is': [{ identity: null }, 'identity'],
  'how quick': [{ latencies: [] }, 'latency'],
  'how many sessions': [{ sessions: null }, 'sessions'],
  'the boot device last': [{ bootDevice: null }, 'boot-device'],
  'and then it is over': [{}, null]
}
for (const [name, [facts, probe]] of Object.entries(NEXT)) {
  t.test(`the next probe: ${name}`, (t) => {
    const next = nextProbe({ ...GOOD, ...facts }, ACCESS, { bootDevice: true, wait: false })
    t.equal(next?.probe ?? null, probe)
    t.end()
  })
}

t.test('the boot device is left alone unless asked for', (t) => {
  t.equal(nextProbe({ ...GOOD, bootDevice: null }, ACCESS, { bootDevice: false, wait: true }), null)
  t.end()
})

t.test('a good BMC: nothing to tell', (t) => {
  t.same(quirkCard(GOOD, 1000), {
    examinedAt: 1000,
    identity: IDENTITY,
    way: WAY,
    suites: [
      { id: 17, works: true },
      { id: 3, works: true }
    ],
    acceptsSuiteZero: false,
    answersPing: true,
    sessions: { opened: 4, more: true },
    latency: { median: 2, worst: 3 },
    bootDevice: { truthful: true, keepsEfi: true, canBeKept: true, lapses: false },
    power: null,
    gap: 0,
    findings: []
  })
  t.end()
})

const STALE: BootDeviceSetting = { ...PXE, valid: false }
const FOUND: Record<string, [facts: Partial<ExamFacts>, findings: string[]]> = {
  'suite 0': [{ suiteZero: 'accepted' }, ['danger suite-zero']],
  'suite 3 only': [{ logins: [fails(17, 'bmc-cipher'), works(3)] }, ['note suite']],
  'no log-in': [{ ...NOTHING_SEEN, logins: [fails(17, 'bmc-auth')] }, ['problem bmc-auth']],
  'a wrong password where one suite is missing': [
    { ...NOTHING_SEEN, logins: [fails(17, 'bmc-cipher'), fails(3, 'bmc-auth')] },
    ['problem bmc-auth']
  ],
  'an operator': [{ logins: [works(17, { ...WAY, privilege: 'operator' })] }, ['note operator']],
  'a quirk': [{ logins: [works(17, { ...WAY, quirk: 'open-privilege' })] }, ['note log-in']],
  'one session': [{ sessions: { opened: 1, more: false } }, ['note one-session']],
  slow: [{ latencies: [5, 2000] }, ['note slow']],
  'no name': [{ identity: 'refused' }, ['note identity']],
  'the EFI bit lost': [
    { bootDevice: { asked: PXE, readBack: { ...PXE, efi: false }, canBeKept: true, later: null } },
    ['problem boot-efi']
  ],
  'another device read back': [
    { bootDevice: { asked: PXE, readBack: { ...PXE, device: 'disk' }, canBeKept: true, later: null } },
    ['problem boot-read-back']
  ],
  'an override that lapses': [
    { bootDevice: { asked: PXE, readBack: PXE, canBeKept: false, later: STALE } },
    ['note boot-lapses']
  ],
  'no boot device at all': [{ bootDevice: { trouble: 'refused' } }, ['problem boot-device']]
}
for (const [name, [facts, findings]] of Object.entries(FOUND)) {
  t.test(`told: ${name}`, (t) => {
    const card = quirkCard({ ...GOOD, ...facts }, 0)
    t.same(
      card.findings.map(({ kind, code }) => `${kind} ${code}`),
      findings
    )
    t.notMatch(JSON.stringify(card), 'secret')
    t.end()
  })
}

t.test('stale flags are all the same', (t) => {
  t.ok(sameOverride(STALE, { ...STALE, device: 'disk' }))
  t.notOk(sameOverride(PXE, STALE))
  t.notOk(sameOverride(PXE, { ...PXE, persistent: true }))
  t.end()
})
