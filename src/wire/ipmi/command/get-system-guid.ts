// Get System GUID (IPMI 2.0, section 22.14). Makers differ in the order of the bytes: whoever matches it with the SMBIOS
// UUID tries both.

import { requireLength } from '../length.ts'
import { NETFN, nothing, type Command } from './command.ts'

export const getSystemGuid: Command<void, { guid: Buffer }> = {
  name: 'Get System GUID',
  netFn: NETFN.application,
  command: 0x37,
  encodeRequest: nothing.encode,
  decodeRequest: nothing.decode,
  encodeResponse: ({ guid }) => guid,
  decodeResponse(data) {
    requireLength(data, 16, 'a Get System GUID response')
    return { guid: data.subarray(0, 16) }
  }
}
