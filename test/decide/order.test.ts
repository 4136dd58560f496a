import fc from 'fast-check'
import t from 'tap'
import {
  decideTurn,
  failAttempt,
  needsLook,
  type Observation,
  type OrderLimits
} from '../../src/decide/order.ts'
import type { Change } from '../../src/domain/change.ts'
import { CHECKLIST, nextMilestone, type Order, type OrderKind } from '../../src/domain/order.ts'
import { aNode, anInventory, anOrder, NOW } from '../support/builders.ts'

const limits: OrderLimits = {
  attempts: 3,
  agentSeconds: 600,
  writeStallSeconds: 300,
  instanceSeconds: 600,
  minimumOffSeconds: 5
}
const FRESH = 'f'.repeat(64)
const on: Observation = { power: 'on' }
const off: Observation = { power: 'off' }
const unreachable: Observation = { trouble: { code: 'bmc-unreachable', message: 'nothing answered' } }
const auth: Observation = { trouble: { code: 'bmc-auth', message: 'wrong password' } }

/** The order row a turn leaves. */
function after(order: Order, changes: readonly Change[]): Order {
  let row = order
  for (const change of changes) if ('put' in change && change.put === 'order') row = change.row
  return row
}
const kinds = (changes: readonly Change[]) =>
  changes.flatMap((change) => ('event' in change ? [change.event.kind] : []))
const turn = (order: Order, seen: Observation, at = NOW, node = aNode()) =>
  decideTurn(order, node, seen, limits, at, FRESH)

const offTick = { 'powered-off': NOW }
const onTick = { ...offTick, 'powered-on': NOW }
const agentTick = { ...onTick, 'agent-seen': NOW }
const writtenTick = { ...agentTick, 'image-written': NOW }
const upTick = { ...writtenTick, 'instance-up': NOW }

t.test('a machine that is on is switched off first', async (t) => {
  const { act, changes, wakeAt } = turn(anOrder(), on)
  t.same(act, { act: 'power-off' })
  t.same(after(anOrder(), changes).ticks, {}, 'asking is not reaching')
  t.ok(kinds(changes).includes('power-asked'))
  t.equal(wakeAt, NOW + 1000)
})

t.test('off is ticked when the BMC reads off, and the machine rests before it is switched on', async (t) => {
  const { act, changes, wakeAt } = turn(anOrder(), off)
  t.same(after(anOrder(), changes).ticks, offTick)
  t.equal(act, null, 'one commit, no act before the minimum off time')
  t.equal(wakeAt, NOW + 5000)
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
  t.same(turn(asked, on, NOW + 20_000).act, { act: 'power-off' })
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

t.test(
  'manage succeeds when the BMC answers, and leaves a manageable node with its power state',
  async (t) => {
    const order = anOrder({ kind: 'manage' })
    const { changes } = turn(order, on, NOW, aNode({ state: 'enroll', lastError: 'before' }))
    t.equal(after(order, changes).state, 'done')
    const node = changes.findLast((change) => 'put' in change && change.put === 'node')
    t.match(node, { row: { state: 'manageable', powerState: 'on', lastError: null } })
  }
)

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
  'the ramdisk never calls': { ticks: onTick, seconds: 600, milestone: 'agent-seen' },
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
    anOrder({ ticks: onTick, loaderTrial: { ...trial, fetched }, ...given })
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
  const followed = anOrder({ ticks: onTick, loaderTrial: { ...trial, fetched: null, worked: 'snponly.efi' } })
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
  const order = anOrder({ kind: 'undeploy' })
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

t.test('what another attempt would only meet again ends the order', async (t) => {
  for (const code of ['disk-too-small', 'disk-ambiguous', 'wrong-machine', 'chunk-corrupt']) {
    const why = { milestone: 'image-written' as const, code, message: 'm', at: NOW }
    t.equal(after(anOrder(), failAttempt(anOrder(), aNode(), why, limits, NOW, FRESH)).state, 'failed', code)
  }
  const why = { milestone: 'image-written' as const, code: 'disk-error', message: 'm', at: NOW }
  t.match(after(anOrder(), failAttempt(anOrder(), aNode(), why, limits, NOW, FRESH)), {
    state: 'open',
    attempt: 2
  })
})

t.test('before its time nothing is looked at or done', async (t) => {
  const order = anOrder({ notBefore: NOW + 10 })
  t.equal(needsLook(order, NOW), false)
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
            const seen: Observation = needsLook(order, at) ? (observation ?? off) : null
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
