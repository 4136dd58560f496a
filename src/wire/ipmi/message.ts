// The IPMI message, the same inside and outside sessions (IPMI 2.0, section 13.8).
//
//   request:  rsAddr | netFn<<2|rsLUN | checksum | rqAddr | rqSeq<<2|rqLUN | command |        data … | checksum
//   response: rqAddr | netFn<<2|rqLUN | checksum | rsAddr | rqSeq<<2|rsLUN | command | code | data … | checksum
//
// A response has the request's network function plus one, and repeats its command and rqSeq: that is how they are paired.

import { WireError } from '../wire-error.ts'
import { requireLength } from './length.ts'

/** The BMC's slave address (section 5.5). */
const BMC = 0x20
/** The address of remote console software (table 5-4, "system software ID" 0x40 shifted, bit 0 set). */
const REMOTE_CONSOLE = 0x81

export type IpmiRequest = { netFn: number; command: number; rqSeq: number; data: Buffer }
export type IpmiResponse = IpmiRequest & { completionCode: number }

/** The byte that makes the covered bytes add up to 0 modulo 256 (section 13.8, table 13-8). */
export function checksum(bytes: Uint8Array): number {
  let sum = 0
  for (const byte of bytes) sum += byte
  return -sum & 0xff
}

export function encodeRequest({ netFn, command, rqSeq, data }: IpmiRequest): Buffer {
  return frame(BMC, netFn, REMOTE_CONSOLE, rqSeq, command, data)
}

/** `netFn` is the response's own: the request's plus one. */
export function encodeResponse({ netFn, command, rqSeq, completionCode, data }: IpmiResponse): Buffer {
  const body = Buffer.concat([Buffer.from([completionCode]), data])
  return frame(REMOTE_CONSOLE, netFn, BMC, rqSeq, command, body)
}

/** Throws WireError `short` or `checksum`. */
export function decodeRequest(message: Buffer): IpmiRequest {
  requireLength(message, 7, 'an IPMI request')
  requireChecksums(message)
  return { ...header(message), data: message.subarray(6, -1) }
}

/**
 * Throws WireError `short` or `checksum`. Inside an authenticated session say `authenticated`: the packet's own code
 * has then proved the bytes, and the two checksums are not looked at (Supermicro X9 boards send wrong ones).
 */
export function decodeResponse(message: Buffer, { authenticated }: { authenticated: boolean }): IpmiResponse {
  requireLength(message, 8, 'an IPMI response')
  if (!authenticated) requireChecksums(message)
  return { ...header(message), completionCode: message.readUInt8(6), data: message.subarray(7, -1) }
}

function frame(
  to: number,
  netFn: number,
  from: number,
  rqSeq: number,
  command: number,
  body: Buffer
): Buffer {
  const connection = Buffer.from([to, netFn << 2])
  const rest = Buffer.concat([Buffer.from([from, rqSeq << 2, command]), body])
  return Buffer.concat([connection, Buffer.from([checksum(connection)]), rest, Buffer.from([checksum(rest)])])
}

function header(message: Buffer): { netFn: number; rqSeq: number; command: number } {
  return {
    netFn: message.readUInt8(1) >> 2,
    rqSeq: message.readUInt8(4) >> 2,
    command: message.readUInt8(5)
  }
}

function requireChecksums(message: Buffer): void {
  if (checksum(message.subarray(0, 3)) !== 0) {
    throw new WireError('checksum', 2, 'the header checksum of the IPMI message is wrong')
  }
  if (checksum(message.subarray(3)) !== 0) {
    throw new WireError('checksum', message.length - 1, 'the checksum of the IPMI message is wrong')
  }
}
