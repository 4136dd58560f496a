// Get Session Challenge (IPMI 2.0, section 22.16): the first half of an IPMI 1.5 log-in.

import { WireError } from '../../wire-error.ts'
import { requireLength } from '../length.ts'
import { MD5_AUTHENTICATION } from '../md5-packet.ts'
import { USER_NAME_LENGTH } from '../rakp.ts'
import { NETFN, type Command } from './command.ts'

export type SessionChallenge = { temporarySessionId: number; challenge: Buffer }

export const getSessionChallenge: Command<{ username: Buffer }, SessionChallenge> = {
  name: 'Get Session Challenge',
  netFn: NETFN.application,
  command: 0x39,
  encodeRequest({ username }) {
    const data = Buffer.alloc(1 + USER_NAME_LENGTH)
    data[0] = MD5_AUTHENTICATION
    username.copy(data, 1)
    return data
  },
  decodeRequest(data) {
    requireLength(data, 1 + USER_NAME_LENGTH, 'a Get Session Challenge request')
    if (data[0] !== MD5_AUTHENTICATION) {
      throw new WireError('auth-type', 0, `authentication type ${data[0]} is not served`)
    }
    const padded = data.subarray(1, 1 + USER_NAME_LENGTH)
    const end = padded.indexOf(0)
    return { username: end < 0 ? padded : padded.subarray(0, end) }
  },
  encodeResponse({ temporarySessionId, challenge }) {
    const data = Buffer.alloc(4)
    data.writeUInt32LE(temporarySessionId)
    return Buffer.concat([data, challenge])
  },
  decodeResponse(data) {
    requireLength(data, 20, 'a Get Session Challenge response')
    return { temporarySessionId: data.readUInt32LE(0), challenge: data.subarray(4, 20) }
  },
  completionWords: { 0x81: 'invalid user name', 0x82: 'the null user is not enabled' }
}
