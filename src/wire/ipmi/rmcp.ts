// The RMCP header that every packet on UDP 623 begins with (IPMI 2.0, section 13.1.3; ASF 2.0, section 3.2.2).
//
//   0        1          2          3         4
//   +--------+----------+----------+---------+----------
//   | 06     | reserved | sequence | class   | body …
//   +--------+----------+----------+---------+----------

import { WireError } from '../wire-error.ts'
import { requireLength } from './length.ts'

const VERSION_1_0 = 0x06
/** "No acknowledgement wanted": the only sequence number IPMI uses. */
const NO_ACK = 0xff

const CLASSES = { asf: 0x06, ipmi: 0x07 } as const

export type RmcpClass = keyof typeof CLASSES

export function encodeRmcp(messageClass: RmcpClass, body: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([VERSION_1_0, 0, NO_ACK, CLASSES[messageClass]]), body])
}

/** Throws WireError `short`, `rmcp-version` or `rmcp-class` (OEM classes and ASF acknowledgements included). */
export function decodeRmcp(packet: Uint8Array): { messageClass: RmcpClass; body: Buffer } {
  const bytes = Buffer.from(packet.buffer, packet.byteOffset, packet.byteLength)
  requireLength(bytes, 4, 'an RMCP header')
  if (bytes[0] !== VERSION_1_0) throw new WireError('rmcp-version', 0, 'not RMCP version 1.0')
  const body = bytes.subarray(4)
  if (bytes[3] === CLASSES.ipmi) return { messageClass: 'ipmi', body }
  if (bytes[3] === CLASSES.asf) return { messageClass: 'asf', body }
  throw new WireError('rmcp-class', 3, `RMCP class ${bytes[3]} is neither IPMI nor ASF`)
}
