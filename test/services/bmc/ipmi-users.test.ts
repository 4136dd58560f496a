import t from 'tap'
import type { FakeBmc } from '../../support/fake-bmc.ts'
import { failureOf, fake, NODE, started } from './started.ts'

const LONG = 'twenty letters long!'
const SHORT = 'sixteen letters!'

type Case = { faults: Partial<FakeBmc['faults']>; password: string; works: boolean; message?: RegExp }

const CASES: Record<string, Case> = {
  'twenty bytes': { faults: {}, password: LONG, works: true },
  'a BMC with a single session': { faults: { sessionLimit: 1 }, password: LONG, works: true },
  'a BMC that keeps 16 bytes, and a password that fits': {
    faults: { passwordBytes: 16 },
    password: SHORT,
    works: true
  },
  'a BMC that keeps 16 bytes and refuses more': {
    faults: { passwordBytes: 16 },
    password: LONG,
    works: false,
    message: /refused Set User Password/
  },
  'a BMC that cuts to 16 bytes in silence': {
    faults: { passwordBytes: 16, cutsPasswords: true },
    password: LONG,
    works: false,
    message: /the old one is back/
  }
}
for (const [name, { faults, password, works, message }] of Object.entries(CASES)) {
  t.test(`a new password: ${name}`, async (t) => {
    const bmc = await fake(t)
    Object.assign(bmc.faults, faults)
    const bmcs = started(t, { operation: 5000 }, ['secret123', LONG, SHORT])
    const old = bmc.access()
    const set = bmcs.bmc(NODE, old).setPassword(password)
    if (works) await set
    else t.match(await failureOf(set, { ...old, password }), { code: 'bmc-refused', message })
    const now = works ? { ...old, password } : old
    t.equal(await bmcs.bmc(NODE, now).powerState(), 'off', 'and it is the one that works')
    await bmcs.close()
    t.equal(bmc.sessions(), 0)
  })
}

t.test('no new password over a session that does not encrypt', async (t) => {
  const bmc = await fake(t, { suites: [2] })
  const access = bmc.access({ cipherSuites: [2] })
  const error = await failureOf(started(t).bmc(NODE, access).setPassword(LONG), access)
  t.match(error, { code: 'bmc-cipher', message: /not encrypted/ })
  t.notOk(bmc.asked.includes('Set User Password'))
})

t.test('users, as they are', async (t) => {
  const bmc = await fake(t, {
    users: { admin: 'secret123', oper: 'secret123' },
    privilegeLimits: { oper: 3 }
  })
  t.same(await started(t).bmc(NODE, bmc.access()).users(), [
    { id: 1, name: '', enabled: false, ipmi: false, privilege: 4 },
    { id: 2, name: 'admin', enabled: true, ipmi: true, privilege: 4 },
    { id: 3, name: 'oper', enabled: true, ipmi: true, privilege: 3 }
  ])
})
