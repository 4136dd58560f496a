// FRU information (Platform Management FRU Information Storage Definition 1.0): who made a board, chassis or product, and
// its numbers.
//
//   header: version | internal use, chassis, board, product, multi-record: offset / 8, 0 = none | pad | checksum
//   area:   version | length / 8 | language or chassis type | fields … | C1 | zeros | checksum

import { WireError } from '../wire-error.ts'
import { requireLength } from './length.ts'
import { checksum } from './message.ts'
import { decodeFruField } from './type-length.ts'

export const FRU_HEADER_LENGTH = 8

/** A field by its name in the definition; those a maker added are `custom 1`, `custom 2`, … */
export type FruFields = Readonly<Record<string, string>>

export type Fru = {
  chassis: FruFields | null
  board: FruFields | null
  product: FruFields | null
  /** What could not be read, in words: a wrong checksum, an area cut short. */
  faults: string[]
}

const FIELDS = {
  chassis: ['part number', 'serial number'],
  board: ['manufacturer', 'product name', 'serial number', 'part number', 'FRU file ID'],
  product: [
    ...['manufacturer', 'product name', 'part number', 'version', 'serial number', 'asset tag', 'FRU file ID']
  ]
} as const

type Area = keyof typeof FIELDS
const AREA_AT: Readonly<Record<Area, number>> = { chassis: 2, board: 3, product: 4 }
const END_OF_FIELDS = 0xc1
const ENGLISH: readonly number[] = [0, 25]
/** Board manufacture dates count minutes from here: 1996-01-01 00:00 UTC. */
const FRU_EPOCH_SECONDS = 820_454_400

/** Reads what can be read. Throws WireError `short` or `fru-header` when it is no FRU at all. */
export function decodeFru(bytes: Buffer): Fru {
  requireLength(bytes, FRU_HEADER_LENGTH, 'a FRU header')
  const header = bytes.subarray(0, FRU_HEADER_LENGTH)
  if ((header.readUInt8(0) & 0x0f) !== 1 || checksum(header) !== 0) {
    throw new WireError('fru-header', 0, 'no FRU header of version 1')
  }
  const fru: Fru = { chassis: null, board: null, product: null, faults: [] }
  for (const area of Object.keys(FIELDS) as Area[]) {
    const at = header.readUInt8(AREA_AT[area]) * 8
    if (at === 0) continue
    try {
      fru[area] = decodeArea(area, bytes.subarray(at), fru.faults)
    } catch (error) {
      if (!(error instanceof WireError)) throw error
      fru.faults.push(`${area}: ${error.message}`)
    }
  }
  return fru
}

function decodeArea(area: Area, bytes: Buffer, faults: string[]): FruFields {
  requireLength(bytes, 3, `the ${area} area`)
  const length = bytes.readUInt8(1) * 8
  requireLength(bytes, length, `the ${area} area`)
  const whole = bytes.subarray(0, length)
  requireLength(whole, area === 'board' ? 6 : 3, `the ${area} area`)
  if (checksum(whole) !== 0) faults.push(`${area}: the checksum is wrong`)
  const fields: Record<string, string> = {}
  if (area === 'chassis') fields['type'] = String(whole.readUInt8(2))
  let at = 3
  if (area === 'board') {
    const minutes = whole.readUIntLE(3, 3)
    if (minutes > 0) fields['made'] = new Date((FRU_EPOCH_SECONDS + minutes * 60) * 1000).toISOString()
    at = 6
  }
  const english = area === 'chassis' || ENGLISH.includes(whole.readUInt8(2))
  const names: readonly string[] = FIELDS[area]
  for (let count = 0; at < length && whole[at] !== END_OF_FIELDS; count++) {
    const typeLength = whole.readUInt8(at)
    const field = whole.subarray(at + 1, at + 1 + (typeLength & 0x3f))
    const text = decodeFruField(typeLength, field, english)
    if (text !== '') fields[names[count] ?? `custom ${count - names.length + 1}`] = text
    at += 1 + (typeLength & 0x3f)
  }
  return fields
}
