// Sensor data records (IPMI 2.0, section 43): what sensors, FRUs and controllers a machine has.
//
//   0    2         3      4        5
//   +----+---------+------+--------+-----------------------
//   | ID | version | type | length | key, then the body …
//   +----+---------+------+--------+-----------------------

import { requireLength } from './length.ts'
import { decodeName } from './type-length.ts'

export const SDR_HEADER_LENGTH = 5

export type SdrHeader = { recordId: number; type: number; length: number }

/** What turns a raw reading into a value (section 36.3). */
export type Conversion = {
  format: 'unsigned' | "one's complement" | "two's complement"
  linearization: number
  m: number
  b: number
  bExponent: number
  resultExponent: number
}

export type Thresholds = Readonly<Record<ThresholdName, number | null>>
export type ThresholdName =
  | 'lower non-critical'
  | 'lower critical'
  | 'lower non-recoverable'
  | 'upper non-critical'
  | 'upper critical'
  | 'upper non-recoverable'

export type SensorRecord = {
  kind: 'sensor'
  recordId: number
  name: string
  /** The controller's address, and the sensor's unit there; only 0x20 and 0 are the BMC's own. */
  owner: number
  lun: number
  sensor: number
  entityId: number
  entityInstance: number
  sensorType: number
  /** 1: thresholds; 2 to 12: states everybody shares; 0x6f: states of the sensor's type. */
  eventType: number
  unit: string
  /** Null: it has states, no value. */
  conversion: Conversion | null
  /** Raw; null where it has none. */
  thresholds: Thresholds | null
}

export type SdrRecord =
  | SensorRecord
  | {
      kind: 'event-only'
      recordId: number
      name: string
      sensor: number
      sensorType: number
      eventType: number
    }
  /** `logical`: read by FRU commands of the BMC. */
  | { kind: 'fru'; recordId: number; name: string; fru: number; logical: boolean }
  | { kind: 'controller'; recordId: number; name: string; address: number }
  | { kind: 'other'; recordId: number; type: number }

const TYPE = {
  full: 0x01,
  compact: 0x02,
  eventOnly: 0x03,
  fruLocator: 0x11,
  controllerLocator: 0x12
} as const

/** Throws WireError `short`. */
export function decodeSdrHeader(bytes: Buffer): SdrHeader {
  requireLength(bytes, SDR_HEADER_LENGTH, 'the header of a sensor record')
  return { recordId: bytes.readUInt16LE(0), type: bytes.readUInt8(3), length: bytes.readUInt8(4) }
}

/** One whole record. Throws WireError `short`. */
export function decodeSdr(record: Buffer): SdrRecord {
  const { recordId, type } = decodeSdrHeader(record)
  switch (type) {
    case TYPE.full:
      return fullSensor(record, recordId)
    case TYPE.compact:
      requireLength(record, 32, 'a compact sensor record')
      return { ...sensor(record, recordId), name: name(record, 31) }
    case TYPE.eventOnly:
      requireLength(record, 17, 'an event-only record')
      return {
        kind: 'event-only',
        recordId,
        name: name(record, 16),
        sensor: record.readUInt8(7),
        sensorType: record.readUInt8(10),
        eventType: record.readUInt8(11) & 0x7f
      }
    case TYPE.fruLocator:
      requireLength(record, 16, 'a FRU record')
      return {
        kind: 'fru',
        recordId,
        name: name(record, 15),
        fru: record.readUInt8(6),
        logical: (record.readUInt8(7) & 0x80) !== 0
      }
    case TYPE.controllerLocator:
      requireLength(record, 16, 'a controller record')
      return { kind: 'controller', recordId, name: name(record, 15), address: record.readUInt8(5) }
    default:
      return { kind: 'other', recordId, type }
  }
}

function name(record: Buffer, at: number): string {
  return decodeName(record.readUInt8(at), record.subarray(at + 1))
}

/** What full and compact records share (sections 43.1 and 43.2). */
function sensor(record: Buffer, recordId: number): Omit<SensorRecord, 'name'> {
  return {
    kind: 'sensor',
    recordId,
    owner: record.readUInt8(5),
    lun: record.readUInt8(6) & 0x03,
    sensor: record.readUInt8(7),
    entityId: record.readUInt8(8),
    entityInstance: record.readUInt8(9) & 0x7f,
    sensorType: record.readUInt8(12),
    eventType: record.readUInt8(13) & 0x7f,
    unit: unitOf(record.readUInt8(20), record.readUInt8(21), record.readUInt8(22)),
    conversion: null,
    thresholds: null
  }
}

const FORMATS = ['unsigned', "one's complement", "two's complement", null] as const

function fullSensor(record: Buffer, recordId: number): SensorRecord {
  requireLength(record, 48, 'a full sensor record')
  const common = { ...sensor(record, recordId), name: name(record, 47) }
  const format = FORMATS[record.readUInt8(20) >> 6] ?? null
  // Format 3 is "no analogue reading"; event type 1 alone has thresholds to compare with.
  if (format === null) return common
  const exponents = record.readUInt8(29)
  const conversion: Conversion = {
    format,
    linearization: record.readUInt8(23) & 0x7f,
    m: signed(record.readUInt8(24) | ((record.readUInt8(25) >> 6) << 8), 10),
    b: signed(record.readUInt8(26) | ((record.readUInt8(27) >> 6) << 8), 10),
    bExponent: signed(exponents & 0x0f, 4),
    resultExponent: signed(exponents >> 4, 4)
  }
  const thresholds = common.eventType === 0x01 ? thresholdsOf(record) : null
  return { ...common, conversion, thresholds }
}

/** Byte 18 says which thresholds can be read, in the order of the reading's own bits. */
function thresholdsOf(record: Buffer): Thresholds {
  const readable = record.readUInt8(18)
  const at = (bit: number, offset: number): number | null =>
    (readable & (1 << bit)) !== 0 ? record.readUInt8(offset) : null
  return {
    'lower non-critical': at(0, 41),
    'lower critical': at(1, 40),
    'lower non-recoverable': at(2, 39),
    'upper non-critical': at(3, 38),
    'upper critical': at(4, 37),
    'upper non-recoverable': at(5, 36)
  }
}

/** Units of section 43.17, as far as machines have them. */
const UNITS: Readonly<Record<number, string>> = {
  ...{
    1: '°C',
    2: '°F',
    3: 'K',
    4: 'V',
    5: 'A',
    6: 'W',
    7: 'J',
    8: 'C',
    9: 'VA',
    10: 'nit',
    11: 'lm',
    12: 'lx'
  },
  ...{ 13: 'cd', 14: 'kPa', 15: 'psi', 16: 'N', 17: 'CFM', 18: 'RPM', 19: 'Hz', 20: 'µs', 21: 'ms', 22: 's' },
  ...{ 23: 'min', 24: 'h', 25: 'd', 26: 'weeks', 38: 'g', 65: 'bit', 70: 'B' }
}
const RATES = ['', '/µs', '/ms', '/s', '/min', '/h', '/d', ''] as const

function unitOf(flags: number, base: number, modifier: number): string {
  if ((flags & 0x01) !== 0) return '%'
  const joined = [base, modifier].map((number) => UNITS[number] ?? '')
  const use = (flags >> 1) & 0x03
  const separator = use === 1 ? '/' : use === 2 ? '·' : ''
  const rate = RATES[(flags >> 3) & 0x07] ?? ''
  return (separator === '' ? (joined[0] ?? '') : joined.join(separator)) + rate
}

/** Linearisations of table 43-1, byte 24; from 0x70 on a sensor's factors differ with the reading. */
const LINEARIZATIONS: Readonly<Record<number, (x: number) => number>> = {
  0: (x) => x,
  1: Math.log,
  2: Math.log10,
  3: Math.log2,
  4: Math.exp,
  5: (x) => 10 ** x,
  6: (x) => 2 ** x,
  7: (x) => 1 / x,
  8: (x) => x ** 2,
  9: (x) => x ** 3,
  10: Math.sqrt,
  11: Math.cbrt
}

/**
 * The value of a raw reading: L((M x + B 10^Be) 10^Re). Null where there is none: an unknown linearisation, a formula
 * that leaves the numbers, one's complement minus zero is zero.
 */
export function convertReading(conversion: Conversion, raw: number): number | null {
  const { format, linearization, m, b, bExponent, resultExponent } = conversion
  const linearize = LINEARIZATIONS[linearization]
  if (!linearize) return null
  const negative = (raw & 0x80) !== 0 && format !== 'unsigned'
  const x = !negative ? raw : format === "two's complement" ? raw - 0x100 : raw - 0xff
  const value = linearize((m * x + b * 10 ** bExponent) * 10 ** resultExponent)
  // Sums of decimal fractions leave dust behind the twelfth digit.
  return Number.isFinite(value) ? Number(value.toPrecision(12)) : null
}

function signed(value: number, bits: number): number {
  return value >= 1 << (bits - 1) ? value - (1 << bits) : value
}
