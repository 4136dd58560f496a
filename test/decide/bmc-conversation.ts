// One session spoken with the reference BMC in virtual time: no socket, no waiting, the same course for the same seed.

import type { BmcAccess, LoginWay } from '../../src/domain/bmc.ts'
import { newSession, stepSession } from '../../src/decide/bmc-session.ts'
import {
  SESSION_RANDOM_LENGTH,
  SESSION_TIMING,
  type Session,
  type SessionInput,
  type SessionOutcome,
  type SessionRequest,
  type SessionTiming,
  type SessionStep
} from '../../src/decide/bmc-session-state.ts'
import type { FakeBmc } from '../support/fake-bmc.ts'
import { seededRandom } from '../support/mutate.ts'

export type Conversation = {
  /** Packets sent so far, with their times. */
  sent: { at: number; bytes: Buffer }[]
  /** Why packets did not count, in order. */
  ignored: string[]
  now(): number
  session(): Session
  /** One step by hand; its packets go nowhere. */
  step(input: SessionInput): SessionStep
  open(milliseconds?: number): SessionOutcome
  request(request: SessionRequest, milliseconds?: number): SessionOutcome
  close(): SessionOutcome
}

export type ConversationOptions = {
  access?: Partial<BmcAccess>
  remembered?: LoginWay | null
  seed?: number
  timing?: SessionTiming
  /** Changes an answer on its way, or loses it. */
  onAnswer?: (answer: Buffer) => Buffer[]
}

/** Milliseconds a packet is on its way to the BMC and back. */
const ROUND_TRIP = 2

export function conversation(bmc: FakeBmc, options: ConversationOptions = {}): Conversation {
  const { seed = 1, onAnswer = (answer) => [answer] } = options
  const random = seededRandom(seed)
  const arriving: { at: number; bytes: Buffer }[] = []
  const sent: Conversation['sent'] = []
  const ignored: string[] = []
  let now = 0
  let session = newSession({
    access: bmc.access(options.access),
    remembered: options.remembered ?? null,
    timing: options.timing ?? SESSION_TIMING
  })

  function step(input: SessionInput): SessionStep {
    const bytes = Buffer.from(Array.from({ length: SESSION_RANDOM_LENGTH }, () => Math.floor(random() * 256)))
    const taken = stepSession(session, input, now, bytes)
    session = taken.session
    if (taken.ignored) ignored.push(taken.ignored)
    return taken
  }

  /** Goes on, through answers and timers, until the input has its outcome. */
  function ask(input: SessionInput): SessionOutcome {
    let next: SessionInput = input
    for (let steps = 0; steps < 10_000; steps++) {
      const { send, outcome } = step(next)
      for (const bytes of send) {
        sent.push({ at: now, bytes })
        const answers = bmc.answer(bytes).flatMap(onAnswer)
        arriving.push(...answers.map((answer) => ({ at: now + ROUND_TRIP, bytes: answer })))
      }
      if (outcome) return outcome
      const { wakeAt } = session
      const [first] = arriving
      if (first && (wakeAt === null || first.at <= wakeAt)) {
        arriving.shift()
        now = Math.max(now, first.at)
        next = { kind: 'datagram', bytes: first.bytes }
      } else if (wakeAt !== null) {
        now = Math.max(now, wakeAt)
        next = { kind: 'timer' }
      } else {
        throw new Error('the session waits for nothing')
      }
    }
    throw new Error('the session never comes to an outcome')
  }

  return {
    sent,
    ignored,
    now: () => now,
    session: () => session,
    step,
    open: (milliseconds = 20_000) => ask({ kind: 'open', deadlineAt: now + milliseconds }),
    request: (request, milliseconds = 20_000) =>
      ask({ kind: 'request', request, deadlineAt: now + milliseconds }),
    close: () => ask({ kind: 'close' })
  }
}
