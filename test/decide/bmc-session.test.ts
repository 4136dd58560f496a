import t, { type Test } from 'tap'
import type { LoginWay } from '../../src/domain/bmc.ts'
import { suiteOrder } from '../../src/decide/bmc-login.ts'
import type { SessionOutcome, SessionRequest } from '../../src/decide/bmc-session-state.ts'
import { activatePayload } from '../../src/wire/ipmi/command/activate-payload.ts'
import { decodeOpenSessionRequest } from '../../src/wire/ipmi/open-session.ts'
import { decodeRakp3 } from '../../src/wire/ipmi/rakp.ts'
import { decodeRmcp } from '../../src/wire/ipmi/rmcp.ts'
import { decodeHeader, PAYLOAD } from '../../src/wire/ipmi/rmcp-plus.ts'
import { decodeSol, encodeSol } from '../../src/wire/ipmi/sol.ts'
import { startFakeBmc, type FakeBmc, type FakeBmcOptions } from '../support/fake-bmc.ts'
import { seededRandom } from '../support/mutate.ts'
import { conversation, type Conversation, type ConversationOptions } from './bmc-conversation.ts'

const STATUS: SessionRequest = {
  name: 'Get Chassis Status',
  netFn: 0,
  command: 1,
  data: Buffer.alloc(0)
}

async function fake(t: Test, options: FakeBmcOptions = {}): Promise<FakeBmc> {
  const bmc = await startFakeBmc(options)
  t.teardown(() => bmc.close())
  return bmc
}

/** `ready 17`, `bmc-auth password`, `reply 0`, … */
function words(outcome: SessionOutcome): string {
  if (outcome.kind === 'ready') return `ready ${wayWords(outcome.way)}`
  if (outcome.kind === 'reply') return `reply ${outcome.completionCode}`
  if (outcome.kind !== 'failed') return outcome.kind
  const { code, detail, message } = outcome.error
  if (message.includes('secret')) throw new Error(`a secret in: ${message}`)
  return typeof detail.reason === 'string' ? `${code} ${detail.reason}` : code
}

/** `17`, `17 operator`, `1.5`, `17 open-privilege` */
function wayWords({ suite, privilege, quirk }: LoginWay): string {
  return [suite ?? '1.5', privilege === 'administrator' ? '' : privilege, quirk ?? '']
    .filter(Boolean)
    .join(' ')
}

function payloads(talk: Conversation, type: number): Buffer[] {
  return talk.sent
    .map(({ bytes }) => decodeRmcp(bytes).body)
    .filter((body) => body[0] === 0x06)
    .map(decodeHeader)
    .filter(({ payloadType, sessionId }) => payloadType === type && sessionId === 0)
    .map(({ payload }) => payload)
}

/** The authentication algorithms of the Open Session Requests, in order: 3 is suite 17, 1 is suite 3. */
function algorithmsAsked(talk: Conversation): number[] {
  return payloads(talk, PAYLOAD.openSessionRequest).map(
    (payload) => decodeOpenSessionRequest(payload).algorithms.authentication
  )
}

type LoginCase = {
  bmc?: FakeBmcOptions
  faults?: Partial<FakeBmc['faults']>
  options?: ConversationOptions
  outcome: string
  /** Authentication algorithms of the Open Session Requests. */
  asked?: number[]
  /** Most milliseconds it may take, in virtual time. */
  within?: number
  message?: RegExp
}

const LOGINS: Record<string, LoginCase> = {
  'a good BMC is logged in with suite 17': { outcome: 'ready 17', asked: [3], within: 20 },
  'a BMC without suite 17 gets suite 3': {
    bmc: { suites: [3] },
    outcome: 'ready 3',
    asked: [3, 1],
    within: 20
  },
  'the remembered suite comes first': {
    options: { remembered: { suite: 3, privilege: 'administrator', quirk: null } },
    outcome: 'ready 3',
    asked: [1]
  },
  'a remembered suite that is gone leads to the other': {
    bmc: { suites: [17] },
    options: { remembered: { suite: 3, privilege: 'administrator', quirk: null } },
    outcome: 'ready 17',
    asked: [1, 3]
  },
  'a wrong password stops at once': {
    options: { access: { password: 'secret' } },
    outcome: 'bmc-auth password',
    asked: [3],
    within: 20,
    message: /password for user "admin"/
  },
  'an unknown user stops at once': {
    options: { access: { username: 'nobody' } },
    outcome: 'bmc-auth username',
    asked: [3],
    within: 20,
    message: /no enabled user "nobody"/
  },
  'the right BMC key': {
    bmc: { kg: '000102' },
    outcome: 'ready 17'
  },
  'a BMC key that is not configured': {
    bmc: { kg: '000102' },
    options: { access: { kg: '' } },
    outcome: 'bmc-auth kg',
    message: /set ipmi_hex_kg_key/
  },
  'a wrong BMC key': {
    bmc: { kg: '000102' },
    options: { access: { kg: '000103' } },
    outcome: 'bmc-auth kg',
    message: /does not match/
  },
  'RAKP 2 tampered with is not believed': {
    faults: { tamper: 'rakp-2' },
    outcome: 'bmc-auth password',
    asked: [3]
  },
  'RAKP 4 tampered with is not believed': {
    faults: { tamper: 'rakp-4' },
    outcome: 'bmc-auth kg',
    asked: [3]
  },
  'a BMC that chooses another suite than asked is refused': {
    faults: { chooses: 2 },
    outcome: 'bmc-cipher',
    asked: [3, 1],
    message: /17 \(it chose suite 2 instead\), 3 \(it chose suite 2 instead\)/
  },
  'a BMC that chooses suite 0 is refused': {
    faults: { chooses: 0 },
    outcome: 'bmc-cipher',
    message: /it chose suite 0 instead/
  },
  'a BMC that always chooses suite 3 gets suite 3 when that is what we ask': {
    faults: { chooses: 3 },
    outcome: 'ready 3',
    asked: [3, 1]
  },
  'no common suite names what the BMC offers': {
    bmc: { suites: [1, 2, 15, 16, 0] },
    outcome: 'bmc-cipher',
    asked: [3, 1],
    message: /it offers 1, 2, 15, 16, 0\. Enable suite 17 or 3/
  },
  'only weak suites configured: nothing is even sent': {
    options: { access: { cipherSuites: [0, 1, 2, 15, 16] } },
    outcome: 'bmc-cipher',
    asked: []
  },
  'a weak suite forced by being the only one named': {
    bmc: { suites: [0, 1, 2] },
    options: { access: { cipherSuites: [2] } },
    outcome: 'ready 2',
    asked: [1]
  },
  'suite 1, forced, carries neither codes nor encryption': {
    bmc: { suites: [0, 1, 2] },
    options: { access: { cipherSuites: [1] } },
    outcome: 'ready 1'
  },
  'suite 16, forced': {
    bmc: { suites: [16] },
    options: { access: { cipherSuites: [16] } },
    outcome: 'ready 16'
  },
  'suite 15, forced': {
    bmc: { suites: [15] },
    options: { access: { cipherSuites: [15] } },
    outcome: 'ready 15'
  },
  'suite 0 is not used even when it is the only one named': {
    bmc: { suites: [0] },
    options: { access: { cipherSuites: [0] } },
    outcome: 'bmc-cipher',
    asked: []
  },
  'a user who may be no more than operator': {
    bmc: { privilegeLimits: { admin: 3 } },
    outcome: 'ready 17 operator',
    asked: [3, 3],
    within: 20
  },
  'a privilege that was remembered is not tried higher': {
    bmc: { privilegeLimits: { admin: 3 } },
    options: { remembered: { suite: 17, privilege: 'operator', quirk: null } },
    outcome: 'ready 17 operator',
    asked: [3]
  },
  'a user with less than an operator’s privilege': {
    bmc: { privilegeLimits: { admin: 2 } },
    outcome: 'bmc-privilege',
    asked: [3, 3, 1, 1]
  },
  'administrator, asked for, is not lowered': {
    bmc: { privilegeLimits: { admin: 3 } },
    options: { access: { privilege: 'administrator' } },
    outcome: 'bmc-privilege',
    asked: [3, 1],
    message: /may not log in as administrator/
  },
  'an operator asks for no more than operator': {
    bmc: { privilegeLimits: { admin: 3 } },
    options: { access: { privilege: 'operator' } },
    outcome: 'ready 17 operator',
    asked: [3]
  },
  'a BMC that hashes the privilege of Open Session is found out by its code': {
    faults: { quirk: 'open-privilege' },
    outcome: 'ready 17 open-privilege',
    asked: [3, 3],
    within: 20
  },
  'the same, remembered': {
    faults: { quirk: 'open-privilege' },
    options: { remembered: { suite: 17, privilege: 'administrator', quirk: 'open-privilege' } },
    outcome: 'ready 17 open-privilege',
    asked: [3]
  },
  'the same, and a wrong password: one answer, not two': {
    faults: { quirk: 'open-privilege' },
    options: { access: { password: 'wrong' } },
    outcome: 'bmc-auth password',
    asked: [3]
  },
  'a good BMC takes the way of the ones that hash the privilege of Open Session': {
    options: { access: { loginQuirk: 'open-privilege' } },
    outcome: 'ready 17 open-privilege'
  },
  'a BMC that wants its names padded (Intel), so configured': {
    bmc: { suites: [3] },
    faults: { quirk: 'intel-20' },
    options: { access: { loginQuirk: 'intel-20' } },
    outcome: 'ready 3 intel-20'
  },
  'a RAKP 2 code with a byte after its end': { faults: { quirk: 'long-code' }, outcome: 'ready 17' },
  'IPMI 1.5, forced': {
    faults: { only15: true },
    options: { access: { protocol: '1.5' } },
    outcome: 'ready 1.5',
    asked: [],
    within: 20
  },
  'IPMI 1.5 with a wrong password: silence, and few tries': {
    options: { access: { protocol: '1.5', password: 'wrong' } },
    outcome: 'bmc-auth password',
    within: 2500,
    message: /IPMI 1\.5 BMCs answer to a wrong password/
  },
  'IPMI 1.5 with an unknown user': {
    options: { access: { protocol: '1.5', username: 'nobody' } },
    outcome: 'bmc-auth username'
  },
  'IPMI 1.5 as operator': {
    bmc: { privilegeLimits: { admin: 3 } },
    options: { access: { protocol: '1.5' } },
    outcome: 'ready 1.5 operator'
  },
  'IPMI 1.5 without a free session': {
    faults: { sessionLimit: 0 },
    options: { access: { protocol: '1.5' } },
    outcome: 'bmc-busy'
  },
  'IPMI 1.5, two packets lost': {
    faults: { dropNext: 2 },
    options: { access: { protocol: '1.5' } },
    outcome: 'ready 1.5'
  },
  'a level that is refused after the log-in': {
    faults: { refuses: { 'Set Session Privilege Level': 0x81 } },
    outcome: 'bmc-privilege',
    asked: [3]
  },
  'no free session is waited for until time is up': {
    faults: { sessionLimit: 0 },
    outcome: 'bmc-busy',
    asked: [3, 1, 3, 1, 3, 1, 3, 1],
    within: 20_000,
    message: /no free session/
  },
  'a refusal in other words than "no match" leads to the next suite all the same': {
    faults: { openStatus: 0x12 },
    outcome: 'bmc-cipher',
    asked: [3, 1]
  },
  'silence is reported when time is up, not before or after': {
    faults: { silent: true },
    outcome: 'bmc-unreachable',
    within: 20_000,
    message: /nothing answered within 20 s/
  },
  'a BMC of IPMI 1.5': { faults: { only15: true }, outcome: 'bmc-protocol', message: /IPMI 1\.5 only/ },
  'busy while the privilege is set is waited for': { faults: { busy: 3 }, outcome: 'ready 17' },
  'duplicated answers change nothing': { faults: { duplicates: true }, outcome: 'ready 17', asked: [3] },
  'an answer in something else than IPMI': {
    options: { onAnswer: () => [Buffer.from('SSH-2.0-OpenSSH_9.2')] },
    outcome: 'bmc-protocol',
    message: /not in valid IPMI/
  },
  'a BMC that answers only the first packet': {
    options: {
      onAnswer: (answer) => (decodeHeader(answer.subarray(4)).payloadType === 0x11 ? [answer] : [])
    },
    outcome: 'bmc-unreachable',
    message: /left RAKP 1 unanswered/
  }
}

for (const [name, { bmc: options, faults, options: talkOptions, ...expected }] of Object.entries(LOGINS)) {
  t.test(`log-in: ${name}`, async (t) => {
    const bmc = await fake(t, options)
    Object.assign(bmc.faults, faults)
    const talk = conversation(bmc, talkOptions)
    const outcome = talk.open()
    t.equal(words(outcome), expected.outcome)
    if (expected.asked) t.same(algorithmsAsked(talk), expected.asked)
    if (expected.within) t.ok(talk.now() <= expected.within, `took ${talk.now()} ms`)
    if (expected.message && outcome.kind === 'failed') t.match(outcome.error.message, expected.message)
    t.equal(words(talk.close()), 'closed')
    if (expected.outcome !== 'bmc-auth kg') t.equal(bmc.sessions(), 0, 'no session is left behind')
  })
}

t.test('a BMC that does not know the password gets no RAKP 3 code from us', async (t) => {
  const bmc = await fake(t)
  const talk = conversation(bmc, { access: { password: 'wrong' } })
  talk.open()
  const sent = payloads(talk, PAYLOAD.rakp3).map(decodeRakp3)
  t.match(sent, [{ status: 0x0f }], 'only told to drop the session')
  t.equal(sent[0]?.code.length, 0)
})

t.test(
  'a lost packet of the log-in is sent again with the same bytes; a lost log-in with new numbers',
  async (t) => {
    const bmc = await fake(t)
    bmc.faults.dropNext = 6
    const talk = conversation(bmc)
    t.equal(words(talk.open()), 'ready 17')
    const requests = payloads(talk, PAYLOAD.openSessionRequest)
    t.equal(requests.length, 6)
    t.equal(new Set(requests.slice(0, 5).map(String)).size, 1, 'five times the same bytes')
    const ids = requests.map((payload) => decodeOpenSessionRequest(payload).consoleSessionId)
    t.not(ids[5], ids[0], 'then a new session ID')
  }
)

t.test('late answers to a log-in that was given up are told apart', async (t) => {
  const bmc = await fake(t)
  const held: Buffer[] = []
  const talk = conversation(bmc, {
    // The answers to the first log-in come only after the second one began.
    onAnswer(answer) {
      if (held.length === 6) return [answer]
      return held.push(answer) < 6 ? [] : [...held]
    }
  })
  t.equal(words(talk.open()), 'ready 17')
  t.ok(talk.ignored.includes('an answer to another log-in'))
})

for (const [name, type] of [
  ['RAKP 2', PAYLOAD.rakp2],
  ['RAKP 4', PAYLOAD.rakp4]
] as const) {
  t.test(
    `${name} spoiled once on its way is asked for again, not taken for a wrong password or key`,
    async (t) => {
      const bmc = await fake(t)
      let spoiled = 0
      const talk = conversation(bmc, {
        onAnswer(answer) {
          if (decodeHeader(answer.subarray(4)).payloadType !== type || spoiled++ > 0) return [answer]
          const changed = Buffer.from(answer)
          changed[answer.length - 1] = changed.readUInt8(answer.length - 1) ^ 0x10
          return [changed]
        }
      })
      t.equal(words(talk.open()), 'ready 17')
      t.equal(bmc.sessions(), 1)
    }
  )
}

t.test('RAKP 4 lost and RAKP 3 forgotten by the BMC: the log-in starts over', async (t) => {
  const bmc = await fake(t)
  let lost = false
  const talk = conversation(bmc, {
    onAnswer(answer) {
      if (decodeHeader(answer.subarray(4)).payloadType !== PAYLOAD.rakp4 || lost) return [answer]
      lost = true
      bmc.restart()
      return []
    }
  })
  t.equal(words(talk.open()), 'ready 17')
  t.equal(bmc.sessions(), 1)
})

t.test('a port that is closed is believed after four reports', async (t) => {
  const bmc = await fake(t)
  const talk = conversation(bmc)
  talk.step({ kind: 'open', deadlineAt: 20_000 })
  for (let count = 1; count <= 3; count++) t.equal(talk.step({ kind: 'port-closed' }).outcome, null)
  const { outcome } = talk.step({ kind: 'port-closed' })
  if (outcome?.kind !== 'failed') throw new Error('not failed')
  t.match(outcome.error, { code: 'bmc-unreachable', message: /nothing listens on that port/ })
})

/** Fields of the log-in's answers, as [first byte, end) of the payload; what lies between them is reserved. */
const FIELDS: Record<string, { type: number; fields: [from: number, to: number][] }> = {
  'Open Session Response': {
    type: PAYLOAD.openSessionResponse,
    // tag, status | session IDs | the three algorithms
    fields: [
      [0, 2],
      [4, 12],
      [16, 17],
      [24, 25],
      [32, 33]
    ]
  },
  'RAKP 2': {
    type: PAYLOAD.rakp2,
    fields: [
      [0, 2],
      [4, 8],
      [8, 24],
      [24, 40],
      [40, 72]
    ]
  },
  'RAKP 4': {
    type: PAYLOAD.rakp4,
    fields: [
      [0, 2],
      [4, 8],
      [8, 24]
    ]
  }
}

for (const [name, { type, fields }] of Object.entries(FIELDS)) {
  t.test(`${name}: a BMC that alters any one bit of a field gets no session and no command`, async (t) => {
    const bmc = await fake(t)
    const taken: number[] = []
    let bits = 0
    for (const [from, to] of fields) {
      for (let bit = from * 8; bit < to * 8; bit++) {
        // The two top bits of an algorithm's number are reserved.
        if (type === PAYLOAD.openSessionResponse && from >= 16 && (bit & 7) > 5) continue
        bits++
        bmc.asked.length = 0
        const talk = conversation(bmc, {
          onAnswer(answer) {
            const { payloadType } = decodeHeader(answer.subarray(4))
            if (payloadType !== type) return [answer]
            const changed = Buffer.from(answer)
            const at = 16 + (bit >> 3)
            changed[at] = changed.readUInt8(at) ^ (1 << (bit & 7))
            return [changed]
          }
        })
        const outcome = talk.open(1500)
        // Suite 17 chose another number: then suite 3 is asked for, and its answer is altered too.
        const sealed = talk.sent.some(({ bytes }) => decodeHeader(bytes.subarray(4)).sessionId !== 0)
        const inside = bmc.asked.some((asked) => asked.startsWith('Set Session'))
        if (outcome.kind !== 'failed' || inside || (sealed && type !== PAYLOAD.rakp4)) taken.push(bit)
        bmc.restart()
      }
    }
    t.same(taken, [], `${bits} bits`)
  })
}

type CommandCase = {
  faults?: Partial<FakeBmc['faults']>
  onAnswer?: (answer: Buffer) => Buffer[]
  outcome: string
  /** How often the BMC got the command. */
  times: number
}

const COMMANDS: Record<string, CommandCase> = {
  'is answered': { outcome: 'reply 0', times: 1 },
  'lost twice is sent again': { faults: { dropNext: 2 }, outcome: 'reply 0', times: 1 },
  'with its answer lost is sent again': {
    faults: { mute: { 'Get Chassis Status': 2 } },
    outcome: 'reply 0',
    times: 3
  },
  'is sent again while the BMC is busy': { faults: { busy: 2 }, outcome: 'reply 0', times: 3 },
  'is sent again on timeout in the BMC': {
    faults: { busy: 1, busyCode: 0xc3 },
    outcome: 'reply 0',
    times: 2
  },
  'is sent again on destination unavailable': {
    faults: { busy: 1, busyCode: 0xd3 },
    outcome: 'reply 0',
    times: 2
  },
  'of a BMC that stays busy fails': { faults: { busy: 1000 }, outcome: 'bmc-busy', times: 8 },
  'refused is not repeated': {
    faults: { refuses: { 'Get Chassis Status': 0xc1 } },
    outcome: 'reply 193',
    times: 1
  },
  'answered with a wrong authentication code is not answered': {
    faults: { tamper: 'command' },
    outcome: 'no-answer',
    times: 10
  }
}

for (const [name, { faults, outcome, times }] of Object.entries(COMMANDS)) {
  t.test(`a command ${name}`, async (t) => {
    const bmc = await fake(t)
    const talk = conversation(bmc)
    t.equal(words(talk.open()), 'ready 17')
    Object.assign(bmc.faults, faults)
    t.equal(words(talk.request(STATUS)), outcome)
    t.equal(bmc.asked.filter((asked) => asked === STATUS.name).length, times)
    bmc.faults.tamper = null
    t.equal(words(talk.close()), 'closed')
    t.equal(bmc.sessions(), 0)
  })
}

t.test('an IPMI 1.5 session carries commands, over losses, and is closed', async (t) => {
  const bmc = await fake(t)
  const random = seededRandom(3)
  const talk = conversation(bmc, { access: { protocol: '1.5' } })
  t.equal(words(talk.open()), 'ready 1.5')
  bmc.faults.loses = () => random() < 0.2
  const replies = Array.from({ length: 100 }, () => words(talk.request(STATUS)))
  t.same(new Set(replies), new Set(['reply 0']))
  bmc.faults.loses = () => false
  bmc.faults.tamper = 'command'
  t.equal(words(talk.request(STATUS)), 'no-answer', 'what is not authentic is no answer')
  bmc.faults.tamper = null
  t.equal(words(talk.close()), 'closed')
  t.equal(bmc.sessions(), 0)
})

t.test('two hundred commands in one session: rqSeq wraps, sequence numbers do not repeat', async (t) => {
  const bmc = await fake(t)
  const talk = conversation(bmc)
  talk.open()
  const replies = Array.from({ length: 200 }, () => words(talk.request(STATUS)))
  t.same(new Set(replies), new Set(['reply 0']))
  const numbers = talk.sent
    .map(({ bytes }) => decodeHeader(decodeRmcp(bytes).body))
    .filter(({ sessionId }) => sessionId !== 0)
    .map(({ sequence }) => sequence)
  t.same(
    numbers,
    numbers.map((_, index) => index + 1),
    '1, 2, 3, …'
  )
})

t.test('an answer played again is not taken for the next one', async (t) => {
  const bmc = await fake(t)
  const answers: Buffer[] = []
  const talk = conversation(bmc, {
    onAnswer(answer) {
      answers.push(answer)
      return [answer]
    }
  })
  talk.open()
  talk.request(STATUS)
  const last = answers.at(-1) ?? Buffer.alloc(0)
  talk.step({ kind: 'request', request: STATUS, deadlineAt: talk.now() + 1000 })
  const again = talk.step({ kind: 'datagram', bytes: last })
  t.equal(again.outcome, null)
  t.match(again.ignored, /again/)
})

t.test(
  'a session that was lost on the BMC’s side ends in no answer, and closing it does not hang',
  async (t) => {
    const bmc = await fake(t)
    const talk = conversation(bmc)
    talk.open()
    bmc.restart()
    t.equal(words(talk.request(STATUS)), 'no-answer')
    const before = talk.now()
    t.equal(words(talk.close()), 'closed')
    t.ok(talk.now() - before < 1000)
  }
)

t.test('30 % of the packets lost each way: everything gets through, and quickly', async (t) => {
  const took: number[] = []
  for (let seed = 1; seed <= 40; seed++) {
    const bmc = await fake(t)
    const random = seededRandom(seed * 7919)
    bmc.faults.loses = () => random() < 0.3
    const talk = conversation(bmc, { seed })
    let answered = false
    while (!answered && talk.now() < 60_000) {
      if (words(talk.open(60_000)) !== 'ready 17') break
      answered = words(talk.request(STATUS)) === 'reply 0'
    }
    t.ok(answered, `conversation ${seed}`)
    took.push(talk.now())
    talk.close()
  }
  took.sort((a, b) => a - b)
  t.comment(`median ${took[20]} ms, worst ${took[39]} ms`)
  t.ok((took[20] ?? Infinity) < 2400)
})

t.test('the order of the suites', (t) => {
  const ids = (configured: number[], remembered: number | null) =>
    suiteOrder(configured, remembered).map(({ id }) => id)
  t.same(ids([17, 3], null), [17, 3])
  t.same(ids([17, 3], 3), [3, 17])
  t.same(ids([3], 17), [3], 'what is not configured is not used, remembered or not')
  t.same(ids([0, 1, 2, 15, 16, 17, 8, 99], 0), [17], 'no weak suite among others')
  t.same(ids([2], null), [2], 'a weak one alone is forced')
  t.same(ids([0], 0), [])
  t.end()
})

t.test('serial over LAN travels in the open session, each packet once', async (t) => {
  const bmc = await fake(t)
  const talk = conversation(bmc)
  const typed = encodeSol({ sequence: 1, acked: 0, accepted: 0, flags: 0, characters: Buffer.from('ls\r') })
  const early = talk.step({ kind: 'sol', payload: typed })
  t.same(early.send, [], 'before there is a session nothing is sent')
  t.match(early.ignored, /not open/)
  talk.open()
  const { name, netFn, command } = activatePayload
  const data = activatePayload.encodeRequest({ instance: 1, encrypted: true })
  t.match(talk.request({ name, netFn, command, data }), { kind: 'reply', completionCode: 0 })
  const [packet] = talk.step({ kind: 'sol', payload: typed }).send
  t.ok(packet && !packet.includes('ls\r'), 'encrypted')
  const [answer] = bmc.answer(packet ?? Buffer.alloc(0))
  t.equal(bmc.sol.typed, 'ls\r')
  if (!answer) return t.fail('no answer')
  const spoilt = Buffer.from(answer)
  spoilt[20] = spoilt.readUInt8(20) ^ 1
  const refused = talk.step({ kind: 'datagram', bytes: spoilt })
  t.equal(refused.sol, null)
  t.match(refused.ignored, /authentication code/)
  const taken = talk.step({ kind: 'datagram', bytes: answer })
  t.match(decodeSol(taken.sol ?? Buffer.alloc(0)), { sequence: 0, acked: 1, accepted: 3 })
  t.equal(taken.outcome, null)
  const again = talk.step({ kind: 'datagram', bytes: answer })
  t.equal(again.sol, null)
  t.match(again.ignored, /again/)
  t.equal(words(talk.request(STATUS)), 'reply 0', 'commands go on beside it')
})
