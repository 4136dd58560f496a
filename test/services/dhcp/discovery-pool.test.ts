import t, { type Test } from 'tap'
import { createDiscoveryPool } from '../../../services/dhcp/discovery-pool.ts'
import { createApply } from '../../../services/store/apply.ts'
import { createFacts } from '../../../services/store/facts.ts'
import { openStore } from '../../../services/store/open.ts'
import type { Discovery, Lease } from '../../../src/domain/subnet.ts'
import { aLease, aNode, aPort, aSubnet, NOW } from '../../support/builders.ts'

/** A pool of four addresses, 192.0.2.20 to .23, on a store and a clock of the test's own. */
function aPool(t: Test, given: Partial<Discovery> = {}) {
  const store = openStore(t.testdir())
  t.teardown(() => store.close())
  const facts = createFacts(store)
  const apply = createApply(store)
  const place = { now: NOW, used: new Set<string>(), unsure: new Set<string>() }
  const discovery = { start: '192.0.2.20', end: '192.0.2.23', leaseSeconds: 120, perSecond: 100, ...given }
  const subnet = aSubnet({ discovery })
  const pool = createDiscoveryPool({
    facts,
    leaseNow: () => place.now,
    inUse: (ip) => place.used.has(ip),
    mayOffer: (ip) => !place.unsure.has(ip)
  })
  const put = (...rows: Lease[]) =>
    store.commit(() => apply(rows.map((row) => ({ put: 'lease' as const, row }))))
  const mac = (n: number) => `52:54:00:00:99:${n.toString(16).padStart(2, '0')}`
  return {
    place,
    pool,
    subnet,
    put,
    apply: (changes: Parameters<typeof apply>[0]) => store.commit(() => apply(changes)),
    mac,
    ask: (n: number, requested: string | null = null, lease: Lease | null = null) =>
      pool.candidate(subnet, mac(n), requested, lease),
    bind: (n: number, ip: string, more: Partial<Lease> = {}) => {
      const row = aLease({ mac: mac(n), ip, kind: 'discovery', expiresAt: place.now + 120_000, ...more })
      put(row)
      pool.settle(mac(n))
      return row
    }
  }
}

t.test('as many machines as addresses, all at once', async (t) => {
  const { ask } = aPool(t)
  const given = [1, 2, 3, 4].map((n) => ask(n))
  t.same(given, ['192.0.2.20', '192.0.2.21', '192.0.2.22', '192.0.2.23'])
  t.equal(ask(5), null, 'the fifth gets none')
  t.same(
    [1, 2, 3, 4].map((n) => ask(n)),
    given,
    'who asks again gets the same'
  )
})

t.test('what is leased is nobody else’s until it is over', async (t) => {
  const { ask, bind, place } = aPool(t)
  const rows = [1, 2, 3, 4].map((n) => bind(n, ask(n) as string))
  place.now += 119_000
  t.equal(ask(5), null)
  t.equal(ask(2, null, rows[1]), '192.0.2.21', 'its holder keeps it')
  place.now += 2000
  t.equal(ask(5), '192.0.2.20', 'the one that ran out first')
  t.equal(ask(2, null, rows[1]), '192.0.2.21', 'a former holder still has it, as long as nobody took it')
  t.not(ask(1, null, rows[0]), '192.0.2.20', 'but not when somebody did')
})

t.test('the address asked for, if it is free and in the pool', async (t) => {
  const { ask, bind } = aPool(t)
  t.equal(ask(1, '192.0.2.22'), '192.0.2.22')
  t.equal(ask(2, '192.0.2.22'), '192.0.2.20', 'taken')
  t.equal(ask(3, '192.0.2.100'), '192.0.2.21', 'outside')
  bind(1, '192.0.2.22', { state: 'released', expiresAt: 0 })
  t.equal(ask(4, '192.0.2.22'), '192.0.2.22', 'given back')
})

t.test('what nobody may have', async (t) => {
  const { ask, bind, place, apply } = aPool(t)
  bind(9, '192.0.2.20', { state: 'declined' })
  apply([
    { put: 'node', row: aNode() },
    { put: 'port', row: aPort({ reservedIp: '192.0.2.21' }) }
  ])
  place.used.add('192.0.2.22')
  t.same([ask(9), ask(1)], ['192.0.2.23', null], 'declined, a machine’s own, in use by somebody: one is left')
  place.used.clear()
  place.now += 121_000
  t.same(
    [ask(1), ask(2), ask(3)],
    ['192.0.2.22', '192.0.2.23', '192.0.2.20'],
    'declined addresses come back, after those that were never used'
  )
})

t.test('an offer that is not taken up is free again, and so is one settled elsewhere', async (t) => {
  const { ask, pool, mac, place } = aPool(t)
  for (const n of [1, 2, 3, 4]) ask(n)
  pool.settle(mac(2))
  place.now += 1001
  t.equal(ask(5), '192.0.2.21')
  place.now += 31_000
  t.same(
    [ask(6), ask(7), ask(8), ask(9)].sort(),
    [20, 21, 22, 23].map((n) => `192.0.2.${n}`)
  )
})

t.test('so many a second and no more; who has one is not counted', async (t) => {
  const { ask, place } = aPool(t, { perSecond: 2 })
  t.same([ask(1), ask(2), ask(3)], ['192.0.2.20', '192.0.2.21', null])
  t.equal(ask(1), '192.0.2.20')
  place.now += 1000
  t.equal(ask(3), '192.0.2.22')
})

t.test('a flood leaves a bounded trace', async (t) => {
  const { pool, subnet } = aPool(t, { start: '192.0.2.2', end: '192.0.2.99', perSecond: 1_000_000 })
  let offered = 0
  for (let n = 0; n < 20_000; n++)
    if (pool.candidate(subnet, `00:00:00:00:${(n >> 8).toString(16)}:${n & 255}`, null, null)) offered++
  t.equal(offered, 98)
  t.match(pool.use(subnet), { size: 98, leased: 0, offered: 98 })
})

t.test('where it is not known who holds what, an address is looked at before it is offered', async (t) => {
  const { ask, bind, place } = aPool(t)
  const own = bind(1, '192.0.2.22')
  for (const ip of ['192.0.2.20', '192.0.2.21', '192.0.2.22', '192.0.2.23']) place.unsure.add(ip)
  t.equal(ask(1, null, own), '192.0.2.22', 'what it has by our own books is renewed')
  t.equal(ask(2), null, 'it is looked at')
  place.unsure.delete('192.0.2.20')
  t.equal(ask(2), '192.0.2.20', 'who asks again gets it')
  t.equal(ask(3), null)
  place.used.add('192.0.2.21')
  place.unsure.clear()
  t.equal(ask(3), '192.0.2.23', 'and another one, when somebody holds it')
  place.now += 121_000
  place.unsure.add('192.0.2.22')
  t.equal(ask(1, null, own), null, 'a lease that is over may have become somebody else’s')
})
