// One RMCP+ session with a BMC as a step function: state and one input in, state, packets to send and at most one outcome
// out (IPMI 2.0, section 13). It owns all judgement about the conversation: which cipher suite comes next, what is
// resent and when, what proves the BMC, what an answer means. It owns no socket, clock or randomness.
//
//   idle ─open→ open-session → rakp-1 → rakp-3 → (Set Session Privilege) → ready ─request→ command → ready
//                    ↑ lost, refused: pause, next suite ↓                     └──────close→ command → ended
//
// IPMI 1.5, where it is forced: challenge → activate instead of the first three.
//
// Each `open`, `request` and `close` leads to exactly one outcome. One request is outstanding at a time, which is the
// only number that every BMC takes. A wrong password or name ends the log-in at once: no other suite is tried with it.

import { createSecretKey, type KeyObject } from 'node:crypto'
import type { BmcAccess, BmcPrivilege, LoginWay } from '../domain/bmc.ts'
import type { AppError } from '../domain/error.ts'
import {
  algorithmNumbers,
  cipherSuite,
  sameAlgorithms,
  suiteOfAlgorithms,
  type CipherSuite
} from '../wire/ipmi/cipher-suite.ts'
import { COMPLETION, RMCP_PLUS_STATUS, statusWords } from '../wire/ipmi/codes.ts'
import { activateSession } from '../wire/ipmi/command/activate-session.ts'
import { closeSession } from '../wire/ipmi/command/close-session.ts'
import type { Command } from '../wire/ipmi/command/command.ts'
import {
  getChannelAuthCapabilities,
  THIS_CHANNEL
} from '../wire/ipmi/command/get-channel-auth-capabilities.ts'
import {
  CIPHER_SUITE_PIECE,
  decodeSuiteRecords,
  getChannelCipherSuites
} from '../wire/ipmi/command/get-channel-cipher-suites.ts'
import { getSessionChallenge } from '../wire/ipmi/command/get-session-challenge.ts'
import { PRIVILEGE, setSessionPrivilege } from '../wire/ipmi/command/set-session-privilege.ts'
import {
  rakp2Code,
  rakp3Code,
  rakp4Check,
  sameCode,
  sessionIntegrityKey,
  sessionKeys,
  type RakpFacts
} from '../wire/ipmi/keys.ts'
import { loginQuirk, LOGIN_QUIRKS, type LoginQuirk } from '../wire/ipmi/login-quirk.ts'
import { openMd5, sealMd5 } from '../wire/ipmi/md5-packet.ts'
import { decodeResponse, encodeRequest, type IpmiResponse } from '../wire/ipmi/message.ts'
import { decodeOpenSessionResponse, encodeOpenSessionRequest } from '../wire/ipmi/open-session.ts'
import { decodeRakp2, decodeRakp4, encodeRakp1, encodeRakp3, USER_NAME_LENGTH } from '../wire/ipmi/rakp.ts'
import { decodeRmcp, encodeRmcp } from '../wire/ipmi/rmcp.ts'
import { decodeHeader, encodePlain, FORMAT_RMCP_PLUS, IV_LENGTH, PAYLOAD } from '../wire/ipmi/rmcp-plus.ts'
import { receiveSequence } from '../wire/ipmi/sequence-window.ts'
import { decodeSessionless, encodeSessionless } from '../wire/ipmi/sessionless.ts'
import { WireError } from '../wire/wire-error.ts'
import {
  noCommonSuite,
  noFreeSession,
  nodeBusy,
  privilegeTooLow,
  refused,
  roleRefused,
  suitesNotAllowed,
  timedOut,
  unknownUser,
  wrongKg,
  wrongPassword,
  wrongPassword15,
  type BmcSubject,
  type Heard,
  type SuiteRefusal
} from './bmc-failure.ts'
import { newLink, openPacket, sealPayload, sealRequest, suiteOfLink, type Link } from './bmc-link.ts'

/** Spans in milliseconds. */
export type SessionTiming = {
  /** First wait for an answer to a log-in packet; half as long again in each further round. */
  loginWait: number
  /** Sends of one log-in packet before the log-in starts over with new numbers. */
  loginTries: number
  /** First wait for an answer to a command; a quarter as long again for each further try. */
  commandWait: number
  commandTries: number
  /** First pause after "node busy" and its kin; half as long again each time. */
  busyPause: number
  /** Pause after "no free session". */
  sessionPause: number
  closeWait: number
  closeTries: number
}

/** Measured with 30 % of the packets lost each way: log-in and one answer in 2.0 s (median), 6.4 s (95 of 100). */
export const SESSION_TIMING: SessionTiming = {
  loginWait: 400,
  loginTries: 5,
  commandWait: 400,
  commandTries: 6,
  busyPause: 500,
  sessionPause: 5000,
  closeWait: 250,
  closeTries: 3
}

export type SessionSettings = {
  access: BmcAccess
  /** The way that worked last, tried first. */
  remembered: LoginWay | null
  timing: SessionTiming
}

/** One command as bytes; `words` are its own meanings of completion codes 0x80 to 0xBE. */
export type SessionRequest = {
  name: string
  netFn: number
  command: number
  data: Buffer
  words?: Readonly<Record<number, string>> | undefined
  /** Must not be carried out twice, so no packet of it is repeated. */
  once?: boolean
}

/** `now` and `deadlineAt` are milliseconds of one monotonic clock. */
export type SessionInput =
  | { kind: 'open'; deadlineAt: number }
  | { kind: 'request'; request: SessionRequest; deadlineAt: number }
  | { kind: 'close' }
  /** To be sent as a packet of serial over LAN, in a session that is open; what comes back is no outcome. */
  | { kind: 'sol'; payload: Buffer }
  | { kind: 'datagram'; bytes: Uint8Array }
  | { kind: 'timer' }
  /** The network reports that nothing listens on the BMC's port (ICMP port unreachable). */
  | { kind: 'port-closed' }

export type SessionOutcome =
  | { kind: 'ready'; way: LoginWay }
  | { kind: 'reply'; completionCode: number; data: Buffer }
  /** All sends of the request went unanswered: it may or may not have been carried out. The session is to be closed. */
  | { kind: 'no-answer' }
  /** The session is of no more use; `close` it all the same. */
  | { kind: 'failed'; error: AppError }
  | { kind: 'closed' }

export type SessionStep = {
  session: Session
  /** Packets for the BMC, in order. */
  send: readonly Buffer[]
  outcome: SessionOutcome | null
  /** What the datagram held of serial over LAN. */
  sol: Buffer | null
  /** Why the datagram did not count, for the debug log. */
  ignored: string | null
}

/** One try to log in with one suite; new numbers each time, so that late answers to an earlier try are told apart. */
type Login = { suite: CipherSuite; tag: number; consoleSessionId: number; consoleRandom: Buffer }

type Exchange = {
  purpose: 'privilege' | 'request' | 'close'
  request: SessionRequest
  rqSeq: number
  tries: number
  /** The code by which the BMC last asked us to wait, and how often it has; null while an answer is awaited. */
  busy: { completionCode: number; times: number; waiting: boolean } | null
}

type Stage =
  | { at: 'idle' }
  | { at: 'open-session'; login: Login; packet: Buffer; tries: number }
  | { at: 'rakp-1'; login: Login; bmcSessionId: number; packet: Buffer; tries: number }
  | { at: 'rakp-3'; login: Login; facts: RakpFacts; sik: KeyObject; packet: Buffer; tries: number }
  | { at: 'challenge'; packet: Buffer; tries: number }
  | { at: 'activate'; temporarySessionId: number; packet: Buffer; tries: number }
  | { at: 'pause'; noFreeSession: boolean }
  | { at: 'offered-suites'; index: number; records: Buffer; packet: Buffer; tries: number }
  | { at: 'ready'; link: Link }
  | { at: 'command'; link: Link; exchange: Exchange }
  | { at: 'ended' }

export type Session = {
  settings: SessionSettings
  stage: Stage
  /** When to step with `timer`; null: not at all. */
  wakeAt: number | null
  startedAt: number
  deadlineAt: number
  /** Suites still to be tried; the first is the present one. */
  suites: readonly CipherSuite[]
  refusals: readonly SuiteRefusal[]
  /** The privilege of the present try. */
  privilege: BmcPrivilege
  quirk: LoginQuirk | null
  /** Whose code did not verify, once: it is asked for again before it is believed, in case the packet was spoiled. */
  doubted: 'rakp-2' | 'rakp-4' | null
  /** Log-ins begun and lost so far. */
  rounds: number
  heard: Heard
  portClosed: number
}

/** Random bytes one step may use: session ID, Rm, initialisation vector, tag, jitter. */
export const SESSION_RANDOM_LENGTH = 4 + 16 + IV_LENGTH + 1 + 1

/** So many "port closed" in a row, and nothing heard, are believed before time is up. */
const PORT_CLOSED_BELIEVED = 4
/** The privilege of Open Session: "the highest that fits". */
const HIGHEST = 0
/** Bit of the RAKP role byte: look the user up by name alone (section 13.20). */
const NAME_ONLY = 0x10
const CIPHER_SUITE_PIECES = 0x40
const RETRIED: ReadonlySet<number> = new Set([
  COMPLETION.nodeBusy,
  COMPLETION.timeout,
  COMPLETION.unavailable,
  COMPLETION.initialising
])

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

export function newSession(settings: SessionSettings): Session {
  return {
    settings,
    stage: { at: 'idle' },
    wakeAt: null,
    startedAt: 0,
    deadlineAt: 0,
    suites: [],
    refusals: [],
    privilege: firstPrivilege(settings),
    quirk: loginQuirk(settings.access.loginQuirk ?? settings.remembered?.quirk ?? '') ?? null,
    doubted: null,
    rounds: 0,
    heard: { kind: 'nothing' },
    portClosed: 0
  }
}

/**
 * One step. `random` is SESSION_RANDOM_LENGTH fresh random bytes. Throws only when misused (`request` before the
 * session is ready); whatever the BMC sends is judged, never thrown.
 */
export function stepSession(
  session: Session,
  input: SessionInput,
  now: number,
  random: Uint8Array
): SessionStep {
  const dice = roll(random)
  switch (input.kind) {
    case 'open':
      return begin({ ...session, startedAt: now, deadlineAt: input.deadlineAt }, now, dice)
    case 'request':
      return request({ ...session, startedAt: now, deadlineAt: input.deadlineAt }, input.request, now, dice)
    case 'close':
      return close(session, now, dice)
    case 'sol':
      return sendSol(session, input.payload, dice)
    case 'datagram':
      return datagram(session, input.bytes, now, dice)
    case 'timer':
      return timer(session, now, dice)
    case 'port-closed':
      return portClosed(session, now)
  }
}

// ── log-in ────────────────────────────────────────────────────────────────────────────────────────────────────────────

function begin(session: Session, now: number, dice: Dice): SessionStep {
  const { settings } = session
  const { access, remembered } = settings
  const fresh: Session = { ...session, refusals: [], privilege: firstPrivilege(settings), doubted: null }
  if (access.protocol === '1.5') return login(fresh, now, dice)
  const suites = suiteOrder(access.cipherSuites, remembered?.suite ?? null)
  if (suites.length === 0) return fail(session, suitesNotAllowed(access, access.cipherSuites))
  return login({ ...fresh, suites }, now, dice)
}

function login(session: Session, now: number, dice: Dice): SessionStep {
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

function openSessionAnswered(
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

function rakp2Answered(session: Session, stage: At<'rakp-1'>, payload: Buffer, now: number): SessionStep {
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

function rakp4Answered(
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
  return setPrivilege(session, linkOf(stage), now, dice)
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

function setPrivilege(session: Session, link: Link, now: number, dice: Dice): SessionStep {
  const request = requestOf(setSessionPrivilege, { privilege: PRIVILEGE[session.privilege] })
  return sendCommand(session, link, 'privilege', request, now, dice)
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
  if (status === RMCP_PLUS_STATUS.invalidIntegrityCheck) return fail(session, wrongPassword(access))
  const forgotten =
    status === RMCP_PLUS_STATUS.invalidSessionId || status === RMCP_PLUS_STATUS.inactiveSessionId
  // The BMC took our RAKP 3, its answer was lost, and it knows nothing of a second one; or it forgot the half-open session.
  if (at !== 'open-session' && forgotten) return pause(session, timing.loginWait, false, now)
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

/** Forgotten sessions end by themselves, so it is tried again as long as there is time. */
function sessionsTaken(session: Session, now: number): SessionStep {
  const { access, timing } = session.settings
  if (now + timing.sessionPause < session.deadlineAt) return pause(session, timing.sessionPause, true, now)
  return fail(session, noFreeSession(access, session.refusals))
}

function isRoleRefusal(status: number): boolean {
  return status === RMCP_PLUS_STATUS.invalidRole || status === RMCP_PLUS_STATUS.unauthorizedRole
}

/** Only where the privilege is ours to find out; a user with less than an operator's is of no use. */
function mayStepDown({ settings, privilege }: Session): boolean {
  return settings.access.privilege === 'highest' && privilege === 'administrator'
}

/** After "no common suite": what does it offer? Only for the message, so a few tries must do. */
function askOfferedSuites(session: Session, index: number, records: Buffer, now: number): SessionStep {
  const { command, netFn, data } = requestOf(getChannelCipherSuites, { channel: THIS_CHANNEL, index })
  const packet = plain(PAYLOAD.ipmi, encodeRequest({ netFn, command, rqSeq: index, data }))
  const stage: Stage = { at: 'offered-suites', index, records, packet, tries: 1 }
  return send({ ...session, stage }, [packet], now + session.settings.timing.loginWait, now)
}

function offeredSuitesAnswered(
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

function failNoCommonSuite(session: Session, records: Buffer | null): SessionStep {
  const offered = records && decodeSuiteRecords(records).map(({ id }) => id)
  return fail(session, noCommonSuite(session.settings.access, session.refusals, offered))
}

/** The log-in went nowhere: start over with new numbers, and more patience, in case the BMC is slow. */
function lostLogin(session: Session, now: number, dice: Dice): SessionStep {
  // RAKP 3 may have opened a session whose answer was lost on the way: close it, a BMC has few.
  const { stage } = session
  const link = stage.at === 'rakp-3' ? linkOf(stage) : stage.at === 'command' ? stage.link : null
  const step = login({ ...session, rounds: session.rounds + 1 }, now, dice)
  return link ? withFirst(closePacket(link, dice), step) : step
}

function pause(session: Session, span: number, noFreeSession: boolean, now: number): SessionStep {
  return send({ ...session, stage: { at: 'pause', noFreeSession } }, [], now + span, now)
}

function authCapabilitiesAnswered(session: Session, body: Buffer): SessionStep {
  const response = decodeResponse(decodeSessionless(body), { authenticated: false })
  if (!isAnswerTo(response, getChannelAuthCapabilities)) return ignore(session, 'another answer')
  // A strict 1.5 BMC does not know the bit that asks for 2.0.
  const ok = response.completionCode === COMPLETION.ok
  const ipmi20 = ok && getChannelAuthCapabilities.decodeResponse(response.data).ipmi20
  if (!ipmi20) return quiet({ ...session, heard: { kind: 'only-ipmi-1.5' } })
  return quiet({ ...session, heard: { kind: 'stopped', missing: 'Open Session Request' } })
}

// ── log-in by IPMI 1.5 (sections 22.16 and 22.17) ────────────────────────────────────────────────────────────────────────

function challenge(session: Session, now: number, dice: Dice): SessionStep {
  const rqSeq = dice.tag & 0x3f
  const { netFn, command, data } = requestOf(getSessionChallenge, { username: username(session) })
  const packet = encodeRmcp('ipmi', encodeSessionless(encodeRequest({ netFn, command, rqSeq, data })))
  const stage: Stage = { at: 'challenge', packet, tries: 1 }
  return send({ ...session, stage }, [packet], now + loginWait(session), now)
}

function challengeAnswered(session: Session, body: Buffer, now: number, dice: Dice): SessionStep {
  const response = decodeResponse(decodeSessionless(body), { authenticated: false })
  if (!isAnswerTo(response, getSessionChallenge)) return ignore(session, 'another answer')
  const { access } = session.settings
  if (RETRIED.has(response.completionCode))
    return pause(session, session.settings.timing.busyPause, false, now)
  // 0x81 invalid user name, 0x82 null user not enabled.
  if (response.completionCode === 0x81 || response.completionCode === 0x82)
    return fail(session, unknownUser(access))
  if (response.completionCode !== COMPLETION.ok) return fail(session, refusal(session, response))
  const { temporarySessionId, challenge } = getSessionChallenge.decodeResponse(response.data)
  const { netFn, command, data } = requestOf(activateSession, {
    privilege: PRIVILEGE[session.privilege],
    challenge,
    outboundSequence: dice.sessionId
  })
  const message = encodeRequest({ netFn, command, rqSeq: dice.tag & 0x3f, data })
  const unnumbered = { sessionId: temporarySessionId, sequence: 0, message }
  const packet = encodeRmcp('ipmi', sealMd5(Buffer.from(access.password), unnumbered))
  const stage: Stage = { at: 'activate', temporarySessionId, packet, tries: 1 }
  return send({ ...session, stage }, [packet], now + loginWait(session), now)
}

function activateAnswered(
  session: Session,
  stage: At<'activate'>,
  body: Buffer,
  now: number,
  dice: Dice
): SessionStep {
  const { access } = session.settings
  const password = Buffer.from(access.password)
  // Refusals may come without authentication; a session never does.
  const authenticated = body[0] !== 0
  const message = authenticated ? openMd5(password, body).message : refusalMessage(body)
  const response = decodeResponse(message, { authenticated })
  if (!isAnswerTo(response, activateSession)) return ignore(session, 'another answer')
  const { completionCode } = response
  if (RETRIED.has(completionCode)) return pause(session, session.settings.timing.busyPause, false, now)
  if (completionCode >= 0x81 && completionCode <= 0x83) return sessionsTaken(session, now)
  if (completionCode === 0x86 && mayStepDown(session))
    return pause({ ...session, privilege: 'operator' }, 0, false, now)
  if (completionCode === 0x86) return fail(session, roleRefused(access, []))
  // The challenge is used up: the first answer was lost on the way.
  if (completionCode === 0x85) return pause(session, session.settings.timing.loginWait, false, now)
  if (completionCode !== COMPLETION.ok) return fail(session, refusal(session, response))
  if (!authenticated) return ignore(session, 'a session without authentication')
  const { sessionId, inboundSequence } = activateSession.decodeResponse(response.data)
  const ids = { consoleSessionId: sessionId, bmcSessionId: sessionId }
  const link = newLink({ kind: 'md5', password }, ids, (inboundSequence - 1) >>> 0)
  return setPrivilege({ ...session, stage }, link, now, dice)
}

/** The message of an unauthenticated packet, whatever session it names (bytes 1 to 8). */
function refusalMessage(body: Buffer): Buffer {
  return decodeSessionless(Buffer.concat([body.subarray(0, 1), Buffer.alloc(8), body.subarray(9)]))
}

function refusal(session: Session, { completionCode, command }: IpmiResponse): AppError {
  const { name, completionWords } =
    command === activateSession.command ? activateSession : getSessionChallenge
  return refused(session.settings.access, name, completionCode, completionWords)
}

// ── commands ──────────────────────────────────────────────────────────────────────────────────────────────────────────

function request(session: Session, wanted: SessionRequest, now: number, dice: Dice): SessionStep {
  if (session.stage.at !== 'ready') throw new Error(`a request while the session is at ${session.stage.at}`)
  return sendCommand(session, session.stage.link, 'request', wanted, now, dice)
}

function close(session: Session, now: number, dice: Dice): SessionStep {
  const { stage } = session
  if (stage.at === 'ready' || stage.at === 'command') {
    return sendCommand(session, stage.link, 'close', closeRequest(stage.link), now, dice)
  }
  const last = stage.at === 'rakp-3' ? [closePacket(linkOf(stage), dice)] : []
  return { ...end(session, { kind: 'closed' }), send: last }
}

/** A new request: the next rqSeq, the first of its sends. */
function sendCommand(
  session: Session,
  link: Link,
  purpose: Exchange['purpose'],
  wanted: SessionRequest,
  now: number,
  dice: Dice
): SessionStep {
  const rqSeq = (link.rqSeq + 1) & 0x3f
  const exchange: Exchange = { purpose, request: wanted, rqSeq, tries: 0, busy: null }
  return sendExchange(session, { ...link, rqSeq }, exchange, now, dice)
}

/** What is sent only once is waited for longer; in waits for a command's first answer. */
const ONCE_WAITS = 5

/** Sends, or sends again: always a new session sequence number, and the same rqSeq as long as no answer came. */
function sendExchange(
  session: Session,
  link: Link,
  exchange: Exchange,
  now: number,
  dice: Dice
): SessionStep {
  const { timing } = session.settings
  const { packet, link: used } = sealRequest(link, exchange.request, exchange.rqSeq, dice.iv)
  const patience = exchange.request.once ? ONCE_WAITS : 1.25 ** exchange.tries
  const wait =
    exchange.purpose === 'close' ? timing.closeWait : timing.commandWait * patience * (1 + dice.jitter / 10)
  const stage: Stage = { at: 'command', link: used, exchange: { ...exchange, tries: exchange.tries + 1 } }
  const next: Session = { ...session, stage }
  // Closing has its own, short bound; the operation's deadline may be over by then.
  if (exchange.purpose === 'close') return { ...quiet({ ...next, wakeAt: now + wait }), send: [packet] }
  return send(next, [packet], now + wait, now)
}

/** A packet inside the open session: the answer to a command, or serial over LAN. */
function inSession(
  session: Session,
  stage: At<'ready' | 'command'>,
  body: Buffer,
  now: number,
  dice: Dice
): SessionStep {
  const packet = openPacket(stage.link, body)
  if (packet.sessionId !== stage.link.consoleSessionId) return ignore(session, 'a packet of another session')
  const window = receiveSequence(stage.link.window, packet.sequence)
  if (window === null) return ignore(session, `session sequence number ${packet.sequence} again`)
  const link: Link = { ...stage.link, window }
  const received: Session = { ...session, stage: { ...stage, link } }
  if (packet.payloadType === PAYLOAD.sol) return { ...quiet(received), sol: packet.payload }
  if (packet.payloadType !== PAYLOAD.ipmi) return ignore(received, `payload type ${packet.payloadType}`)
  const response = decodeResponse(packet.payload, { authenticated: true })
  if (stage.at === 'ready') return ignore(received, 'an answer to an earlier request')
  const { exchange } = stage
  if (exchange.busy?.waiting || !answers(response, exchange.request, exchange.rqSeq)) {
    return ignore(received, 'an answer to an earlier request')
  }
  return replied(received, link, exchange, response, now, dice)
}

/** Whoever sends serial over LAN sees to its repetitions: nothing here waits for an answer. */
function sendSol(session: Session, payload: Buffer, dice: Dice): SessionStep {
  const { stage } = session
  if (stage.at !== 'ready' && stage.at !== 'command') return ignore(session, 'the session is not open')
  const { packet, link } = sealPayload(stage.link, PAYLOAD.sol, payload, dice.iv)
  return { ...quiet({ ...session, stage: { ...stage, link } }), send: [packet] }
}

function replied(
  session: Session,
  link: Link,
  exchange: Exchange,
  response: IpmiResponse,
  now: number,
  dice: Dice
): SessionStep {
  const { access, timing } = session.settings
  const { completionCode } = response
  const ready: Session = { ...session, stage: { at: 'ready', link }, wakeAt: null }
  if (exchange.purpose === 'close') return end(ready, { kind: 'closed' })
  if (RETRIED.has(completionCode)) {
    const times = (exchange.busy?.times ?? 0) + 1
    const busy = { completionCode, times, waiting: true }
    const waiting: Stage = { at: 'command', link, exchange: { ...exchange, busy } }
    return send({ ...session, stage: waiting }, [], now + timing.busyPause * 1.5 ** (times - 1), now)
  }
  if (exchange.purpose === 'request') {
    return done(ready, { kind: 'reply', completionCode, data: response.data })
  }
  if (completionCode === COMPLETION.ok) return done(ready, { kind: 'ready', way: wayOf(session, link) })
  const tooHigh = completionCode === 0x80 || completionCode === 0x81
  if (tooHigh || completionCode === COMPLETION.insufficientPrivilege) {
    if (mayStepDown(session)) return setPrivilege({ ...session, privilege: 'operator' }, link, now, dice)
    return fail(ready, privilegeTooLow(subject(session), exchange.request.name, completionCode))
  }
  return fail(ready, refused(access, exchange.request.name, completionCode, exchange.request.words))
}

/** One Close Session whose answer nobody waits for. */
function closePacket(link: Link, dice: Dice): Buffer {
  return sealRequest(link, closeRequest(link), link.rqSeq, dice.iv).packet
}

function closeRequest({ bmcSessionId }: Link): SessionRequest {
  return requestOf(closeSession, { bmcSessionId })
}

function wayOf(session: Session, link: Link): LoginWay {
  return { suite: suiteOfLink(link), privilege: session.privilege, quirk: session.quirk?.name ?? null }
}

// ── what comes in ─────────────────────────────────────────────────────────────────────────────────────────────────────

function datagram(session: Session, bytes: Uint8Array, now: number, dice: Dice): SessionStep {
  try {
    return received(session, bytes, now, dice)
  } catch (error) {
    if (!(error instanceof WireError)) throw error
    const heard: Heard =
      session.heard.kind === 'stopped' ? session.heard : { kind: 'not-ipmi', words: error.message }
    return ignore({ ...session, heard }, error.message)
  }
}

function received(before: Session, bytes: Uint8Array, now: number, dice: Dice): SessionStep {
  const { messageClass, body } = decodeRmcp(bytes)
  if (messageClass !== 'ipmi') return ignore(before, 'an ASF message')
  const { stage } = before
  if (
    (stage.at === 'ready' || stage.at === 'command') &&
    (body[0] === FORMAT_RMCP_PLUS) === (suiteOfLink(stage.link) !== null)
  ) {
    return inSession(before, stage, body, now, dice)
  }
  if (before.settings.access.protocol === '1.5') {
    const session: Session = { ...before, heard: { kind: 'stopped', missing: awaited(stage) } }
    if (stage.at === 'challenge') return challengeAnswered(session, body, now, dice)
    if (stage.at === 'activate') return activateAnswered(session, stage, body, now, dice)
    return ignore(before, `an IPMI 1.5 packet while at ${stage.at}`)
  }
  if (body[0] !== FORMAT_RMCP_PLUS) return authCapabilitiesAnswered(before, body)
  const header = decodeHeader(body)
  if (header.encrypted || header.authenticated || header.sessionId !== 0) {
    return ignore(before, 'a packet of another session')
  }
  const session: Session = { ...before, heard: { kind: 'stopped', missing: awaited(stage) } }
  const { payloadType, payload } = header
  if (stage.at === 'open-session' && payloadType === PAYLOAD.openSessionResponse) {
    return openSessionAnswered(session, stage, payload, now)
  }
  if (stage.at === 'rakp-1' && payloadType === PAYLOAD.rakp2)
    return rakp2Answered(session, stage, payload, now)
  if (stage.at === 'rakp-3' && payloadType === PAYLOAD.rakp4) {
    return rakp4Answered(session, stage, payload, now, dice)
  }
  if (stage.at === 'offered-suites' && payloadType === PAYLOAD.ipmi) {
    return offeredSuitesAnswered(session, stage, payload, now)
  }
  return ignore(session, `payload type ${payloadType} while at ${stage.at}`)
}

function timer(session: Session, now: number, dice: Dice): SessionStep {
  if (session.wakeAt === null || now < session.wakeAt) return quiet(session)
  const { stage } = session
  const { access, timing } = session.settings
  if (stage.at === 'command' && stage.exchange.purpose === 'close') {
    if (stage.exchange.tries >= timing.closeTries) return end(session, { kind: 'closed' })
    return sendExchange(session, stage.link, stage.exchange, now, dice)
  }
  if (stage.at === 'offered-suites') {
    if (now >= session.deadlineAt || stage.tries >= 3) return failNoCommonSuite(session, null)
    return resend(session, stage, now)
  }
  if (now >= session.deadlineAt) return outOfTime(session)
  switch (stage.at) {
    case 'open-session':
    case 'rakp-1':
    case 'rakp-3':
    case 'challenge':
      // With the first RAKP 4 the session was open for the BMC; some then answer no other.
      if (stage.at === 'rakp-3' && session.doubted === 'rakp-4')
        return fail(session, wrongKg(access, access.kg !== ''))
      return stage.tries < timing.loginTries ? resend(session, stage, now) : lostLogin(session, now, dice)
    case 'activate':
      // Silence is how many answer to a wrong password, and each send counts against the user.
      return stage.tries < timing.loginTries
        ? resend(session, stage, now)
        : fail(session, wrongPassword15(access))
    case 'pause':
      return stage.noFreeSession ? begin(session, now, dice) : login(session, now, dice)
    case 'command': {
      const { link, exchange } = stage
      if (exchange.busy?.waiting) {
        // The BMC did answer, so this is a request of its own, with an rqSeq of its own.
        const rqSeq = (link.rqSeq + 1) & 0x3f
        const again: Exchange = { ...exchange, rqSeq, tries: 0, busy: { ...exchange.busy, waiting: false } }
        return sendExchange(session, { ...link, rqSeq }, again, now, dice)
      }
      if (!exchange.request.once && exchange.tries < timing.commandTries)
        return sendExchange(session, link, exchange, now, dice)
      if (exchange.purpose === 'privilege') return lostLogin(session, now, dice)
      return done({ ...session, stage: { at: 'ready', link }, wakeAt: null }, { kind: 'no-answer' })
    }
    default:
      throw new Error(`a timer while the session is at ${stage.at}`)
  }

  function outOfTime(late: Session): SessionStep {
    const seconds = (late.deadlineAt - late.startedAt) / 1000
    if (stage.at === 'pause' && stage.noFreeSession) return fail(late, noFreeSession(access, late.refusals))
    if (stage.at === 'command') {
      const { link, exchange } = stage
      const ready: Session = { ...late, stage: { at: 'ready', link } }
      if (exchange.busy)
        return fail(ready, nodeBusy(access, exchange.request.name, exchange.busy.completionCode))
      return fail(ready, timedOut(access, seconds, { kind: 'stopped', missing: exchange.request.name }))
    }
    const heard: Heard =
      late.heard.kind === 'stopped' ? { kind: 'stopped', missing: awaited(stage) } : late.heard
    const step = fail(late, timedOut(access, seconds, heard))
    return stage.at === 'rakp-3' ? withFirst(closePacket(linkOf(stage), dice), step) : step
  }
}

function portClosed(session: Session, now: number): SessionStep {
  const count = session.portClosed + 1
  const next: Session = { ...session, portClosed: count }
  if (session.stage.at !== 'open-session' || session.heard.kind !== 'nothing') return quiet(next)
  if (count < PORT_CLOSED_BELIEVED) return quiet(next)
  const seconds = (now - session.startedAt) / 1000
  return fail(next, timedOut(session.settings.access, seconds, { kind: 'port-closed' }))
}

// ── small things ──────────────────────────────────────────────────────────────────────────────────────────────────────

type At<Name extends Stage['at']> = Extract<Stage, { at: Name }>

type Dice = { sessionId: number; random: Buffer; iv: Buffer; tag: number; jitter: number }

function roll(random: Uint8Array): Dice {
  const bytes = Buffer.from(random)
  if (bytes.length < SESSION_RANDOM_LENGTH) throw new Error('too little randomness for a step')
  return {
    // 0 means "outside a session".
    sessionId: bytes.readUInt32LE(0) || 1,
    random: bytes.subarray(4, 20),
    iv: bytes.subarray(20, 36),
    tag: bytes.readUInt8(36),
    jitter: bytes.readUInt8(37) / 255
  }
}

function loginWait({ settings, rounds }: Session): number {
  return settings.timing.loginWait * 1.5 ** rounds
}

function firstPrivilege({ access, remembered }: SessionSettings): BmcPrivilege {
  if (access.privilege !== 'highest') return access.privilege
  return remembered?.privilege ?? 'administrator'
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

function username({ settings, quirk }: Session): Buffer {
  const name = Buffer.from(settings.access.username)
  if (!quirk?.paddedName) return name
  return Buffer.concat([name, Buffer.alloc(USER_NAME_LENGTH - name.length)])
}

/** For messages: the BMC, and the privilege of the present try. */
function subject({ settings, privilege }: Session): BmcSubject {
  return { ...settings.access, privilege }
}

function linkOf({ login, facts, sik }: At<'rakp-3'>): Link {
  return newLink({ kind: 'rmcp-plus', keys: sessionKeys(login.suite, sik) }, facts)
}

function requestOf<Request>(of: Command<Request, unknown>, value: Request): SessionRequest {
  const { name, netFn, command, completionWords: words } = of
  return { name, netFn, command, data: of.encodeRequest(value), words }
}

function isAnswerTo(response: IpmiResponse, to: { netFn: number; command: number }): boolean {
  return response.netFn === to.netFn + 1 && response.command === to.command
}

function answers(response: IpmiResponse, to: { netFn: number; command: number }, rqSeq: number): boolean {
  return isAnswerTo(response, to) && response.rqSeq === rqSeq
}

/** What the BMC owes us at this stage, for the message. */
function awaited(stage: Stage): string {
  switch (stage.at) {
    case 'rakp-1':
      return 'RAKP 1'
    case 'rakp-3':
      return 'RAKP 3'
    case 'challenge':
      return getSessionChallenge.name
    case 'activate':
      return activateSession.name
    case 'command':
      return stage.exchange.request.name
    default:
      return 'Open Session Request'
  }
}

function plain(payloadType: number, payload: Buffer): Buffer {
  return encodeRmcp('ipmi', encodePlain(payloadType, payload))
}

function authCapabilitiesRequest(tag: number): Buffer {
  const asked = { channel: THIS_CHANNEL, privilege: PRIVILEGE.administrator }
  const { netFn, command, data } = requestOf(getChannelAuthCapabilities, asked)
  return encodeRmcp('ipmi', encodeSessionless(encodeRequest({ netFn, command, rqSeq: tag & 0x3f, data })))
}

/** The same bytes again: the same tag and the same random number. */
function resend(
  session: Session,
  stage: At<'open-session' | 'rakp-1' | 'rakp-3' | 'challenge' | 'activate' | 'offered-suites'>,
  now: number
): SessionStep {
  const again: Stage = { ...stage, tries: stage.tries + 1 }
  return send({ ...session, stage: again }, [stage.packet], now + loginWait(session), now)
}

/** Sends and waits until `wakeAt`, or until the deadline, whichever is first. */
function send(session: Session, packets: Buffer[], wakeAt: number, now: number): SessionStep {
  const at = Math.max(now, Math.min(wakeAt, session.deadlineAt))
  return { session: { ...session, wakeAt: at }, send: packets, outcome: null, sol: null, ignored: null }
}

function quiet(session: Session): SessionStep {
  return { session, send: [], outcome: null, sol: null, ignored: null }
}

function ignore(session: Session, why: string): SessionStep {
  return { ...quiet(session), ignored: why }
}

function done(session: Session, outcome: SessionOutcome): SessionStep {
  return { ...quiet({ ...session, wakeAt: null }), outcome }
}

function end(session: Session, outcome: SessionOutcome): SessionStep {
  return done({ ...session, stage: { at: 'ended' } }, outcome)
}

/** A session that holds a link keeps it, so that it can still be closed. */
function fail(session: Session, error: AppError): SessionStep {
  const outcome: SessionOutcome = { kind: 'failed', error }
  return session.stage.at === 'ready' ? done(session, outcome) : end(session, outcome)
}

function withFirst(packet: Buffer, step: SessionStep): SessionStep {
  return { ...step, send: [packet, ...step.send] }
}
