import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createWheel, TICK, type Timed, type Wheel } from '../../../services/tftp/wheel.ts'

type Item = Timed & { times: number[] }

const item = (after: number): Item => ({ wakeAt: performance.now() + after, tick: 0, times: [] })

/** Turns it as its owner would. */
function turning(t: Test, wheel: Wheel<Item>): void {
  const timer = setInterval(() => wheel.turn(), TICK)
  t.teardown(() => clearInterval(timer))
}

t.test('each item is looked at when its deadline has come, not before', async (t) => {
  const wheel = createWheel<Item>((due) => {
    due.times.push(performance.now() - (due.wakeAt as number))
    due.wakeAt = null
  })
  turning(t, wheel)
  const items = [0, 1, 7, 30, 30, 31, 99, 150].map(item)
  for (const one of items) wheel.arm(one)
  await sleep(400)
  for (const [index, { times }] of items.entries()) {
    t.equal(times.length, 1, `item ${index} once`)
    t.ok((times[0] as number) >= 0, `item ${index}: ${times[0]} ms after its deadline`)
  }
})

t.test('items of one moment that arm again in it are all looked at again', async (t) => {
  const wheel = createWheel<Item>((due) => {
    due.times.push(0)
    due.wakeAt = due.times.length < 5 ? performance.now() + 10 : null
    wheel.arm(due)
  })
  turning(t, wheel)
  const items = Array.from({ length: 50 }, () => item(20))
  for (const one of items) wheel.arm(one)
  await sleep(400)
  t.same(new Set(items.map(({ times }) => times.length)), new Set([5]))
})

t.test('a deadline may move back without a word, forward with one, or away', async (t) => {
  const wheel = createWheel<Item>((due) => {
    due.times.push(performance.now())
    due.wakeAt = null
  })
  turning(t, wheel)
  const start = performance.now()
  const [back, forward, away, far] = [item(20), item(3000), item(20), item(600_000)]
  for (const one of [back, forward, away, far]) wheel.arm(one)
  back.wakeAt = start + 150
  forward.wakeAt = start + 20
  wheel.arm(forward)
  away.wakeAt = null
  await sleep(100)
  t.equal(back.times.length, 0)
  t.equal(forward.times.length, 1)
  await sleep(300)
  t.equal(back.times.length, 1)
  t.ok((back.times[0] as number) - start >= 150)
  t.equal(forward.times.length, 1, 'where it was first is passed over')
  t.same([away.times.length, far.times.length], [0, 0])
})

t.test('it is empty when all is done, and then takes items again', async (t) => {
  const due: Item[] = []
  const wheel = createWheel<Item>((one) => {
    one.wakeAt = null
    due.push(one)
  })
  turning(t, wheel)
  for (const round of [1, 2]) {
    wheel.arm(item(5))
    t.equal(wheel.isEmpty(), false)
    await sleep(60)
    t.equal(due.length, round)
    t.equal(wheel.isEmpty(), true)
  }
})
