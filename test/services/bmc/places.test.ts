import t from 'tap'
import { places } from '../../../services/bmc/places.ts'

t.test('who comes first goes first, and no more than there are places', async (t) => {
  const two = places(2, { silent: 10_000, longest: 10_000 })
  const seen: number[] = []
  const first = await two.take(() => false)
  const second = await two.take(() => false)
  const third = two.take(() => false).then((leave) => (seen.push(3), leave))
  const fourth = two.take(() => false).then((leave) => (seen.push(4), leave))
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
  const one = places(1, { silent: 20, longest: 500 })
  const late = await one.take(() => false)
  const next = await one.take(() => false)
  late()
  let taken = false
  void one
    .take(() => false)
    .then((leave) => {
      taken = true
      leave()
    })
  await new Promise(setImmediate)
  t.notOk(taken, 'leaving late frees nothing')
  next()
  await new Promise(setImmediate)
  t.ok(taken)
})

t.test('a place from which something came is kept longer, and not for ever', async (t) => {
  const one = places(1, { silent: 20, longest: 100 })
  await one.take(() => true)
  const before = performance.now()
  const next = await one.take(() => false)
  t.ok(performance.now() - before >= 95)
  next()
})
