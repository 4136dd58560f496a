// Serial over LAN from the console's side as a step function (IPMI 2.0, section 15): characters in and out, one packet to
// the BMC unacknowledged at a time, what came acknowledged at once. It owns no socket, clock or session.
//
// A packet is sent again under its number until it is acknowledged. An acknowledgement may cover fewer characters than were
// sent: the rest goes under the next number. The BMC does the same to us, and its repetition may hold more than the
// packet it repeats.

import type { ConsoleNews } from '../domain/console.ts'
import {
  decodeSol,
  encodeSol,
  nextSolSequence,
  ONLY_ACKNOWLEDGES,
  SOL_OPERATION,
  SOL_STATUS,
  type SolPacket
} from '../wire/ipmi/sol.ts'
import { WireError } from '../wire/wire-error.ts'

/** Spans in milliseconds. */
export type SolTiming = {
  /** First wait for an acknowledgement; a quarter as long again for each further try. */
  resend: number
  /** Sends of one packet before the BMC is given up. */
  tries: number
  /** Pause when the BMC takes nothing at present (the machine is off, its buffer is full). */
  pause: number
  /**
   * How often a command is sent in the session. It ends 60 s after the last one (section 6.12.15; ipmi_sim: 30 s), for which not
   * every BMC counts packets of serial over LAN.
   */
  keepAlive: number
}

export const SOL_TIMING: SolTiming = { resend: 500, tries: 10, pause: 1000, keepAlive: 20_000 }

/** Characters that may wait for the machine; what is typed beyond that is dropped. */
export const WAITING_LIMIT = 4096

export type SolInput =
  /** Characters for the machine. */
  | { kind: 'write'; characters: Uint8Array }
  /** A serial break. Goes after what was written before it. */
  | { kind: 'break' }
  | { kind: 'payload'; payload: Buffer }
  | { kind: 'timer' }

/** Why nothing more will come. `deactivated`: by the BMC, or by another console. */
export type SolEnd = 'deactivated' | 'silent'

export type SolStep = {
  sol: Sol
  /** Payloads for the BMC, in order. */
  send: readonly Buffer[]
  /** What the machine said. */
  heard: Buffer
  news: readonly ConsoleNews[]
  /** Any command is to be sent in the session; without an answer the session is lost. */
  askAlive: boolean
  ended: SolEnd | null
  /** Why the payload did not count, for the debug log. */
  ignored: string | null
}

/** A packet that the BMC has not acknowledged. */
type Outstanding = { sequence: number; characters: Buffer; break: boolean; tries: number }

export type Sol = {
  timing: SolTiming
  /** Characters that one packet may hold. */
  packetSize: number
  waiting: readonly (Buffer | 'break')[]
  outstanding: Outstanding | null
  /** When the outstanding packet is sent again, or, with none, when the next may be sent. */
  sendAt: number
  keepAliveAt: number
  /** The number of our last packet with characters. */
  sequence: number
  /** The last packet with characters that came: its number, and how many. */
  received: { sequence: number; length: number }
  unavailable: boolean
  /** When to step with `timer`. */
  wakeAt: number
}

const NOTHING = Buffer.alloc(0)
/** How far back a packet's number may lie for it to be a late copy of one that was acknowledged. */
const LATE = 2
const NUMBERS = 15

/**
 * A payload just activated. The first step's packet raises the machine's CTS and DCD, which were kept down until then
 * (section 24.1). `packetSize` is in characters; `now` is milliseconds of a monotonic clock, as in stepSol.
 */
export function startSol(packetSize: number, timing: SolTiming, now: number): SolStep {
  const sol: Sol = {
    timing,
    packetSize,
    waiting: [],
    outstanding: null,
    sendAt: now,
    keepAliveAt: now + timing.keepAlive,
    sequence: 0,
    received: { sequence: 0, length: 0 },
    unavailable: false,
    wakeAt: now + timing.keepAlive
  }
  return { ...quiet(sol), send: [encodeSol(onlyAcknowledges({ sequence: 0, length: 0 }))] }
}

/** One step; whatever the BMC sends is judged, never thrown. After `ended` there is no further step to make. */
export function stepSol(sol: Sol, input: SolInput, now: number): SolStep {
  switch (input.kind) {
    case 'write':
      return write(sol, Buffer.from(input.characters), now)
    case 'break':
      if (roomIn(sol) < 1) return { ...quiet(sol), news: ['dropped'] }
      return proceed(quiet({ ...sol, waiting: [...sol.waiting, 'break'] }), now)
    case 'payload':
      return payload(sol, input.payload, now)
    case 'timer':
      return timer(sol, now)
  }
}

function write(sol: Sol, characters: Buffer, now: number): SolStep {
  const taken = characters.subarray(0, Math.max(0, roomIn(sol)))
  const step = quiet(taken.length > 0 ? { ...sol, waiting: [...sol.waiting, taken] } : sol)
  return proceed({ ...step, news: taken.length < characters.length ? ['dropped'] : [] }, now)
}

/** A break counts as one character. What came back unaccepted may leave less than none. */
function roomIn({ waiting }: Sol): number {
  return WAITING_LIMIT - waiting.reduce((sum, item) => sum + (item === 'break' ? 1 : item.length), 0)
}

function timer(sol: Sol, now: number): SolStep {
  const step = quiet(sol)
  const { outstanding, timing } = sol
  if (outstanding && now >= sol.sendAt && outstanding.tries >= timing.tries)
    return { ...step, ended: 'silent' }
  const due = now >= sol.keepAliveAt
  const next: Sol = due ? { ...sol, keepAliveAt: now + timing.keepAlive } : sol
  return proceed({ ...step, sol: next, askAlive: due }, now)
}

function payload(sol: Sol, bytes: Buffer, now: number): SolStep {
  let packet: SolPacket
  try {
    packet = decodeSol(bytes)
  } catch (error) {
    if (!(error instanceof WireError)) throw error
    return { ...quiet(sol), ignored: error.message }
  }
  const unavailable = (packet.flags & SOL_STATUS.unavailable) !== 0
  const news: ConsoleNews[] = []
  if (unavailable !== sol.unavailable) news.push(unavailable ? 'unavailable' : 'available')
  if (packet.flags & SOL_STATUS.overrun) news.push('overrun')
  if (packet.flags & SOL_STATUS.break) news.push('break')
  const seen: Sol = { ...sol, unavailable }
  const step = receive(acknowledged(seen, packet, now), packet)
  if (packet.flags & SOL_STATUS.deactivated) return { ...step, send: [], news, ended: 'deactivated' }
  return proceed({ ...step, news }, now)
}

/** What the packet says of the one that we wait for. */
function acknowledged(sol: Sol, packet: SolPacket, now: number): Sol {
  const { outstanding, timing } = sol
  if (!outstanding || packet.acked !== outstanding.sequence) return sol
  const rest = outstanding.characters.subarray(packet.accepted)
  const nack = (packet.flags & SOL_STATUS.nack) !== 0
  // Refused as a whole: the same again, for as long as the BMC goes on answering.
  if (nack && packet.accepted === 0) {
    return { ...sol, outstanding: { ...outstanding, tries: 0 }, sendAt: now + timing.pause }
  }
  if (rest.length === 0) return { ...sol, outstanding: null, sendAt: now }
  const full = nack || packet.accepted === 0
  return {
    ...sol,
    outstanding: null,
    waiting: [rest, ...sol.waiting],
    sendAt: full ? now + timing.pause : now
  }
}

/** The packet's characters, and their acknowledgement. */
function receive(sol: Sol, { sequence, characters }: SolPacket): SolStep {
  const step = quiet(sol)
  if (sequence === ONLY_ACKNOWLEDGES) return step
  const { received } = sol
  const behind = (received.sequence - sequence + NUMBERS) % NUMBERS
  if (received.sequence !== 0 && behind > 0 && behind <= LATE) {
    return { ...step, ignored: `a late copy of packet ${sequence}` }
  }
  const known = sequence === received.sequence ? received.length : 0
  const length = Math.max(known, characters.length)
  const next: Sol = { ...sol, received: { sequence, length } }
  const heard = characters.subarray(known)
  const send = [encodeSol(onlyAcknowledges({ sequence, length: characters.length }))]
  return { ...step, sol: next, heard, send }
}

/** Sends what is due, and says when to come back. */
function proceed(step: SolStep, now: number): SolStep {
  const { sol } = step
  const sent = step.ended === null && now >= sol.sendAt ? transmit(sol, now) : null
  const next = sent?.sol ?? sol
  const busy = next.outstanding !== null || next.waiting.length > 0
  const wakeAt = busy ? Math.min(next.sendAt, next.keepAliveAt) : next.keepAliveAt
  return { ...step, sol: { ...next, wakeAt }, send: sent ? [...step.send, sent.packet] : step.send }
}

/** The outstanding packet again, or the next one; null: there is nothing to send. */
function transmit(sol: Sol, now: number): { sol: Sol; packet: Buffer } | null {
  const picked = sol.outstanding ? { outstanding: sol.outstanding, waiting: sol.waiting } : nextPacket(sol)
  if (!picked) return null
  const { timing } = sol
  const outstanding = { ...picked.outstanding, tries: picked.outstanding.tries + 1 }
  const { sequence, characters } = outstanding
  const flags = outstanding.break ? SOL_OPERATION.break : 0
  const next: Sol = {
    ...sol,
    waiting: picked.waiting,
    outstanding,
    sequence,
    sendAt: now + timing.resend * 1.25 ** (outstanding.tries - 1)
  }
  return { sol: next, packet: encodeSol({ sequence, acked: 0, accepted: 0, flags, characters }) }
}

/** As many of the waiting characters as one packet holds; or a break, in a packet of its own. */
function nextPacket(sol: Sol): { outstanding: Outstanding; waiting: Sol['waiting'] } | null {
  const [first, ...others] = sol.waiting
  if (first === undefined) return null
  const sequence = nextSolSequence(sol.sequence)
  if (first === 'break') {
    return { outstanding: { sequence, characters: NOTHING, break: true, tries: 0 }, waiting: others }
  }
  const breakAt = sol.waiting.indexOf('break')
  const run = sol.waiting.slice(0, breakAt < 0 ? sol.waiting.length : breakAt) as Buffer[]
  const joined = Buffer.concat(run)
  const rest = joined.subarray(sol.packetSize)
  return {
    outstanding: { sequence, characters: joined.subarray(0, sol.packetSize), break: false, tries: 0 },
    waiting: [...(rest.length > 0 ? [rest] : []), ...sol.waiting.slice(run.length)]
  }
}

function onlyAcknowledges({ sequence, length }: Sol['received']): SolPacket {
  return {
    sequence: ONLY_ACKNOWLEDGES,
    acked: sequence,
    accepted: Math.min(length, 0xff),
    flags: 0,
    characters: NOTHING
  }
}

function quiet(sol: Sol): SolStep {
  return { sol, send: [], heard: NOTHING, news: [], askAlive: false, ended: null, ignored: null }
}
