// The log-in by IPMI 1.5, where it is forced (sections 22.16 and 22.17).

import type { AppError } from '../domain/error.ts'
import { COMPLETION } from '../wire/ipmi/codes.ts'
import { activateSession } from '../wire/ipmi/command/activate-session.ts'
import { getSessionChallenge } from '../wire/ipmi/command/get-session-challenge.ts'
import { PRIVILEGE } from '../wire/ipmi/command/set-session-privilege.ts'
import { openMd5, sealMd5 } from '../wire/ipmi/md5-packet.ts'
import { decodeResponse, encodeRequest, type IpmiResponse } from '../wire/ipmi/message.ts'
import { encodeRmcp } from '../wire/ipmi/rmcp.ts'
import { decodeSessionless, encodeSessionless } from '../wire/ipmi/sessionless.ts'
import { refused, roleRefused, unknownUser } from './bmc-failure.ts'
import { newLink } from './bmc-link.ts'
import { sessionOpen } from './bmc-session-command.ts'
import {
  type At,
  type Dice,
  fail,
  ignore,
  isAnswerTo,
  loginWait,
  mayStepDown,
  pause,
  requestOf,
  RETRIED,
  send,
  type Session,
  sessionsTaken,
  type SessionStep,
  type Stage,
  username
} from './bmc-session-state.ts'

export function challenge(session: Session, now: number, dice: Dice): SessionStep {
  const rqSeq = dice.tag & 0x3f
  const { netFn, command, data } = requestOf(getSessionChallenge, { username: username(session) })
  const packet = encodeRmcp('ipmi', encodeSessionless(encodeRequest({ netFn, command, rqSeq, data })))
  const stage: Stage = { at: 'challenge', packet, tries: 1 }
  return send({ ...session, stage }, [packet], now + loginWait(session), now)
}

export function challengeAnswered(session: Session, body: Buffer, now: number, dice: Dice): SessionStep {
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

export function activateAnswered(
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
  return sessionOpen({ ...session, stage }, link, now, dice)
}

/** The message of an unauthenticated packet, whatever session it names (bytes 1 to 8). */
function refusalMessage(body: Buffer): Buffer {
  return decodeSessionless(Buffer.concat([body.subarray(0, 1), Buffer.alloc(8), body.subarray(9)]))
}

export function refusal(session: Session, { completionCode, command }: IpmiResponse): AppError {
  const { name, completionWords } =
    command === activateSession.command ? activateSession : getSessionChallenge
  return refused(session.settings.access, name, completionCode, completionWords)
}
