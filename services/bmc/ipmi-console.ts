// Serial over LAN: carries the step function (src/decide/sol.ts) in an IPMI session of its own, which lasts as long as the
// console is open.

import type { BmcAccess } from '../../src/domain/bmc.ts'
import type { ConsoleLine, ConsoleListener } from '../../src/domain/console.ts'
import { AppError } from '../../src/domain/error.ts'
import {
  consoleLost,
  consoleRefused,
  consoleTaken,
  consoleUnknown,
  malformedAnswer,
  privilegeTooLow,
  timedOut
} from '../../src/decide/bmc-failure.ts'
import { startSol, stepSol, type SolInput, type SolStep, type SolTiming } from '../../src/decide/sol.ts'
import { cipherSuite } from '../../src/wire/ipmi/cipher-suite.ts'
import { COMPLETION } from '../../src/wire/ipmi/codes.ts'
import {
  activatePayload,
  deactivatePayload,
  PAYLOAD_ACTIVE_ELSEWHERE
} from '../../src/wire/ipmi/command/activate-payload.ts'
import type { Command } from '../../src/wire/ipmi/command/command.ts'
import { getDeviceId } from '../../src/wire/ipmi/command/get-device-id.ts'
import { charactersPerPacket } from '../../src/wire/ipmi/sol.ts'
import { WireError } from '../../src/wire/wire-error.ts'
import type { IpmiDriverDeps } from './ipmi.ts'
import { ipmiSession, type Answer, type IpmiSession } from './ipmi-session.ts'

export type ConsoleDeps = IpmiDriverDeps & { sol: SolTiming }

/** The only one that BMCs have; a second would be another serial port. */
const INSTANCE = 1
/** BMCs can say "not active" to deactivation and "active" to activation, for ever. */
const STEAL_ROUNDS = 4
const STEAL_PAUSE_MILLISECONDS = 250
const KEEP_ALIVE_ANSWER_MILLISECONDS = 10_000
const DEACTIVATE_MILLISECONDS = 1000

type Reply = Extract<Answer, { kind: 'reply' }>

/** Logs in and activates the payload. AppErrors as Bmcs.console says. */
export async function openConsole(
  access: BmcAccess,
  steal: boolean,
  listener: ConsoleListener,
  deps: ConsoleDeps
): Promise<ConsoleLine> {
  if (access.protocol === '1.5') throw consoleUnknown(access)
  let onSol = (_payload: Buffer): void => {}
  const { remembered, timing } = deps
  const session = ipmiSession({ access, remembered, timing }, deps, (payload) => onSol(payload))
  try {
    const suite = await logIn(session, deps)
    const packetSize = await activate(session, access, suite, steal, deps)
    const line = carry(session, access, packetSize, listener, deps)
    onSol = line.onSol
    return line
  } catch (error) {
    await session.close()
    throw error
  }
}

/** The suite of the session. */
async function logIn(session: IpmiSession, deps: ConsoleDeps): Promise<number | null> {
  const leave = await deps.loginPlace(() => session.heardFrom())
  try {
    return (await session.open(deps.now() + deps.operation)).suite
  } finally {
    leave()
  }
}

/** Characters per packet to the BMC. */
async function activate(
  session: IpmiSession,
  access: BmcAccess,
  suite: number | null,
  steal: boolean,
  deps: ConsoleDeps
): Promise<number> {
  const deadlineAt = deps.now() + deps.operation
  const encrypted = suite !== null && cipherSuite(suite)?.confidentiality.cipher !== null
  for (let round = 1; ; round++) {
    const answer = await ask(session, access, activatePayload, { instance: INSTANCE, encrypted }, deadlineAt)
    if (answer.completionCode === COMPLETION.ok) return packetSizeOf(access, answer)
    if (answer.completionCode === COMPLETION.insufficientPrivilege)
      throw privilegeTooLow(access, activatePayload.name, answer.completionCode)
    if (answer.completionCode !== PAYLOAD_ACTIVE_ELSEWHERE)
      throw consoleRefused(access, answer.completionCode, activatePayload.completionWords)
    if (!steal || round >= STEAL_ROUNDS) throw consoleTaken(access)
    await ask(session, access, deactivatePayload, { instance: INSTANCE }, deadlineAt)
    await new Promise((resolve) => setTimeout(resolve, STEAL_PAUSE_MILLISECONDS))
  }
}

function packetSizeOf(access: BmcAccess, { data }: Reply): number {
  try {
    return charactersPerPacket(activatePayload.decodeResponse(data).inboundSize)
  } catch (error) {
    if (error instanceof WireError) throw malformedAnswer(access, activatePayload.name, error.message)
    throw error
  }
}

/** One request that may be carried out twice; without an answer the session is of no more use. */
async function ask<Request>(
  session: IpmiSession,
  access: BmcAccess,
  command: Command<Request, unknown>,
  request: Request,
  deadlineAt: number
): Promise<Reply> {
  const { name, netFn, command: number, completionWords: words } = command
  const data = command.encodeRequest(request)
  const answer = await session.request({ name, netFn, command: number, data, words }, deadlineAt)
  if (answer.kind === 'no-answer') throw timedOut(access, 0, { kind: 'stopped', missing: name })
  return answer
}

/** The activated payload: characters in and out, one timer. */
function carry(
  session: IpmiSession,
  access: BmcAccess,
  packetSize: number,
  listener: ConsoleListener,
  { now, sol: timing, log }: ConsoleDeps
): ConsoleLine & { onSol(payload: Buffer): void } {
  let timer: NodeJS.Timeout | undefined
  let closed = false
  let asking = false
  const first = startSol(packetSize, timing, now())
  let state = first.sol
  take(first)

  function feed(input: SolInput): void {
    if (!closed) take(stepSol(state, input, now()))
  }

  function take(step: SolStep): void {
    state = step.sol
    for (const payload of step.send) session.sendSol(payload)
    if (step.ignored) log.debug({ bmc: access.address, why: step.ignored }, 'console packet ignored')
    if (step.heard.length > 0) listener.heard(step.heard)
    for (const news of step.news) listener.news(news)
    if (step.askAlive) void keepAlive()
    clearTimeout(timer)
    if (step.ended) return lose(consoleLost(access, step.ended))
    // A listener may have closed the line.
    if (!closed) timer = setTimeout(feed, Math.max(1, state.wakeAt - now()), { kind: 'timer' })
  }

  /** A session in which nothing is asked ends; and a BMC that is gone says nothing. */
  async function keepAlive(): Promise<void> {
    if (asking) return
    asking = true
    try {
      await ask(session, access, getDeviceId, undefined, now() + KEEP_ALIVE_ANSWER_MILLISECONDS)
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      lose(consoleLost(access, 'silent'))
    } finally {
      asking = false
    }
  }

  function lose(error: AppError): void {
    if (closed) return
    closed = true
    clearTimeout(timer)
    void session.close()
    listener.lost(error)
  }

  return {
    onSol: (payload) => feed({ kind: 'payload', payload }),
    write: (characters) => feed({ kind: 'write', characters }),
    sendBreak: () => feed({ kind: 'break' }),
    async close() {
      if (closed) return
      closed = true
      clearTimeout(timer)
      try {
        // Closing the session ends the payload, too; some BMCs want to be told.
        if (!asking)
          await ask(
            session,
            access,
            deactivatePayload,
            { instance: INSTANCE },
            now() + DEACTIVATE_MILLISECONDS
          )
      } catch (error) {
        if (!(error instanceof AppError)) throw error
      }
      await session.close()
    }
  }
}
