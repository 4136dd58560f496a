import t, { type Test } from 'tap'
import { decodeAsf } from '../../../src/wire/ipmi/asf.ts'
import {
  rakp2Code,
  rakp3Code,
  rakp4Check,
  sessionIntegrityKey,
  sessionKeys,
  type RakpFacts,
  type SessionKeys
} from '../../../src/wire/ipmi/keys.ts'
import {
  decodeRequest,
  decodeResponse,
  encodeRequest,
  encodeResponse
} from '../../../src/wire/ipmi/message.ts'
import { decodeOpenSessionRequest, decodeOpenSessionResponse } from '../../../src/wire/ipmi/open-session.ts'
import { decodeRakp1, decodeRakp2, decodeRakp3, decodeRakp4 } from '../../../src/wire/ipmi/rakp.ts'
import { decodeRmcp } from '../../../src/wire/ipmi/rmcp.ts'
import { decodeHeader, open, PAYLOAD, seal } from '../../../src/wire/ipmi/rmcp-plus.ts'
import { decodeSessionless, encodeSessionless } from '../../../src/wire/ipmi/sessionless.ts'
import { captures, suiteOf, type Capture, type CapturedPacket } from './captures.ts'

/** Which BMC session a packet of the log-in or of a session belongs to: one client port has one session at a time. */
type Talk = { facts: RakpFacts; keys: SessionKeys | null }

const NO_FACTS: RakpFacts = {
  consoleSessionId: 0,
  bmcSessionId: 0,
  consoleRandom: Buffer.alloc(0),
  bmcRandom: Buffer.alloc(0),
  bmcGuid: Buffer.alloc(0),
  role: 0,
  username: Buffer.alloc(0)
}

for (const recorded of captures()) {
  t.test(`${recorded.name}: every packet is read and every authentication code recomputed`, (t) => {
    const codes = { key: 0, check: 0, packet: 0 }
    const talks = new Map<number, Talk>()
    for (const packet of recorded.packets) check(t, recorded, packet, talks, codes)
    t.same(codes, recorded.codes)
    t.end()
  })
}

function check(
  t: Test,
  { sessions, password, kg }: Capture,
  { bytes, toBmc, clientPort }: CapturedPacket,
  talks: Map<number, Talk>,
  codes: Capture['codes']
): void {
  const { messageClass, body } = decodeRmcp(bytes)
  if (messageClass === 'asf') {
    t.equal(decodeAsf(body).type, toBmc ? 'ping' : 'pong')
    return
  }
  if (body[0] !== 0x06) {
    const message = decodeSessionless(body)
    t.same(encodeSessionless(message), body)
    messageReturns(t, message, toBmc)
    return
  }
  const header = decodeHeader(body)
  const talk = talks.get(clientPort)
  const session = sessions.find(({ bmcSessionId }) => bmcSessionId === talk?.facts.bmcSessionId)
  switch (header.payloadType) {
    case PAYLOAD.openSessionRequest: {
      const { consoleSessionId } = decodeOpenSessionRequest(header.payload)
      talks.set(clientPort, { facts: { ...NO_FACTS, consoleSessionId }, keys: null })
      return
    }
    case PAYLOAD.openSessionResponse: {
      const response = decodeOpenSessionResponse(header.payload)
      if ('refused' in response || !talk) return
      t.equal(response.consoleSessionId, talk.facts.consoleSessionId)
      talk.facts.bmcSessionId = response.bmcSessionId
      return
    }
    case PAYLOAD.rakp1: {
      if (!talk) return
      const { consoleRandom, role, username } = decodeRakp1(header.payload)
      Object.assign(talk.facts, { consoleRandom, role, username })
      return
    }
    case PAYLOAD.rakp2: {
      const message = decodeRakp2(header.payload)
      if ('refused' in message || !talk || !session) return
      const { bmcRandom, bmcGuid, code } = message
      Object.assign(talk.facts, { bmcRandom, bmcGuid })
      if (code.length === 0) return
      t.same(code, rakp2Code(suiteOf(session), password, talk.facts), 'RAKP 2 code')
      codes.key++
      return
    }
    case PAYLOAD.rakp3: {
      const { status, code } = decodeRakp3(header.payload)
      if (status !== 0 || !talk || !session) return
      const suite = suiteOf(session)
      const sik = sessionIntegrityKey(suite, kg, talk.facts)
      talk.keys = sessionKeys(suite, sik)
      if (code.length === 0) return
      t.same(code, rakp3Code(suite, password, talk.facts), 'RAKP 3 code')
      t.same(
        [sik, talk.keys.k1.export(), talk.keys.aes.export()].map((key) => key.toString('hex')),
        [session.sik, session.k1, session.k2.slice(0, 32)]
      )
      codes.key++
      return
    }
    case PAYLOAD.rakp4: {
      const message = decodeRakp4(header.payload)
      if ('refused' in message || !talk || !session || message.check.length === 0) return
      const suite = suiteOf(session)
      const sik = sessionIntegrityKey(suite, kg, talk.facts)
      t.same(message.check, rakp4Check(suite, sik, talk.facts), 'RAKP 4 check value')
      codes.check++
      return
    }
    default: {
      if (header.sessionId === 0) {
        messageReturns(t, header.payload, toBmc)
        return
      }
      if (!talk?.keys) throw new Error('a session packet before its keys')
      const packet = open(talk.keys, body)
      if (header.authenticated) codes.packet++
      t.equal(packet.sessionId, toBmc ? talk.facts.bmcSessionId : talk.facts.consoleSessionId)
      if (packet.payloadType === PAYLOAD.ipmi) messageReturns(t, packet.payload, toBmc)
      const iv = header.payload.subarray(0, 16)
      t.same(seal(talk.keys, packet, iv), body, 'sealed again it is the same')
    }
  }
}

function messageReturns(t: Test, message: Buffer, toBmc: boolean): void {
  const again = toBmc
    ? encodeRequest(decodeRequest(message))
    : encodeResponse(decodeResponse(message, { authenticated: false }))
  t.same(again, message)
}
