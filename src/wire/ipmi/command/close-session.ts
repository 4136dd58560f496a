// Close Session (IPMI 2.0, section 22.19). A BMC has few sessions, so every one that was opened is closed.

import { requireLength } from '../length.ts'
import { NETFN, nothing, type Command } from './command.ts'

export const closeSession: Command<{ bmcSessionId: number }, void> = {
  name: 'Close Session',
  netFn: NETFN.application,
  command: 0x3c,
  encodeRequest({ bmcSessionId }) {
    const data = Buffer.alloc(4)
    data.writeUInt32LE(bmcSessionId)
    return data
  },
  decodeRequest(data) {
    requireLength(data, 4, 'a Close Session request')
    return { bmcSessionId: data.readUInt32LE(0) }
  },
  encodeResponse: nothing.encode,
  decodeResponse: nothing.decode,
  completionWords: { 0x87: 'no such session', 0x88: 'no such session handle' }
}
