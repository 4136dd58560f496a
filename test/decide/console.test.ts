import t from 'tap'
import {
  absence,
  isBooting,
  isRecorded,
  mayReopen,
  passes,
  recordingId,
  recordingOf,
  reopenPause
} from '../../src/decide/console.ts'
import { consoleGivenUp, consoleLost, consoleTaken, wrongPassword } from '../../src/decide/bmc-failure.ts'
import { aNode, anOrder } from '../support/builders.ts'

const BMC = { address: '192.0.2.5', port: 623, username: 'admin', privilege: 'administrator' }

t.test('pauses grow, to half a minute', async (t) => {
  const lost = absence(consoleLost(BMC, 'silent'), 0)
  t.same(
    [0, 1, 2, 3, 4, 5, 9].map((tries) => reopenPause({ ...lost, tries }, 0.5)),
    [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]
  )
  t.equal(reopenPause(lost, 0), 750)
})

t.test('a console that is active elsewhere', async (t) => {
  const silent = absence(consoleLost(BMC, 'silent'), 1000)
  t.equal(mayReopen(silent, consoleTaken(BMC), 60_000), true, 'it may be our own old session')
  t.equal(mayReopen(silent, consoleTaken(BMC), 80_000), false, 'that one has ended by now')
  const taken = absence(consoleLost(BMC, 'deactivated'), 1000)
  t.equal(mayReopen(taken, consoleTaken(BMC), 2000), false, 'another one took it, and may have it')
  t.equal(mayReopen(taken, consoleLost(BMC, 'silent'), 2000), true)
})

t.test('what passes by waiting', async (t) => {
  t.equal(passes(consoleTaken(BMC)), true)
  t.equal(passes(consoleLost(BMC, 'silent')), true)
  t.equal(passes(wrongPassword(BMC)), false)
  t.equal(passes(consoleGivenUp(BMC)), false)
})

t.test('what is recorded', async (t) => {
  const off = anOrder({ ticks: { 'powered-off': 1 } })
  t.equal(isBooting(off), true)
  t.equal(isBooting(anOrder()), false, 'not before the machine is off: the BMC may not even be ours')
  t.equal(isBooting({ ...off, state: 'done' }), false)
  t.equal(isBooting({ ...off, kind: 'inspect' }), true)
  t.equal(isBooting({ ...off, kind: 'reboot' }), false)
  t.equal(isRecorded(aNode(), true), true)
  t.equal(isRecorded(aNode(), false), false)
  t.equal(isRecorded(aNode({ extra: { console: { record: false } } }), true), false)
  t.equal(isRecorded(aNode({ extra: { console: { record: true } } }), false), true)
  for (const console of [null, 'yes', {}, { record: 'no' }])
    t.equal(isRecorded(aNode({ extra: { console } }), true), true, JSON.stringify(console))
})

t.test("names of recordings are an order's and an attempt's", async (t) => {
  const order = anOrder({ attempt: 12 })
  t.same(recordingOf(recordingId(order)), { orderId: order.id, attempt: 12 })
  for (const id of ['', order.id, `${order.id}.0`, `${order.id}.x`, `../${order.id}.1`, `${order.id}.1/..`])
    t.equal(recordingOf(id), null, id)
})
