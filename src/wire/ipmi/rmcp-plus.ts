// The RMCP+ packet, which carries everything from the Open Session Request on (IPMI 2.0, section 13.6, table 13-8).
//
//   0    1              2            6          10       12         12+n
//   +----+--------------+------------+----------+--------+-----------+-----------------------------------------+
//   | 06 | payload type | session ID | sequence | length | payload … | pad FF … | pad count | 07 | AuthCode … |
//   +----+--------------+------------+----------+--------+-----------+-----------------------------------------+
//        bit 7 encrypted   receiver's                                  only when bit 6 is set
//        bit 6 authenticated
//
// AuthCode covers from `06` through `07`, which is padded to a multiple of 4 bytes. An encrypted payload is
// IV (16) | AES-128-CBC(message | 01 02 03 … | pad count), padded to 16 (section 13.29).

import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto'
import { WireError } from '../wire-error.ts'
import { requireLength } from './length.ts'
import { sameCode, type SessionKeys } from './keys.ts'

/** Payload types (table 13-16). */
export const PAYLOAD = {
  ipmi: 0x00,
  sol: 0x01,
  openSessionRequest: 0x10,
  openSessionResponse: 0x11,
  rakp1: 0x12,
  rakp2: 0x13,
  rakp3: 0x14,
  rakp4: 0x15
} as const

/** The authentication type that marks an RMCP+ packet where 1.5 packets have theirs. */
export const FORMAT_RMCP_PLUS = 0x06

/** Bytes of initialisation vector a sealed packet needs. */
export const IV_LENGTH = 16

const NEXT_HEADER = 0x07
const HEADER_LENGTH = 12
const BLOCK = 16
const ENCRYPTED = 0x80
const AUTHENTICATED = 0x40

export type RmcpPlusPacket = { payloadType: number; sessionId: number; sequence: number; payload: Buffer }

/** Header fields as they stand on the wire, nothing verified yet. */
export type RmcpPlusHeader = RmcpPlusPacket & { encrypted: boolean; authenticated: boolean; trailer: Buffer }

/** A packet of the log-in, or one outside a session: session ID 0, sequence 0, neither protected nor encrypted. */
export function encodePlain(payloadType: number, payload: Buffer): Buffer {
  return encodeHeader({ payloadType, sessionId: 0, sequence: 0, payload }, 0)
}

/** Reads the header. Throws WireError `short`, `rmcp-plus-format` or `payload-type` (OEM payloads). */
export function decodeHeader(body: Buffer): RmcpPlusHeader {
  requireLength(body, HEADER_LENGTH, 'an RMCP+ packet')
  if (body[0] !== FORMAT_RMCP_PLUS) throw new WireError('rmcp-plus-format', 0, 'not an RMCP+ packet')
  const type = body.readUInt8(1)
  // Type 2 has six more header bytes (OEM IANA and payload ID); we open no OEM payload.
  if ((type & 0x3f) === 0x02) throw new WireError('payload-type', 1, 'an OEM payload')
  const length = body.readUInt16LE(10)
  requireLength(body, HEADER_LENGTH + length, 'an RMCP+ packet')
  return {
    payloadType: type & 0x3f,
    encrypted: (type & ENCRYPTED) !== 0,
    authenticated: (type & AUTHENTICATED) !== 0,
    sessionId: body.readUInt32LE(2),
    sequence: body.readUInt32LE(6),
    payload: body.subarray(HEADER_LENGTH, HEADER_LENGTH + length),
    trailer: body.subarray(HEADER_LENGTH + length)
  }
}

/** Encrypts and protects as the session's suite says. `iv` is 16 fresh random bytes. */
export function seal(keys: SessionKeys, packet: RmcpPlusPacket, iv: Uint8Array): Buffer {
  const { integrity, confidentiality } = keys.suite
  const payload = confidentiality.cipher === null ? packet.payload : encrypt(keys, packet.payload, iv)
  const flags =
    (confidentiality.cipher === null ? 0 : ENCRYPTED) | (integrity.hash === null ? 0 : AUTHENTICATED)
  const head = encodeHeader({ ...packet, payload }, flags)
  if (integrity.hash === null) return head
  const padCount = -(head.length + 2) & 3
  const covered = Buffer.concat([head, Buffer.alloc(padCount, 0xff), Buffer.from([padCount, NEXT_HEADER])])
  return Buffer.concat([covered, authCode(keys, covered)])
}

/**
 * Verifies and decrypts. A packet that is not protected and encrypted exactly as the suite says is refused, so that
 * nothing unauthenticated ever counts inside a session. Throws WireError `short`, `rmcp-plus-format`, `payload-type`,
 * `not-protected`, `trailer`, `auth-code`, `aes-length` or `aes-pad`.
 */
export function open(keys: SessionKeys, body: Buffer): RmcpPlusPacket {
  const { integrity, confidentiality } = keys.suite
  const header = decodeHeader(body)
  const { payloadType, sessionId, sequence } = header
  if (
    header.authenticated !== (integrity.hash !== null) ||
    header.encrypted !== (confidentiality.cipher !== null)
  ) {
    throw new WireError('not-protected', 1, 'the packet is not protected as the session agreed')
  }
  if (integrity.hash !== null) verify(keys, body, header.trailer)
  const payload = confidentiality.cipher === null ? header.payload : decrypt(keys, header.payload)
  return { payloadType, sessionId, sequence, payload }
}

function encodeHeader(packet: RmcpPlusPacket, flags: number): Buffer {
  const head = Buffer.alloc(HEADER_LENGTH)
  head[0] = FORMAT_RMCP_PLUS
  head[1] = packet.payloadType | flags
  head.writeUInt32LE(packet.sessionId, 2)
  head.writeUInt32LE(packet.sequence, 6)
  head.writeUInt16LE(packet.payload.length, 10)
  return Buffer.concat([head, packet.payload])
}

function verify(keys: SessionKeys, body: Buffer, trailer: Buffer): void {
  const codeAt = body.length - keys.suite.integrity.codeLength
  const trailerAt = body.length - trailer.length
  if (codeAt < trailerAt + 2) throw new WireError('trailer', trailerAt, 'the integrity trailer is cut short')
  if (!sameCode(authCode(keys, body.subarray(0, codeAt)), body.subarray(codeAt))) {
    throw new WireError('auth-code', codeAt, 'the authentication code is wrong')
  }
  // What the pad bytes hold is not looked at; that they fill the space exactly is.
  if (body[codeAt - 1] !== NEXT_HEADER || trailerAt + body.readUInt8(codeAt - 2) !== codeAt - 2) {
    throw new WireError('trailer', codeAt - 2, 'the integrity trailer is malformed')
  }
}

function authCode(keys: SessionKeys, covered: Buffer): Buffer {
  const { hash, codeLength } = keys.suite.integrity
  if (hash === null) return Buffer.alloc(0)
  return createHmac(hash, keys.k1).update(covered).digest().subarray(0, codeLength)
}

function encrypt(keys: SessionKeys, message: Buffer, iv: Uint8Array): Buffer {
  const padCount = -(message.length + 1) & (BLOCK - 1)
  const pad = Buffer.from(Array.from({ length: padCount + 1 }, (_, index) => index + 1))
  pad[padCount] = padCount
  const cipher = createCipheriv('aes-128-cbc', keys.aes, iv).setAutoPadding(false)
  return Buffer.concat([iv, cipher.update(message), cipher.update(pad), cipher.final()])
}

function decrypt(keys: SessionKeys, payload: Buffer): Buffer {
  if (payload.length < IV_LENGTH + BLOCK || payload.length % BLOCK !== 0) {
    throw new WireError('aes-length', HEADER_LENGTH, `an encrypted payload of ${payload.length} bytes`)
  }
  const decipher = createDecipheriv('aes-128-cbc', keys.aes, payload.subarray(0, IV_LENGTH))
  decipher.setAutoPadding(false)
  const clear = Buffer.concat([decipher.update(payload.subarray(IV_LENGTH)), decipher.final()])
  const padCount = clear.readUInt8(clear.length - 1)
  const messageLength = clear.length - 1 - padCount
  const padOk = (at: number): boolean => clear[messageLength + at] === at + 1
  if (padCount >= BLOCK || !Array.from({ length: padCount }, (_, at) => padOk(at)).every(Boolean)) {
    throw new WireError(
      'aes-pad',
      HEADER_LENGTH + payload.length - 1,
      'the encrypted payload is padded wrongly'
    )
  }
  return clear.subarray(0, messageLength)
}
