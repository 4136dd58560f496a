import t from 'tap'
import { places } from '../../../services/bmc/places.ts'

t.test('who comes first goes first, and no more than there are places', async (t) => {
  const two = places(2, 10_000)
  const seen: number[] = []
  const first = await two.take()
  const second = await two.take()
  const third = two.take().then((leave) => (seen.push(3), leave))
  const fourth = two.take().then((leave) => (seen.push(4), leave))
  await new Promise(setImmediate)
  t.same(seen, [])
  second()
  second()
  ;(await third)()
  t.same(seen, [3], 'leaving twice frees one place')
  first()
  ;(await fourth)()
  t.same(seen, [3, 4])
})

t.test('a place that is held too long is given to the next', async (t) => {
  const one = places(1, 20)
  const late = await one.take()
  const next = await one.take()
  late()
  let taken = false
  void one.take().then((leave) => {
    taken = true
    leave()
  })
  await new Promise(setImmediate)
  t.notOk(taken, 'leaving late frees nothing')
  next()
  await new Promise(setImmediate)
  t.ok(taken)
})
