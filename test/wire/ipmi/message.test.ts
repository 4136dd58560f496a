import t from 'tap'
import {
  checksum,
  decodeRequest,
  decodeResponse,
  encodeRequest,
  encodeResponse
} from '../../../src/wire/ipmi/message.ts'
import { refusesTruncations } from './truncations.ts'

// Get Channel Authentication Capabilities as a tool sends it, and a simulator's answer.
const REQUEST = Buffer.from('2018c88100388e04b5', 'hex')
const RESPONSE = Buffer.from('811c632000380001800402000000' + '0021', 'hex')

t.test('a request and its response as captured', (t) => {
  const request = { netFn: 6, command: 0x38, rqSeq: 0, data: Buffer.from([0x8e, 4]) }
  t.same(encodeRequest(request), REQUEST)
  t.same(decodeRequest(REQUEST), request)
  const response = {
    netFn: 7,
    command: 0x38,
    rqSeq: 0,
    completionCode: 0,
    data: Buffer.from([1, 0x80, 4, 2, 0, 0, 0, 0])
  }
  t.same(encodeResponse(response), RESPONSE)
  t.same(decodeResponse(RESPONSE, { authenticated: false }), response)
  refusesTruncations(t, REQUEST, decodeRequest)
  refusesTruncations(t, RESPONSE, (bytes) => decodeResponse(bytes, { authenticated: false }))
  t.end()
})

t.test('the covered bytes and the checksum add up to 0', (t) => {
  for (const bytes of [[], [0], [1], [0x80, 0x80], [0xff, 0xff, 0xff], [0x20, 0x18]]) {
    const sum = [...bytes, checksum(Buffer.from(bytes))].reduce((a, b) => a + b, 0)
    t.equal(sum & 0xff, 0)
  }
  t.end()
})

t.test('rqSeq has 6 bits and survives the trip', (t) => {
  for (const rqSeq of [0, 1, 63]) {
    const request = { netFn: 0, command: 2, rqSeq, data: Buffer.from([1]) }
    t.same(decodeRequest(encodeRequest(request)), request)
  }
  t.end()
})

t.test('a wrong checksum is refused, unless the packet itself was authenticated', (t) => {
  for (const [at, wrong] of [
    ['header', 2],
    ['body', RESPONSE.length - 1]
  ] as const) {
    const spoiled = Buffer.from(RESPONSE)
    spoiled[wrong] = spoiled.readUInt8(wrong) ^ 1
    t.throws(() => decodeResponse(spoiled, { authenticated: false }), { code: 'checksum' }, at)
    t.equal(decodeResponse(spoiled, { authenticated: true }).command, 0x38, at)
  }
  t.end()
})
