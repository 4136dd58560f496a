// The log-in by RMCP+ (IPMI 2.0, section 13): which cipher suite comes next, what proves the BMC, what a refusal means. A
// wrong password or name ends it at once: no other suite is tried with it.

import { createSecretKey } from 'node:crypto'
import {
  algorithmNumbers,
  cipherSuite,
  type CipherSuite,
  sameAlgorithms,
  suiteOfAlgorithms
} from '../wire/ipmi/cipher-suite.ts'
import { COMPLETION, RMCP_PLUS_STATUS, statusWords } from '../wire/ipmi/codes.ts'
import {
  getChannelAuthCapabilities,
  THIS_CHANNEL
} from '../wire/ipmi/command/get-channel-auth-capabilities.ts'
import {
  CIPHER_SUITE_PIECE,
  decodeSuiteRecords,
  getChannelCipherSuites
} from '../wire/ipmi/command/get-channel-cipher-suites.ts'
import { PRIVILEGE } from '../wire/ipmi/command/set-session-privilege.ts'
import {
  rakp2Code,
  rakp3Code,
  rakp4Check,
  type RakpFacts,
  sameCode,
  sessionIntegrityKey
} from '../wire/ipmi/keys.ts'
import { LOGIN_QUIRKS, type LoginQuirk } from '../wire/ipmi/login-quirk.ts'
import { decodeResponse, encodeRequest } from '../wire/ipmi/message.ts'
import { decodeOpenSessionResponse, encodeOpenSessionRequest } from '../wire/ipmi/open-session.ts'
import { decodeRakp2, decodeRakp4, encodeRakp1, encodeRakp3 } from '../wire/ipmi/rakp.ts'
import { encodePlain, PAYLOAD } from '../wire/ipmi/rmcp-plus.ts'
import { encodeRmcp } from '../wire/ipmi/rmcp.ts'
import { decodeSessionless, encodeSessionless } from '../wire/ipmi/sessionless.ts'
import {
  noCommonSuite,
  roleRefused,
  type SuiteRefusal,
  suitesNotAllowed,
  unknownUser,
  wrongKg,
  wrongPassword
} from './bmc-failure.ts'
import { challenge } from './bmc-login-15.ts'
import { closePacket, linkOf, sessionOpen } from './bmc-session-command.ts'
import {
  answers,
  type At,
  type Dice,
  fail,
  firstPrivilege,
  ignore,
  isAnswerTo,
  loginWait,
  mayStepDown,
  pause,
  quiet,
  requestOf,
  resend,
  send,
  type Session,
  sessionsTaken,
  type SessionStep,
  type Stage,
  username,
  withFirst
} from './bmc-session-state.ts'

/** The privilege of Open Session: "the highest that fits". */
const HIGHEST = 0

/** Bit of the RAKP role byte: look the user up by name alone (section 13.20). */
const NAME_ONLY = 0x10

const CIPHER_SUITE_PIECES = 0x40

/**
 * The order in which suites are tried: the remembered one, then as configured. One that is used only when forced must be
 * the only one configured; suite 0 is left out always.
 */
export function suiteOrder(configured: readonly number[], remembered: number | null): CipherSuite[] {
  const first = configured.filter((id) => id === remembered)
  const rest = configured.filter((id) => id !== remembered)
  const forced = configured.length === 1
  return [...first, ...rest]
    .flatMap((id) => cipherSuite(id) ?? [])
    .filter(({ use }) => use === 'free' || (use === 'forced' && forced))
}

export function begin(session: Session, now: number, dice: Dice): SessionStep {
  const { settings } = session
  const { access, remembered } = settings
  const fresh: Session = { ...session, refusals: [], privilege: firstPrivilege(settings), doubted: null }
  if (access.protocol === '1.5') return login(fresh, now, dice)
  const suites = suiteOrder(access.cipherSuites, remembered?.suite ?? null)
  if (suites.length === 0) return fail(session, suitesNotAllowed(access, access.cipherSuites))
  return login({ ...fresh, suites }, now, dice)
}

export function login(session: Session, now: number, dice: Dice): SessionStep {
  return session.settings.access.protocol === '1.5'
    ? challenge(session, now, dice)
    : openSession(session, now, dice)
}

/** Open Session Request for the first of `session.suites`. */
function openSession(session: Session, now: number, dice: Dice): SessionStep {
  const [suite] = session.suites
  if (suite === undefined) throw new Error('a log-in without a cipher suite')
  const { tag, sessionId: consoleSessionId, random: consoleRandom } = dice
  const payload = encodeOpenSessionRequest({
    tag,
    privilege: openPrivilege(session),
    consoleSessionId,
    algorithms: algorithmNumbers(suite)
  })
  const packet = plain(PAYLOAD.openSessionRequest, payload)
  const stage: Stage = {
    at: 'open-session',
    login: { suite, tag, consoleSessionId, consoleRandom },
    packet,
    tries: 1
  }
  // A BMC that lets session requests go unanswered may still say what it speaks; a few want to be asked first.
  const probe = session.rounds > 0 && session.heard.kind !== 'stopped' ? [authCapabilitiesRequest(tag)] : []
  return send({ ...session, stage }, [...probe, packet], now + loginWait(session), now)
}

export function openSessionAnswered(
  session: Session,
  stage: At<'open-session'>,
  payload: Buffer,
  now: number
): SessionStep {
  const response = decodeOpenSessionResponse(payload)
  const { login } = stage
  // Refusals are matched by the tag alone: some BMCs repeat no session ID in them.
  if (response.tag !== login.tag) return ignore(session, 'an answer to another log-in')
  if ('refused' in response) return statusRefused(session, 'open-session', response.status, now)
  if (response.consoleSessionId !== login.consoleSessionId) {
    return ignore(session, 'an answer to another log-in')
  }
  if (response.bmcSessionId === 0) return ignore(session, 'an Open Session Response with session ID 0')
  if (!sameAlgorithms(response.algorithms, algorithmNumbers(login.suite))) {
    const chosen = suiteOfAlgorithms(response.algorithms)
    const words = `it chose ${chosen ? `suite ${chosen.id}` : 'other algorithms'} instead`
    return suiteRefused(session, { suite: login.suite.id, status: null, words }, now)
  }
  const { bmcSessionId } = response
  const packet = plain(
    PAYLOAD.rakp1,
    encodeRakp1({
      tag: login.tag,
      bmcSessionId,
      consoleRandom: login.consoleRandom,
      role: role(session),
      username: username(session)
    })
  )
  return send(
    { ...session, stage: { at: 'rakp-1', login, bmcSessionId, packet, tries: 1 } },
    [packet],
    now + loginWait(session),
    now
  )
}

export function rakp2Answered(
  session: Session,
  stage: At<'rakp-1'>,
  payload: Buffer,
  now: number
): SessionStep {
  const message = decodeRakp2(payload)
  const { login, bmcSessionId } = stage
  const { tag, suite } = login
  if (message.tag !== tag) return ignore(session, 'an answer to another log-in')
  if ('refused' in message) return statusRefused(session, 'rakp-1', message.status, now)
  if (message.consoleSessionId !== login.consoleSessionId) {
    return ignore(session, 'an answer to another log-in')
  }
  const facts: RakpFacts = {
    consoleSessionId: login.consoleSessionId,
    bmcSessionId,
    consoleRandom: login.consoleRandom,
    bmcRandom: Buffer.from(message.bmcRandom),
    bmcGuid: Buffer.from(message.bmcGuid),
    role: role(session),
    username: username(session)
  }
  const password = createSecretKey(Buffer.from(session.settings.access.password))
  const expected = rakp2Code(suite, password, facts)
  const giveUp = plain(
    PAYLOAD.rakp3,
    encodeRakp3({
      tag,
      status: RMCP_PLUS_STATUS.invalidIntegrityCheck,
      bmcSessionId,
      code: Buffer.alloc(0)
    })
  )
  // Some boards send a code with bytes after its end (old Supermicro, Sun ILOM).
  if (message.code.length < expected.length) {
    const words = `its RAKP 2 code has ${message.code.length} bytes, not ${expected.length}`
    return withFirst(giveUp, suiteRefused(session, { suite: suite.id, status: null, words }, now))
  }
  // Checked before RAKP 3 goes out: RAKP 3 holds a hash of the password, which a false BMC would collect.
  if (!sameCode(message.code.subarray(0, expected.length), expected)) {
    const quirk = shownQuirk(session, suite, facts, message.code)
    if (quirk) return withFirst(giveUp, pause({ ...session, quirk }, 0, false, now))
    if (session.doubted === null) return resend({ ...session, doubted: 'rakp-2' }, stage, now)
    return withFirst(giveUp, fail(session, wrongPassword(session.settings.access)))
  }
  const kg = Buffer.from(session.settings.access.kg, 'hex')
  const sik = createSecretKey(sessionIntegrityKey(suite, kg.length > 0 ? kg : password, facts))
  const hashedRole = session.quirk?.bareRoleInRakp3 ? facts.role & ~NAME_ONLY : facts.role
  const code = rakp3Code(suite, password, { ...facts, role: hashedRole })
  const packet = plain(PAYLOAD.rakp3, encodeRakp3({ tag, status: RMCP_PLUS_STATUS.ok, bmcSessionId, code }))
  return send(
    { ...session, stage: { at: 'rakp-3', login, facts, sik, packet, tries: 1 } },
    [packet],
    now + loginWait(session),
    now
  )
}

export function rakp4Answered(
  session: Session,
  stage: At<'rakp-3'>,
  payload: Buffer,
  now: number,
  dice: Dice
): SessionStep {
  const message = decodeRakp4(payload)
  const { login, facts, sik } = stage
  if (message.tag !== login.tag) return ignore(session, 'an answer to another log-in')
  if ('refused' in message) return statusRefused(session, 'rakp-3', message.status, now)
  if (message.consoleSessionId !== login.consoleSessionId) {
    return ignore(session, 'an answer to another log-in')
  }
  const { access } = session.settings
  if (!sameCode(message.check, rakp4Check(login.suite, sik, facts))) {
    if (session.doubted !== 'rakp-4') return resend({ ...session, doubted: 'rakp-4' }, stage, now)
    return fail({ ...session, stage: { at: 'ended' } }, wrongKg(access, access.kg !== ''))
  }
  return sessionOpen(session, linkOf(stage), now, dice)
}

/**
 * The quirk that explains a RAKP 2 code other than the standard's, or null. The code still proves that the BMC knows the
 * password.
 */
function shownQuirk(session: Session, suite: CipherSuite, facts: RakpFacts, code: Buffer): LoginQuirk | null {
  if (session.quirk) return null
  const password = Buffer.from(session.settings.access.password)
  const hashed = rakp2Code(suite, password, { ...facts, role: openPrivilege(session) })
  if (!sameCode(code, hashed)) return null
  return LOGIN_QUIRKS.find(({ roleEverywhere }) => roleEverywhere) ?? null
}

/** An RMCP+ status other than 0. Makers mix them up, so most of them only rule out the present suite. */
function statusRefused(
  session: Session,
  at: 'open-session' | 'rakp-1' | 'rakp-3',
  status: number,
  now: number
): SessionStep {
  const { access, timing } = session.settings
  if (isRoleRefusal(status) && mayStepDown(session)) {
    return pause({ ...session, privilege: 'operator' }, 0, false, now)
  }
  if (status === RMCP_PLUS_STATUS.unauthorizedName) return fail(session, unknownUser(access))
  if (status === RMCP_PLUS_STATUS.invalidIntegrityCheck) {
    // Its RAKP 2 proved that we have the same password. A slow BMC that made a second RAKP 2 of a RAKP 1 sent again
    // counts with the second's numbers.
    if (at === 'rakp-3' && session.doubted === null) {
      return pause({ ...session, doubted: 'rakp-3', rounds: session.rounds + 1 }, 0, false, now)
    }
    return fail(session, wrongPassword(access))
  }
  const forgotten =
    status === RMCP_PLUS_STATUS.invalidSessionId || status === RMCP_PLUS_STATUS.inactiveSessionId
  // The BMC took our RAKP 3, its answer was lost, and it knows nothing of a second one; or it forgot the half-open
  // session, perhaps for an Open Session Request sent again before its slow answer: more patience next time.
  if (at !== 'open-session' && forgotten) {
    return pause({ ...session, rounds: session.rounds + 1 }, timing.loginWait, false, now)
  }
  const [suite] = session.suites
  return suiteRefused(session, { suite: suite?.id ?? 0, status, words: statusWords(status) }, now)
}

function suiteRefused(session: Session, refusal: SuiteRefusal, now: number): SessionStep {
  const { settings } = session
  const refusals = [...session.refusals, refusal]
  const next: Session = {
    ...session,
    suites: session.suites.slice(1),
    refusals,
    privilege: firstPrivilege(settings)
  }
  if (next.suites.length > 0) return pause(next, 0, false, now)
  const answered = (...statuses: number[]): boolean =>
    refusals.some(({ status }) => status !== null && statuses.includes(status))
  if (answered(RMCP_PLUS_STATUS.noResources, RMCP_PLUS_STATUS.noResourcesAtRole)) {
    return sessionsTaken(next, now)
  }
  if (refusals.some(({ status }) => status !== null && isRoleRefusal(status))) {
    return fail(next, roleRefused(settings.access, refusals))
  }
  return askOfferedSuites(next, 0, Buffer.alloc(0), now)
}

function isRoleRefusal(status: number): boolean {
  return status === RMCP_PLUS_STATUS.invalidRole || status === RMCP_PLUS_STATUS.unauthorizedRole
}

/** After "no common suite": what does it offer? Only for the message, so a few tries must do. */
function askOfferedSuites(session: Session, index: number, records: Buffer, now: number): SessionStep {
  const { command, netFn, data } = requestOf(getChannelCipherSuites, { channel: THIS_CHANNEL, index })
  const packet = plain(PAYLOAD.ipmi, encodeRequest({ netFn, command, rqSeq: index, data }))
  const stage: Stage = { at: 'offered-suites', index, records, packet, tries: 1 }
  return send({ ...session, stage }, [packet], now + session.settings.timing.loginWait, now)
}

export function offeredSuitesAnswered(
  session: Session,
  stage: At<'offered-suites'>,
  payload: Buffer,
  now: number
): SessionStep {
  const response = decodeResponse(payload, { authenticated: false })
  if (!answers(response, getChannelCipherSuites, stage.index)) return ignore(session, 'another answer')
  if (response.completionCode !== COMPLETION.ok) return failNoCommonSuite(session, null)
  const piece = getChannelCipherSuites.decodeResponse(response.data)
  const records = Buffer.concat([stage.records, piece.records])
  if (piece.records.length >= CIPHER_SUITE_PIECE && stage.index + 1 < CIPHER_SUITE_PIECES) {
    return askOfferedSuites(session, stage.index + 1, records, now)
  }
  return failNoCommonSuite(session, records)
}

export function failNoCommonSuite(session: Session, records: Buffer | null): SessionStep {
  const offered = records && decodeSuiteRecords(records).map(({ id }) => id)
  return fail(session, noCommonSuite(session.settings.access, session.refusals, offered))
}

/** The log-in went nowhere: start over with new numbers, and more patience, in case the BMC is slow. */
export function lostLogin(session: Session, now: number, dice: Dice): SessionStep {
  // RAKP 3 may have opened a session whose answer was lost on the way: close it, a BMC has few.
  const { stage } = session
  const link = stage.at === 'rakp-3' ? linkOf(stage) : stage.at === 'command' ? stage.link : null
  const step = login({ ...session, rounds: session.rounds + 1 }, now, dice)
  return link ? withFirst(closePacket(link, dice), step) : step
}

export function authCapabilitiesAnswered(session: Session, body: Buffer): SessionStep {
  const response = decodeResponse(decodeSessionless(body), { authenticated: false })
  if (!isAnswerTo(response, getChannelAuthCapabilities)) return ignore(session, 'another answer')
  // A strict 1.5 BMC does not know the bit that asks for 2.0.
  const ok = response.completionCode === COMPLETION.ok
  const ipmi20 = ok && getChannelAuthCapabilities.decodeResponse(response.data).ipmi20
  if (!ipmi20) return quiet({ ...session, heard: { kind: 'only-ipmi-1.5' } })
  return quiet({ ...session, heard: { kind: 'stopped', missing: 'Open Session Request' } })
}

/**
 * The privilege Open Session asks for. "Highest" and administrator in RAKP 1 is what every tool sends; a lower one is the
 * same in both.
 */
function openPrivilege({ privilege, quirk }: Session): number {
  return privilege === 'administrator' && !quirk?.roleEverywhere ? HIGHEST : PRIVILEGE[privilege]
}

function role({ privilege, quirk }: Session): number {
  return quirk?.roleEverywhere ? PRIVILEGE[privilege] : NAME_ONLY | PRIVILEGE[privilege]
}

function plain(payloadType: number, payload: Buffer): Buffer {
  return encodeRmcp('ipmi', encodePlain(payloadType, payload))
}

function authCapabilitiesRequest(tag: number): Buffer {
  const asked = { channel: THIS_CHANNEL, privilege: PRIVILEGE.administrator }
  const { netFn, command, data } = requestOf(getChannelAuthCapabilities, asked)
  return encodeRmcp('ipmi', encodeSessionless(encodeRequest({ netFn, command, rqSeq: tag & 0x3f, data })))
}
