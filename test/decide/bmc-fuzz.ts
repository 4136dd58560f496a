// Mutated answers through the session's step function: none may throw, and none may pass for the real one.

import type { Test } from 'tap'
import { stepSession } from '../../src/decide/bmc-session.ts'
import { SESSION_RANDOM_LENGTH, type Session } from '../../src/decide/bmc-session-state.ts'
import type { BmcAccess } from '../../src/domain/bmc.ts'
import { startFakeBmc } from '../support/fake-bmc.ts'
import { mutate, seededRandom } from '../support/mutate.ts'
import { conversation } from './bmc-conversation.ts'

const RANDOM = Buffer.alloc(SESSION_RANDOM_LENGTH, 1)
/** In RAKP 4: RMCP header, RMCP+ header, tag, status, reserved, session ID; then the check value. */
const CHECK_VALUE_AT = 4 + 12 + 8
/** An IPMI 1.5 packet as far as its length says, of which the code proves all but the code's own place. */
const MD5_LENGTH_AT = 4 + 25

/** A session that waits, and the answer that would take it on. */
type Moment = { session: Session; answer: Buffer }

async function moments(suites: number[], access: Partial<BmcAccess> = {}): Promise<Moment[]> {
  const found: Moment[] = []
  const bmc = await startFakeBmc({ suites })
  const talk = conversation(bmc, {
    access,
    onAnswer(answer) {
      // The step that sent the request is over by now: this is the session the answer will meet.
      found.push({ session: talk.session(), answer })
      return [answer]
    }
  })
  if (talk.open().kind === 'ready') {
    talk.request({ name: 'Get Chassis Status', netFn: 0, command: 1, data: Buffer.alloc(0) })
    talk.close()
  }
  await bmc.close()
  return found
}

/** Where the bytes are that prove the BMC: an answer changed there must not be taken. */
function proof({ session, answer }: Moment): [from: number, to: number] {
  if (session.stage.at === 'rakp-3') return [CHECK_VALUE_AT, answer.length]
  const isMd5 = answer[4] === 0x02
  return [4, isMd5 ? MD5_LENGTH_AT + 1 + answer.readUInt8(MD5_LENGTH_AT) : Infinity]
}

export async function fuzzSession(t: Test, packets: number, seed: number): Promise<void> {
  // Stack traces of errors that nobody reads take most of the time.
  Error.stackTraceLimit = 0
  const random = seededRandom(seed)
  const known = [
    ...(await moments([17])),
    ...(await moments([3])),
    ...(await moments([1])),
    ...(await moments([17], { protocol: '1.5' }))
  ]
  t.same(
    [...new Set(known.map(({ session }) => session.stage.at))].sort(),
    ['activate', 'challenge', 'command', 'offered-suites', 'open-session', 'rakp-1', 'rakp-3'],
    'every stage that waits for an answer is there'
  )
  const believed: string[] = []
  for (let count = 0; count < packets; count++) {
    const moment = known[count % known.length]
    if (!moment) throw new Error('no moments')
    const { session, answer } = moment
    const bytes = mutate(answer, random)
    const step = stepSession(session, { kind: 'datagram', bytes }, 10, RANDOM)
    const [from, to] = proof(moment)
    const changed = !bytes.subarray(from, to).equals(answer.subarray(from, to))
    const took =
      (session.stage.at === 'command' && step.outcome !== null) ||
      (session.stage.at !== 'command' && step.session.stage.at === 'command')
    if (changed && took) believed.push(bytes.toString('hex'))
  }
  t.same(believed.slice(0, 3), [])
}
