// ASF presence ping and pong (ASF 2.0, sections 3.2.4.3 and 3.2.4.2; IPMI 2.0, section 13.2). A BMC may have them
// switched off: no pong proves nothing.
//
//   0             4      5     6          7        8
//   +-------------+------+-----+----------+--------+--------
//   | IANA 4542   | type | tag | reserved | length | data …
//   +-------------+------+-----+----------+--------+--------

import { WireError } from '../wire-error.ts'
import { requireLength } from './length.ts'

const ASF_IANA = 4542
const PING = 0x80
const PONG = 0x40
const PONG_DATA_LENGTH = 16
/** Supported entities of a pong: bit 7 = IPMI, low nibble 1 = ASF 1.0. */
const IPMI_SUPPORTED = 0x80
const ASF_1_0 = 0x01

export type AsfMessage = { type: 'ping'; tag: number } | { type: 'pong'; tag: number; ipmi: boolean }

/** The body of an RMCP packet of class `asf`. */
export function encodeAsf(message: AsfMessage): Buffer {
  const data = Buffer.alloc(message.type === 'pong' ? PONG_DATA_LENGTH : 0)
  if (message.type === 'pong') {
    data.writeUInt32BE(ASF_IANA, 0)
    data[8] = ASF_1_0 | (message.ipmi ? IPMI_SUPPORTED : 0)
  }
  const header = Buffer.alloc(8)
  header.writeUInt32BE(ASF_IANA, 0)
  header[4] = message.type === 'ping' ? PING : PONG
  header[5] = message.tag
  header[7] = data.length
  return Buffer.concat([header, data])
}

/** Throws WireError `short`, `asf-iana`, `asf-type`. */
export function decodeAsf(body: Buffer): AsfMessage {
  requireLength(body, 8, 'an ASF message')
  if (body.readUInt32BE(0) !== ASF_IANA) throw new WireError('asf-iana', 0, 'not an ASF message')
  const tag = body.readUInt8(5)
  if (body[4] === PING) return { type: 'ping', tag }
  if (body[4] !== PONG) throw new WireError('asf-type', 4, `ASF message type ${body[4]} is not served`)
  requireLength(body, 8 + PONG_DATA_LENGTH, 'an ASF pong')
  return { type: 'pong', tag, ipmi: (body.readUInt8(16) & IPMI_SUPPORTED) !== 0 }
}
