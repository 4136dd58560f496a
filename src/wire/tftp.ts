// TFTP datagrams ⇄ plain objects: RFC 1350, with the options of RFC 2347 (blksize 2348, timeout and tsize 2349,
// windowsize 7440). Text is latin1 so that whatever a ROM sends survives a round trip.
//
//   RRQ, WRQ   opcode 1, 2 │ file 0 │ mode 0 │ option 0 │ value 0 │ …
//   DATA       opcode 3    │ block (2) │ 0 to blksize bytes
//   ACK        opcode 4    │ block (2)
//   ERROR      opcode 5    │ code (2) │ message 0
//   OACK       opcode 6    │ option 0 │ value 0 │ …

import { Buffer } from 'node:buffer'
import { WireError } from './wire-error.ts'

/** Option names in lower case (they are case-insensitive: RFC 2347) → value, in the order in which they came. */
export type TftpOptions = ReadonlyMap<string, string>

export type TftpRequest = {
  op: 'read' | 'write'
  file: string
  /** Lower case: `octet`, `netascii`, or what the client made up. */
  mode: string
  options: TftpOptions
}

export type TftpPacket =
  | TftpRequest
  /** `block` is the 16-bit number on the wire; it wraps to 0. */
  | { op: 'data'; block: number; data: Uint8Array }
  | { op: 'ack'; block: number }
  | { op: 'error'; code: number; message: string }
  | { op: 'option-ack'; options: TftpOptions }

/** RFC 2347 allows a request 512 bytes; what is longer than this is no request but somebody's flood. */
const LARGEST_REQUEST = 2048

/** Error codes: RFC 1350 section 5 (appendix), 8 from RFC 2347. */
export const TFTP_ERROR = {
  other: 0,
  notFound: 1,
  access: 2,
  illegal: 4,
  unknownTransfer: 5,
  options: 8
} as const

const OPCODE = { read: 1, write: 2, data: 3, ack: 4, error: 5, 'option-ack': 6 } as const

/** One datagram → packet; WireError when it is none. What follows a complete packet is padding and is ignored. */
export function decodeTftp(bytes: Uint8Array): TftpPacket {
  const buffer = Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (buffer.length < 2) throw new WireError('tftp-short', buffer.length, 'TFTP: no opcode')
  const opcode = buffer.readUInt16BE(0)
  switch (opcode) {
    case OPCODE.read:
    case OPCODE.write: {
      if (buffer.length > LARGEST_REQUEST)
        throw new WireError('tftp-long', LARGEST_REQUEST, 'TFTP: a request that long')
      const file = text(buffer, 2)
      const mode = text(buffer, file.next)
      return {
        op: opcode === OPCODE.read ? 'read' : 'write',
        file: file.value,
        mode: mode.value.toLowerCase(),
        options: decodeOptions(buffer, mode.next)
      }
    }
    case OPCODE.data:
      return { op: 'data', block: number(buffer, 2), data: buffer.subarray(4) }
    case OPCODE.ack:
      return { op: 'ack', block: number(buffer, 2) }
    case OPCODE.error: {
      const code = number(buffer, 2)
      // Some ROMs leave out the message or its end; the code is what matters.
      const end = buffer.indexOf(0, 4)
      return { op: 'error', code, message: buffer.toString('latin1', 4, end < 0 ? buffer.length : end) }
    }
    case OPCODE['option-ack']:
      return { op: 'option-ack', options: decodeOptions(buffer, 2) }
    default:
      throw new WireError('tftp-opcode', 0, `TFTP: opcode ${opcode}`)
  }
}

function number(buffer: Buffer, offset: number): number {
  if (buffer.length < offset + 2) throw new WireError('tftp-short', buffer.length, 'TFTP: cut off')
  return buffer.readUInt16BE(offset)
}

function text(buffer: Buffer, offset: number): { value: string; next: number } {
  const end = buffer.indexOf(0, offset)
  if (end < 0) throw new WireError('tftp-text', offset, 'TFTP: text without its end')
  return { value: buffer.toString('latin1', offset, end), next: end + 1 }
}

/** Pairs up to the first that is none: some ROMs pad their requests, with zeros or with what was in their memory. */
function decodeOptions(buffer: Buffer, start: number): TftpOptions {
  const options = new Map<string, string>()
  for (let offset = start; offset < buffer.length;) {
    const nameEnd = buffer.indexOf(0, offset)
    const valueEnd = nameEnd < 0 ? -1 : buffer.indexOf(0, nameEnd + 1)
    if (nameEnd === offset || valueEnd < 0) break
    const key = buffer.toString('latin1', offset, nameEnd).toLowerCase()
    if (!options.has(key)) options.set(key, buffer.toString('latin1', nameEnd + 1, valueEnd))
    offset = valueEnd + 1
  }
  return options
}

/** Packet → one datagram; WireError when a text cannot be carried (NUL inside, beyond latin1). */
export function encodeTftp(packet: TftpPacket): Buffer {
  switch (packet.op) {
    case 'read':
    case 'write':
      return join(packet.op, [packet.file, packet.mode, ...[...packet.options].flat()])
    case 'option-ack':
      return join(packet.op, [...packet.options].flat())
    case 'data':
      return Buffer.concat([words(OPCODE.data, packet.block), packet.data])
    case 'ack':
      return words(OPCODE.ack, packet.block)
    case 'error':
      return Buffer.concat([words(OPCODE.error, packet.code), terminated(packet.message, 4)])
  }
}

/**
 * Blocks `from` to `until` of a content (counted from 1 without wrapping, both included) as DATA one after the other into `into`, which must
 * have room for them; the bytes written. Every datagram but the last block's is `blockSize + 4` long.
 */
export function encodeBlocks(
  into: Buffer,
  content: Uint8Array,
  blockSize: number,
  from: number,
  until: number
): number {
  let offset = 0
  for (let block = from; block <= until; block++) {
    const start = (block - 1) * blockSize
    const end = Math.min(start + blockSize, content.length)
    into[offset] = 0
    into[offset + 1] = OPCODE.data
    // 16 bits that go on at 0: what every client that loads more than 65535 blocks expects.
    into[offset + 2] = (block >> 8) & 0xff
    into[offset + 3] = block & 0xff
    into.set(content.subarray(start, end), offset + 4)
    offset += 4 + end - start
  }
  return offset
}

function words(opcode: number, value: number): Buffer {
  const head = Buffer.alloc(4)
  head.writeUInt16BE(opcode, 0)
  head.writeUInt16BE(value, 2)
  return head
}

function join(op: 'read' | 'write' | 'option-ack', texts: string[]): Buffer {
  const parts: Uint8Array[] = [Buffer.from([0, OPCODE[op]])]
  let offset = 2
  for (const value of texts) {
    const part = terminated(value, offset)
    parts.push(part)
    offset += part.length
  }
  return Buffer.concat(parts)
}

function terminated(value: string, offset: number): Buffer {
  for (let at = 0; at < value.length; at++) {
    const code = value.charCodeAt(at)
    if (code === 0 || code > 255)
      throw new WireError('tftp-text', offset + at, 'TFTP: text that cannot be sent')
  }
  return Buffer.from(value + '\0', 'latin1')
}

/** Content as `netascii` carries it (RFC 764 via RFC 1350 section 1): LF → CR LF, CR → CR NUL. */
export function toNetascii(bytes: Uint8Array): Buffer {
  const out = Buffer.alloc(bytes.length * 2)
  let length = 0
  for (const byte of bytes) {
    if (byte === 0x0a) out[length++] = 0x0d
    out[length++] = byte
    if (byte === 0x0d) out[length++] = 0
  }
  return out.subarray(0, length)
}
