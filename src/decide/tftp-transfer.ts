// One TFTP read as a step machine: what was heard (or that time passed) and the state go in; the new state, what to send
// and when to look again come out. The server never moves on for a repeated ACK, only for a new one or by its timer
// (RFC 1123, 4.2.3.1: no Sorcerer's Apprentice).

import { TFTP_ERROR, type TftpOptions, type TftpPacket } from '../wire/tftp.ts'

/** IPv4 (20), UDP (8) and TFTP (4) headers: a block that does not fit beside them is fragmented, and ROMs do not reassemble. */
const HEADERS = 32
/** What the path to nobody in particular carries: Ethernet's. */
export const USUAL_MTU = 1500
/** Every client can take it, and every path carries it: 576 bytes are IPv4's least (RFC 791). */
const SMALLEST_USUAL_BLOCK = 512
/** Blocks sent in one go: 64 × 1468 bytes fit every socket's buffer. */
export const LARGEST_WINDOW = 64

/** Before the first ACK nothing proves that the asker exists: three datagrams, then silence. */
const FIRST_WAITS = [1000, 2000, 4000]
const SHORTEST_WAIT = 10
/** Some clients (atftp) leave repeated blocks unanswered and speak up only after five seconds of silence: a wait must outlast that. */
const LONGEST_WAIT = 6000
/** Without any progress for this long the client is gone; with the last wait it is not above half a minute. */
const GIVE_UP = 23_000
/** Sends of one block in vain that are no bad luck: at one datagram in five lost, each way, one transfer in five hundred meets them at its first block. */
const IN_VAIN = 6
/** Many ROMs start what they loaded without acknowledging its last block. */
const LINGER = 5000

export type TransferEnd =
  /** Every block was acknowledged. */
  | { ended: 'complete' }
  /** All was sent, the last window stayed unacknowledged: most likely the client runs what it got. */
  | { ended: 'unconfirmed' }
  /** The client said so: a probe for the size, or a failure of its own. */
  | { ended: 'aborted'; code: number; message: string }
  /** Silence. */
  | { ended: 'gave-up' }
  /** The client sent what no reader may send. */
  | { ended: 'illegal' }

/** Times in milliseconds; blocks counted from 1 without wrapping. */
export type Transfer = Readonly<{
  bytes: Uint8Array
  blockSize: number
  windowSize: number
  /** What we acknowledge of the client's wishes; null: it asked for nothing that we know. */
  options: TftpOptions | null
  /** The client's own idea of the longest wait (RFC 2349). */
  longestWait: number
  /** The last block acknowledged; -1: our OACK is not. */
  acked: number
  /** The last block sent. */
  sent: number
  /** Whether any ACK came: then the client is real. */
  heard: boolean
  /** How often what is outstanding was sent. */
  tries: number
  /** How often something was late since the last sample of the round trip (RFC 6298, 5.5). */
  late: number
  /** Part of what is outstanding was already sent again; until all of it is acknowledged only the timer sends again. */
  rewound: boolean
  /** Round trip, smoothed, and its variation (RFC 6298); null before the first sample. */
  roundTrip: { mean: number; deviation: number } | null
  sentAt: number
  progressAt: number
  wakeAt: number
  /** Blocks sent more than once, for the log. */
  resent: number
}>

/** DATA blocks `from` to `until`, both included, counted from 1 without wrapping; `encodeBlocks` writes them. */
export type Blocks = { op: 'blocks'; from: number; until: number }

export type TransferStep = {
  transfer: Transfer
  send: TftpPacket | Blocks | null
  /** Call again with 'timer' then; null when it has ended. */
  wakeAt: number | null
  end: TransferEnd | null
}

/** The last block is the first one shorter than the block size, possibly empty (RFC 1350, section 6). */
function lastBlock(transfer: Pick<Transfer, 'bytes' | 'blockSize'>): number {
  return Math.floor(transfer.bytes.length / transfer.blockSize) + 1
}

/**
 * What of the client's options we agree to (RFC 2347–2349, 7440): only what was asked, lowered where allowed, echoed exactly where
 * not; values out of range and names we do not know are passed over. Null when nothing is left to acknowledge.
 */
export function negotiate(
  asked: TftpOptions,
  size: number,
  largestBlock = largestBlockFor(USUAL_MTU)
): { options: TftpOptions | null; blockSize: number; windowSize: number; timeout: number | null } {
  const options = new Map<string, string>()
  let blockSize = 512
  let windowSize = 1
  let timeout: number | null = null
  for (const [name, text] of asked) {
    const value = /^\d{1,10}$/.test(text) ? Number(text) : -1
    if (name === 'blksize' && value >= 8 && value <= 65464) {
      blockSize = Math.min(value, largestBlock)
      options.set(name, String(blockSize))
    } else if (name === 'tsize' && value >= 0 && size > 0) {
      // curl refuses the size 0, and the UEFI shell divides by it.
      options.set(name, String(size))
    } else if (name === 'timeout' && value >= 1 && value <= 255) {
      timeout = value * 1000
      options.set(name, text)
    } else if (name === 'windowsize' && value >= 1 && value <= 65535) {
      windowSize = Math.min(value, LARGEST_WINDOW)
      options.set(name, String(windowSize))
    }
  }
  return { options: options.size > 0 ? options : null, blockSize, windowSize, timeout }
}

/** The largest block that a path with this MTU carries in one piece. */
export function largestBlockFor(mtu: number): number {
  return Math.min(Math.max(mtu - HEADERS, SMALLEST_USUAL_BLOCK), 65464)
}

/**
 * Whether it looks as if big datagrams are lost on the way (tunnels, odd MTUs): the client acknowledged our options, then the first block did not
 * arrive, again and again. Then how large the blocks of its next transfer may be, else null. Of a file of one block nothing is known: who has it may
 * have gone on without a word.
 */
export function smallerBlock(transfer: Transfer): number | null {
  const { heard, acked, tries, blockSize } = transfer
  if (!heard || acked !== 0 || tries < IN_VAIN || lastBlock(transfer) === 1) return null
  if (blockSize <= SMALLEST_USUAL_BLOCK) return null
  return blockSize > 1024 ? 1024 : SMALLEST_USUAL_BLOCK
}

/** Begins to answer a read request. `largestBlock` is what the path carries, as far as known. */
export function startTransfer(
  bytes: Uint8Array,
  asked: TftpOptions,
  now: number,
  largestBlock = largestBlockFor(USUAL_MTU)
): TransferStep {
  const { options, blockSize, windowSize, timeout } = negotiate(asked, bytes.length, largestBlock)
  const transfer: Transfer = {
    bytes,
    blockSize,
    windowSize,
    options,
    longestWait: timeout ?? LONGEST_WAIT,
    acked: options ? -1 : 0,
    sent: options ? -1 : 0,
    heard: false,
    tries: 0,
    late: 0,
    rewound: false,
    roundTrip: null,
    sentAt: now,
    progressAt: now,
    wakeAt: now,
    resent: 0
  }
  return transmit(transfer, now)
}

/** One step: a packet from the client's own port, or the timer. */
export function stepTransfer(transfer: Transfer, input: TftpPacket | 'timer', now: number): TransferStep {
  if (input === 'timer') return now < transfer.wakeAt ? wait(transfer) : late(transfer, now)
  if (input.op === 'error')
    return finish(transfer, { ended: 'aborted', code: input.code, message: input.message })
  if (input.op !== 'ack') {
    const message = 'only ACK and ERROR are expected here'
    return {
      ...finish(transfer, { ended: 'illegal' }),
      send: { op: 'error', code: TFTP_ERROR.illegal, message }
    }
  }
  return acknowledged(transfer, input.block, now)
}

function acknowledged(transfer: Transfer, block: number, now: number): TransferStep {
  if (transfer.acked < 0) {
    // An OACK is acknowledged by block 0 (RFC 2347).
    if (block !== 0) return wait(transfer)
    return transmit(progress({ ...transfer, sent: 0 }, 0, now), now)
  }
  // Repeated (0) or from long ago (beyond what was sent): neither ever makes us send.
  const step = (block - transfer.acked) & 0xffff
  if (step === 0 || step > transfer.sent - transfer.acked) return wait(transfer)
  const next = progress(transfer, transfer.acked + step, now)
  if (next.acked === lastBlock(next)) return finish(next, { ended: 'complete' })
  if (next.acked === next.sent) return transmit({ ...next, rewound: false }, now)
  // An ACK inside a window tells of a gap: resume after it (RFC 7440, section 4). Once: blocks that are underway twice bring
  // further such ACKs, and answering each with a window would breed.
  return next.rewound ? transmit(next, now, next.sent + 1) : transmit({ ...next, rewound: true }, now)
}

/**
 * A new ACK came. Only a window that was sent once gives a sample of the round trip (Karn's rule, RFC 6298 section 3). One that was sent again and is
 * answered within an ordinary round trip was lost, its client is no slower than before: then the next wait is an ordinary one too.
 */
function progress(transfer: Transfer, acked: number, now: number): Transfer {
  const next = { ...transfer, acked, heard: true, tries: 0, progressAt: now }
  const sample = now - transfer.sentAt
  const before = transfer.roundTrip
  if (transfer.tries > 1)
    return before !== null && sample <= before.mean + 4 * before.deviation ? { ...next, late: 0 } : next
  next.late = 0
  next.roundTrip =
    before === null
      ? { mean: sample, deviation: sample / 2 }
      : {
          mean: before.mean * 0.875 + sample * 0.125,
          deviation: before.deviation * 0.75 + Math.abs(before.mean - sample) * 0.25
        }
  return next
}

function late(transfer: Transfer, now: number): TransferStep {
  const again = { ...transfer, rewound: true, late: transfer.late + 1 }
  if (!transfer.heard)
    return transfer.tries >= FIRST_WAITS.length
      ? finish(transfer, { ended: 'gave-up' })
      : transmit(again, now)
  const silence = now - transfer.progressAt
  if (transfer.sent === lastBlock(transfer) && silence >= LINGER)
    return finish(transfer, { ended: 'unconfirmed' })
  if (silence >= GIVE_UP) return finish(transfer, { ended: 'gave-up' })
  return transmit(again, now)
}

/** Sends what is outstanding: the OACK, or the window after the last acknowledged block (of it, what comes at or after `from`). */
function transmit(transfer: Transfer, now: number, from = transfer.acked + 1): TransferStep {
  const { windowSize, acked, options } = transfer
  const next = { ...transfer, tries: transfer.tries + 1, sentAt: now }
  let send: TransferStep['send']
  if (acked < 0 && options) send = { op: 'option-ack', options }
  else {
    const until = Math.min(acked + windowSize, lastBlock(transfer))
    send = from <= until ? { op: 'blocks', from, until } : null
    next.resent += Math.max(0, Math.min(transfer.sent, until) - from + 1)
    next.sent = Math.max(transfer.sent, until)
  }
  next.wakeAt = now + (next.heard ? adaptive(next) : (FIRST_WAITS[next.tries - 1] ?? LONGEST_WAIT))
  return wait(next, send)
}

/**
 * How long to wait before sending again: from the measured round trip, doubled with every try after the second and until the next sample, so that
 * a client slower than we thought is not sent everything twice for ever. What is lost on a LAN is seldom lost to congestion. A client's `timeout`
 * bounds it from above; sending again earlier than that costs the client nothing, and waiting whole seconds for each lost datagram costs a boot
 * minutes.
 */
function adaptive({ roundTrip, longestWait, late }: Transfer): number {
  const base = roundTrip ? roundTrip.mean + 4 * roundTrip.deviation : 1000
  const longest = Math.max(SHORTEST_WAIT, Math.min(longestWait, LONGEST_WAIT))
  return Math.round(Math.min(longest, Math.max(SHORTEST_WAIT, base) * 2 ** Math.max(0, late - 1)))
}

function wait(transfer: Transfer, send: TransferStep['send'] = null): TransferStep {
  return { transfer, send, wakeAt: transfer.wakeAt, end: null }
}

function finish(transfer: Transfer, end: TransferEnd): TransferStep {
  return { transfer, send: null, wakeAt: null, end }
}
