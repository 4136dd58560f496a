// Get SDR (IPMI 2.0, section 33.12): a piece of one record, and which record comes next. A BMC that cannot return so many
// bytes says 0xCA.

import { requireLength } from '../length.ts'
import { NETFN, type Command } from './command.ts'

export type SdrPiece = { reservation: number; recordId: number; offset: number; count: number }

export const getSdr: Command<SdrPiece, { nextRecordId: number; bytes: Buffer }> = {
  name: 'Get SDR',
  netFn: NETFN.storage,
  command: 0x23,
  encodeRequest({ reservation, recordId, offset, count }) {
    const data = Buffer.alloc(6)
    data.writeUInt16LE(reservation)
    data.writeUInt16LE(recordId, 2)
    data[4] = offset
    data[5] = count
    return data
  },
  decodeRequest(data) {
    requireLength(data, 6, 'a Get SDR request')
    return {
      reservation: data.readUInt16LE(0),
      recordId: data.readUInt16LE(2),
      offset: data.readUInt8(4),
      count: data.readUInt8(5)
    }
  },
  encodeResponse({ nextRecordId, bytes }) {
    const data = Buffer.alloc(2)
    data.writeUInt16LE(nextRecordId)
    return Buffer.concat([data, bytes])
  },
  decodeResponse(data) {
    requireLength(data, 2, 'a Get SDR response')
    return { nextRecordId: data.readUInt16LE(0), bytes: data.subarray(2) }
  }
}
