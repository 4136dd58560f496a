// Get Channel Info (IPMI 2.0, section 22.24): which medium a channel is on, and how many sessions are active there.

import { requireLength } from '../length.ts'
import { NETFN, type Command } from './command.ts'

/** Medium of a LAN channel (table 6-3). */
export const LAN_MEDIUM = 4

export type ChannelInfo = { channel: number; medium: number; activeSessions: number }

export const getChannelInfo: Command<{ channel: number }, ChannelInfo> = {
  name: 'Get Channel Info',
  netFn: NETFN.application,
  command: 0x42,
  encodeRequest: ({ channel }) => Buffer.from([channel]),
  decodeRequest(data) {
    requireLength(data, 1, 'a Get Channel Info request')
    return { channel: data.readUInt8(0) & 0x0f }
  },
  // Multi-session channel of protocol "IPMB 1.0", vendor IPMI (7154).
  encodeResponse: ({ channel, medium, activeSessions }) =>
    Buffer.from([channel, medium, 0x01, 0x80 | activeSessions, 0xf2, 0x1b, 0x00, 0x00, 0x00]),
  decodeResponse(data) {
    requireLength(data, 4, 'a Get Channel Info response')
    return {
      channel: data.readUInt8(0) & 0x0f,
      medium: data.readUInt8(1) & 0x7f,
      activeSessions: data.readUInt8(3) & 0x3f
    }
  }
}
