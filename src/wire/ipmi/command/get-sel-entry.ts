// Get SEL Entry (IPMI 2.0, section 31.5): one whole record, and which comes next.

import { requireLength } from '../length.ts'
import { NETFN, type Command } from './command.ts'

/** Record IDs with a meaning of their own. */
export const FIRST_RECORD = 0x0000
export const LAST_RECORD = 0xffff
export const RECORD_LENGTH = 16
const WHOLE_RECORD = 0xff

/** Whole records need no reservation. */
export const getSelEntry: Command<{ recordId: number }, { nextRecordId: number; record: Buffer }> = {
  name: 'Get SEL Entry',
  netFn: NETFN.storage,
  command: 0x43,
  encodeRequest({ recordId }) {
    const data = Buffer.alloc(6)
    data.writeUInt16LE(recordId, 2)
    data[5] = WHOLE_RECORD
    return data
  },
  decodeRequest(data) {
    requireLength(data, 6, 'a Get SEL Entry request')
    return { recordId: data.readUInt16LE(2) }
  },
  encodeResponse({ nextRecordId, record }) {
    const data = Buffer.alloc(2)
    data.writeUInt16LE(nextRecordId)
    return Buffer.concat([data, record])
  },
  decodeResponse(data) {
    requireLength(data, 2 + RECORD_LENGTH, 'a Get SEL Entry response')
    return { nextRecordId: data.readUInt16LE(0), record: data.subarray(2, 2 + RECORD_LENGTH) }
  },
  completionWords: { 0x81: 'the log is being erased' }
}
