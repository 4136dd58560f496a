// Get FRU Inventory Area Info (IPMI 2.0, section 34.1): how large a FRU's memory is.

import { requireLength } from '../length.ts'
import { NETFN, type Command } from './command.ts'

export type FruArea = {
  bytes: number
  /** Offsets and counts are in words of two bytes. */
  byWords: boolean
}

export const getFruInventoryAreaInfo: Command<{ fru: number }, FruArea> = {
  name: 'Get FRU Inventory Area Info',
  netFn: NETFN.storage,
  command: 0x10,
  encodeRequest: ({ fru }) => Buffer.from([fru]),
  decodeRequest(data) {
    requireLength(data, 1, 'a Get FRU Inventory Area Info request')
    return { fru: data.readUInt8(0) }
  },
  encodeResponse({ bytes, byWords }) {
    const data = Buffer.alloc(3)
    data.writeUInt16LE(bytes)
    data[2] = byWords ? 1 : 0
    return data
  },
  decodeResponse(data) {
    requireLength(data, 3, 'a Get FRU Inventory Area Info response')
    return { bytes: data.readUInt16LE(0), byWords: (data.readUInt8(2) & 0x01) !== 0 }
  }
}
