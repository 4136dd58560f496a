// Set Session Privilege Level (IPMI 2.0, section 22.18). A session starts as "user" and is raised to what it needs.

import { requireLength } from '../length.ts'
import { NETFN, type Command } from './command.ts'

/** Privilege levels (section 6.8). */
export const PRIVILEGE = { user: 2, operator: 3, administrator: 4 } as const

export const setSessionPrivilege: Command<{ privilege: number }, { privilege: number }> = {
  name: 'Set Session Privilege Level',
  netFn: NETFN.application,
  command: 0x3b,
  encodeRequest: ({ privilege }) => Buffer.from([privilege]),
  decodeRequest(data) {
    requireLength(data, 1, 'a Set Session Privilege Level request')
    return { privilege: data.readUInt8(0) & 0x0f }
  },
  encodeResponse: ({ privilege }) => Buffer.from([privilege]),
  decodeResponse(data) {
    requireLength(data, 1, 'a Set Session Privilege Level response')
    return { privilege: data.readUInt8(0) & 0x0f }
  },
  completionWords: {
    0x80: 'the level is not available to this user',
    0x81: 'the level is above the limit of the user or the channel',
    0x82: 'user-level authentication cannot be disabled'
  }
}
