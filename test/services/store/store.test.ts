import { readFileSync, readdirSync, statSync } from 'node:fs'
import { execFileSync, spawnSync } from 'node:child_process'
import { join, resolve } from 'node:path'
import t from 'tap'
import { createApply } from '../../../services/store/apply.ts'
import { createFacts } from '../../../services/store/facts.ts'
import { openStore } from '../../../services/store/open.ts'
import type { Change } from '../../../src/domain/change.ts'
import {
  aLease,
  anImage,
  anInstance,
  anInventory,
  aNode,
  anOrder,
  aPort,
  aSubnet,
  NOW
} from '../../support/builders.ts'

function open(t: { testdir(): string; teardown(fn: () => void): void }) {
  const folder = t.testdir()
  const store = openStore(folder)
  t.teardown(() => store.close())
  const apply = createApply(store)
  const put = (changes: Change[]) => store.commit(() => apply(changes))
  return { folder, store, facts: createFacts(store), put }
}

t.test('every commit is on disk: WAL with synchronous=FULL', async (t) => {
  const { store } = open(t)
  t.equal(store.db.pragma('synchronous', { simple: true }), 2)
  t.equal(store.db.pragma('journal_mode', { simple: true }), 'wal')
})

t.test('what was put comes back whole', async (t) => {
  const { facts, put } = open(t)
  const node = aNode({ inventory: anInventory(), state: 'active', instanceUuid: anInstance().uuid })
  put([
    { put: 'node', row: node },
    { put: 'port', row: aPort() },
    { put: 'image', row: anImage() },
    { put: 'instance', row: anInstance({ publicKeys: { me: 'ssh-ed25519 AAAA' }, metadata: { a: [1] } }) },
    { put: 'order', row: anOrder({ state: 'done', ticks: { 'powered-off': 5 }, finishedAt: NOW }) }
  ])
  t.same(facts.node('ctl-1'), node)
  t.same(facts.machineByMac('52:54:00:00:00:01'), {
    node,
    port: aPort(),
    order: anOrder({ state: 'done', ticks: { 'powered-off': 5 }, finishedAt: NOW }),
    instance: anInstance({ publicKeys: { me: 'ssh-ed25519 AAAA' }, metadata: { a: [1] } }),
    image: anImage()
  })
  t.equal(facts.machineByMac('52:54:00:00:00:99').node, null)
  t.equal(facts.machineByIp('192.0.2.100').node?.name, 'ctl-1')
})

t.test('BMC passwords are sealed in the file, and the key lies outside it', async (t) => {
  const { folder, store, facts, put } = open(t)
  put([{ put: 'node', row: aNode({ driverInfo: { ipmi_password: 'canary-in-the-mine' } }) }])
  t.equal(facts.node('ctl-1')?.driverInfo['ipmi_password'], 'canary-in-the-mine')
  store.db.pragma('wal_checkpoint(TRUNCATE)')
  for (const file of readdirSync(folder))
    t.notOk(readFileSync(join(folder, file)).includes('canary-in-the-mine'), `${file} does not hold it`)
  t.equal(statSync(join(folder, 'secret.key')).mode & 0o777, 0o600)
})

t.test('one open order a node, kept by the database itself', async (t) => {
  const { put } = open(t)
  put([
    { put: 'node', row: aNode() },
    { put: 'order', row: anOrder({ id: 'o1' }) }
  ])
  t.throws(() => put([{ put: 'order', row: anOrder({ id: 'o2' }) }]), /UNIQUE/)
})

t.test('a failed transaction leaves nothing', async (t) => {
  const { facts, put } = open(t)
  put([
    { put: 'node', row: aNode() },
    { put: 'port', row: aPort() }
  ])
  t.throws(() =>
    put([
      { put: 'node', row: aNode({ uuid: 'other', name: 'other' }) },
      { put: 'port', row: aPort({ uuid: 'p2', nodeUuid: 'other', reservedIp: null }) }
    ])
  )
  t.equal(facts.node('other'), null)
})

t.test('ticks never move: not twice, not in another attempt, not in a closed order', async (t) => {
  const { facts, put } = open(t)
  const order = anOrder({ attempt: 2 })
  put([
    { put: 'node', row: aNode() },
    { put: 'order', row: order }
  ])
  const ticks = () => facts.orderById(order.id)?.ticks
  put([{ tick: 'powered-off', orderId: order.id, attempt: 1, at: 1 }])
  t.same(ticks(), {}, 'an older attempt')
  put([{ tick: 'powered-off', orderId: order.id, attempt: 2, at: 2 }])
  put([{ tick: 'powered-off', orderId: order.id, attempt: 2, at: 3 }])
  t.same(ticks(), { 'powered-off': 2 })
  put([{ put: 'order', row: { ...order, state: 'failed' } }])
  put([{ tick: 'powered-on', orderId: order.id, attempt: 2, at: 4 }])
  t.same(ticks(), {})
})

t.test('the same event within a minute raises its count', async (t) => {
  const { facts, put } = open(t)
  const event = (at: number, subject: string): Change => ({
    event: { kind: 'power-seen', at, nodeUuid: 'n', orderId: null, subject, detail: { power: 'on' } }
  })
  put([event(NOW, 'a'), event(NOW + 10_000, 'a'), event(NOW + 20_000, 'b'), event(NOW + 90_000, 'a')])
  t.same(
    facts
      .eventsOfNode('n', 0, 10)
      .map(({ subject, repeats, at, lastAt }) => [subject, repeats, at - NOW, lastAt - NOW]),
    [
      ['a', 2, 0, 10_000],
      ['b', 1, 20_000, 20_000],
      ['a', 1, 90_000, 90_000]
    ]
  )
})

t.test('free addresses: the lowest that is neither reserved nor leased, until there is none', async (t) => {
  const { facts, put } = open(t)
  const subnet = aSubnet({ pool: { start: '192.0.2.100', end: '192.0.2.102' } })
  put([
    { put: 'node', row: aNode() },
    { put: 'port', row: aPort() }
  ])
  t.equal(facts.freeAddress(subnet, NOW), '192.0.2.101')
  const lease = aLease({ mac: 'm', ip: '192.0.2.101', expiresAt: NOW + 5 })
  put([{ put: 'lease', row: lease }])
  t.equal(facts.freeAddress(subnet, NOW), '192.0.2.102')
  t.equal(facts.freeAddress(subnet, NOW + 6), '192.0.2.101', 'a lease that ran out is free again')
  put([{ put: 'port', row: aPort({ uuid: 'p2', address: 'x', reservedIp: '192.0.2.102' }) }])
  t.equal(facts.freeAddress(subnet, NOW), null)
})

t.test('a second process on the same state is refused with what to do', async (t) => {
  const { folder } = open(t)
  const script = `import { openStore } from ${JSON.stringify(resolve(import.meta.dirname, '../../../services/store/open.ts'))}
    try { openStore(${JSON.stringify(folder)}) } catch (error) { console.log(error.code, error.message) }`
  const out = execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' })
  t.match(out, /^state-locked .*another Seedling; stop that one first/)
})

t.test('a database of a newer Seedling is left alone', async (t) => {
  const folder = t.testdir()
  const store = openStore(folder)
  store.db.pragma('user_version = 999')
  store.close()
  t.throws(() => openStore(folder), { code: 'schema-newer' })
})

t.test('kill -9 in the middle of commits: every acknowledged one is there', async (t) => {
  const folder = t.testdir()
  const here = (name: string) => JSON.stringify(resolve(import.meta.dirname, '../../../services/store', name))
  // The child prints a number only after its commit returned, and is killed at a random moment.
  const script = `import { openStore } from ${here('open.ts')}
    import { createApply } from ${here('apply.ts')}
    import { writeSync } from 'node:fs'
    const store = openStore(${JSON.stringify(folder)})
    const apply = createApply(store)
    const base = store.db.prepare('SELECT count(*) AS n FROM lease').get().n
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), 150 + Math.random() * 200)
    const lease = ${JSON.stringify(aLease())}
    let n = base
    const one = () => {
      n++
      store.commit(() => apply([{ put: 'lease', row: { ...lease, mac: 'm' + n, ip: 'i' + n } }]))
      writeSync(1, n + '\\n')
      setImmediate(one)
    }
    one()`
  for (let round = 0; round < 5; round++) {
    const { stdout, signal } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      encoding: 'utf8'
    })
    t.equal(signal, 'SIGKILL')
    const acknowledged = Number(stdout.trim().split('\n').at(-1))
    t.ok(acknowledged > 0)
    const store = openStore(folder)
    const count = (store.db.prepare('SELECT count(*) AS n FROM lease').get() as { n: number }).n
    t.ok(count >= acknowledged, `${count} rows, ${acknowledged} acknowledged`)
    t.equal(store.db.pragma('integrity_check', { simple: true }), 'ok')
    store.close()
  }
})

t.test('a database that may not be opened is told as such', async (t) => {
  const dataDir = t.testdir({ 'seedling.db': {} })
  t.throws(() => openStore(dataDir), {
    code: 'bad-config',
    message: /must belong to the user who runs Seedling/
  })
})
