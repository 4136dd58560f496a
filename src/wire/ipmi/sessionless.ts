// The IPMI 1.5 packet outside a session, authentication type "none" (IPMI 2.0, table 13-8). Seedling opens no 1.5
// session; this framing carries only Get Channel Authentication Capabilities.
//
//   0           1           5             9        10
//   +-----------+-----------+-------------+--------+-----------
//   | auth type | sequence  | session ID  | length | message …
//   | 00        | 0         | 0           |        |
//   +-----------+-----------+-------------+--------+-----------

import { WireError } from '../wire-error.ts'
import { requireLength } from './length.ts'

const NO_AUTHENTICATION = 0x00
const HEADER_LENGTH = 10

/** The body of an RMCP packet of class `ipmi`. */
export function encodeSessionless(message: Buffer): Buffer {
  const header = Buffer.alloc(HEADER_LENGTH)
  header[9] = message.length
  return Buffer.concat([header, message])
}

/** The IPMI message inside. Throws WireError `short`, `auth-type` (a 1.5 session's packet) or `session-id`. */
export function decodeSessionless(body: Buffer): Buffer {
  requireLength(body, HEADER_LENGTH, 'an IPMI 1.5 packet')
  if (body[0] !== NO_AUTHENTICATION) {
    throw new WireError('auth-type', 0, `authentication type ${body[0]} outside a session`)
  }
  if (body.readUInt32LE(5) !== 0) throw new WireError('session-id', 5, 'an IPMI 1.5 session is not served')
  const length = body.readUInt8(9)
  requireLength(body, HEADER_LENGTH + length, 'an IPMI 1.5 packet')
  return body.subarray(HEADER_LENGTH, HEADER_LENGTH + length)
}
