import t, { type Test } from 'tap'
import type { ConsoleLine, ConsoleOptions } from '../../../src/domain/console.ts'
import type { BmcAccess } from '../../../src/domain/bmc.ts'
import type { AppError } from '../../../src/domain/error.ts'
import { SOL_TIMING } from '../../../src/decide/sol.ts'
import type { Bmcs } from '../../../services/bmc/bmcs.ts'
import { seededRandom } from '../../support/mutate.ts'
import { failureOf, fake, NODE, started } from './started.ts'

/** Impatient, so that tests are quick. */
const QUICK_SOL = { ...SOL_TIMING, resend: 50, pause: 50, tries: 20, keepAlive: 300 }

type Seat = { line: ConsoleLine; heard: string; news: string[]; lost: AppError | null }

/** Somebody at a console. */
async function sit(
  t: Test,
  bmcs: Bmcs,
  access: BmcAccess,
  options: Partial<ConsoleOptions> = {}
): Promise<Seat> {
  const seat: Omit<Seat, 'line'> = { heard: '', news: [], lost: null }
  const listener = {
    heard: (characters: Buffer) => void (seat.heard += characters.toString()),
    news: (news: string) => void seat.news.push(news),
    lost: (error: AppError) => void (seat.lost = error)
  }
  const line = await bmcs.console(access, { steal: false, spare: false, ...options }, listener)
  t.teardown(() => line.close())
  return Object.assign(seat, { line })
}

async function until(what: string, done: () => boolean): Promise<void> {
  const end = performance.now() + 20_000
  while (!done()) {
    if (performance.now() > end) throw new Error(`not so: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

t.test('both ways, and closed', async (t) => {
  const bmc = await fake(t)
  const bmcs = started(t, { solTiming: QUICK_SOL })
  const seat = await sit(t, bmcs, bmc.access())
  bmc.sol.say('login: ')
  await until('the prompt is heard', () => seat.heard === 'login: ')
  seat.line.write(Buffer.from('root\r'))
  seat.line.sendBreak()
  await until('the break has come', () => bmc.sol.typed === 'root\r<break>')
  t.equal(await bmcs.bmc(NODE, bmc.access()).powerState(), 'off', 'beside the queue of commands')
  t.equal(bmc.sessions(), 2)
  await seat.line.close()
  t.equal(bmc.sol.owner, null)
  t.match(bmc.asked.slice(-2), ['Deactivate Payload', 'Close Session'])
  t.equal(seat.lost, null, 'closed by us, nothing is lost')
  bmc.sol.say('nobody hears')
})

t.test('64 KiB with 20 % of the packets lost each way', async (t) => {
  const bmc = await fake(t)
  const bmcs = started(t, { solTiming: QUICK_SOL, operation: 20_000 })
  const seat = await sit(t, bmcs, bmc.access())
  const random = seededRandom(6)
  bmc.faults.loses = () => random() < 0.2
  const text = Array.from({ length: 300 }, (_, line) => `${line} all work and no play\r\n`).join('')
  bmc.sol.say(text)
  seat.line.write(Buffer.from('x'.repeat(500)))
  await until('all is heard', () => seat.heard.length >= text.length)
  t.equal(seat.heard, text)
  await until('all is typed', () => bmc.sol.typed.length >= 500)
  t.equal(bmc.sol.typed, 'x'.repeat(500))
  bmc.faults.loses = () => false
})

t.test('a machine that is off', async (t) => {
  const bmc = await fake(t)
  const bmcs = started(t, { solTiming: QUICK_SOL })
  const seat = await sit(t, bmcs, bmc.access())
  bmc.sol.faults.unavailable = true
  seat.line.write(Buffer.from('hello?'))
  await until('it is told', () => seat.news.includes('unavailable'))
  await new Promise((resolve) => setTimeout(resolve, 300))
  t.same(seat.news, ['unavailable'], 'once')
  t.equal(seat.lost, null)
  bmc.sol.faults.unavailable = false
  await until('what was typed comes', () => bmc.sol.typed === 'hello?')
  // The BMC has it before we have its answer.
  await until('that is told, too', () => seat.news.length > 1)
  t.same(seat.news, ['unavailable', 'available'])
})

t.test('active elsewhere: refused with a name, and taken over only when asked', async (t) => {
  const bmc = await fake(t)
  const bmcs = started(t, { solTiming: QUICK_SOL })
  const first = await sit(t, bmcs, bmc.access())
  const refused = await failureOf(sit(t, bmcs, bmc.access()), bmc.access())
  t.match(refused, {
    code: 'bmc-busy',
    detail: { reason: 'console-taken' },
    message: /active in another session.*--steal/
  })
  t.equal(bmc.sessions(), 1, 'the session of the refused one is closed')
  t.equal(await bmcs.bmc(NODE, bmc.access()).powerState(), 'off', 'and nothing is held against the BMC')
  const second = await sit(t, bmcs, bmc.access(), { steal: true })
  await until('the first is told', () => first.lost !== null)
  t.match(first.lost, { code: 'bmc-busy', detail: { reason: 'console-deactivated' } })
  bmc.sol.say('yours')
  await until('the second hears', () => second.heard === 'yours')
  t.equal(first.heard, '')
})

t.test('a BMC that cannot be brought to let go', async (t) => {
  const bmc = await fake(t)
  const bmcs = started(t, { solTiming: QUICK_SOL })
  bmc.faults.refuses = { 'Activate Payload': 0x80, 'Deactivate Payload': 0x80 }
  const refused = await failureOf(sit(t, bmcs, bmc.access(), { steal: true }), bmc.access())
  t.match(refused, { code: 'bmc-busy', detail: { reason: 'console-taken' } })
  t.equal(bmc.asked.filter((name) => name === 'Activate Payload').length, 4)
})

t.test('refusals are told apart', async (t) => {
  const bmc = await fake(t)
  const bmcs = started(t, { solTiming: QUICK_SOL })
  const refusalOf = (code: number): Promise<AppError> => {
    bmc.faults.refuses = { 'Activate Payload': code }
    return failureOf(sit(t, bmcs, bmc.access()), bmc.access())
  }
  t.match(await refusalOf(0x81), { code: 'bmc-refused', message: /serial over LAN is disabled.*Enable/ })
  t.match(await refusalOf(0xc1), { code: 'bmc-refused' })
  t.match(await refusalOf(0xd4), { code: 'bmc-privilege' })
  const old = bmc.access({ protocol: '1.5' })
  t.match(await failureOf(sit(t, bmcs, old), old), { code: 'bmc-refused', message: /IPMI 2.0/ })
  t.equal(bmc.sessions(), 0)
})

t.test('a wrong password is tried once, by whomever', async (t) => {
  const bmc = await fake(t)
  const bmcs = started(t, { solTiming: QUICK_SOL }, ['secret123', 'not-it'])
  const access = bmc.access({ password: 'not-it' })
  t.match(await failureOf(sit(t, bmcs, access), access), { code: 'bmc-auth' })
  const before = bmc.asked.length
  t.match(await failureOf(bmcs.bmc(NODE, access).powerState(), access), {
    code: 'bmc-auth',
    detail: { leftAlone: true }
  })
  t.match(await failureOf(sit(t, bmcs, access), access), { detail: { leftAlone: true } })
  t.equal(bmc.asked.length, before, 'not a packet more')
})

t.test('a BMC that falls silent, or restarts, is noticed', async (t) => {
  const bmc = await fake(t)
  const bmcs = started(t, { solTiming: QUICK_SOL })
  const seat = await sit(t, bmcs, bmc.access())
  await until('it is asked whether it is there', () => bmc.asked.includes('Get Device ID'))
  t.equal(seat.lost, null)
  bmc.restart()
  await until('the line is lost', () => seat.lost !== null)
  t.match(seat.lost, { code: 'bmc-unreachable' })
})

t.test('the only session of a BMC is for power, not for a console', async (t) => {
  const bmc = await fake(t)
  bmc.faults.sessionLimit = 1
  const bmcs = started(t, { solTiming: QUICK_SOL, operation: 20_000 })
  const seat = await sit(t, bmcs, bmc.access(), { spare: true })
  const startedAt = performance.now()
  t.equal(await bmcs.bmc(NODE, bmc.access()).powerState(), 'off')
  t.ok(performance.now() - startedAt < 2000, 'the power state waited for no more than one pause')
  t.match(seat.lost, { code: 'bmc-busy', detail: { reason: 'no-spare-session' } })
  const again = await failureOf(sit(t, bmcs, bmc.access(), { spare: true }), bmc.access())
  t.match(again, { detail: { reason: 'no-spare-session' } }, 'and it is not taken again')
})

t.test('a listener that closes the line in the middle of a step', async (t) => {
  const bmc = await fake(t)
  const bmcs = started(t, { solTiming: QUICK_SOL })
  let closed: Promise<void> | undefined
  const line: ConsoleLine = await bmcs.console(
    bmc.access(),
    { steal: false, spare: false },
    { heard: () => void (closed = line.close()), news: () => {}, lost: () => {} }
  )
  bmc.sol.say('x')
  await until('it is closed', () => closed !== undefined)
  await closed
  t.equal(bmc.sessions(), 0)
})
