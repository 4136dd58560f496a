// Get User Access (IPMI 2.0, section 22.27).

import { requireLength } from '../length.ts'
import { NETFN, type Command } from './command.ts'

export type UserAccess = {
  /** How many user IDs there are, how many are enabled, how many have names that cannot be changed. */
  userIds: number
  enabledUsers: number
  fixedNames: number
  /** Null: the BMC does not tell. */
  enabled: boolean | null
  callbackOnly: boolean
  linkAuthentication: boolean
  ipmiMessaging: boolean
  /** Privilege on this channel; 15: none. */
  privilege: number
}

const ENABLED_STATES = [null, true, false, null] as const

export const getUserAccess: Command<{ channel: number; user: number }, UserAccess> = {
  name: 'Get User Access',
  netFn: NETFN.application,
  command: 0x44,
  encodeRequest: ({ channel, user }) => Buffer.from([channel, user]),
  decodeRequest(data) {
    requireLength(data, 2, 'a Get User Access request')
    return { channel: data.readUInt8(0) & 0x0f, user: data.readUInt8(1) & 0x3f }
  },
  encodeResponse(access) {
    return Buffer.from([
      access.userIds,
      access.enabledUsers | (ENABLED_STATES.indexOf(access.enabled) << 6),
      access.fixedNames,
      (access.callbackOnly ? 0x40 : 0) |
        (access.linkAuthentication ? 0x20 : 0) |
        (access.ipmiMessaging ? 0x10 : 0) |
        access.privilege
    ])
  },
  decodeResponse(data) {
    requireLength(data, 4, 'a Get User Access response')
    const flags = data.readUInt8(3)
    return {
      userIds: data.readUInt8(0) & 0x3f,
      enabledUsers: data.readUInt8(1) & 0x3f,
      fixedNames: data.readUInt8(2) & 0x3f,
      enabled: ENABLED_STATES[data.readUInt8(1) >> 6] ?? null,
      callbackOnly: (flags & 0x40) !== 0,
      linkAuthentication: (flags & 0x20) !== 0,
      ipmiMessaging: (flags & 0x10) !== 0,
      privilege: flags & 0x0f
    }
  }
}
