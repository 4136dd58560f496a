import { mock } from 'node:test'
import pino from 'pino'
import t, { type Test } from 'tap'
import { createFloodShield, type FloodShieldDeps } from '../../../services/dhcp/flood-shield.ts'

const log = pino({ level: 'silent' })
const STEP = 10

/** A shield, and a kernel that lets in what it was told to. `come`: what was looked into of so many strangers in each of some seconds. */
function aShield(t: Test, how: Partial<FloodShieldDeps> & { slow?: boolean } = {}) {
  mock.timers.enable({ apis: ['setInterval'] })
  t.teardown(() => mock.timers.reset())
  let programs = 0
  let filtered = false
  const shield = createFloodShield({
    perSecond: 1000,
    enrolled: () => ['52:54:00:00:00:01'],
    log,
    filter(program) {
      programs++
      filtered = program !== null
      return true
    },
    ...how
  })
  t.teardown(() => shield.close())
  let now = 0
  function come(rate: number, seconds: number): { in: number; read: number }[] {
    return Array.from({ length: seconds }, () => {
      const counted = { in: 0, read: 0 }
      let owed = 0
      for (let ms = 0; ms < 1000; ms += STEP, now += STEP) {
        for (let count = 0; count < (rate * STEP) / 1000; count++) {
          owed += shield.share()
          if (owed < 1) continue
          owed -= 1
          counted.in++
          if (!shield.tooMany(now)) counted.read++
        }
        if (how.slow !== true) shield.drained()
        mock.timers.tick(STEP)
      }
      return counted
    })
  }
  return { shield, come, filtered: () => filtered, programs: () => programs }
}

t.test('few strangers are all let in', async (t) => {
  const { come, shield, programs } = aShield(t)
  t.same(come(900, 5), Array(5).fill({ in: 900, read: 900 }))
  t.equal(shield.share(), 1)
  t.equal(programs(), 0)
})

t.test('a flood is kept out within its first second, and let in again when it is over', async (t) => {
  const { come, shield, filtered } = aShield(t)
  const [first, ...later] = come(50_000, 10)
  t.ok(first!.in < 6000, `${first!.in} of 50,000 in the first second`)
  for (const { in: came } of later) t.ok(came <= 1001 && came > 100, `${came} in a later one`)
  t.ok(filtered())
  const share = shield.share()
  come(50_000, 60)
  t.equal(shield.share(), share, 'it does not swing')
  come(0, 5)
  t.equal(shield.share(), 1)
  t.notOk(filtered(), 'the kernel looks at nothing any more')
  t.same(come(900, 2), Array(2).fill({ in: 900, read: 900 }))
})

t.test('who is enrolled during a flood is let in from then on', async (t) => {
  const asked: number[] = []
  const { come } = aShield(t, { enrolled: () => (asked.push(0), []) })
  come(50_000, 1)
  const before = asked.length
  come(50_000, 3)
  t.equal(asked.length - before, 3, 'asked every second')
})

t.test('a flood is seen too where less is read in a second than may be', async (t) => {
  const { come, shield } = aShield(t, { slow: true })
  come(400, 3)
  t.equal(shield.share(), 1)
  come(400, 1)
  t.equal(shield.share(), 1 / 4, 'more than may come in a second have come, and there was always more')
})

t.test('a kernel with little room for programs gets a smaller one', async (t) => {
  const taken: number[] = []
  const enrolled = Array.from({ length: 3000 }, (_, index) => `52:54:00:00:${(index >> 8).toString(16).padStart(2, '0')}:${(index & 255).toString(16).padStart(2, '0')}`) // prettier-ignore
  const { come } = aShield(t, {
    enrolled: () => enrolled,
    filter(program) {
      if (program && program.length > 8192) return false
      if (program) taken.push(program.length)
      return true
    }
  })
  come(50_000, 1)
  t.ok(taken.length > 0 && taken.every((bytes) => bytes > 4000), `${taken.join(' ')}`)
})

t.test('without a filter no more than the bound is looked into', async (t) => {
  const { come, shield } = aShield(t, { filter: undefined })
  for (const { in: came, read } of come(20_000, 3)) t.same([came, read], [20_000, 1000])
  t.equal(shield.share(), 1)
})
