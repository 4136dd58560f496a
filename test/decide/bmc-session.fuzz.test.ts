import t from 'tap'
import { SESSION_RANDOM_LENGTH, stepSession, type Session } from '../../src/decide/bmc-session.ts'
import { startFakeBmc } from '../support/fake-bmc.ts'
import { mutate, seededRandom } from '../support/mutate.ts'
import { conversation } from './bmc-conversation.ts'

const SEED = Number(process.env.FUZZ_SEED ?? 20)
const PACKETS = Number(process.env.FUZZ_PACKETS ?? 50_000)
const RANDOM = Buffer.alloc(SESSION_RANDOM_LENGTH, 1)
/** In RAKP 4: RMCP header, RMCP+ header, tag, status, reserved, session ID; then the check value. */
const CHECK_VALUE_AT = 4 + 12 + 8

/** A session that waits, and the answer that would take it on. */
type Moment = { session: Session; answer: Buffer }

async function moments(suites: number[]): Promise<Moment[]> {
  const found: Moment[] = []
  const bmc = await startFakeBmc({ suites })
  const talk = conversation(bmc, {
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

t.test(`${PACKETS} mutated answers never throw and never pass for the real one (seed ${SEED})`, async (t) => {
  const random = seededRandom(SEED)
  const known = [...(await moments([17])), ...(await moments([3])), ...(await moments([1]))]
  t.same(
    [...new Set(known.map(({ session }) => session.stage.at))].sort(),
    ['command', 'offered-suites', 'open-session', 'rakp-1', 'rakp-3'],
    'every stage that waits for an answer is there'
  )
  const believed: string[] = []
  for (let count = 0; count < PACKETS; count++) {
    const { session, answer } = known[count % known.length] ?? { session: null, answer: Buffer.alloc(0) }
    if (!session) throw new Error('no moments')
    const bytes = mutate(answer, random)
    const step = stepSession(session, { kind: 'datagram', bytes }, 10, RANDOM)
    // What proves the BMC: RAKP 4's check value; after it the whole packet but the RMCP header.
    const [from, to] = session.stage.at === 'rakp-3' ? [CHECK_VALUE_AT, answer.length] : [4, Infinity]
    const changed = !bytes.subarray(from, to).equals(answer.subarray(from, to))
    const took =
      (session.stage.at === 'command' && step.outcome !== null) ||
      (session.stage.at === 'rakp-3' && step.session.stage.at === 'command')
    if (changed && took) believed.push(bytes.toString('hex'))
  }
  t.same(believed.slice(0, 3), [])
})
