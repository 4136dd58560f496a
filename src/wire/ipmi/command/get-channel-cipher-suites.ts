// Get Channel Cipher Suites (IPMI 2.0, section 22.15). The list comes in pieces of 16 bytes; a shorter piece is the last.
// Many BMCs answer it only inside a session, or not at all: good for messages, not for decisions.

import { requireLength } from '../length.ts'
import type { AlgorithmNumbers } from '../cipher-suite.ts'
import { NETFN, type Command } from './command.ts'

export const CIPHER_SUITE_PIECE = 16
const LIST_BY_SUITE = 0x80
const IPMI_PAYLOAD = 0x00
const STANDARD_SUITE = 0xc0
const OEM_SUITE = 0xc1

export type CipherSuitePiece = { channel: number; records: Buffer }

export const getChannelCipherSuites: Command<{ channel: number; index: number }, CipherSuitePiece> = {
  name: 'Get Channel Cipher Suites',
  netFn: NETFN.application,
  command: 0x54,
  encodeRequest: ({ channel, index }) => Buffer.from([channel, IPMI_PAYLOAD, LIST_BY_SUITE | index]),
  decodeRequest(data) {
    requireLength(data, 3, 'a Get Channel Cipher Suites request')
    return { channel: data.readUInt8(0) & 0x0f, index: data.readUInt8(2) & 0x3f }
  },
  encodeResponse: ({ channel, records }) => Buffer.concat([Buffer.from([channel]), records]),
  decodeResponse(data) {
    requireLength(data, 1, 'a Get Channel Cipher Suites response')
    return { channel: data.readUInt8(0) & 0x0f, records: data.subarray(1) }
  }
}

/** A suite as the BMC describes it; `oem` suites have a maker's meaning. */
export type OfferedSuite = AlgorithmNumbers & { id: number; oem: boolean }

/** One record: start byte, ID, [maker], then algorithms tagged in their two top bits (table 22-18). */
export function encodeSuiteRecord({ id, authentication, integrity, confidentiality }: OfferedSuite): Buffer {
  return Buffer.from([STANDARD_SUITE, id, authentication, 0x40 | integrity, 0x80 | confidentiality])
}

/** Reads what it can of the joined pieces; a record cut short or out of shape ends the list. */
export function decodeSuiteRecords(records: Buffer): OfferedSuite[] {
  const suites: OfferedSuite[] = []
  let at = 0
  while (at < records.length) {
    const start = records[at]
    const id = records[at + 1]
    if ((start !== STANDARD_SUITE && start !== OEM_SUITE) || id === undefined) break
    const suite = { id, oem: start === OEM_SUITE, authentication: 0, integrity: 0, confidentiality: 0 }
    at += start === OEM_SUITE ? 5 : 2
    for (let byte = records[at]; byte !== undefined && byte < STANDARD_SUITE; byte = records[++at]) {
      const kind = byte >> 6
      if (kind === 0) suite.authentication = byte & 0x3f
      if (kind === 1) suite.integrity = byte & 0x3f
      if (kind === 2) suite.confidentiality = byte & 0x3f
    }
    suites.push(suite)
  }
  return suites
}
