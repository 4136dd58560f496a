import t, { type Test } from 'tap'
import { resumed, startLeaseClock, type Clocks } from '../../services/clock.ts'
import { createApply } from '../../services/store/apply.ts'
import { createFacts } from '../../services/store/facts.ts'
import { openStore } from '../../services/store/open.ts'

const HOUR = 3_600_000
const YEAR = 365 * 24 * HOUR

/**
 * A host whose clocks a test moves; `start` makes a lease clock on the same store, as a new run of the process would. `slow`: ms
 * that every look at a clock or at the store takes.
 */
function aHost(t: Test, { slow } = { slow: 0 }) {
  const store = openStore(t.testdir())
  t.teardown(() => store.close())
  const facts = createFacts(store)
  const clockMark = () => (pass(slow), facts.clockMark())
  const deps = { store, facts: { ...facts, clockMark }, apply: createApply(store) }
  const host = { wall: 1_800_000_000_000, monotonic: 0, uptime: 100 * HOUR, bootId: 'a', synchronised: false }
  const clocks = (): Clocks => ({
    wall: () => (pass(slow), host.wall),
    monotonic: () => (pass(slow), host.monotonic),
    uptime: () => (pass(slow), host.uptime),
    bootId: host.bootId,
    synchronised: () => host.synchronised
  })
  /** Time that really passes. */
  const pass = (milliseconds: number) => {
    host.wall += milliseconds
    host.monotonic += milliseconds
    host.uptime += milliseconds
  }
  const start = () => {
    host.monotonic = Math.random() * HOUR
    const clock = startLeaseClock(deps, clocks())
    return clock
  }
  return { host, pass, start }
}

t.test('within a run it follows the monotonic clock, whatever the wall clock does', async (t) => {
  const { host, pass, start } = aHost(t)
  const clock = start()
  const began = clock.now()
  t.equal(began, host.wall, 'it starts at the time of day')
  for (const jump of [10 * YEAR, -20 * YEAR, HOUR, -HOUR]) {
    const before = clock.now()
    host.wall += jump
    pass(1000)
    t.equal(clock.now() - before, 1000, `a jump of ${jump / HOUR} h`)
  }
  clock.close()
})

t.test('from run to run it follows the time since the machine started', async (t) => {
  for (const jump of [0, 10 * YEAR, -10 * YEAR, HOUR, -HOUR]) {
    const { host, pass, start } = aHost(t)
    const first = start()
    pass(5000)
    const stopped = first.now()
    first.close()
    host.wall += jump
    pass(7000)
    const second = start()
    t.equal(second.now() - stopped, 7000, `a jump of ${jump / HOUR} h between the runs`)
    second.close()
  }
})

t.test('a run that was killed is no different: the mark may be old', async (t) => {
  const { pass, start } = aHost(t)
  const first = start()
  t.teardown(() => first.close())
  pass(30_000)
  const killed = first.now()
  pass(2000)
  const second = start()
  t.equal(second.now() - killed, 2000)
  second.close()
})

t.test('it is never ahead of the time that has passed, however often a slow host starts it', (t) => {
  const { host, pass, start } = aHost(t, { slow: 3 })
  const first = start()
  t.teardown(() => first.close())
  const began = { uptime: host.uptime, time: first.now() }
  for (let times = 1; times <= 20; times++) {
    pass(1000)
    const clock = start()
    if (times % 2 === 0) clock.close()
    else t.teardown(() => clock.close())
    t.ok(clock.now() - began.time <= host.uptime - began.uptime, `${times} starts`)
  }
  t.end()
})

t.test('across a restart of the machine only a wall clock that was right twice counts', async (t) => {
  const mark = {
    id: 1,
    leaseTime: 5000,
    wallTime: 1000,
    synchronised: true,
    uptime: 99,
    bootId: 'a'
  } as const
  const now = { wallTime: 61_000, synchronised: true, uptime: 5, bootId: 'b' }
  t.equal(resumed(mark, now), 65_000)
  t.equal(resumed(mark, { ...now, synchronised: false }), 5000, 'not known to be right now')
  t.equal(resumed({ ...mark, synchronised: false }, now), 5000, 'not known to have been right')
  t.equal(resumed(mark, { ...now, wallTime: 10 }), 5000, 'it never goes back')
  t.equal(resumed({ ...mark, bootId: 'b' }, now), 5000, 'nor where the time since the start has')
})
