// Activate and Deactivate Payload, Get Payload Activation Status (IPMI 2.0, sections 24.1, 24.2 and 24.4), for the payload
// "serial over LAN".

import { requireLength } from '../length.ts'
import { PAYLOAD } from '../rmcp-plus.ts'
import { NETFN, nothing, type Command } from './command.ts'

// The auxiliary byte: ipmitool's, which most BMCs have met.
const ENCRYPTED = 0x80
const AUTHENTICATED = 0x40
const ALERTS_DEFERRED = 0x04
/** CTS and DCD stay down until our first packet. */
const HANDSHAKE = 0x02

export const PAYLOAD_ACTIVE_ELSEWHERE = 0x80

export type ActivatedPayload = {
  /** Characters per packet, as the BMC says: to it, and from it. Several swap the bytes or say nonsense (see sol.ts). */
  inboundSize: number
  outboundSize: number
  port: number
}

export const activatePayload: Command<{ instance: number; encrypted: boolean }, ActivatedPayload> = {
  name: 'Activate Payload',
  netFn: NETFN.application,
  command: 0x48,
  encodeRequest: ({ instance, encrypted }) =>
    Buffer.from([
      PAYLOAD.sol,
      instance,
      (encrypted ? ENCRYPTED : 0) | AUTHENTICATED | ALERTS_DEFERRED | HANDSHAKE,
      ...[0, 0, 0]
    ]),
  decodeRequest(data) {
    requireLength(data, 6, 'an Activate Payload request')
    return { instance: data.readUInt8(1) & 0x0f, encrypted: (data.readUInt8(2) & ENCRYPTED) !== 0 }
  },
  encodeResponse({ inboundSize, outboundSize, port }) {
    const data = Buffer.alloc(12, 0xff)
    data.fill(0, 0, 4)
    data.writeUInt16LE(inboundSize, 4)
    data.writeUInt16LE(outboundSize, 6)
    data.writeUInt16LE(port, 8)
    return data
  },
  // The VLAN at the end is left out by some.
  decodeResponse(data) {
    requireLength(data, 10, 'an Activate Payload response')
    return {
      inboundSize: data.readUInt16LE(4),
      outboundSize: data.readUInt16LE(6),
      port: data.readUInt16LE(8)
    }
  },
  completionWords: {
    [PAYLOAD_ACTIVE_ELSEWHERE]: 'active in another session',
    0x81: 'serial over LAN is disabled',
    0x82: 'the limit of sessions with it is reached',
    0x83: 'it cannot be encrypted',
    0x84: 'it must be encrypted'
  }
}

export const deactivatePayload: Command<{ instance: number }, void> = {
  name: 'Deactivate Payload',
  netFn: NETFN.application,
  command: 0x49,
  encodeRequest: ({ instance }) => Buffer.from([PAYLOAD.sol, instance, 0, 0, 0, 0]),
  decodeRequest(data) {
    requireLength(data, 6, 'a Deactivate Payload request')
    return { instance: data.readUInt8(1) & 0x0f }
  },
  encodeResponse: nothing.encode,
  decodeResponse: nothing.decode,
  completionWords: { 0x80: 'not active', 0x81: 'disabled' }
}

/** `active`: bit n for instance n + 1. */
export const getPayloadActivationStatus: Command<void, { instances: number; active: number }> = {
  name: 'Get Payload Activation Status',
  netFn: NETFN.application,
  command: 0x4a,
  encodeRequest: () => Buffer.from([PAYLOAD.sol]),
  decodeRequest: nothing.decode,
  encodeResponse: ({ instances, active }) => Buffer.from([instances, active & 0xff, active >> 8]),
  decodeResponse(data) {
    requireLength(data, 3, 'a Get Payload Activation Status response')
    return { instances: data.readUInt8(0) & 0x0f, active: data.readUInt16LE(1) }
  }
}
