// Get SDR Repository Info (IPMI 2.0, section 33.9).

import { requireLength } from '../length.ts'
import { NETFN, nothing, type Command } from './command.ts'

export type SdrRepositoryInfo = {
  /** Wrong on several boards (HP DL585, Fujitsu RX): the records themselves tell where they end. */
  records: number
  freeBytes: number
  /** By the BMC's clock, seconds since 1970: a new value means that the records are to be read again. */
  lastAddedAt: number
  lastErasedAt: number
}

const VERSION = 0x51

export const getSdrRepositoryInfo: Command<void, SdrRepositoryInfo> = {
  name: 'Get SDR Repository Info',
  netFn: NETFN.storage,
  command: 0x20,
  encodeRequest: nothing.encode,
  decodeRequest: nothing.decode,
  encodeResponse({ records, freeBytes, lastAddedAt, lastErasedAt }) {
    const data = Buffer.alloc(14)
    data[0] = VERSION
    data.writeUInt16LE(records, 1)
    data.writeUInt16LE(freeBytes, 3)
    data.writeUInt32LE(lastAddedAt, 5)
    data.writeUInt32LE(lastErasedAt, 9)
    // It can be reserved.
    data[13] = 0x02
    return data
  },
  decodeResponse(data) {
    requireLength(data, 14, 'a Get SDR Repository Info response')
    return {
      records: data.readUInt16LE(1),
      freeBytes: data.readUInt16LE(3),
      lastAddedAt: data.readUInt32LE(5),
      lastErasedAt: data.readUInt32LE(9)
    }
  }
}
