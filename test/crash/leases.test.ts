// Acknowledged leases survive `kill -9` and power cuts, and no address is promised to two. leases.deep.ts does it for longer.

import t from 'tap'
import { loseLeases, summary } from './lease-loop.ts'

t.setTimeout(300_000)

for (const [disaster, times] of [
  ['kill', 10],
  ['power-cut', 15]
] as const)
  t.test(`${disaster}, ${times} times`, async (t) => {
    const report = await loseLeases(t, { disaster, times, enrolled: 100, strangers: 300 })
    t.comment(summary(report))
    t.equal(report.open.filter((open) => open > 0).length, times, 'each time in the middle of work')
    t.ok(report.inherited > 0, 'addresses were used again')
    t.same(report.breaches, [])
    t.same(report.missing, [])
    t.same(report.corrupt, [])
  })
