// Get SEL Info (IPMI 2.0, section 31.2).

import { requireLength } from '../length.ts'
import { NETFN, nothing, type Command } from './command.ts'

export type SelInfo = {
  entries: number
  freeBytes: number
  /** Seconds since 1970 by the BMC's clock, which may be wrong; null: never. */
  lastAddedAt: number | null
  lastErasedAt: number | null
  /** Events were lost because it was full. */
  overflow: boolean
}

const VERSION = 0x51
const OVERFLOW = 0x80
const NEVER = 0xffffffff

export const getSelInfo: Command<void, SelInfo> = {
  name: 'Get SEL Info',
  netFn: NETFN.storage,
  command: 0x40,
  encodeRequest: nothing.encode,
  decodeRequest: nothing.decode,
  encodeResponse({ entries, freeBytes, lastAddedAt, lastErasedAt, overflow }) {
    const data = Buffer.alloc(14)
    data[0] = VERSION
    data.writeUInt16LE(entries, 1)
    data.writeUInt16LE(freeBytes, 3)
    data.writeUInt32LE(lastAddedAt ?? NEVER, 5)
    data.writeUInt32LE(lastErasedAt ?? NEVER, 9)
    data[13] = overflow ? OVERFLOW : 0
    return data
  },
  decodeResponse(data) {
    requireLength(data, 14, 'a Get SEL Info response')
    const time = (at: number): number | null => {
      const seconds = data.readUInt32LE(at)
      return seconds === NEVER ? null : seconds
    }
    return {
      entries: data.readUInt16LE(1),
      freeBytes: data.readUInt16LE(3),
      lastAddedAt: time(5),
      lastErasedAt: time(9),
      overflow: (data.readUInt8(13) & OVERFLOW) !== 0
    }
  }
}
