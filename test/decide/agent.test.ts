import t from 'tap'
import {
  agentFailed,
  agentHello,
  agentProgress,
  agentWritten,
  type AgentFacts
} from '../../src/decide/agent.ts'
import type { Change } from '../../src/domain/change.ts'
import type { Inventory } from '../../src/domain/inventory.ts'
import { aDisk, aNode, anImage, anInventory, anOrder, aPort, NOW, someLimits } from '../support/builders.ts'

const limits = someLimits()
const TOKEN = 'a'.repeat(64)
const FRESH = 'f'.repeat(64)
const URL = 'http://192.0.2.1'
const booted = { 'powered-off': NOW, 'powered-on': NOW }
const writing = { ...booted, 'agent-seen': NOW }

const facts = (given: Partial<AgentFacts> = {}): AgentFacts => ({
  order: anOrder({ ticks: booted }),
  node: aNode(),
  ports: [aPort()],
  image: anImage(),
  ...given
})
const hello = (given: AgentFacts, inventory: Inventory = anInventory(), token = TOKEN) =>
  agentHello(given, token, inventory, URL, limits, NOW, FRESH)
const orderOf = (changes: readonly Change[]) => {
  const change = changes.findLast((one) => 'put' in one && one.put === 'order')
  return change && 'put' in change && change.put === 'order' ? change.row : null
}

t.test('what delayed the ramdisk is told', async (t) => {
  const delays = (given: Partial<Inventory>) =>
    hello(facts(), anInventory(given)).changes.flatMap((change) =>
      'event' in change && change.event.kind === 'boot-delayed' ? [change.event.detail] : []
    )
  t.same(delays({}), [], 'an older ramdisk says nothing of it')
  t.same(delays({ addressSeconds: 3, linkLosses: 0 }), [])
  t.match(delays({ addressSeconds: 31, linkLosses: 0 }), [
    { client: 'ramdisk', cause: 'port-blocked', evidence: /31 s/ }
  ])
  t.match(delays({ addressSeconds: 31, linkLosses: 2 }), [{ cause: 'link-lost', evidence: /2 times/ }])
})

t.test('the right machine gets its task', async (t) => {
  const verdict = hello(facts())
  t.match(verdict, {
    answer: {
      task: 'deploy',
      disk: { path: '/dev/vda', serial: 'S1' },
      image: { digest: 'd'.repeat(64), manifestUrl: `${URL}/images/${'d'.repeat(64)}/manifest` },
      then: 'reboot'
    }
  })
  t.match(orderOf(verdict.changes)?.ticks, { 'agent-seen': NOW })
  t.ok(
    verdict.changes.some(
      (change) => 'put' in change && change.put === 'node' && change.row.inventory !== null
    )
  )
})

t.test('what the machine is, and which loader led here, is remembered', async (t) => {
  const nodeOf = (
    given: Partial<AgentFacts>,
    inventory = anInventory({ vendor: 'Dell Inc.', model: 'PowerEdge R740' })
  ) =>
    hello(facts(given), inventory).changes.flatMap((change) =>
      'put' in change && change.put === 'node' ? [change.row] : []
    )[0]
  const trial = { fetched: null, worked: 'shimx64.efi', silent: ['snponly.efi'], refused: true }
  t.match(nodeOf({ order: anOrder({ ticks: { 'powered-off': NOW }, loaderTrial: trial }) }), {
    hardwareModel: 'Dell Inc. PowerEdge R740',
    bootLoader: 'shimx64.efi'
  })
  const known = aNode({ hardwareModel: 'DELL R740', bootLoader: 'snponly.efi' })
  t.match(
    nodeOf({ node: known }),
    { hardwareModel: 'DELL R740', bootLoader: 'snponly.efi' },
    'set once; no loader was needed'
  )
  t.match(nodeOf({}, anInventory({ model: 'To Be Filled By O.E.M.' })), { hardwareModel: null })
})

t.test('the same call again gets the same task and ticks nothing twice', async (t) => {
  const verdict = hello(facts({ order: anOrder({ ticks: writing }) }))
  t.match(verdict, { answer: { task: 'deploy' } })
  t.equal(orderOf(verdict.changes), null)
})

t.test("the ramdisk's call is proof of power, even before the BMC says so", async (t) => {
  const verdict = hello(facts({ order: anOrder({ ticks: { 'powered-off': NOW } }) }))
  t.match(orderOf(verdict.changes)?.ticks, { 'powered-on': NOW, 'agent-seen': NOW })
})

const refused: Record<string, { given: AgentFacts; inventory?: Inventory; code: string; order: string }> = {
  'a machine without the enrolled MAC is not written': {
    given: facts(),
    inventory: anInventory({
      interfaces: [{ name: 'eth0', mac: '52:54:00:00:00:99', carrier: true, driver: null, speedMbps: null }]
    }),
    code: 'wrong-machine',
    order: 'failed'
  },
  'a machine that lacks one of two enrolled MACs is not written': {
    given: facts({ ports: [aPort(), aPort({ uuid: 'p2', address: '52:54:00:00:00:02' })] }),
    code: 'wrong-machine',
    order: 'failed'
  },
  'two disks and no hint': {
    given: facts(),
    inventory: anInventory({ disks: [aDisk(), aDisk({ path: '/dev/vdb', serial: 'S2' })] }),
    code: 'disk-ambiguous',
    order: 'failed'
  },
  'a disk that is too small': {
    given: facts({ image: anImage({ size: 8 * 2 ** 30 }) }),
    code: 'disk-too-small',
    order: 'failed'
  }
}
for (const [sentence, { given, inventory, code, order }] of Object.entries(refused))
  t.test(`${sentence}: refused with the reason, nothing half-done`, async (t) => {
    const verdict = hello(given, inventory)
    t.match(verdict, { refuse: 409, code })
    t.match(orderOf(verdict.changes), { state: order, failure: { code } })
  })

t.test("the operator's hint picks one of two disks", async (t) => {
  const node = aNode({ properties: { root_device: { serial: 'S2' } } })
  const verdict = hello(
    facts({ node }),
    anInventory({ disks: [aDisk(), aDisk({ path: '/dev/vdb', serial: 'S2' })] })
  )
  t.match(verdict, { answer: { disk: { path: '/dev/vdb' } } })
})

t.test('an attempt that is over is told so, whatever it asks', async (t) => {
  const overs = {
    'a later attempt has begun': anOrder({ token: FRESH, attempt: 2 }),
    'the order is done': anOrder({ state: 'done' }),
    'the order has failed': anOrder({ state: 'failed' })
  }
  for (const [sentence, order] of Object.entries(overs)) {
    const given = facts({ order })
    const verdicts = [
      hello(given),
      agentProgress(given, TOKEN, { stage: 'writing', done: 1, total: 2 }, NOW),
      agentWritten(given, TOKEN, 'd'.repeat(64), limits, NOW, FRESH),
      agentFailed(given, TOKEN, { code: 'disk-error', message: 'm', evidence: null }, limits, NOW, FRESH)
    ]
    for (const verdict of verdicts) t.match(verdict, { refuse: 410, changes: [] }, sentence)
  }
})

t.test('inspection: the report was all that was wanted', async (t) => {
  const verdict = hello(facts({ order: anOrder({ kind: 'inspect', ticks: booted }), image: null }))
  t.match(verdict, { answer: { task: 'inspect', then: 'poweroff' } })
})

t.test('progress is kept and told', async (t) => {
  const order = anOrder({ ticks: writing })
  const verdict = agentProgress(facts({ order }), TOKEN, { stage: 'verifying', done: 5, total: 9 }, NOW + 7)
  t.match(orderOf(verdict.changes)?.progress, { stage: 'verifying', done: 5, total: 9, at: NOW + 7 })
})

t.test('only the digest read back ticks image-written', async (t) => {
  const given = facts({ order: anOrder({ ticks: writing }) })
  const good = agentWritten(given, TOKEN, 'd'.repeat(64), limits, NOW, FRESH)
  t.match(good, { answer: { then: 'reboot' } })
  t.ok(good.changes.some((change) => 'tick' in change && change.tick === 'image-written'))
  const bad = agentWritten(given, TOKEN, '0'.repeat(64), limits, NOW, FRESH)
  t.match(bad, { refuse: 409, code: 'verify-mismatch' })
  t.notOk(bad.changes.some((change) => 'tick' in change))
  t.match(orderOf(bad.changes), { attempt: 2, token: FRESH, ticks: {} }, 'another attempt')
})

t.test('written is taken from nobody who was not given work', async (t) => {
  for (const order of [anOrder({ ticks: {} }), anOrder({ kind: 'inspect', ticks: writing })])
    t.match(agentWritten(facts({ order }), TOKEN, 'd'.repeat(64), limits, NOW, FRESH), {
      refuse: 409,
      changes: []
    })
})

t.test('what was written is the first that a restored Seedling hears', async (t) => {
  const given = facts({ order: anOrder({ ticks: { 'powered-off': NOW - 5 } }) })
  const verdict = agentWritten(given, TOKEN, 'd'.repeat(64), limits, NOW, FRESH)
  t.match(verdict, { answer: { then: 'reboot' } })
  t.match(orderOf(verdict.changes)?.ticks, { 'powered-off': NOW - 5, 'powered-on': NOW, 'agent-seen': NOW })
  t.ok(verdict.changes.some((change) => 'tick' in change && change.tick === 'image-written'))
})

t.test('written twice is answered alike and ticks once', async (t) => {
  const order = anOrder({ ticks: { ...writing, 'image-written': NOW } })
  t.same(agentWritten(facts({ order }), TOKEN, 'd'.repeat(64), limits, NOW, FRESH), {
    answer: { then: 'reboot' },
    changes: []
  })
})

t.test('a ramdisk that comes back after the write is sent to its disk', async (t) => {
  const order = anOrder({ ticks: { ...writing, 'image-written': NOW } })
  t.match(hello(facts({ order })), { refuse: 410, code: 'already-written' })
})

t.test('a failure is told with its evidence and starts another attempt', async (t) => {
  const verdict = agentFailed(
    facts({ order: anOrder({ ticks: writing }) }),
    TOKEN,
    { code: 'disk-error', message: 'I/O error on /dev/vda', evidence: 'dd: …' },
    limits,
    NOW,
    FRESH
  )
  t.match(orderOf(verdict.changes), { attempt: 2, state: 'open' })
  t.ok(verdict.changes.some((change) => 'event' in change && change.event.kind === 'agent-failed'))
})
