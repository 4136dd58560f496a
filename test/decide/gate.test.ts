import fc from 'fast-check'
import t from 'tap'
import { bootPlan, type GateFacts } from '../../src/decide/gate.ts'
import { CHECKLIST, type Milestone, type Order, type OrderKind } from '../../src/domain/order.ts'
import type { StableState } from '../../src/domain/node.ts'
import { aHandover, aNode, anOrder, aPort, NOW } from '../support/builders.ts'

const off = { 'powered-off': NOW }
const seen = { ...off, 'powered-on': NOW, 'agent-seen': NOW }
const written = { ...seen, 'image-written': NOW }

const handover = aHandover()

const cases: Record<string, { facts: GateFacts; boot: string }> = {
  'a stranger gets nothing': { facts: { node: null, port: null, order: null }, boot: 'nothing' },
  'an enrolled machine without an order gets nothing': {
    facts: { node: aNode(), port: aPort(), order: null },
    boot: 'nothing'
  },
  'a machine that is handed over gets nothing, whatever its order': {
    facts: { node: aNode({ handover }), port: aPort(), order: anOrder({ ticks: off }) },
    boot: 'nothing'
  },
  'an active machine boots its disk': {
    facts: {
      node: aNode({ state: 'active' }),
      port: aPort(),
      order: anOrder({ state: 'done', ticks: written })
    },
    boot: 'local-disk'
  },
  'a deploy that has not seen the machine off serves nothing': {
    facts: { node: aNode(), port: aPort(), order: anOrder() },
    boot: 'nothing'
  },
  'a deploy serves the ramdisk once the machine was off': {
    facts: { node: aNode(), port: aPort(), order: anOrder({ ticks: off }) },
    boot: 'ramdisk'
  },
  'the ramdisk may come again while it writes': {
    facts: { node: aNode(), port: aPort(), order: anOrder({ ticks: seen }) },
    boot: 'ramdisk'
  },
  'after the write the disk is booted': {
    facts: { node: aNode(), port: aPort(), order: anOrder({ ticks: written }) },
    boot: 'local-disk'
  },
  'an inspection serves the ramdisk': {
    facts: {
      node: aNode({ state: 'manageable' }),
      port: aPort(),
      order: anOrder({ kind: 'inspect', ticks: off })
    },
    boot: 'ramdisk'
  },
  'an inspected machine is not served again': {
    facts: { node: aNode(), port: aPort(), order: anOrder({ kind: 'inspect', ticks: seen }) },
    boot: 'local-disk'
  },
  'a failed deploy serves nothing': {
    facts: { node: aNode(), port: aPort(), order: anOrder({ state: 'failed', ticks: seen }) },
    boot: 'nothing'
  },
  'a cancelled deploy serves nothing': {
    facts: { node: aNode(), port: aPort(), order: anOrder({ state: 'cancelled', ticks: off }) },
    boot: 'nothing'
  },
  'maintenance stops the ramdisk': {
    facts: { node: aNode({ maintenance: true }), port: aPort(), order: anOrder({ ticks: off }) },
    boot: 'nothing'
  },
  'a port without network boot gets nothing': {
    facts: { node: aNode(), port: aPort({ pxeEnabled: false }), order: anOrder({ ticks: off }) },
    boot: 'nothing'
  },
  'a reboot of an active machine boots its disk': {
    facts: {
      node: aNode({ state: 'active' }),
      port: aPort(),
      order: anOrder({ kind: 'reboot', ticks: off })
    },
    boot: 'local-disk'
  }
}

for (const [sentence, { facts, boot }] of Object.entries(cases))
  t.test(sentence, async (t) => {
    const plan = bootPlan(facts)
    t.equal(plan.boot, boot, plan.reason)
    t.ok(plan.reason.length > 3, 'there is a reason')
  })

t.test('the ramdisk is served only inside the window that an open order opened', async (t) => {
  const kinds = Object.keys(CHECKLIST) as OrderKind[]
  const milestones: Milestone[] = CHECKLIST.deploy.slice()
  const ticksOf = (count: number) => Object.fromEntries(milestones.slice(0, count).map((name) => [name, NOW]))
  let served = 0
  fc.assert(
    fc.property(
      fc.constantFrom<StableState>('enroll', 'manageable', 'available', 'active'),
      fc.boolean(),
      fc.boolean(),
      fc.option(
        fc.record({
          kind: fc.constantFrom(...kinds),
          state: fc.constantFrom<Order['state']>('open', 'done', 'failed', 'cancelled'),
          count: fc.integer({ min: 0, max: milestones.length }),
          attempt: fc.integer({ min: 1, max: 3 })
        })
      ),
      (state, maintenance, pxeEnabled, given) => {
        const order =
          given &&
          anOrder({
            kind: given.kind,
            state: given.state,
            attempt: given.attempt,
            ticks: ticksOf(given.count)
          })
        const plan = bootPlan({ node: aNode({ state, maintenance }), port: aPort({ pxeEnabled }), order })
        if (plan.boot !== 'ramdisk') return true
        served++
        const last = order?.kind === 'inspect' ? 'agent-seen' : 'image-written'
        return (
          order !== null &&
          order.state === 'open' &&
          (order.kind === 'deploy' || order.kind === 'inspect') &&
          order.ticks['powered-off'] !== undefined &&
          order.ticks[last] === undefined &&
          !maintenance &&
          pxeEnabled &&
          plan.token === order.token &&
          plan.attempt === order.attempt
        )
      }
    ),
    { numRuns: 5000 }
  )
  t.ok(served > 10, `the property was put to the test ${served} times`)
})
