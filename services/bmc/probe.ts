// Questions to a BMC outside any session: a packet, and whatever answers it.

import { createSocket } from 'node:dgram'
import { isIP } from 'node:net'
import { lookup } from 'node:dns/promises'
import type { BmcAccess } from '../../src/domain/bmc.ts'
import { decodeAsf, encodeAsf } from '../../src/wire/ipmi/asf.ts'
import { algorithmNumbers, cipherSuite, sameAlgorithms } from '../../src/wire/ipmi/cipher-suite.ts'
import { decodeOpenSessionResponse, encodeOpenSessionRequest } from '../../src/wire/ipmi/open-session.ts'
import { decodeRmcp, encodeRmcp } from '../../src/wire/ipmi/rmcp.ts'
import { decodeHeader, encodePlain, PAYLOAD } from '../../src/wire/ipmi/rmcp-plus.ts'
import { WireError } from '../../src/wire/wire-error.ts'

const TRIES = 4
const WAIT = 400

/** Whether an ASF ping is answered. No answer proves nothing: many have pings switched off. */
export async function answersPing(
  access: BmcAccess,
  random: (length: number) => Uint8Array
): Promise<boolean> {
  const [tag = 0] = random(1)
  const ping = encodeRmcp('asf', encodeAsf({ type: 'ping', tag }))
  const answer = await question(access, ping, (bytes) => {
    const { messageClass, body } = decodeRmcp(bytes)
    if (messageClass !== 'asf') return null
    const message = decodeAsf(body)
    return message.type === 'pong' && message.tag === tag ? true : null
  })
  return answer === true
}

/**
 * Whether a session under suite 0 would be opened: an Open Session Request, and not one packet more. The half-open session
 * it may leave ends by itself.
 */
export async function offersSuiteZero(
  access: BmcAccess,
  random: (length: number) => Uint8Array
): Promise<'accepted' | 'refused' | 'silent'> {
  const suite = cipherSuite(0)
  if (!suite) throw new Error('suite 0 is not known')
  const bytes = Buffer.from(random(5))
  const tag = bytes.readUInt8(0)
  const consoleSessionId = bytes.readUInt32LE(1) || 1
  const wanted = algorithmNumbers(suite)
  const payload = encodeOpenSessionRequest({ tag, privilege: 0, consoleSessionId, algorithms: wanted })
  const packet = encodeRmcp('ipmi', encodePlain(PAYLOAD.openSessionRequest, payload))
  const answer = await question(access, packet, (datagram) => {
    const header = decodeHeader(decodeRmcp(datagram).body)
    if (header.payloadType !== PAYLOAD.openSessionResponse) return null
    const response = decodeOpenSessionResponse(header.payload)
    if (response.tag !== tag) return null
    if ('refused' in response || !sameAlgorithms(response.algorithms, wanted)) return 'refused'
    return 'accepted'
  })
  return answer ?? 'silent'
}

/** Sends, again and again, until `read` makes something of an answer; null: it never did. */
async function question<T>(
  { address, port }: BmcAccess,
  packet: Buffer,
  read: (bytes: Buffer) => T | null
): Promise<T | null> {
  const found = isIP(address) ? address : (await lookup(address)).address
  const socket = createSocket(isIP(found) === 6 ? 'udp6' : 'udp4')
  try {
    return await new Promise((resolve) => {
      let sent = 0
      const send = (): void => {
        if (sent++ === TRIES) resolve(null)
        else socket.send(packet)
      }
      const timer = setInterval(send, WAIT)
      socket.on('close', () => clearInterval(timer))
      // Nothing listens there: asked again all the same, as for any lost packet.
      socket.on('error', () => undefined)
      socket.on('message', (bytes) => {
        try {
          const answer = read(bytes)
          if (answer !== null) resolve(answer)
        } catch (error) {
          if (!(error instanceof WireError)) throw error
        }
      })
      socket.connect(port, found, send)
    })
  } finally {
    socket.close()
  }
}
