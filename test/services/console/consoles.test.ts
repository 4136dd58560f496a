import pino from 'pino'
import t, { type Test } from 'tap'
import { startConsoles, type Guest } from '../../../services/console/consoles.ts'
import { consoleGivenUp, consoleLost, consoleTaken, wrongPassword } from '../../../src/decide/bmc-failure.ts'
import type { ConsoleListener, ConsoleOptions } from '../../../src/domain/console.ts'
import type { AppError } from '../../../src/domain/error.ts'

const BMC = { address: '192.0.2.5', port: 623, username: 'admin', privilege: 'administrator' }
const LOOK = { steal: false, spare: false }
const RECORD = { steal: false, spare: true }

/** Consoles with lines in memory: what was opened, and how each went. */
function hall(t: Test) {
  const opened: {
    machine: string
    options: ConsoleOptions
    listener: ConsoleListener
    typed: string
    closed: boolean
  }[] = []
  const failures: AppError[] = []
  const consoles = startConsoles<string>({
    async open(machine, options, listener) {
      const failure = failures.shift()
      if (failure) throw failure
      const line = { machine, options, listener, typed: '', closed: false }
      opened.push(line)
      return {
        write: (characters) => void (line.typed += Buffer.from(characters).toString()),
        sendBreak: () => void (line.typed += '<break>'),
        close: async () => void (line.closed = true)
      }
    },
    now: () => performance.now(),
    log: pino({ level: 'silent' }),
    // The shortest pauses there are.
    jitter: () => -1.48
  })
  t.teardown(() => consoles.close())
  return { consoles, opened, failures }
}

function guest(): Guest & { seen: string; told_: string[]; error: AppError | null } {
  const self = {
    seen: '',
    told_: [] as string[],
    error: null as AppError | null,
    heard: (characters: Buffer) => void (self.seen += characters.toString()),
    told: (text: string) => void self.told_.push(text),
    ended: (error: AppError) => void (self.error = error)
  }
  return self
}

async function until(what: string, done: () => boolean): Promise<void> {
  const end = performance.now() + 10_000
  while (!done()) {
    if (performance.now() > end) throw new Error(`not so: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

t.test('one line for all; it is closed when the last has left', async (t) => {
  const { consoles, opened } = hall(t)
  const [first, second] = [guest(), guest()]
  const seat = consoles.join('n1', 'm', first, RECORD)
  seat.write(Buffer.from('too early'))
  await until('it is open', () => opened.length === 1)
  t.same(opened[0]?.options, RECORD)
  opened[0]?.listener.heard(Buffer.from('login: '))
  const other = consoles.join('n1', 'm', second, LOOK)
  await until('the last words are heard', () => second.seen === 'login: ')
  other.write(Buffer.from('root'))
  other.sendBreak()
  t.equal(opened[0]?.typed, 'root<break>')
  opened[0]?.listener.news('unavailable')
  t.match([first.told_, second.told_], [[/machine is off/], [/machine is off/]])
  seat.leave()
  seat.leave()
  t.equal(opened[0]?.closed, false)
  other.leave()
  t.equal(opened[0]?.closed, true)
  t.equal(opened.length, 1)
  const third = guest()
  consoles.join('n1', 'm', third, LOOK)
  await until('it is opened anew', () => opened.length === 2)
  t.equal(third.seen, '')
})

t.test('the last words are bounded', async (t) => {
  const { consoles, opened } = hall(t)
  consoles.join('n1', 'm', guest(), LOOK)
  await until('it is open', () => opened.length === 1)
  for (let round = 0; round < 10; round++) opened[0]?.listener.heard(Buffer.alloc(10_000, String(round)))
  const late = guest()
  consoles.join('n1', 'm', late, LOOK)
  await until('it hears', () => late.seen !== '')
  t.equal(late.seen.length, 16_384)
  t.equal(late.seen.at(-1), '9')
})

t.test('a first failure ends it; a later one does not', async (t) => {
  const { consoles, opened, failures } = hall(t)
  const first = guest()
  failures.push(consoleLost(BMC, 'silent'))
  consoles.join('n1', 'm', first, LOOK)
  await until('it is told', () => first.error !== null)
  t.equal(first.error?.code, 'bmc-unreachable')
  const second = guest()
  consoles.join('n1', 'm', second, LOOK)
  await until('it is open', () => opened.length === 1)
  failures.push(consoleLost(BMC, 'silent'), consoleTaken(BMC))
  opened[0]?.listener.lost(consoleLost(BMC, 'silent'))
  await until('it is open again', () => opened.length === 2)
  t.match(second.told_, [/no longer answers.*Trying again/, /open again/], 'told once, however many tries')
  t.equal(second.error, null)
  failures.push(wrongPassword(BMC))
  opened[1]?.listener.lost(consoleLost(BMC, 'silent'))
  await until('what must be mended ends it', () => second.error !== null)
  t.equal(second.error?.code, 'bmc-auth')
})

t.test('who took it over may have it', async (t) => {
  const { consoles, opened, failures } = hall(t)
  const first = guest()
  consoles.join('n1', 'm', first, LOOK)
  await until('it is open', () => opened.length === 1)
  failures.push(consoleTaken(BMC))
  opened[0]?.listener.lost(consoleLost(BMC, 'deactivated'))
  await until('it is told', () => first.error !== null)
  t.match(first.error, { code: 'bmc-busy', detail: { reason: 'console-taken' } })
})

t.test('a session that power control needs is not asked for again', async (t) => {
  const { consoles, opened } = hall(t)
  const first = guest()
  consoles.join('n1', 'm', first, RECORD)
  await until('it is open', () => opened.length === 1)
  opened[0]?.listener.lost(consoleGivenUp(BMC))
  await new Promise((resolve) => setTimeout(resolve, 50))
  t.equal(opened.length, 1)
  t.match(first.error, { detail: { reason: 'no-spare-session' } })
})

t.test('left while it opens, and while it is tried again', async (t) => {
  const { consoles, opened, failures } = hall(t)
  consoles.join('n1', 'm', guest(), LOOK).leave()
  await new Promise((resolve) => setTimeout(resolve, 10))
  t.equal(opened.length, 0, 'nobody waited for it')
  const [early, late] = [guest(), guest()]
  const seat = consoles.join('n1', 'm', early, LOOK)
  const stays = consoles.join('n1', 'm', late, LOOK)
  seat.leave()
  await until('it is opened for who stays', () => opened.length === 1)
  failures.push(...Array.from({ length: 1000 }, () => consoleLost(BMC, 'silent')))
  opened[0]?.listener.lost(consoleLost(BMC, 'silent'))
  await until('it is tried', () => failures.length < 1000)
  stays.leave()
  const left = failures.length
  await new Promise((resolve) => setTimeout(resolve, 50))
  t.ok(left - failures.length <= 1, 'not tried any more')
})

t.test('dismissed, the guests of that machine are told, and no others', async (t) => {
  const { consoles, opened } = hall(t)
  const [first, second] = [guest(), guest()]
  consoles.join('n1', 'm', first, LOOK)
  consoles.join('n2', 'm', second, LOOK)
  await until('both are open', () => opened.length === 2)
  consoles.dismiss('n1', consoleTaken(BMC))
  consoles.dismiss('n3', consoleTaken(BMC))
  t.equal(first.error?.message, consoleTaken(BMC).message)
  t.equal(second.error, null)
  t.same(
    opened.map(({ closed }) => closed),
    [true, false]
  )
})

t.test('closed, everybody is told and nothing is opened', async (t) => {
  const { consoles, opened } = hall(t)
  const [first, second] = [guest(), guest()]
  consoles.join('n1', 'm', first, LOOK)
  await until('it is open', () => opened.length === 1)
  await consoles.close()
  t.equal(first.error?.code, 'busy')
  t.equal(opened[0]?.closed, true)
  consoles.join('n1', 'm', second, LOOK)
  await until('it is told', () => second.error !== null)
  t.equal(opened.length, 1)
})
