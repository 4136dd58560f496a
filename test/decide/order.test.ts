import fc from 'fast-check'
import t from 'tap'
import { afterFailedAct, decideTurn, needsLook, type Observation } from '../../src/decide/order.ts'
import type { Change } from '../../src/domain/change.ts'
import type { Node } from '../../src/domain/node.ts'
import { CHECKLIST, nextMilestone, type Order, type OrderKind } from '../../src/domain/order.ts'
import { aNode, anInventory, anOrder, aQuirkCard, NOW, someLimits } from '../support/builders.ts'

const limits = someLimits()
const FRESH = 'f'.repeat(64)
const on: Observation = { power: 'on' }
const off: Observation = { power: 'off' }
const unreachable: Observation = { trouble: { code: 'bmc-unreachable', message: 'nothing answered' } }
const auth: Observation = { trouble: { code: 'bmc-auth', message: 'wrong password' } }
/** It has read off for a second, up to now. */
const offOnce = { power: 'off', since: NOW - 1000, at: NOW - 1000, count: 1 } as const

/** The order row a turn leaves. */
function after(order: Order, changes: readonly Change[]): Order {
  let row = order
  for (const change of changes) if ('put' in change && change.put === 'order') row = change.row
  return row
}
function nodeAfter(node: Node, changes: readonly Change[]): Node {
  let row = node
  for (const change of changes) if ('put' in change && change.put === 'node') row = change.row
  return row
}
const kinds = (changes: readonly Change[]) =>
  changes.flatMap((change) => ('event' in change ? [change.event.kind] : []))
const turn = (order: Order, seen: Observation, at = NOW, node = aNode()) =>
  decideTurn(order, node, seen, limits, at, FRESH)

const offTick = { 'powered-off': NOW }
const onTick = { ...offTick, 'powered-on': NOW }
const networkTick = { ...onTick, 'network-seen': NOW }
const agentTick = { ...networkTick, 'agent-seen': NOW }
const writtenTick = { ...agentTick, 'image-written': NOW }
const upTick = { ...writtenTick, 'instance-up': NOW }

t.test('a machine that is on is switched off first', async (t) => {
  const { act, changes, wakeAt } = turn(anOrder(), on)
  t.same(act, { act: 'power-off' })
  t.same(after(anOrder(), changes).ticks, {}, 'asking is not reaching')
  t.ok(kinds(changes).includes('power-asked'))
  t.equal(wakeAt, NOW + 1000)
})

t.test('off is ticked when two readings agree, and the machine rests before it is switched on', async (t) => {
  const first = turn(anOrder(), off)
  t.same(after(anOrder(), first.changes).ticks, {}, 'one reading is no reading')
  t.equal(first.wakeAt, NOW + 1000)
  const { act, changes, wakeAt } = turn(after(anOrder(), first.changes), off, NOW + 1000)
  t.same(after(anOrder(), changes).ticks, { 'powered-off': NOW + 1000 })
  t.equal(act, null, 'no act before the minimum off time')
  t.equal(wakeAt, NOW + 6000)
})

t.test('boot device and power-on are one act', async (t) => {
  const { act } = turn(anOrder({ ticks: offTick }), off, NOW + 5000)
  t.same(act, { act: 'power-on', bootDevice: { device: 'pxe', efi: true } })
})

t.test('a BIOS machine is asked without the EFI bit', async (t) => {
  const bios = aNode({ properties: { capabilities: 'boot_mode:bios' } })
  t.same(turn(anOrder({ ticks: offTick }), off, NOW + 5000, bios).act, {
    act: 'power-on',
    bootDevice: { device: 'pxe', efi: false }
  })
})

t.test('the boot mode that the ramdisk saw serves where nobody said one', async (t) => {
  const seen = aNode({ properties: {}, inventory: anInventory({ bootMode: 'bios' }) })
  t.match(turn(anOrder({ ticks: offTick }), off, NOW + 5000, seen).act, { bootDevice: { efi: false } })
})

t.test('a plain power-on touches no boot device', async (t) => {
  t.same(turn(anOrder({ kind: 'power-on' }), off).act, { act: 'power-on', bootDevice: null })
})

t.test('the same thing is not asked again at once, but after a while', async (t) => {
  const asked = anOrder({ asked: { act: 'power-off', at: NOW } })
  t.equal(turn(asked, on, NOW + 1000).act, null)
  t.same(turn(asked, on, NOW + 30_000).act, { act: 'power-off' })
})

t.test('a BMC in trouble is left alone for longer each time', async (t) => {
  let order = anOrder()
  const waits: number[] = []
  let at = NOW
  for (let i = 0; i < 6; i++) {
    const { changes, wakeAt, act } = turn(order, unreachable, at)
    t.equal(act, null)
    order = after(order, changes)
    waits.push(((wakeAt as number) - at) / 1000)
    at = wakeAt as number
  }
  t.same(waits, [2, 4, 8, 16, 30, 30])
  t.equal(order.state, 'open')
})

t.test('a BMC that stays silent uses up the attempts and then fails with its own words', async (t) => {
  let order = anOrder()
  let at = NOW
  let starts = 0
  for (let i = 0; i < 200 && order.state === 'open'; i++) {
    const { changes, wakeAt } = turn(order, unreachable, at)
    starts += kinds(changes).filter((kind) => kind === 'attempt-started').length
    order = after(order, changes)
    at = wakeAt ?? at
  }
  t.equal(order.state, 'failed')
  t.equal(starts, 2, 'three attempts in all')
  t.match(order.failure, { code: 'bmc-unreachable', message: 'nothing answered', milestone: 'powered-off' })
})

t.test('a wrong password ends the order at once: accounts lock', async (t) => {
  const { changes } = turn(anOrder(), auth)
  t.match(after(anOrder(), changes), {
    state: 'failed',
    failure: { code: 'bmc-auth', message: 'wrong password' }
  })
})

t.test('manage: the BMC answers, is examined, and leaves a manageable node with its card', async (t) => {
  const order = anOrder({ kind: 'manage' })
  const first = turn(order, on, NOW, aNode({ state: 'enroll', lastError: 'before' }))
  t.same(after(order, first.changes).ticks, { 'bmc-verified': NOW })
  const verified = after(order, first.changes)
  t.equal(needsLook(verified, limits, NOW), 'exam')
  const card = aQuirkCard({ findings: [{ kind: 'note', code: 'suite', message: 'm' }] })
  const { changes } = turn(verified, { card }, NOW, aNode({ state: 'enroll', powerState: 'on' }))
  t.equal(after(order, changes).state, 'done')
  t.match(nodeAfter(aNode(), changes), {
    state: 'manageable',
    powerState: 'on',
    lastError: null,
    quirkCard: card
  })
  t.match(kinds(changes), ['bmc-examined', 'milestone-reached', 'order-done'])
})

t.test('a check with power: on, then off, both timed on the card', async (t) => {
  let order = anOrder({ kind: 'check-power' })
  let node = aNode()
  const go = (seen: Observation, at: number) => {
    const { changes, act } = turn(order, seen, at, node)
    order = after(order, changes)
    node = nodeAfter(node, changes)
    return act
  }
  t.equal(go({ card: aQuirkCard() }, NOW), null)
  t.same(go(off, NOW), { act: 'power-on', bootDevice: null }, 'it boots what it always boots')
  t.equal(go(off, NOW + 1000), null)
  t.same(go(on, NOW + 4000), { act: 'power-off' })
  t.equal(go(off, NOW + 6000), null)
  go(off, NOW + 7000)
  t.equal(order.state, 'done')
  t.same(node.quirkCard?.power, { onSeconds: 4, offSeconds: 2 })
})

t.test('an act that failed: what is known of it stays known', async (t) => {
  const order = anOrder({ asked: { act: 'power-on', at: NOW } })
  t.equal(afterFailedAct(order, null, false).asked, null, 'nothing was sent')
  const inDoubt = afterFailedAct(order, null, true)
  t.same(inDoubt.asked, { act: 'power-on', at: NOW, inDoubt: true })
  const row = { ...inDoubt, ticks: offTick }
  t.match(turn(row, off, NOW + 5000).act, { act: 'power-on' }, 'it reads off: asked again at once')
  t.match(
    after(row, turn(row, on, NOW + 5000).changes).ticks,
    { 'powered-on': NOW + 5000 },
    'it reads on: ours'
  )
})

t.test(
  'a UEFI machine whose BMC loses the EFI bit is switched on without an override, and told so',
  async (t) => {
    const card = aQuirkCard({
      bootDevice: { truthful: false, keepsEfi: false, canBeKept: true, lapses: null }
    })
    const order = anOrder({ ticks: offTick })
    const { act, changes } = turn(order, off, NOW + 5000, aNode({ quirkCard: card }))
    t.same(act, { act: 'power-on', bootDevice: null })
    t.match(after(order, changes).asked, { bootDevice: { kept: false, words: /EFI bit/ } })
    const bios = aNode({ quirkCard: card, properties: { capabilities: 'boot_mode:bios' } })
    t.match(turn(order, off, NOW + 5000, bios).act, { bootDevice: { efi: false } })
  }
)

t.test('how often it was switched on is kept with the node', async (t) => {
  const order = anOrder({ kind: 'power-on', asked: { act: 'power-on', at: NOW } })
  const node = aNode({ powerOns: [NOW - 3_600_001, NOW - 10] })
  t.same(nodeAfter(node, turn(order, on, NOW, node).changes).powerOns, [NOW - 10, NOW])
})

t.test('a machine that is silent on the network is looked at before it is given up', async (t) => {
  const order = anOrder({ ticks: onTick, reading: { power: 'on', since: NOW, at: NOW, count: 1 } })
  t.equal(needsLook(order, limits, NOW + 399_999), null)
  t.equal(needsLook(order, limits, NOW + 400_000), 'power')
  const last = { ...order, attempt: 3 }
  const failed = (seen: Observation) => after(last, turn(last, seen, NOW + 400_000).changes).failure
  t.match(failed(on), { milestone: 'network-seen', code: 'no-network' })
  t.match(failed(off), { milestone: 'network-seen', code: 'power-lost' })
  t.match(failed(unreachable), { code: 'no-network' }, 'a BMC that is silent as well does not hide it')
  t.match(after(order, turn(order, on, NOW + 400_000).changes), { attempt: 2, ticks: {}, reading: null })
})

t.test('manage with a wrong password leaves the node where it was and says why', async (t) => {
  const order = anOrder({ kind: 'manage' })
  const { changes } = turn(order, auth, NOW, aNode({ state: 'enroll' }))
  t.equal(after(order, changes).state, 'failed')
  t.match(
    changes.findLast((change) => 'put' in change && change.put === 'node'),
    {
      row: { state: 'enroll', lastError: 'wrong password' }
    }
  )
})

const deadlines: Record<
  string,
  { ticks: Order['ticks']; seconds: number; progressAt?: number; milestone: string }
> = {
  'the ramdisk never calls': { ticks: networkTick, seconds: 600, milestone: 'agent-seen' },
  'the write stalls': { ticks: agentTick, seconds: 300, milestone: 'image-written' },
  'the installed system never shows': { ticks: writtenTick, seconds: 600, milestone: 'instance-up' }
}
for (const [sentence, { ticks, seconds, milestone }] of Object.entries(deadlines))
  t.test(`${sentence}: another attempt with a new token and an empty list`, async (t) => {
    const order = anOrder({ ticks })
    const before = turn(order, null, NOW + seconds * 1000 - 1)
    t.equal(before.wakeAt, NOW + seconds * 1000)
    t.equal(after(order, before.changes), order)
    const { changes } = turn(order, null, NOW + seconds * 1000)
    t.match(after(order, changes), { attempt: 2, token: FRESH, ticks: {}, state: 'open', progress: null })
    const last = anOrder({ ticks, attempt: 3 })
    t.match(after(last, turn(last, null, NOW + seconds * 1000).changes), {
      state: 'failed',
      failure: { milestone, code: 'timeout' }
    })
  })

t.test('a loader after which nothing comes ends the attempt early, and costs none', async (t) => {
  const trial = { worked: null, silent: [], refused: false }
  const fetched = { loader: 'snponly.efi', at: NOW + 30_000 }
  const waiting = (given: Partial<Order> = {}) =>
    anOrder({ ticks: networkTick, loaderTrial: { ...trial, fetched }, ...given })
  t.equal(turn(waiting(), null, NOW + 209_999).wakeAt, NOW + 210_000, '180 s after it was fetched')
  const { changes } = turn(waiting(), null, NOW + 210_000)
  t.match(after(waiting(), changes), { attempt: 2, ticks: {}, loaderTrial: { fetched } })
  t.match(
    changes.find((change) => 'event' in change && change.event.kind === 'attempt-started'),
    { event: { detail: { reason: /snponly\.efi was fetched and nothing followed for 180 s: Secure Boot/ } } }
  )
  t.match(after(waiting(), turn(waiting({ attempt: 3 }), null, NOW + 210_000).changes), { attempt: 4 })
  t.match(after(waiting(), turn(waiting({ attempt: 4 }), null, NOW + 210_000).changes), {
    state: 'failed',
    failure: { code: 'loader-silent', milestone: 'agent-seen' }
  })
  const followed = anOrder({
    ticks: networkTick,
    loaderTrial: { ...trial, fetched: null, worked: 'snponly.efi' }
  })
  t.equal(turn(followed, null, NOW + 210_000).wakeAt, NOW + 600_000, 'what follows has its usual time')
  t.equal(turn(waiting({ attemptStartedAt: NOW + 40_000 }), null, NOW + 250_000).wakeAt, NOW + 640_000)
})

t.test('progress of the write moves its deadline', async (t) => {
  const order = anOrder({
    ticks: agentTick,
    progress: { stage: 'writing', done: 1, total: 2, at: NOW + 200_000 }
  })
  t.equal(turn(order, null, NOW + 400_000).wakeAt, NOW + 500_000)
})

t.test('all lines ticked: active, with the time it took', async (t) => {
  const order = anOrder({ ticks: upTick })
  const { changes } = turn(order, null, NOW + 90_000)
  t.equal(after(order, changes).state, 'done')
  t.match(
    changes.find((change) => 'put' in change && change.put === 'node'),
    {
      row: { state: 'active', instanceUuid: order.instanceUuid }
    }
  )
  t.match(
    changes.find((change) => 'event' in change && change.event.kind === 'order-done'),
    {
      event: { detail: { seconds: 90 } }
    }
  )
})

t.test('undeploy ends with the machine off and its instance gone', async (t) => {
  const order = anOrder({ kind: 'undeploy', reading: offOnce })
  const { changes } = turn(order, off, NOW, aNode({ state: 'active', instanceUuid: 'i' }))
  t.match(
    changes.find((change) => 'put' in change && change.put === 'node'),
    { row: { powerState: 'off' } }
  )
  t.match(
    changes.findLast((change) => 'put' in change && change.put === 'node'),
    {
      row: { state: 'available', instanceUuid: null, powerState: 'off' }
    }
  )
  t.ok(changes.some((change) => 'remove' in change && change.remove === 'instance'))
})

t.test('before its time nothing is looked at or done', async (t) => {
  const order = anOrder({ notBefore: NOW + 10 })
  t.equal(needsLook(order, limits, NOW), null)
  t.same(turn(order, null), { changes: [], act: null, wakeAt: NOW + 10 })
})

t.test(
  'whatever is seen, in whatever order: ticks never go away, acts are levels, one at a time',
  async (t) => {
    fc.assert(
      fc.property(
        fc.constantFrom(...(Object.keys(CHECKLIST) as OrderKind[])),
        fc.array(fc.tuple(fc.constantFrom(on, off, unreachable, null), fc.integer({ min: 0, max: 30_000 })), {
          maxLength: 60
        }),
        (kind, looks) => {
          let order = anOrder({ kind })
          let at = NOW
          for (const [observation, wait] of looks) {
            at += wait
            const wanted = needsLook(order, limits, at)
            const seen: Observation =
              wanted === 'power' ? (observation ?? off) : wanted === 'exam' ? { card: aQuirkCard() } : null
            const before = order
            const { changes, act } = turn(order, seen, at)
            const row = after(order, changes)
            if (row.attempt === order.attempt)
              for (const milestone of CHECKLIST[kind])
                if (order.ticks[milestone] !== undefined && row.ticks[milestone] !== order.ticks[milestone])
                  return false
            // Ticked only by a reading that shows it.
            if (
              row.ticks['powered-off'] !== undefined &&
              order.ticks['powered-off'] === undefined &&
              seen !== off
            )
              return false
            if (
              row.ticks['powered-on'] !== undefined &&
              order.ticks['powered-on'] === undefined &&
              seen !== on
            )
              return false
            if (act?.act === 'power-off' && seen !== on) return false
            if (act?.act === 'power-on' && seen !== off) return false
            // Off is believed only when two readings agree, and nothing is asked twice within its time.
            if (row.ticks['powered-off'] === at && before.reading?.power !== 'off') return false
            if (act && before.asked?.act === act.act && row.attempt === before.attempt)
              if (at < before.asked.at + limits.askAgainSeconds * 1000) return false
            if (order.state !== 'open' && (act || changes.length > 0)) return false
            if (row.state === 'done' && nextMilestone(row) !== undefined) return false
            order = row
          }
          return true
        }
      ),
      { numRuns: 2000 }
    )
    t.pass('2000 histories')
  }
)
