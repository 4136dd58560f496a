// What both sides of a session agreed on: keys and counters, and how packets are made and judged with them.

import type { SessionKeys } from '../wire/ipmi/keys.ts'
import { openMd5, sealMd5 } from '../wire/ipmi/md5-packet.ts'
import { encodeRequest } from '../wire/ipmi/message.ts'
import { encodeRmcp } from '../wire/ipmi/rmcp.ts'
import { open, PAYLOAD, seal, type RmcpPlusPacket } from '../wire/ipmi/rmcp-plus.ts'
import { EMPTY_WINDOW, nextSequence, type SequenceWindow } from '../wire/ipmi/sequence-window.ts'

/** How the session's packets are protected: an RMCP+ suite, or IPMI 1.5's MD5 with the password. */
export type Protection = { kind: 'rmcp-plus'; keys: SessionKeys } | { kind: 'md5'; password: Buffer }

export type Link = {
  protection: Protection
  /** The session ID in packets to us, and in packets to the BMC; one and the same in IPMI 1.5. */
  consoleSessionId: number
  bmcSessionId: number
  sequence: number
  window: SequenceWindow
  rqSeq: number
}

export function newLink(
  protection: Protection,
  ids: { consoleSessionId: number; bmcSessionId: number },
  sequence = 0
): Link {
  const { consoleSessionId, bmcSessionId } = ids
  return { protection, consoleSessionId, bmcSessionId, sequence, window: EMPTY_WINDOW, rqSeq: 0 }
}

/** The packet for one request, under the next session sequence number, and the link after it. `iv` is 16 random bytes. */
export function sealRequest(
  link: Link,
  request: { netFn: number; command: number; data: Buffer },
  rqSeq: number,
  iv: Uint8Array
): { packet: Buffer; link: Link } {
  return sealPayload(link, PAYLOAD.ipmi, encodeRequest({ ...request, rqSeq }), iv)
}

/** The same for a payload of any type; IPMI 1.5 knows only that of messages. */
export function sealPayload(
  link: Link,
  payloadType: number,
  payload: Buffer,
  iv: Uint8Array
): { packet: Buffer; link: Link } {
  const sequence = nextSequence(link.sequence)
  const { protection, bmcSessionId: sessionId } = link
  const body =
    protection.kind === 'md5'
      ? sealMd5(protection.password, { sessionId, sequence, message: payload })
      : seal(protection.keys, { payloadType, sessionId, sequence, payload }, iv)
  return { packet: encodeRmcp('ipmi', body), link: { ...link, sequence } }
}

/** Verifies and decrypts what the BMC sent in this session. Throws WireError. */
export function openPacket({ protection }: Link, body: Buffer): RmcpPlusPacket {
  if (protection.kind === 'rmcp-plus') return open(protection.keys, body)
  const { sessionId, sequence, message } = openMd5(protection.password, body)
  return { payloadType: PAYLOAD.ipmi, sessionId, sequence, payload: message }
}

/** The number of the session's cipher suite; null in IPMI 1.5. */
export function suiteOfLink({ protection }: Link): number | null {
  return protection.kind === 'rmcp-plus' ? protection.keys.suite.id : null
}
