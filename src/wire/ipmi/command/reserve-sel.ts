// Reserve SEL (IPMI 2.0, section 31.4): a number that is good until an entry is deleted or the log is cleared.

import { requireLength } from '../length.ts'
import { NETFN, nothing, type Command } from './command.ts'

export const reserveSel: Command<void, { reservation: number }> = {
  name: 'Reserve SEL',
  netFn: NETFN.storage,
  command: 0x42,
  encodeRequest: nothing.encode,
  decodeRequest: nothing.decode,
  encodeResponse({ reservation }) {
    const data = Buffer.alloc(2)
    data.writeUInt16LE(reservation)
    return data
  },
  decodeResponse(data) {
    requireLength(data, 2, 'a Reserve SEL response')
    return { reservation: data.readUInt16LE(0) }
  }
}
