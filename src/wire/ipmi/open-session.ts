// RMCP+ Open Session Request and Response (IPMI 2.0, sections 13.17 and 13.18).
//
//   request, 32 bytes:  tag | privilege | 0 0 | console's session ID (4)                  | 3 algorithm blocks of 8
//   response, 36 bytes: tag | status | privilege | 0 | console's ID (4) | BMC's ID (4)    | 3 algorithm blocks of 8
//   block: type (0 authentication, 1 integrity, 2 confidentiality) | 0 0 | length 8 | algorithm | 0 0 0
//
// A refusal may stop after the console's ID (8 bytes), or after the status (OpenIPMI's simulator sends 2 bytes).

import { WireError } from '../wire-error.ts'
import type { AlgorithmNumbers } from './cipher-suite.ts'
import { requireLength } from './length.ts'

const BLOCK_LENGTH = 8

export type OpenSessionRequest = {
  tag: number
  /** Highest privilege wanted: 0 = whatever the suite allows, 3 operator, 4 administrator. */
  privilege: number
  consoleSessionId: number
  algorithms: AlgorithmNumbers
}

export type OpenSessionResponse =
  | {
      tag: number
      status: 0
      privilege: number
      consoleSessionId: number
      bmcSessionId: number
      algorithms: AlgorithmNumbers
    }
  /** A refusal: an RMCP+ status other than 0, and our ID where the BMC repeats it. */
  | { tag: number; status: number; consoleSessionId: number | null; refused: true }

export function encodeOpenSessionRequest(request: OpenSessionRequest): Buffer {
  const head = Buffer.alloc(8)
  head[0] = request.tag
  head[1] = request.privilege
  head.writeUInt32LE(request.consoleSessionId, 4)
  return Buffer.concat([head, encodeAlgorithms(request.algorithms)])
}

/** Throws WireError `short` or `algorithm-block`. */
export function decodeOpenSessionRequest(payload: Buffer): OpenSessionRequest {
  requireLength(payload, 32, 'an Open Session Request')
  return {
    tag: payload.readUInt8(0),
    privilege: payload.readUInt8(1) & 0x0f,
    consoleSessionId: payload.readUInt32LE(4),
    algorithms: decodeAlgorithms(payload, 8)
  }
}

export function encodeOpenSessionResponse(response: OpenSessionResponse): Buffer {
  const head = Buffer.alloc('refused' in response ? 8 : 12)
  head[0] = response.tag
  head[1] = response.status
  head.writeUInt32LE(response.consoleSessionId ?? 0, 4)
  if ('refused' in response) return head
  head[2] = response.privilege
  head.writeUInt32LE(response.bmcSessionId, 8)
  return Buffer.concat([head, encodeAlgorithms(response.algorithms)])
}

/** Throws WireError `short` or `algorithm-block`. */
export function decodeOpenSessionResponse(payload: Buffer): OpenSessionResponse {
  requireLength(payload, 2, 'an Open Session Response')
  const tag = payload.readUInt8(0)
  const status = payload.readUInt8(1)
  if (status !== 0) {
    const consoleSessionId = payload.length >= 8 ? payload.readUInt32LE(4) : null
    return { tag, status, consoleSessionId, refused: true }
  }
  requireLength(payload, 36, 'an Open Session Response')
  return {
    tag,
    status,
    privilege: payload.readUInt8(2) & 0x0f,
    consoleSessionId: payload.readUInt32LE(4),
    bmcSessionId: payload.readUInt32LE(8),
    algorithms: decodeAlgorithms(payload, 12)
  }
}

function encodeAlgorithms({ authentication, integrity, confidentiality }: AlgorithmNumbers): Buffer {
  const numbers = [authentication, integrity, confidentiality]
  return Buffer.from(numbers.flatMap((number, type) => [type, 0, 0, BLOCK_LENGTH, number, 0, 0, 0]))
}

function decodeAlgorithms(payload: Buffer, at: number): AlgorithmNumbers {
  const number = (type: number): number => {
    const block = at + type * BLOCK_LENGTH
    if (payload[block] !== type || payload[block + 3] !== BLOCK_LENGTH) {
      throw new WireError('algorithm-block', block, `algorithm block ${type} is not where it belongs`)
    }
    return payload.readUInt8(block + 4) & 0x3f
  }
  return { authentication: number(0), integrity: number(1), confidentiality: number(2) }
}
