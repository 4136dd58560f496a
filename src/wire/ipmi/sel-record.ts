// Records of the system event log (IPMI 2.0, section 32).
//
//   type 02:        ID 2 | type | time 4 | generator 2 | revision | sensor type | number | direction, event type | data 3
//   type C0 to DF:  ID 2 | type | time 4 | maker 3 | data 6
//   type E0 to FF:  ID 2 | type | data 13

import { requireLength } from './length.ts'

export type SelRecord =
  | {
      kind: 'event'
      recordId: number
      /** Seconds since 1970 by the BMC's clock; null: the clock was not set (below 0x20000000 it counts from power-up). */
      at: number | null
      generator: number
      sensorType: number
      sensor: number
      /** 1: thresholds; 2 to 12: states everybody shares; 0x6f: states of the sensor's type. */
      eventType: number
      /** The state began to hold; false: it ceased to. */
      asserted: boolean
      /** Which state: a bit number of the sensor's reading. */
      offset: number
      data: Buffer
    }
  | { kind: 'oem'; recordId: number; type: number; at: number | null; maker: number | null; data: Buffer }

const SYSTEM_EVENT = 0x02
const OEM_WITH_TIME = 0xc0
const OEM_WITHOUT_TIME = 0xe0
const CLOCK_SET = 0x20000000

/** Throws WireError `short`. */
export function decodeSelRecord(record: Buffer): SelRecord {
  requireLength(record, 16, 'a record of the event log')
  const recordId = record.readUInt16LE(0)
  const type = record.readUInt8(2)
  if (type >= OEM_WITHOUT_TIME) {
    return { kind: 'oem', recordId, type, at: null, maker: null, data: record.subarray(3, 16) }
  }
  const seconds = record.readUInt32LE(3)
  const at = seconds >= CLOCK_SET && seconds !== 0xffffffff ? seconds : null
  if (type !== SYSTEM_EVENT) {
    const maker = type >= OEM_WITH_TIME ? record.readUIntLE(7, 3) : null
    return { kind: 'oem', recordId, type, at, maker, data: record.subarray(maker === null ? 7 : 10, 16) }
  }
  const direction = record.readUInt8(12)
  return {
    kind: 'event',
    recordId,
    at,
    generator: record.readUInt16LE(7),
    sensorType: record.readUInt8(10),
    sensor: record.readUInt8(11),
    eventType: direction & 0x7f,
    asserted: (direction & 0x80) === 0,
    offset: record.readUInt8(13) & 0x0f,
    data: record.subarray(13, 16)
  }
}
