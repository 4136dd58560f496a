// Reserve SDR Repository (IPMI 2.0, section 33.11): a number that is good until the repository changes.

import { requireLength } from '../length.ts'
import { NETFN, nothing, type Command } from './command.ts'

export const reserveSdrRepository: Command<void, { reservation: number }> = {
  name: 'Reserve SDR Repository',
  netFn: NETFN.storage,
  command: 0x22,
  encodeRequest: nothing.encode,
  decodeRequest: nothing.decode,
  encodeResponse({ reservation }) {
    const data = Buffer.alloc(2)
    data.writeUInt16LE(reservation)
    return data
  },
  decodeResponse(data) {
    requireLength(data, 2, 'a Reserve SDR Repository response')
    return { reservation: data.readUInt16LE(0) }
  }
}
