// What one session with a BMC is between two steps, what goes into a step and comes out of it, and the ways a step can end.

import type { KeyObject } from 'node:crypto'
import type { BmcAccess, BmcPrivilege, LoginWay } from '../domain/bmc.ts'
import type { AppError } from '../domain/error.ts'
import type { CipherSuite } from '../wire/ipmi/cipher-suite.ts'
import { COMPLETION } from '../wire/ipmi/codes.ts'
import { activateSession } from '../wire/ipmi/command/activate-session.ts'
import type { Command } from '../wire/ipmi/command/command.ts'
import { getSessionChallenge } from '../wire/ipmi/command/get-session-challenge.ts'
import type { RakpFacts } from '../wire/ipmi/keys.ts'
import type { LoginQuirk } from '../wire/ipmi/login-quirk.ts'
import type { IpmiResponse } from '../wire/ipmi/message.ts'
import { USER_NAME_LENGTH } from '../wire/ipmi/rakp.ts'
import { IV_LENGTH } from '../wire/ipmi/rmcp-plus.ts'
import { type BmcSubject, type Heard, noFreeSession, type SuiteRefusal } from './bmc-failure.ts'
import type { Link } from './bmc-link.ts'

/** Spans in milliseconds. */
export type SessionTiming = {
  /** First wait for an answer to a log-in packet; half as long again in each further round. */
  loginWait: number
  /** Sends of one log-in packet before the log-in starts over with new numbers. */
  loginTries: number
  /** First wait for an answer to a command; a tenth as long again for each further try. */
  commandWait: number
  commandTries: number
  /** First pause after "node busy" and its kin; half as long again each time. */
  busyPause: number
  /** Pause after "no free session". */
  sessionPause: number
  closeWait: number
  closeTries: number
}

/** Measured with 30 % of the packets lost each way: log-in and one answer in 2.0 s (median), 5.3 s (95 of 100). */
export const SESSION_TIMING: SessionTiming = {
  loginWait: 400,
  loginTries: 5,
  commandWait: 400,
  commandTries: 10,
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
  /** `asUser`: the session stays at the user's privilege, with which every session begins (section 22.18), until `raise`. */
  | { kind: 'open'; deadlineAt: number; asUser?: boolean }
  /** To the privilege of the settings; the outcome is that of `open`. */
  | { kind: 'raise'; deadlineAt: number }
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

export type Exchange = {
  purpose: 'privilege' | 'request' | 'close'
  request: SessionRequest
  rqSeq: number
  tries: number
  /** The code by which the BMC last asked us to wait, and how often it has; null while an answer is awaited. */
  busy: { completionCode: number; times: number; waiting: boolean } | null
}

export type Stage =
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
  /** Opened for what a user may do: the session's privilege is not raised. */
  asUser: boolean
  quirk: LoginQuirk | null
  /** Whose code did not verify, once: it is asked for again before it is believed, in case the packet was spoiled. */
  doubted: 'rakp-2' | 'rakp-3' | 'rakp-4' | null
  /** Log-ins begun and lost so far. */
  rounds: number
  heard: Heard
  portClosed: number
}

/** Random bytes one step may use: session ID, Rm, initialisation vector, tag, jitter. */
export const SESSION_RANDOM_LENGTH = 4 + 16 + IV_LENGTH + 1 + 1

export const RETRIED: ReadonlySet<number> = new Set([
  COMPLETION.nodeBusy,
  COMPLETION.timeout,
  COMPLETION.unavailable,
  COMPLETION.initialising
])

/** Forgotten sessions end by themselves, so it is tried again as long as there is time. */
export function sessionsTaken(session: Session, now: number): SessionStep {
  const { access, timing } = session.settings
  if (now + timing.sessionPause < session.deadlineAt) return pause(session, timing.sessionPause, true, now)
  return fail(session, noFreeSession(access, session.refusals))
}

/** Only where the privilege is ours to find out; a user with less than an operator's is of no use. */
export function mayStepDown({ settings, privilege }: Session): boolean {
  return settings.access.privilege === 'highest' && privilege === 'administrator'
}

export function pause(session: Session, span: number, noFreeSession: boolean, now: number): SessionStep {
  return send({ ...session, stage: { at: 'pause', noFreeSession } }, [], now + span, now)
}

export type At<Name extends Stage['at']> = Extract<Stage, { at: Name }>

export type Dice = { sessionId: number; random: Buffer; iv: Buffer; tag: number; jitter: number }

export function roll(random: Uint8Array): Dice {
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

export function loginWait({ settings, rounds }: Session): number {
  return settings.timing.loginWait * 1.5 ** rounds
}

export function firstPrivilege({ access, remembered }: SessionSettings): BmcPrivilege {
  if (access.privilege !== 'highest') return access.privilege
  return remembered?.privilege ?? 'administrator'
}

export function username({ settings, quirk }: Session): Buffer {
  const name = Buffer.from(settings.access.username)
  if (!quirk?.paddedName) return name
  return Buffer.concat([name, Buffer.alloc(USER_NAME_LENGTH - name.length)])
}

/** For messages: the BMC, and the privilege of the present try. */
export function subject({ settings, privilege }: Session): BmcSubject {
  return { ...settings.access, privilege }
}

export function requestOf<Request>(of: Command<Request, unknown>, value: Request): SessionRequest {
  const { name, netFn, command, completionWords: words } = of
  return { name, netFn, command, data: of.encodeRequest(value), words }
}

export function isAnswerTo(response: IpmiResponse, to: { netFn: number; command: number }): boolean {
  return response.netFn === to.netFn + 1 && response.command === to.command
}

export function answers(
  response: IpmiResponse,
  to: { netFn: number; command: number },
  rqSeq: number
): boolean {
  return isAnswerTo(response, to) && response.rqSeq === rqSeq
}

/** What the BMC owes us at this stage, for the message. */
export function awaited(stage: Stage): string {
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

/** The same bytes again: the same tag and the same random number. */
export function resend(
  session: Session,
  stage: At<'open-session' | 'rakp-1' | 'rakp-3' | 'challenge' | 'activate' | 'offered-suites'>,
  now: number
): SessionStep {
  const again: Stage = { ...stage, tries: stage.tries + 1 }
  return send({ ...session, stage: again }, [stage.packet], now + loginWait(session), now)
}

/** Sends and waits until `wakeAt`, or until the deadline, whichever is first. */
export function send(session: Session, packets: Buffer[], wakeAt: number, now: number): SessionStep {
  const at = Math.max(now, Math.min(wakeAt, session.deadlineAt))
  return { session: { ...session, wakeAt: at }, send: packets, outcome: null, sol: null, ignored: null }
}

export function quiet(session: Session): SessionStep {
  return { session, send: [], outcome: null, sol: null, ignored: null }
}

export function ignore(session: Session, why: string): SessionStep {
  return { ...quiet(session), ignored: why }
}

export function done(session: Session, outcome: SessionOutcome): SessionStep {
  return { ...quiet({ ...session, wakeAt: null }), outcome }
}

export function end(session: Session, outcome: SessionOutcome): SessionStep {
  return done({ ...session, stage: { at: 'ended' } }, outcome)
}

/** A session that holds a link keeps it, so that it can still be closed. */
export function fail(session: Session, error: AppError): SessionStep {
  const outcome: SessionOutcome = { kind: 'failed', error }
  return session.stage.at === 'ready' ? done(session, outcome) : end(session, outcome)
}

export function withFirst(packet: Buffer, step: SessionStep): SessionStep {
  return { ...step, send: [packet, ...step.send] }
}
