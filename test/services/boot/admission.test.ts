import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createAdmission, type Admission } from '../../../services/boot/admission.ts'

type Turn = Awaited<ReturnType<Admission['enter']>>

/** Asks, and writes down what came of it when it has. */
function asker(admission: Admission) {
  const heard: string[] = []
  const turns = new Map<string, Turn>()
  return {
    heard,
    async ask(source: string) {
      const turn = await admission.enter(source)
      turns.set(source, turn)
      heard.push('leave' in turn ? `${source} loads` : `${source} is number ${turn.place}`)
    },
    leave(source: string) {
      const turn = turns.get(source)
      if (turn && 'leave' in turn) turn.leave()
    }
  }
}

const LIMITS = { loading: 2, holdMilliseconds: 50 }

t.test('so many at once, the rest in the order in which they asked', async (t) => {
  const { ask, leave, heard } = asker(
    createAdmission({ ...LIMITS, holdMilliseconds: 5000 }, () => performance.now())
  )
  const all = ['a', 'b', 'c', 'd', 'e'].map(ask)
  await sleep(10)
  t.same(heard, ['a loads', 'b loads'])
  leave('b')
  await sleep(0)
  leave('a')
  leave('a')
  await sleep(10)
  t.same(heard, ['a loads', 'b loads', 'c loads', 'd loads'], 'leaving twice lets in one')
  leave('c')
  await Promise.all(all)
  t.equal(heard.at(-1), 'e loads')
})

t.test('who waits too long is told a place, and keeps it', async (t) => {
  const admission = createAdmission(LIMITS, () => performance.now())
  const { ask, leave, heard } = asker(admission)
  await Promise.all([ask('a'), ask('b')])
  await ask('early')
  await ask('late')
  t.same(heard.slice(2), ['early is number 1', 'late is number 2'])
  t.same(admission.count(), { loading: 2, waiting: 0 })
  const back = [ask('newcomer'), ask('late'), ask('early')]
  leave('a')
  await sleep(5)
  t.equal(heard.at(-1), 'early loads', 'who asked first, not who came back first')
  leave('b')
  await sleep(5)
  t.equal(heard.at(-1), 'late loads')
  await Promise.all(back)
  t.equal(heard.at(-1), 'newcomer is number 1')
})

t.test('when there is room, nobody waits for those who were sent away', async (t) => {
  const { ask, leave, heard } = asker(createAdmission(LIMITS, () => performance.now()))
  await Promise.all([ask('a'), ask('b')])
  await ask('gone')
  leave('a')
  await ask('c')
  t.same(heard.slice(2), ['gone is number 1', 'c loads'])
})

t.test('who never comes back is forgotten', async (t) => {
  let now = 0
  const { ask, heard } = asker(createAdmission(LIMITS, () => now))
  await Promise.all([ask('a'), ask('b')])
  await ask('gone')
  now = 61_000
  await ask('c')
  t.same(heard.slice(2), ['gone is number 1', 'c is number 1'])
})

t.test('when to ask again follows from how long loads take', async (t) => {
  let now = 0
  const admission = createAdmission({ loading: 1, holdMilliseconds: 5 }, () => now)
  for (let load = 0; load < 100; load++) {
    const turn = await admission.enter('x')
    now += 8000
    if ('leave' in turn) turn.leave()
  }
  await admission.enter('a')
  t.match(await admission.enter('b'), { place: 1, retryAfterSeconds: 8 })
  t.match(await admission.enter('c'), { place: 2, retryAfterSeconds: 16 })
  for (let other = 0; other < 20; other++) await admission.enter(`d${other}`)
  t.match(await admission.enter('e'), { place: 23, retryAfterSeconds: 30 }, 'but at most half a minute')
})
