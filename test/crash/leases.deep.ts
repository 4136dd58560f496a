// leases.test.ts at full length; and what it would show if the store broke its promise.

import t from 'tap'
import { loseLeases, summary } from './lease-loop.ts'

t.setTimeout(3_600_000)

for (const disaster of ['kill', 'power-cut'] as const)
  t.test(`${disaster}, 100 times, 10,000 leases`, async (t) => {
    const report = await loseLeases(t, { disaster, times: 100, enrolled: 500, strangers: 9500 })
    t.comment(summary(report))
    t.equal(report.open.filter((open) => open > 0).length, 100, 'each time in the middle of work')
    t.ok(report.inherited > 0, 'addresses were used again')
    t.same(report.breaches, [])
    t.same(report.missing, [])
    t.same(report.corrupt, [])
  })

for (const [disaster, sabotage] of [
  ['kill', 'late-commit'],
  ['power-cut', 'no-sync']
] as const)
  t.test(`${disaster} of a store that answers too early (${sabotage}) loses leases`, async (t) => {
    const loop = { disaster, times: 2, enrolled: 40, strangers: 60, sabotage }
    const { missing, breaches } = await loseLeases(t, loop)
    t.ok(missing.length > 0, `${missing.length} are not in the database`)
    t.ok(breaches.length > 0, `${breaches.length} strangers were forgotten`)
  })
