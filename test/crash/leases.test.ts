// Acknowledged leases survive `kill -9` and power cuts, and no address is promised to two. leases.deep.ts does it for longer.

import t from 'tap'
import { loseLeases, summary } from './lease-loop.ts'

for (const [disaster, times] of [
  ['kill', 10],
  ['power-cut', 15]
] as const)
  t.test(`${disaster}, ${times} times`, async (t) => {
    const report = await loseLeases(t, { disaster, times, enrolled: 400, leases: 400 })
    t.comment(summary(report))
    t.equal(report.open.filter((open) => open > 0).length, times, 'each time in the middle of work')
    t.same(report.breaches, [])
    t.same(report.missing, [])
    t.same(report.corrupt, [])
  })

// What would be seen if it were not so.
for (const [disaster, sabotage] of [
  ['kill', 'late-commit'],
  ['power-cut', 'no-sync']
] as const)
  t.test(`${disaster} of a store that answers too early (${sabotage}) loses leases`, async (t) => {
    const loop = { disaster, times: 2, enrolled: 100, leases: 100, sabotage }
    const { missing } = await loseLeases(t, loop)
    t.ok(missing.length > 0, `${missing.length} leases are missing`)
  })
