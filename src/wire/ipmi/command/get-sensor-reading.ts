// Get Sensor Reading (IPMI 2.0, section 35.14).

import { requireLength } from '../length.ts'
import { NETFN, type Command } from './command.ts'

export type RawReading = {
  raw: number
  /** The sensor is scanned, and the reading is one. */
  available: boolean
  /** Thresholds that are passed, or states that hold: bit n for state n. */
  states: number
}

const SCANNING = 0x40
const UNAVAILABLE = 0x20

export const getSensorReading: Command<{ sensor: number }, RawReading> = {
  name: 'Get Sensor Reading',
  netFn: NETFN.sensor,
  command: 0x2d,
  encodeRequest: ({ sensor }) => Buffer.from([sensor]),
  decodeRequest(data) {
    requireLength(data, 1, 'a Get Sensor Reading request')
    return { sensor: data.readUInt8(0) }
  },
  encodeResponse: ({ raw, available, states }) =>
    Buffer.from([raw, available ? SCANNING : UNAVAILABLE, states & 0xff, (states >> 8) & 0x7f]),
  // Some BMCs leave the states out.
  decodeResponse(data) {
    requireLength(data, 2, 'a Get Sensor Reading response')
    const flags = data.readUInt8(1)
    return {
      raw: data.readUInt8(0),
      available: (flags & SCANNING) !== 0 && (flags & UNAVAILABLE) === 0,
      states: (data[2] ?? 0) | (((data[3] ?? 0) & 0x7f) << 8)
    }
  }
}
