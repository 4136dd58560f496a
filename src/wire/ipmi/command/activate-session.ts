// Activate Session (IPMI 2.0, section 22.17): the second half of an IPMI 1.5 log-in. It travels in the session that Get
// Session Challenge named, with sequence 0 and an authentication code; a wrong password is usually not answered at all.

import { WireError } from '../../wire-error.ts'
import { requireLength } from '../length.ts'
import { MD5_AUTHENTICATION } from '../md5-packet.ts'
import { NETFN, type Command } from './command.ts'

export type SessionActivation = {
  /** The highest privilege the session may be raised to. */
  privilege: number
  challenge: Buffer
  /** The sequence number of the BMC's first packet. */
  outboundSequence: number
}
export type ActivatedSession = {
  sessionId: number
  /** The sequence number of our first packet. */
  inboundSequence: number
  privilege: number
}

export const activateSession: Command<SessionActivation, ActivatedSession> = {
  name: 'Activate Session',
  netFn: NETFN.application,
  command: 0x3a,
  encodeRequest({ privilege, challenge, outboundSequence }) {
    const data = Buffer.alloc(22)
    data[0] = MD5_AUTHENTICATION
    data[1] = privilege
    challenge.copy(data, 2, 0, 16)
    data.writeUInt32LE(outboundSequence, 18)
    return data
  },
  decodeRequest(data) {
    requireLength(data, 22, 'an Activate Session request')
    return {
      privilege: data.readUInt8(1) & 0x0f,
      challenge: data.subarray(2, 18),
      outboundSequence: data.readUInt32LE(18)
    }
  },
  encodeResponse({ sessionId, inboundSequence, privilege }) {
    const data = Buffer.alloc(10)
    data[0] = MD5_AUTHENTICATION
    data.writeUInt32LE(sessionId, 1)
    data.writeUInt32LE(inboundSequence, 5)
    data[9] = privilege
    return data
  },
  decodeResponse(data) {
    requireLength(data, 10, 'an Activate Session response')
    if ((data.readUInt8(0) & 0x0f) !== MD5_AUTHENTICATION) {
      throw new WireError('auth-type', 0, 'the session would go on without authentication')
    }
    return {
      sessionId: data.readUInt32LE(1),
      inboundSequence: data.readUInt32LE(5),
      privilege: data.readUInt8(9) & 0x0f
    }
  },
  completionWords: {
    0x81: 'no free session',
    0x82: 'no free session for this user',
    0x83: 'no free session at this privilege',
    0x84: 'sequence number out of range',
    0x85: 'invalid session ID',
    0x86: 'the level is above the limit of the user or the channel'
  }
}
