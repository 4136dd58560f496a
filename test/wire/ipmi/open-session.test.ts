import t from 'tap'
import {
  decodeOpenSessionRequest,
  decodeOpenSessionResponse,
  encodeOpenSessionRequest,
  encodeOpenSessionResponse
} from '../../../src/wire/ipmi/open-session.ts'
import { refusesTruncations } from './truncations.ts'

const algorithms = { authentication: 3, integrity: 4, confidentiality: 1 }
const BLOCKS = '0000000803000000' + '0100000804000000' + '0200000801000000'

t.test('a request for suite 17', (t) => {
  const request = { tag: 0, privilege: 0, consoleSessionId: 0xa0a2a3a4, algorithms }
  const bytes = Buffer.from('00000000' + 'a4a3a2a0' + BLOCKS, 'hex')
  t.same(encodeOpenSessionRequest(request), bytes)
  t.same(decodeOpenSessionRequest(bytes), request)
  refusesTruncations(t, bytes, decodeOpenSessionRequest)
  t.end()
})

t.test('a response that grants it', (t) => {
  const response = {
    tag: 9,
    status: 0 as const,
    privilege: 4,
    consoleSessionId: 0xa0a2a3a4,
    bmcSessionId: 0xd3beb15b,
    algorithms
  }
  const bytes = Buffer.from('09000400' + 'a4a3a2a0' + '5bb1bed3' + BLOCKS, 'hex')
  t.same(encodeOpenSessionResponse(response), bytes)
  t.same(decodeOpenSessionResponse(bytes), response)
  refusesTruncations(t, bytes, decodeOpenSessionResponse)
  t.end()
})

t.test('a refusal in 8 bytes, and in the 2 that one simulator sends', (t) => {
  const refusal = { tag: 1, status: 0x11, consoleSessionId: 0x04030201, refused: true as const }
  t.same(encodeOpenSessionResponse(refusal), Buffer.from('0111000001020304', 'hex'))
  t.same(decodeOpenSessionResponse(Buffer.from('0111000001020304', 'hex')), refusal)
  t.same(decodeOpenSessionResponse(Buffer.from('0104', 'hex')), {
    tag: 1,
    status: 4,
    consoleSessionId: null,
    refused: true
  })
  t.end()
})

t.test('algorithm blocks out of order or of another length are refused', (t) => {
  for (const blocks of [
    '0100000803000000' + '0100000804000000' + '0200000801000000',
    '0000000803000000' + '0100000004000000' + '0200000801000000'
  ]) {
    const bytes = Buffer.from('00000400' + 'a4a3a2a0' + '5bb1bed3' + blocks, 'hex')
    t.throws(() => decodeOpenSessionResponse(bytes), { code: 'algorithm-block' })
  }
  t.end()
})
