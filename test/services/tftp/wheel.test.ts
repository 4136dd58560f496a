import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createWheel, type Timed } from '../../../services/tftp/wheel.ts'

type Item = Timed & { times: number[] }

const item = (after: number): Item => ({ wakeAt: performance.now() + after, tick: 0, times: [] })

t.test('each item is looked at when its deadline has come, not before', async (t) => {
  const wheel = createWheel<Item>((due) => {
    due.times.push(performance.now() - (due.wakeAt as number))
    due.wakeAt = null
  })
  t.teardown(() => wheel.close())
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
  t.teardown(() => wheel.close())
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
  t.teardown(() => wheel.close())
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

t.test('with nothing in it, it holds no timer; then it takes items again', async (t) => {
  const due: Item[] = []
  const wheel = createWheel<Item>((one) => {
    one.wakeAt = null
    due.push(one)
  })
  t.teardown(() => wheel.close())
  for (const round of [1, 2]) {
    wheel.arm(item(5))
    await sleep(60)
    t.equal(due.length, round)
  }
})
