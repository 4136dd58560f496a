// Inside an open session: commands, one outstanding at a time, which is the only number that every BMC takes; serial over
// LAN beside them; and its end.

import type { LoginWay } from '../domain/bmc.ts'
import { COMPLETION } from '../wire/ipmi/codes.ts'
import { closeSession } from '../wire/ipmi/command/close-session.ts'
import { PRIVILEGE, setSessionPrivilege } from '../wire/ipmi/command/set-session-privilege.ts'
import { sessionKeys } from '../wire/ipmi/keys.ts'
import { decodeResponse, type IpmiResponse } from '../wire/ipmi/message.ts'
import { PAYLOAD } from '../wire/ipmi/rmcp-plus.ts'
import { receiveSequence } from '../wire/ipmi/sequence-window.ts'
import { privilegeTooLow, refused } from './bmc-failure.ts'
import { type Link, newLink, openPacket, sealPayload, sealRequest, suiteOfLink } from './bmc-link.ts'
import {
  answers,
  type At,
  type Dice,
  done,
  end,
  type Exchange,
  fail,
  ignore,
  mayStepDown,
  quiet,
  requestOf,
  RETRIED,
  send,
  type Session,
  type SessionRequest,
  type SessionStep,
  type Stage,
  subject
} from './bmc-session-state.ts'

/** What follows a log-in. */
export function sessionOpen(session: Session, link: Link, now: number, dice: Dice): SessionStep {
  if (!session.asUser) return setPrivilege(session, link, now, dice)
  return done({ ...session, stage: { at: 'ready', link } }, { kind: 'ready', way: wayOf(session, link) })
}

export function raise(session: Session, now: number, dice: Dice): SessionStep {
  if (session.stage.at !== 'ready') throw new Error(`raised while the session is at ${session.stage.at}`)
  return setPrivilege({ ...session, asUser: false }, session.stage.link, now, dice)
}

export function request(session: Session, wanted: SessionRequest, now: number, dice: Dice): SessionStep {
  if (session.stage.at !== 'ready') throw new Error(`a request while the session is at ${session.stage.at}`)
  return sendCommand(session, session.stage.link, 'request', wanted, now, dice)
}

export function close(session: Session, now: number, dice: Dice): SessionStep {
  const { stage } = session
  if (stage.at === 'ready' || stage.at === 'command') {
    return sendCommand(session, stage.link, 'close', closeRequest(stage.link), now, dice)
  }
  const last = stage.at === 'rakp-3' ? [closePacket(linkOf(stage), dice)] : []
  return { ...end(session, { kind: 'closed' }), send: last }
}

function setPrivilege(session: Session, link: Link, now: number, dice: Dice): SessionStep {
  const request = requestOf(setSessionPrivilege, { privilege: PRIVILEGE[session.privilege] })
  return sendCommand(session, link, 'privilege', request, now, dice)
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
export function sendExchange(
  session: Session,
  link: Link,
  exchange: Exchange,
  now: number,
  dice: Dice
): SessionStep {
  const { timing } = session.settings
  const { packet, link: used } = sealRequest(link, exchange.request, exchange.rqSeq, dice.iv)
  const patience = exchange.request.once ? ONCE_WAITS : 1.1 ** exchange.tries
  const wait =
    exchange.purpose === 'close' ? timing.closeWait : timing.commandWait * patience * (1 + dice.jitter / 10)
  const stage: Stage = { at: 'command', link: used, exchange: { ...exchange, tries: exchange.tries + 1 } }
  const next: Session = { ...session, stage }
  // Closing has its own, short bound; the operation's deadline may be over by then.
  if (exchange.purpose === 'close') return { ...quiet({ ...next, wakeAt: now + wait }), send: [packet] }
  return send(next, [packet], now + wait, now)
}

/** A packet inside the open session: the answer to a command, or serial over LAN. */
export function inSession(
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
export function sendSol(session: Session, payload: Buffer, dice: Dice): SessionStep {
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
export function closePacket(link: Link, dice: Dice): Buffer {
  return sealRequest(link, closeRequest(link), link.rqSeq, dice.iv).packet
}

function closeRequest({ bmcSessionId }: Link): SessionRequest {
  return requestOf(closeSession, { bmcSessionId })
}

export function linkOf({ login, facts, sik }: At<'rakp-3'>): Link {
  return newLink({ kind: 'rmcp-plus', keys: sessionKeys(login.suite, sik) }, facts)
}

function wayOf(session: Session, link: Link): LoginWay {
  return { suite: suiteOfLink(link), privilege: session.privilege, quirk: session.quirk?.name ?? null }
}
