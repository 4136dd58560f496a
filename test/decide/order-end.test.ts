import t from 'tap'
import { failAttempt, failOrder, retryOrEnd } from '../../src/decide/order-end.ts'
import type { Change } from '../../src/domain/change.ts'
import type { Order } from '../../src/domain/order.ts'
import { aNode, anOrder, NOW, someLimits } from '../support/builders.ts'

const limits = someLimits()
const FRESH = 'f'.repeat(64)
const why = { milestone: 'powered-on' as const, code: 'timeout', message: 'it reads off', at: NOW }

/** The order row that the changes leave. */
function after(order: Order, changes: readonly Change[]): Order {
  let row = order
  for (const change of changes) if ('put' in change && change.put === 'order') row = change.row
  return row
}

t.test('another attempt begins with nothing of the last, after a pause that grows', async (t) => {
  const used = anOrder({
    ticks: { 'powered-off': NOW },
    asked: { act: 'power-on', at: NOW },
    reading: { power: 'off', since: NOW, at: NOW, count: 3 },
    trouble: { code: 'bmc-busy', message: 'm', count: 2 }
  })
  const pauses = [1, 2, 3, 4, 5, 6, 7].map((attempt) => {
    const order = { ...used, attempt }
    const { changes, wakeAt } = retryOrEnd([], order, aNode(), why, someLimits({ attempts: 10 }), NOW, FRESH)
    t.match(after(order, changes), {
      attempt: attempt + 1,
      token: FRESH,
      ticks: {},
      asked: null,
      reading: null,
      trouble: null,
      notBefore: wakeAt
    })
    return ((wakeAt ?? 0) - NOW) / 1000
  })
  t.same(pauses, [15, 30, 60, 120, 240, 300, 300])
})

t.test('some orders are tried once', async (t) => {
  for (const kind of ['manage', 'check', 'check-power', 'soft-power-off', 'soft-reboot'] as const) {
    const order = anOrder({ kind })
    const { changes, wakeAt } = retryOrEnd([], order, aNode(), why, limits, NOW, FRESH)
    t.match(after(order, changes), { state: 'failed', failure: why }, kind)
    t.equal(wakeAt, null)
  }
})

t.test('a failed order leaves its reason on the node', async (t) => {
  const changes = failOrder(anOrder(), aNode(), why)
  t.match(changes, [
    { put: 'order', row: { state: 'failed', finishedAt: NOW } },
    { put: 'node', row: { state: 'available', lastError: 'it reads off' } },
    { event: { kind: 'order-failed', subject: 'timeout' } }
  ])
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
