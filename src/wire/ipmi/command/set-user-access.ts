// Set User Access (IPMI 2.0, section 22.26).

import { requireLength } from '../length.ts'
import { NETFN, nothing, type Command } from './command.ts'

export type UserAccessChange = {
  channel: number
  user: number
  callbackOnly: boolean
  linkAuthentication: boolean
  ipmiMessaging: boolean
  /** 15: no access. */
  privilege: number
}

const CHANGE = 0x80

export const setUserAccess: Command<UserAccessChange, void> = {
  name: 'Set User Access',
  netFn: NETFN.application,
  command: 0x43,
  encodeRequest({ channel, user, callbackOnly, linkAuthentication, ipmiMessaging, privilege }) {
    const flags = (callbackOnly ? 0x40 : 0) | (linkAuthentication ? 0x20 : 0) | (ipmiMessaging ? 0x10 : 0)
    return Buffer.from([CHANGE | flags | channel, user, privilege])
  },
  decodeRequest(data) {
    requireLength(data, 3, 'a Set User Access request')
    const flags = data.readUInt8(0)
    return {
      channel: flags & 0x0f,
      user: data.readUInt8(1) & 0x3f,
      callbackOnly: (flags & 0x40) !== 0,
      linkAuthentication: (flags & 0x20) !== 0,
      ipmiMessaging: (flags & 0x10) !== 0,
      privilege: data.readUInt8(2) & 0x0f
    }
  },
  encodeResponse: nothing.encode,
  decodeResponse: nothing.decode
}
