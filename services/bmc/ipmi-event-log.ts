// The system event log: read, and cleared (IPMI 2.0, section 31).

import type { SystemEvent } from '../../src/domain/bmc-report.ts'
import { timedOut } from '../../src/decide/bmc-failure.ts'
import { COMPLETION } from '../../src/wire/ipmi/codes.ts'
import { clearSel } from '../../src/wire/ipmi/command/clear-sel.ts'
import { FIRST_RECORD, getSelEntry, LAST_RECORD } from '../../src/wire/ipmi/command/get-sel-entry.ts'
import { getSelInfo } from '../../src/wire/ipmi/command/get-sel-info.ts'
import { reserveSel } from '../../src/wire/ipmi/command/reserve-sel.ts'
import { sensorTypeWords, stateWords } from '../../src/wire/ipmi/event-words.ts'
import type { SdrRecord } from '../../src/wire/ipmi/sdr.ts'
import { decodeSelRecord, type SelRecord } from '../../src/wire/ipmi/sel-record.ts'
import type { Exchange } from './ipmi-exchange.ts'

/** Record IDs have 16 bits; a BMC whose chain of records is a circle is left after so many. */
const MOST_RECORDS = 0xffff
const CLEARING_PAUSE = 200

/** Oldest first; `sensors` give the names. */
export async function readEventLog(
  exchange: Exchange,
  sensors: readonly SdrRecord[]
): Promise<SystemEvent[]> {
  const { entries } = await exchange.run(getSelInfo, undefined)
  const events: SystemEvent[] = []
  const seen = new Set<number>()
  let next = FIRST_RECORD
  while (entries > 0 && next !== LAST_RECORD && seen.size < MOST_RECORDS && !seen.has(next)) {
    seen.add(next)
    const answer = await exchange.ask(getSelEntry, { recordId: next })
    // The log was cleared, or has become shorter, while it was read.
    if (answer.completionCode === COMPLETION.notPresent) break
    const { nextRecordId, record } = exchange.read(getSelEntry, answer)
    events.push(inWords(decodeSelRecord(record), sensors))
    next = nextRecordId
  }
  return events
}

/** Begins, and waits until it is done. Safe to begin twice. */
export async function clearEventLog(exchange: Exchange): Promise<void> {
  const { reservation } = await exchange.run(reserveSel, undefined)
  let { done } = await exchange.run(clearSel, { reservation, step: 'begin' })
  while (!done) {
    if (exchange.now() >= exchange.deadlineAt) {
      throw timedOut(exchange.access, 0, { kind: 'stopped', missing: clearSel.name })
    }
    await new Promise((resolve) => setTimeout(resolve, CLEARING_PAUSE))
    ;({ done } = await exchange.run(clearSel, { reservation, step: 'status' }))
  }
}

function inWords(record: SelRecord, sensors: readonly SdrRecord[]): SystemEvent {
  const at = record.at === null ? null : new Date(record.at * 1000).toISOString()
  const common = { recordId: record.recordId, at, data: record.data.toString('hex') }
  if (record.kind === 'oem') {
    const maker = record.maker === null ? '' : ` of maker ${record.maker}`
    return { ...common, subject: `OEM record ${record.type}${maker}`, event: '', asserted: true }
  }
  const { sensorType, eventType, offset, asserted } = record
  const named = sensors.find(
    (row) => (row.kind === 'sensor' || row.kind === 'event-only') && row.sensor === record.sensor
  )
  const type = sensorTypeWords(sensorType)
  const subject = named && 'name' in named && named.name !== '' ? named.name : `${type} ${record.sensor}`
  return { ...common, subject, event: stateWords(eventType, sensorType, offset), asserted }
}
