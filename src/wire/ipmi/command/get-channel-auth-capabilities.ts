// Get Channel Authentication Capabilities (IPMI 2.0, section 22.13). Asked before any log-in, in 1.5 framing. The flags
// are wrong on several boards: good for messages, not for decisions.

import { requireLength } from '../length.ts'
import { NETFN, type Command } from './command.ts'

/** Channel number that means "the one this request came in on". */
export const THIS_CHANNEL = 0x0e
/** Asks for the 2.0 fields of the answer. */
const EXTENDED = 0x80

export type AuthCapabilities = {
  channel: number
  /** The BMC key K_g is set to something other than zeros. */
  kgSet: boolean
  ipmi15: boolean
  ipmi20: boolean
}

export const getChannelAuthCapabilities: Command<{ channel: number; privilege: number }, AuthCapabilities> = {
  name: 'Get Channel Authentication Capabilities',
  netFn: NETFN.application,
  command: 0x38,
  encodeRequest: ({ channel, privilege }) => Buffer.from([EXTENDED | channel, privilege]),
  decodeRequest(data) {
    requireLength(data, 2, 'a Get Channel Authentication Capabilities request')
    return { channel: data.readUInt8(0) & 0x0f, privilege: data.readUInt8(1) & 0x0f }
  },
  encodeResponse({ channel, kgSet, ipmi15, ipmi20 }) {
    const status = (kgSet ? 0x20 : 0) | 0x04
    const extended = (ipmi20 ? 0x02 : 0) | (ipmi15 ? 0x01 : 0)
    return Buffer.from([channel, EXTENDED, status, extended, 0, 0, 0, 0])
  },
  decodeResponse(data) {
    requireLength(data, 8, 'a Get Channel Authentication Capabilities response')
    const extended = (data.readUInt8(1) & EXTENDED) !== 0
    const versions = data.readUInt8(3)
    return {
      channel: data.readUInt8(0) & 0x0f,
      kgSet: extended && (data.readUInt8(2) & 0x20) !== 0,
      // Without extended data the rest is reserved, and the answer itself is proof of 1.5.
      ipmi15: !extended || (versions & 0x01) !== 0,
      ipmi20: extended && (versions & 0x02) !== 0
    }
  }
}
