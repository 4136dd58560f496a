// RAKP messages 1 to 4, the log-in of RMCP+ (IPMI 2.0, sections 13.20 to 13.23). Session IDs travel little-endian; each
// message names the receiver's.
//
//   RAKP 1, console to BMC: tag | 0 0 0      | BMC's ID (4)     | Rm (16) | role | 0 0 | name length | name
//   RAKP 2, BMC to console: tag | status 0 0 | console's ID (4) | Rc (16) | GUID (16) | key exchange code
//   RAKP 3, console to BMC: tag | status 0 0 | BMC's ID (4)     | key exchange code
//   RAKP 4, BMC to console: tag | status 0 0 | console's ID (4) | integrity check value
//
// With a status other than 0 a message ends after the session ID. The codes are computed in keys.ts.

import { WireError } from '../wire-error.ts'
import { requireLength } from './length.ts'

/** The longest user name IPMI knows, in bytes. */
export const USER_NAME_LENGTH = 16
const RANDOM_LENGTH = 16
const HEAD_LENGTH = 8

export type Rakp1 = {
  tag: number
  bmcSessionId: number
  consoleRandom: Buffer
  /** Low 4 bits the privilege; bit 4 = look the user up by name alone. This exact byte enters the hashes. */
  role: number
  username: Buffer
}
export type Rakp2 =
  | { tag: number; status: 0; consoleSessionId: number; bmcRandom: Buffer; bmcGuid: Buffer; code: Buffer }
  | RakpRefusal
export type Rakp3 = { tag: number; status: number; bmcSessionId: number; code: Buffer }
export type Rakp4 = { tag: number; status: 0; consoleSessionId: number; check: Buffer } | RakpRefusal
/** An answer with an RMCP+ status other than 0. */
export type RakpRefusal = { tag: number; status: number; consoleSessionId: number; refused: true }

export function encodeRakp1({ tag, bmcSessionId, consoleRandom, role, username }: Rakp1): Buffer {
  const tail = Buffer.from([role, 0, 0, username.length])
  return Buffer.concat([head(tag, 0, bmcSessionId), consoleRandom, tail, username])
}

/** Throws WireError `short` or `name-length`. */
export function decodeRakp1(payload: Buffer): Rakp1 {
  requireLength(payload, 28, 'RAKP 1')
  const nameLength = payload.readUInt8(27)
  if (nameLength > USER_NAME_LENGTH) {
    throw new WireError('name-length', 27, `a user name of ${nameLength} bytes`)
  }
  requireLength(payload, 28 + nameLength, 'RAKP 1')
  return {
    tag: payload.readUInt8(0),
    bmcSessionId: payload.readUInt32LE(4),
    consoleRandom: payload.subarray(8, 24),
    role: payload.readUInt8(24),
    username: payload.subarray(28, 28 + nameLength)
  }
}

export function encodeRakp2(message: Rakp2): Buffer {
  const start = head(message.tag, message.status, message.consoleSessionId)
  if ('refused' in message) return start
  return Buffer.concat([start, message.bmcRandom, message.bmcGuid, message.code])
}

/** Throws WireError `short`. The code is everything after the GUID; its length is the verifier's to judge. */
export function decodeRakp2(payload: Buffer): Rakp2 {
  requireLength(payload, HEAD_LENGTH, 'RAKP 2')
  const status = payload.readUInt8(1)
  if (status !== 0) return refusal(payload)
  const guidAt = HEAD_LENGTH + RANDOM_LENGTH
  requireLength(payload, guidAt + 16, 'RAKP 2')
  return {
    tag: payload.readUInt8(0),
    status,
    consoleSessionId: payload.readUInt32LE(4),
    bmcRandom: payload.subarray(HEAD_LENGTH, guidAt),
    bmcGuid: payload.subarray(guidAt, guidAt + 16),
    code: payload.subarray(guidAt + 16)
  }
}

/** A status other than 0 and an empty code tell the BMC to drop the half-open session. */
export function encodeRakp3({ tag, status, bmcSessionId, code }: Rakp3): Buffer {
  return Buffer.concat([head(tag, status, bmcSessionId), code])
}

/** Throws WireError `short`. */
export function decodeRakp3(payload: Buffer): Rakp3 {
  requireLength(payload, HEAD_LENGTH, 'RAKP 3')
  return {
    tag: payload.readUInt8(0),
    status: payload.readUInt8(1),
    bmcSessionId: payload.readUInt32LE(4),
    code: payload.subarray(HEAD_LENGTH)
  }
}

export function encodeRakp4(message: Rakp4): Buffer {
  const start = head(message.tag, message.status, message.consoleSessionId)
  return 'refused' in message ? start : Buffer.concat([start, message.check])
}

/** Throws WireError `short`. */
export function decodeRakp4(payload: Buffer): Rakp4 {
  requireLength(payload, HEAD_LENGTH, 'RAKP 4')
  const status = payload.readUInt8(1)
  if (status !== 0) return refusal(payload)
  return {
    tag: payload.readUInt8(0),
    status,
    consoleSessionId: payload.readUInt32LE(4),
    check: payload.subarray(HEAD_LENGTH)
  }
}

function head(tag: number, status: number, sessionId: number): Buffer {
  const bytes = Buffer.alloc(HEAD_LENGTH)
  bytes[0] = tag
  bytes[1] = status
  bytes.writeUInt32LE(sessionId, 4)
  return bytes
}

function refusal(payload: Buffer): RakpRefusal {
  return {
    tag: payload.readUInt8(0),
    status: payload.readUInt8(1),
    consoleSessionId: payload.readUInt32LE(4),
    refused: true
  }
}
