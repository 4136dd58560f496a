// The payload of serial over LAN (IPMI 2.0, section 15.9), and the parameters it is configured with (table 26-5).
//
//   0          1                2                    3
//   +----------+----------------+--------------------+--------------+--------------
//   | sequence | acked sequence | characters accepted | status, or   | characters …
//   | 1..15    |                |                     | operation    |
//   +----------+----------------+--------------------+--------------+--------------

import { requireLength } from './length.ts'

/** Sequence number of a packet that only acknowledges. */
export const ONLY_ACKNOWLEDGES = 0
const HEADER_LENGTH = 4

export const SOL_PARAMETER = { enable: 1, authentication: 2, accumulate: 3, retry: 4, bitRate: 6 } as const

/** The last byte of the header, to the BMC. */
export const SOL_OPERATION = {
  nack: 0x40,
  break: 0x10,
  pause: 0x08,
  dropCarrier: 0x04,
  flushIn: 0x02,
  flushOut: 0x01
} as const
/** The same, from the BMC. `unavailable`: the machine is off, or on its way; the session stays. */
export const SOL_STATUS = {
  nack: 0x40,
  unavailable: 0x20,
  deactivated: 0x10,
  overrun: 0x08,
  break: 0x04
} as const

export type SolPacket = {
  /** 0 when it carries no characters of its own. */
  sequence: number
  /** The packet that is acknowledged; 0: none. */
  acked: number
  /** Of the acknowledged packet. Fewer than it had: the rest is to be sent again, under a new number. */
  accepted: number
  flags: number
  characters: Buffer
}

export function encodeSol({ sequence, acked, accepted, flags, characters }: SolPacket): Buffer {
  return Buffer.concat([Buffer.from([sequence, acked, accepted, flags]), characters])
}

/** Throws WireError `short`. */
export function decodeSol(payload: Buffer): SolPacket {
  requireLength(payload, HEADER_LENGTH, 'a SOL packet')
  return {
    sequence: payload.readUInt8(0) & 0x0f,
    acked: payload.readUInt8(1) & 0x0f,
    accepted: payload.readUInt8(2),
    flags: payload.readUInt8(3),
    characters: payload.subarray(HEADER_LENGTH)
  }
}

/** The number after `sequence`: 1 to 15. */
export function nextSolSequence(sequence: number): number {
  return (sequence % 15) + 1
}

/**
 * Characters one packet to the BMC may hold, out of what Activate Payload said. Sizes there are unreliable: ipmi_sim swaps
 * the bytes, pyghmi says 1.
 */
export function charactersPerPacket(inboundSize: number): number {
  const size = inboundSize > 0xff ? inboundSize >> 8 : inboundSize
  return size > HEADER_LENGTH && size <= 0xff ? size - HEADER_LENGTH : 200
}
