// Set and Get LAN Configuration Parameters (IPMI 2.0, sections 23.1 and 23.2). What a parameter holds is read by
// lan.ts.

import { requireLength } from '../length.ts'
import { NETFN, nothing, type Command } from './command.ts'

export type LanParameter = { channel: number; parameter: number }

export const getLanParameter: Command<LanParameter & { set: number }, { value: Buffer }> = {
  name: 'Get LAN Configuration Parameters',
  netFn: NETFN.transport,
  command: 0x02,
  encodeRequest: ({ channel, parameter, set }) => Buffer.from([channel, parameter, set, 0]),
  decodeRequest(data) {
    requireLength(data, 4, 'a Get LAN Configuration Parameters request')
    return { channel: data.readUInt8(0) & 0x0f, parameter: data.readUInt8(1), set: data.readUInt8(2) }
  },
  encodeResponse: ({ value }) => Buffer.concat([Buffer.from([REVISION]), value]),
  decodeResponse(data) {
    requireLength(data, 1, 'a Get LAN Configuration Parameters response')
    return { value: data.subarray(1) }
  },
  completionWords: { 0x80: 'parameter not supported' }
}

export const setLanParameter: Command<LanParameter & { value: Buffer }, void> = {
  name: 'Set LAN Configuration Parameters',
  netFn: NETFN.transport,
  command: 0x01,
  encodeRequest: ({ channel, parameter, value }) => Buffer.concat([Buffer.from([channel, parameter]), value]),
  decodeRequest(data) {
    requireLength(data, 2, 'a Set LAN Configuration Parameters request')
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
