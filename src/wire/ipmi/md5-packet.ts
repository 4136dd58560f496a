// The IPMI 1.5 packet inside a session, authentication type MD5 (IPMI 2.0, tables 13-8 and 22-22). Nothing is encrypted.
//
//   0           1           5             9                26       27
//   +-----------+-----------+-------------+----------------+--------+-----------
//   | auth type | sequence  | session ID  | auth code (16) | length | message …
//   | 02        | LE        | LE          |                |        |
//   +-----------+-----------+-------------+----------------+--------+-----------
//
// The code is MD5(password | session ID | message | sequence | password), the password padded with zeros to 16 bytes.

import { createHash } from 'node:crypto'
import { WireError } from '../wire-error.ts'
import { sameCode } from './keys.ts'
import { requireLength } from './length.ts'

export const MD5_AUTHENTICATION = 0x02
/** The longest password IPMI 1.5 knows, in bytes. */
export const MD5_PASSWORD_LENGTH = 16
const CODE_AT = 9
const HEADER_LENGTH = 26

export type Md5Packet = { sessionId: number; sequence: number; message: Buffer }

/** The body of an RMCP packet of class `ipmi`. `password` has at most 16 bytes. */
export function sealMd5(password: Buffer, { sessionId, sequence, message }: Md5Packet): Buffer {
  const header = Buffer.alloc(HEADER_LENGTH)
  header[0] = MD5_AUTHENTICATION
  header.writeUInt32LE(sequence, 1)
  header.writeUInt32LE(sessionId, 5)
  header[HEADER_LENGTH - 1] = message.length
  const body = Buffer.concat([header, message])
  code(password, body).copy(body, CODE_AT)
  return body
}

/** Throws WireError `short`, `auth-type` (not MD5) or `auth-code`. */
export function openMd5(password: Buffer, body: Buffer): Md5Packet {
  requireLength(body, HEADER_LENGTH, 'an IPMI 1.5 packet')
  if (body[0] !== MD5_AUTHENTICATION) {
    throw new WireError('auth-type', 0, `authentication type ${body[0]} in an MD5 session`)
  }
  const length = body.readUInt8(HEADER_LENGTH - 1)
  requireLength(body, HEADER_LENGTH + length, 'an IPMI 1.5 packet')
  const packet = body.subarray(0, HEADER_LENGTH + length)
  if (!sameCode(code(password, packet), packet.subarray(CODE_AT, CODE_AT + 16))) {
    throw new WireError('auth-code', CODE_AT, 'the authentication code is wrong')
  }
  return {
    sessionId: packet.readUInt32LE(5),
    sequence: packet.readUInt32LE(1),
    message: packet.subarray(HEADER_LENGTH)
  }
}

function code(password: Buffer, body: Buffer): Buffer {
  if (password.length > MD5_PASSWORD_LENGTH) throw new Error('a password longer than IPMI 1.5 knows')
  const key = Buffer.alloc(MD5_PASSWORD_LENGTH)
  password.copy(key)
  const digest = createHash('md5')
    .update(key)
    .update(body.subarray(5, 9))
    .update(body.subarray(HEADER_LENGTH))
  return digest.update(body.subarray(1, 5)).update(key).digest()
}
