import fc from 'fast-check'
import t from 'tap'
import {
  SOL_TIMING,
  startSol,
  stepSol,
  WAITING_LIMIT,
  type SolInput,
  type SolStep
} from '../../src/decide/sol.ts'
import { decodeSol, encodeSol, SOL_OPERATION, SOL_STATUS, type SolPacket } from '../../src/wire/ipmi/sol.ts'
import { fakeSol } from '../support/fake-sol.ts'
import { mutate, seededRandom } from '../support/mutate.ts'

const SIZE = 10

/** One console, fed by hand; `at` is its clock. */
function aConsole(size = SIZE, timing = SOL_TIMING) {
  let step: SolStep = startSol(size, timing, 0)
  const self = {
    at: 0,
    first: step,
    get state() {
      return step.sol
    },
    feed(input: SolInput): SolStep {
      step = stepSol(step.sol, input, self.at)
      return step
    },
    write: (text: string) => self.feed({ kind: 'write', characters: Buffer.from(text) }),
    packet: (packet: Partial<SolPacket>) =>
      self.feed({
        kind: 'payload',
        payload: encodeSol({
          sequence: 0,
          acked: 0,
          accepted: 0,
          flags: 0,
          characters: Buffer.alloc(0),
          ...packet
        })
      }),
    says: (sequence: number, text: string, flags = 0) =>
      self.packet({ sequence, characters: Buffer.from(text), flags }),
    acks: (acked: number, accepted: number, flags = 0) => self.packet({ acked, accepted, flags }),
    timer(at: number) {
      self.at = at
      return self.feed({ kind: 'timer' })
    }
  }
  return self
}

/** "1:abc", "ack 2:3", "3:<break>" */
function words({ send }: SolStep): string[] {
  return send.map((payload) => {
    const { sequence, acked, accepted, flags, characters } = decodeSol(payload)
    if (sequence === 0) return `ack ${acked}:${accepted}`
    return `${sequence}:${flags & SOL_OPERATION.break ? '<break>' : ''}${characters}`
  })
}

t.test('the first packet raises the handshake lines, and holds nothing', async (t) => {
  t.same(words(aConsole().first), ['ack 0:0'])
})

t.test('characters go in packets of the BMC’s size, one at a time', async (t) => {
  const one = aConsole()
  t.same(words(one.write('0123456789abcdefghijX')), ['1:0123456789'])
  t.same(words(one.write('YZ')), [], 'nothing while a packet is out')
  t.same(words(one.acks(2, 10)), [], 'an acknowledgement of another number is none')
  t.same(words(one.acks(1, 10)), ['2:abcdefghij'])
  t.same(words(one.acks(2, 10)), ['3:XYZ'])
  t.same(words(one.acks(3, 3)), [])
  t.equal(one.state.wakeAt, SOL_TIMING.keepAlive)
})

t.test('numbers go from 15 to 1', async (t) => {
  const one = aConsole(1)
  const numbers: string[] = []
  numbers.push(...words(one.write('abcdefghijklmnopq')))
  for (let last = 1; last <= 16; last++) numbers.push(...words(one.acks(((last - 1) % 15) + 1, 1)))
  t.same(numbers.slice(13), ['14:n', '15:o', '1:p', '2:q'])
})

t.test('what is not acknowledged is sent again under its number, then the BMC is given up', async (t) => {
  const one = aConsole()
  t.same(words(one.write('ab')), ['1:ab'])
  t.same(words(one.timer(SOL_TIMING.resend - 1)), [], 'not before its time')
  let sends = 1
  let last: SolStep | undefined
  while (!last?.ended) {
    last = one.timer(one.state.wakeAt)
    if (words(last).length > 0) {
      t.same(words(last), ['1:ab'])
      sends++
    }
  }
  t.equal(sends, SOL_TIMING.tries)
  t.equal(last.ended, 'silent')
  t.ok(one.at > 10_000 && one.at < 30_000, `given up after ${one.at} ms`)
})

t.test('an acknowledgement for a part: the rest goes under the next number', async (t) => {
  const one = aConsole()
  one.write('abcdef')
  t.same(words(one.acks(1, 4)), ['2:ef'])
  t.same(words(one.acks(2, 0)), [], 'nothing accepted: not at once again')
  t.same(words(one.timer(SOL_TIMING.pause)), ['3:ef'])
})

t.test('a refused packet is kept while the machine is off, for as long as the BMC answers', async (t) => {
  const one = aConsole()
  one.write('ab')
  const refusal = SOL_STATUS.nack | SOL_STATUS.unavailable
  t.same(one.acks(1, 0, refusal).news, ['unavailable'])
  for (let round = 0; round < 50; round++) {
    const step = one.timer(one.state.wakeAt)
    t.equal(step.ended, null)
    if (words(step).length > 0) t.same(words(step), ['1:ab'], 'under its number')
    t.same(one.acks(1, 0, refusal).news, [], 'told once')
  }
  one.timer(one.state.wakeAt)
  const step = one.acks(1, 2)
  t.same(step.news, ['available'])
  t.same(words(step), [])
  t.equal(one.state.outstanding, null)
})

t.test('a refusal that took a part', async (t) => {
  const one = aConsole()
  one.write('abcd')
  t.same(words(one.acks(1, 3, SOL_STATUS.nack)), [])
  t.same(words(one.timer(SOL_TIMING.pause)), ['2:d'])
})

t.test('a break goes in a packet of its own, in its place', async (t) => {
  const one = aConsole()
  one.write('ab')
  one.feed({ kind: 'break' })
  one.write('cd')
  one.write('ef')
  t.same(words(one.acks(1, 2)), ['2:<break>'])
  t.same(words(one.acks(2, 0)), ['3:cdef'])
})

t.test('what the machine says is heard once, and acknowledged each time', async (t) => {
  const one = aConsole()
  const first = one.says(1, 'Hello')
  t.equal(first.heard.toString(), 'Hello')
  t.same(words(first), ['ack 1:5'])
  const again = one.says(1, 'Hello')
  t.equal(again.heard.toString(), '')
  t.same(words(again), ['ack 1:5'], 'our acknowledgement was lost')
  const grown = one.says(1, 'Hello, world')
  t.equal(grown.heard.toString(), ', world', 'only what is new')
  t.same(words(grown), ['ack 1:12'])
  t.equal(one.says(2, '!').heard.toString(), '!')
  const late = one.says(1, 'Hello, world')
  t.equal(late.heard.toString(), '')
  t.match(late.ignored, /late copy of packet 1/)
  t.same(words(late), [], 'a late copy is not acknowledged: the number may be used again')
  for (let number = 3; number <= 17; number++)
    t.equal(one.says(((number - 1) % 15) + 1, 'x').heard.toString(), 'x', `${number}`)
})

t.test('overrun, break and deactivation are told', async (t) => {
  const one = aConsole()
  t.same(one.says(1, 'a', SOL_STATUS.overrun | SOL_STATUS.break).news, ['overrun', 'break'])
  const last = one.says(2, 'bye', SOL_STATUS.deactivated)
  t.equal(last.ended, 'deactivated')
  t.equal(last.heard.toString(), 'bye')
  t.same(last.send, [])
})

t.test('the session is kept by a command every so often, however much the machine says', async (t) => {
  const one = aConsole()
  const asked: number[] = []
  for (one.at = 1000; one.at <= 60_000; one.at += 1000) {
    one.says((one.at / 1000) % 15 || 15, 'x')
    if (one.at >= one.state.wakeAt && one.timer(one.at).askAlive) asked.push(one.at)
  }
  t.same(asked, [20_000, 40_000, 60_000])
})

t.test('what is typed at a machine that takes nothing is bounded', async (t) => {
  const one = aConsole()
  t.same(one.write('x'.repeat(WAITING_LIMIT)).news, [])
  t.same(one.write('y'.repeat(2 * WAITING_LIMIT)).news, ['dropped'])
  t.same(one.feed({ kind: 'break' }).news, ['dropped'])
  const waiting = one.state.waiting.reduce((sum, item) => sum + item.length, 0)
  t.equal(waiting, WAITING_LIMIT)
})

/**
 * A console and a BMC with a bad network between them: every packet may be lost or late (copies are caught by the
 * session below). Nothing may be lost, doubled or out of order in what either end hears.
 */
function overBadNetwork(
  seed: number,
  loss: number,
  accepts: number,
  grows: boolean
): { heard: string; typed: string } {
  const random = seededRandom(seed)
  type Event = { at: number; deliver(): void }
  let events: Event[] = []
  const later = (deliver: () => void): void => {
    if (random() >= loss) events.push({ at: one.at + 1 + random() * 40, deliver })
  }
  // Of a thousand packets one is lost ten times in a row.
  const one = aConsole(SIZE, { ...SOL_TIMING, tries: 40 })
  let heard = ''
  // When the BMC last sent characters: a repetition that overtakes an acknowledgement, and holds more, could not be told from
  // one that follows it.
  let sentAt = 0
  const fromBmc = (payload: Buffer): void => {
    if (decodeSol(payload).sequence !== 0) sentAt = one.at
    later(() => take({ kind: 'payload', payload }))
  }
  const bmc = fakeSol(fromBmc)
  Object.assign(bmc.faults, { accepts, growsRepetitions: grows })
  const take = (input: SolInput): void => {
    const step = one.feed(input)
    heard += step.heard.toString()
    for (const payload of step.send)
      later(() => {
        for (const answer of bmc.receive(payload)) fromBmc(answer)
      })
  }
  bmc.activate(1)
  let said = 0
  let wrote = 0
  for (one.at = 0; one.at < 1_500_000; one.at += 10) {
    if (said < 40 && random() < 0.05) bmc.say(`line ${said++} of the machine\r\n`)
    if (wrote < 40 && random() < 0.05) take({ kind: 'write', characters: Buffer.from(`typed ${wrote++};`) })
    if (one.at - sentAt >= 500) for (const payload of bmc.repeat()) fromBmc(payload)
    const due = events.filter(({ at }) => at <= one.at).sort((a, b) => a.at - b.at)
    events = events.filter(({ at }) => at > one.at)
    for (const { deliver } of due) deliver()
    if (one.at >= one.state.wakeAt) take({ kind: 'timer' })
    if (said === 40 && wrote === 40 && events.length === 0 && bmc.idle() && !one.state.outstanding) break
  }
  return { heard, typed: bmc.typed }
}

t.test('with losses and delays each end hears exactly what the other said', async (t) => {
  const said = Array.from({ length: 40 }, (_, index) => `line ${index} of the machine\r\n`).join('')
  const wrote = Array.from({ length: 40 }, (_, index) => `typed ${index};`).join('')
  fc.assert(
    fc.property(
      fc.nat(),
      fc.constantFrom(0, 0.1, 0.3),
      fc.constantFrom(1, 3, 255),
      fc.boolean(),
      (seed, loss, accepts, grows) => {
        const { heard, typed } = overBadNetwork(seed, loss, accepts, grows)
        if (heard !== said) throw new Error(`heard ${JSON.stringify(heard)}`)
        if (typed !== wrote) throw new Error(`typed ${JSON.stringify(typed)}`)
      }
    ),
    { numRuns: 100, seed: 20261126 }
  )
  t.pass('100 networks')
})

t.test('100,000 mutated payloads: bounded, nothing uncaught', async (t) => {
  const random = seededRandom(5)
  const one = aConsole()
  const valid = encodeSol({
    sequence: 3,
    acked: 1,
    accepted: 2,
    flags: 0,
    characters: Buffer.from('some text')
  })
  let most = 0
  for (let round = 0; round < 100_000; round++) {
    if (round % 7 === 0) one.write('typed')
    one.at += 5
    const step = one.feed({ kind: 'payload', payload: mutate(valid, random) })
    if (one.at >= one.state.wakeAt) one.feed({ kind: 'timer' })
    most = Math.max(
      most,
      one.state.waiting.reduce((sum, item) => sum + item.length, 0)
    )
    if (step.send.length > 2 || step.heard.length > 64) throw new Error('an answer out of proportion')
  }
  t.ok(most <= WAITING_LIMIT + SIZE, `${most} characters wait at most`)
})
