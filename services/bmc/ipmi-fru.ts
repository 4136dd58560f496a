// FRU inventories (IPMI 2.0, section 34): FRU 0 is the machine's own; others are named in the sensor records.

import type { FruReport } from '../../src/domain/bmc-report.ts'
import { COMPLETION } from '../../src/wire/ipmi/codes.ts'
import { getFruInventoryAreaInfo } from '../../src/wire/ipmi/command/get-fru-inventory-area-info.ts'
import { readFruData } from '../../src/wire/ipmi/command/read-fru-data.ts'
import { decodeFru } from '../../src/wire/ipmi/fru.ts'
import type { SdrRecord } from '../../src/wire/ipmi/sdr.ts'
import { WireError } from '../../src/wire/wire-error.ts'
import type { Exchange } from './ipmi-exchange.ts'

/** What every BMC can return at once. */
const PIECE = 16
/** Areas begin within the first 2 KiB; what a BMC claims beyond that is not read. */
const MOST_BYTES = 4096

export async function readInventory(exchange: Exchange, records: readonly SdrRecord[]): Promise<FruReport[]> {
  const known = new Map<number, string>([[0, '']])
  for (const record of records) {
    if (record.kind === 'fru' && record.logical && !known.get(record.fru)) known.set(record.fru, record.name)
  }
  const reports: FruReport[] = []
  for (const [fru, name] of known) {
    const bytes = await readFru(exchange, fru)
    if (bytes) reports.push({ fru, name, ...judged(bytes) })
  }
  return reports
}

/** Null: not fitted. */
async function readFru(exchange: Exchange, fru: number): Promise<Buffer | null> {
  const answer = await exchange.ask(getFruInventoryAreaInfo, { fru })
  if (answer.completionCode !== COMPLETION.ok) return null
  const { bytes: size, byWords } = exchange.read(getFruInventoryAreaInfo, answer)
  const unit = byWords ? 2 : 1
  const end = Math.min(size, MOST_BYTES)
  let found: Buffer = Buffer.alloc(0)
  while (found.length < end) {
    const count = Math.min(PIECE, end - found.length) / unit
    const piece = await exchange.ask(readFruData, { fru, offset: found.length / unit, count })
    // Some claim more than they have.
    if (piece.completionCode !== COMPLETION.ok) break
    const { bytes } = exchange.read(readFruData, piece)
    if (bytes.length === 0) break
    found = Buffer.concat([found, bytes])
  }
  return found.length === 0 ? null : found
}

function judged(bytes: Buffer): Omit<FruReport, 'fru' | 'name'> {
  try {
    return decodeFru(bytes)
  } catch (error) {
    if (!(error instanceof WireError)) throw error
    return { chassis: null, board: null, product: null, faults: [error.message] }
  }
}
