// Set and Get SOL Configuration Parameters (IPMI 2.0, sections 26.2 and 26.3). What a parameter holds is read by
// sol.ts.

import { requireLength } from '../length.ts'
import { NETFN, nothing, type Command } from './command.ts'

export type SolParameter = { channel: number; parameter: number }

export const getSolParameter: Command<SolParameter & { set: number }, { value: Buffer }> = {
  name: 'Get SOL Configuration Parameters',
  netFn: NETFN.transport,
  command: 0x22,
  encodeRequest: ({ channel, parameter, set }) => Buffer.from([channel, parameter, set, 0]),
  decodeRequest(data) {
    requireLength(data, 4, 'a Get SOL Configuration Parameters request')
    return { channel: data.readUInt8(0) & 0x0f, parameter: data.readUInt8(1), set: data.readUInt8(2) }
  },
  encodeResponse: ({ value }) => Buffer.concat([Buffer.from([REVISION]), value]),
  decodeResponse(data) {
    requireLength(data, 1, 'a Get SOL Configuration Parameters response')
    return { value: data.subarray(1) }
  },
  completionWords: { 0x80: 'parameter not supported' }
}

export const setSolParameter: Command<SolParameter & { value: Buffer }, void> = {
  name: 'Set SOL Configuration Parameters',
  netFn: NETFN.transport,
  command: 0x21,
  encodeRequest: ({ channel, parameter, value }) => Buffer.concat([Buffer.from([channel, parameter]), value]),
  decodeRequest(data) {
    requireLength(data, 2, 'a Set SOL Configuration Parameters request')
    return { channel: data.readUInt8(0) & 0x0f, parameter: data.readUInt8(1), value: data.subarray(2) }
  },
  encodeResponse: nothing.encode,
  decodeResponse: nothing.decode,
  completionWords: {
    0x80: 'parameter not supported',
    0x81: 'another change is in progress',
    0x82: 'the parameter is read-only',
    0x83: 'the parameter is write-only'
  }
}

/** Parameter revision 1.1. */
const REVISION = 0x11
