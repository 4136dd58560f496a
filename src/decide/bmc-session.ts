// One RMCP+ session with a BMC as a step function: state and one input in, state, packets to send and at most one outcome
// out (IPMI 2.0, section 13). It owns all judgement about the conversation: which cipher suite comes next, what is
// resent and when, what proves the BMC, what an answer means. It owns no socket, clock or randomness.
//
//   idle ─open→ open-session → rakp-1 → rakp-3 → (Set Session Privilege) → ready ─request→ command → ready
//                    ↑ lost, refused: pause, next suite ↓                     └──────close→ command → ended
//
// IPMI 1.5, where it is forced: challenge → activate instead of the first three.
//
// A session opened `asUser` skips Set Session Privilege until `raise`: what a user may do costs a round trip less.
//
// Each `open`, `raise`, `request` and `close` leads to exactly one outcome. One request is outstanding at a time, which is the
// only number that every BMC takes. A wrong password or name ends the log-in at once: no other suite is tried with it.

import { loginQuirk } from '../wire/ipmi/login-quirk.ts'
import { decodeHeader, FORMAT_RMCP_PLUS, PAYLOAD } from '../wire/ipmi/rmcp-plus.ts'
import { decodeRmcp } from '../wire/ipmi/rmcp.ts'
import { WireError } from '../wire/wire-error.ts'
import { type Heard, nodeBusy, noFreeSession, timedOut, wrongKg, wrongPassword15 } from './bmc-failure.ts'
import { suiteOfLink } from './bmc-link.ts'
import { activateAnswered, challengeAnswered } from './bmc-login-15.ts'
import {
  authCapabilitiesAnswered,
  begin,
  failNoCommonSuite,
  login,
  lostLogin,
  offeredSuitesAnswered,
  openSessionAnswered,
  rakp2Answered,
  rakp4Answered
} from './bmc-login.ts'
import {
  close,
  closePacket,
  inSession,
  linkOf,
  raise,
  request,
  sendExchange,
  sendSol
} from './bmc-session-command.ts'
import {
  awaited,
  type Dice,
  done,
  end,
  type Exchange,
  fail,
  firstPrivilege,
  ignore,
  quiet,
  resend,
  roll,
  type Session,
  type SessionInput,
  type SessionSettings,
  type SessionStep,
  withFirst
} from './bmc-session-state.ts'

/** So many "port closed" in a row, and nothing heard, are believed before time is up. */
const PORT_CLOSED_BELIEVED = 4

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
    asUser: false,
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
      return begin(
        { ...session, startedAt: now, deadlineAt: input.deadlineAt, asUser: input.asUser ?? false },
        now,
        dice
      )
    case 'raise':
      return raise({ ...session, startedAt: now, deadlineAt: input.deadlineAt }, now, dice)
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

export function received(before: Session, bytes: Uint8Array, now: number, dice: Dice): SessionStep {
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

export function portClosed(session: Session, now: number): SessionStep {
  const count = session.portClosed + 1
  const next: Session = { ...session, portClosed: count }
  if (session.stage.at !== 'open-session' || session.heard.kind !== 'nothing') return quiet(next)
  if (count < PORT_CLOSED_BELIEVED) return quiet(next)
  const seconds = (now - session.startedAt) / 1000
  return fail(next, timedOut(session.settings.access, seconds, { kind: 'port-closed' }))
}
