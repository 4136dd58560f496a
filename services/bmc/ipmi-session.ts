// Carries one IPMI session (src/decide/bmc-session.ts) over a UDP socket of its own: bytes in and out, one timer.
//
// The socket is connected, so that the kernel drops what comes from any other address or port and reports a closed port;
// and it is new for each session, so that every log-in has a new source port.

import { createSocket, type Socket } from 'node:dgram'
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import type { Logger } from 'pino'
import type { LoginWay } from '../../src/domain/bmc.ts'
import type { AppError } from '../../src/domain/error.ts'
import { cannotSend, stopping } from '../../src/decide/bmc-failure.ts'
import { newSession, stepSession } from '../../src/decide/bmc-session.ts'
import {
  SESSION_RANDOM_LENGTH,
  type SessionInput,
  type SessionOutcome,
  type SessionRequest,
  type SessionSettings
} from '../../src/decide/bmc-session-state.ts'

export type IpmiDeps = {
  /** Milliseconds of a clock that never goes back (`performance.now`). */
  now: () => number
  /** Cryptographically strong random bytes. */
  random: (length: number) => Uint8Array
  log: Logger
  /** Told when the BMC lets us wait for one of its sessions to become free. */
  noFreeSession?: () => void
}

/** What became of a request; `no-answer`: the BMC may or may not have carried it out, and the session is lost. */
export type Answer = Extract<SessionOutcome, { kind: 'reply' | 'no-answer' }>

export type IpmiSession = {
  /** Logs in; resolves with what worked. Call once, first. `asUser`: for what a user may do, until `raise`. */
  open(deadlineAt: number, asUser?: boolean): Promise<LoginWay>
  /** Raises a session that was opened `asUser`; resolves with what worked. */
  raise(deadlineAt: number): Promise<LoginWay>
  request(request: SessionRequest, deadlineAt: number): Promise<Answer>
  /** Sends a packet of serial over LAN; nothing is repeated here. */
  sendSol(payload: Buffer): void
  /** Whether the BMC has answered anything yet. */
  heardFrom(): boolean
  /** Cuts short what is under way, closes the session on the BMC (waiting a little for its answer), frees the socket. */
  close(): Promise<void>
}

/**
 * One session with one BMC; it opens nothing before `open`. All failures are AppErrors of the `bmc-…` codes. `onSol` gets the
 * payloads of serial over LAN.
 */
export function ipmiSession(
  settings: SessionSettings,
  deps: IpmiDeps,
  onSol: (payload: Buffer) => void = () => {}
): IpmiSession {
  const { access } = settings
  let state = newSession(settings)
  let socket: Socket | undefined
  let timer: NodeJS.Timeout | undefined
  let asked: { resolve(outcome: SessionOutcome): void; reject(error: AppError): void } | undefined
  let closed = false

  function feed(input: SessionInput): void {
    const now = deps.now()
    const step = stepSession(state, input, now, deps.random(SESSION_RANDOM_LENGTH))
    state = step.session
    // What becomes of a packet shows in its answer, or in the socket's `error` event.
    for (const packet of step.send) socket?.send(packet)
    if (step.ignored) deps.log.debug({ bmc: access.address, why: step.ignored }, 'packet ignored')
    clearTimeout(timer)
    if (state.wakeAt !== null) timer = setTimeout(feed, Math.max(0, state.wakeAt - now), { kind: 'timer' })
    if (state.stage.at === 'pause' && state.stage.noFreeSession) deps.noFreeSession?.()
    if (step.sol) onSol(step.sol)
    if (step.outcome && asked) {
      const { resolve, reject } = asked
      asked = undefined
      if (step.outcome.kind === 'failed') reject(step.outcome.error)
      else resolve(step.outcome)
    }
  }

  function ask(input: SessionInput): Promise<SessionOutcome> {
    return new Promise((resolve, reject) => {
      asked = { resolve, reject }
      feed(input)
    })
  }

  /** A refused port is news for the session; other send errors pass (a link that is down, a full buffer). */
  function trouble(error: NodeJS.ErrnoException | null): void {
    if (!error || closed) return
    if (error.code === 'ECONNREFUSED') feed({ kind: 'port-closed' })
    else deps.log.debug({ bmc: access.address, why: error.message }, 'packet not sent')
  }

  async function loggedIn(input: SessionInput): Promise<LoginWay> {
    const outcome = await ask(input)
    if (outcome.kind !== 'ready') throw new Error(`a log-in that ended in "${outcome.kind}"`)
    return outcome.way
  }

  async function connect(deadlineAt: number): Promise<void> {
    const { address, port } = access
    try {
      const found = isIP(address) ? address : await resolveName(address, deadlineAt - deps.now())
      if (closed) throw stopping(access)
      const opened = createSocket(isIP(found) === 6 ? 'udp6' : 'udp4')
      socket = opened
      await new Promise<void>((resolve, reject) => {
        opened.once('error', reject)
        // Closed in the meantime, a socket never calls back.
        const cut = (): void => reject(stopping(access))
        opened.once('close', cut)
        // Not as a callback, which would get the error too: there may be no route there.
        opened.once('connect', () => {
          opened.off('error', reject)
          opened.off('close', cut)
          resolve()
        })
        opened.connect(port, found)
      })
      opened.on('error', trouble)
      opened.on('message', (bytes) => feed({ kind: 'datagram', bytes }))
    } catch (error) {
      if (closed) throw stopping(access)
      throw cannotSend(access, (error as Error).message)
    }
  }

  return {
    async open(deadlineAt, asUser = false) {
      await connect(deadlineAt)
      if (closed) throw stopping(access)
      return loggedIn({ kind: 'open', deadlineAt, asUser })
    },

    raise: (deadlineAt) => loggedIn({ kind: 'raise', deadlineAt }),

    async request(request, deadlineAt) {
      const outcome = await ask({ kind: 'request', request, deadlineAt })
      if (outcome.kind === 'reply' || outcome.kind === 'no-answer') return outcome
      throw new Error(`a request that ended in "${outcome.kind}"`)
    },

    sendSol: (payload) => feed({ kind: 'sol', payload }),

    heardFrom: () => state.heard.kind === 'stopped',

    async close() {
      if (closed) return
      asked?.reject(stopping(access))
      asked = undefined
      const done = ask({ kind: 'close' })
      closed = true
      await done
      clearTimeout(timer)
      socket?.close()
    }
  }
}

/** A name's first address. The resolver cannot be stopped, but is not waited for longer than `limit` milliseconds. */
async function resolveName(name: string, limit: number): Promise<string> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`the name ${name} did not resolve in time`)), limit)
  })
  try {
    return (await Promise.race([lookup(name), late])).address
  } finally {
    clearTimeout(timer)
  }
}
