// Sensor records and readings (IPMI 2.0, sections 33 and 35). Only reads: a repository that is empty is left empty.

import type { SensorReport } from '../../src/domain/bmc-report.ts'
import { COMPLETION } from '../../src/wire/ipmi/codes.ts'
import { getSdr } from '../../src/wire/ipmi/command/get-sdr.ts'
import { getSdrRepositoryInfo } from '../../src/wire/ipmi/command/get-sdr-repository-info.ts'
import { getSensorReading, type RawReading } from '../../src/wire/ipmi/command/get-sensor-reading.ts'
import { reserveSdrRepository } from '../../src/wire/ipmi/command/reserve-sdr-repository.ts'
import { passedThresholds, sensorTypeWords, stateWords } from '../../src/wire/ipmi/event-words.ts'
import {
  convertReading,
  decodeSdr,
  decodeSdrHeader,
  SDR_HEADER_LENGTH,
  type SdrRecord,
  type SensorRecord
} from '../../src/wire/ipmi/sdr.ts'
import { WireError } from '../../src/wire/wire-error.ts'
import type { Exchange } from './ipmi-exchange.ts'

/** Records as read at a state of the repository; read again only when that has changed. */
export type SdrCache = { version: string; records: readonly SdrRecord[] }

const FIRST_RECORD = 0x0000
const LAST_RECORD = 0xffff
const MOST_RECORDS = 4096
/** Bytes asked for at once, halved when the BMC says it cannot. */
const MOST_BYTES = 32
const FEWEST_BYTES = 8
/** Reservations lost in a row before it is called a failure. */
const MOST_RESERVATIONS = 5
const BMC_ADDRESS = 0x20

export async function readSdrs(exchange: Exchange, cache: SdrCache | null): Promise<SdrCache> {
  const { records: count, lastAddedAt, lastErasedAt } = await exchange.run(getSdrRepositoryInfo, undefined)
  const version = `${count} ${lastAddedAt} ${lastErasedAt}`
  if (cache?.version === version) return cache
  const records: SdrRecord[] = []
  if (count === 0) return { version, records }
  const reader = await pieceReader(exchange)
  const seen = new Set<number>()
  let next = FIRST_RECORD
  while (next !== LAST_RECORD && records.length < MOST_RECORDS && !seen.has(next)) {
    seen.add(next)
    const found = await readRecord(next, reader)
    if (found === null) break
    if (found.record) records.push(found.record)
    next = found.nextRecordId
  }
  return { version, records }
}

export async function readSensors(
  exchange: Exchange,
  records: readonly SdrRecord[]
): Promise<SensorReport[]> {
  const reports: SensorReport[] = []
  for (const record of records) {
    // Sensors behind other controllers are not the BMC's to read.
    if (record.kind !== 'sensor' || record.owner !== BMC_ADDRESS || record.lun !== 0) continue
    const answer = await exchange.ask(getSensorReading, { sensor: record.sensor })
    const reading =
      answer.completionCode === COMPLETION.ok
        ? exchange.read(getSensorReading, answer)
        : { raw: 0, available: false, states: 0 }
    reports.push(report(record, reading))
  }
  return reports
}

function report(record: SensorRecord, { raw, available, states }: RawReading): SensorReport {
  const { sensor, name, sensorType, eventType, unit, conversion } = record
  const held = Array.from({ length: 15 }, (_, bit) => bit).filter((bit) => (states & (1 << bit)) !== 0)
  const words =
    eventType === 0x01 ? passedThresholds(states) : held.map((bit) => stateWords(eventType, sensorType, bit))
  return {
    sensor,
    name,
    type: sensorTypeWords(sensorType),
    value: available && conversion ? convertReading(conversion, raw) : null,
    unit,
    states: available ? words : [],
    available
  }
}

/** Reads pieces of records: halves the pieces and renews the reservation as the BMC wants. */
type PieceReader = (
  recordId: number,
  offset: number,
  wanted: number
) => Promise<{ nextRecordId: number; bytes: Buffer } | null>

async function pieceReader(exchange: Exchange): Promise<PieceReader> {
  let { reservation } = await exchange.run(reserveSdrRepository, undefined)
  let most = MOST_BYTES
  return async (recordId, offset, wanted) => {
    for (let lost = 0; ;) {
      const count = Math.min(wanted, most)
      const answer = await exchange.ask(getSdr, { reservation, recordId, offset, count })
      const tooMany = ([COMPLETION.cannotReturn, COMPLETION.requestLength] as number[]).includes(
        answer.completionCode
      )
      if (tooMany && count > FEWEST_BYTES) {
        most = count >> 1
      } else if (answer.completionCode === COMPLETION.reservationLost && lost++ < MOST_RESERVATIONS) {
        ;({ reservation } = await exchange.run(reserveSdrRepository, undefined))
      } else if (
        answer.completionCode === COMPLETION.timeout ||
        answer.completionCode === COMPLETION.notPresent
      ) {
        // The last record of some (Dell FC830), or one that is gone.
        return null
      } else {
        return exchange.read(getSdr, answer)
      }
    }
  }
}

/** One record, or null where there are no more. `record` null: it makes no sense, and is left out. */
async function readRecord(
  recordId: number,
  read: PieceReader
): Promise<{ nextRecordId: number; record: SdrRecord | null } | null> {
  const head = await read(recordId, 0, SDR_HEADER_LENGTH)
  if (head === null) return null
  const { nextRecordId } = head
  let bytes = head.bytes
  try {
    const whole = SDR_HEADER_LENGTH + decodeSdrHeader(bytes).length
    while (bytes.length < whole) {
      const piece = await read(recordId, bytes.length, whole - bytes.length)
      if (piece === null || piece.bytes.length === 0) break
      bytes = Buffer.concat([bytes, piece.bytes])
    }
    return { nextRecordId, record: decodeSdr(bytes.subarray(0, whole)) }
  } catch (error) {
    if (error instanceof WireError) return { nextRecordId, record: null }
    throw error
  }
}
