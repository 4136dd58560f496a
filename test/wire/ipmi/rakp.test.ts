import t from 'tap'
import {
  decodeRakp1,
  decodeRakp2,
  decodeRakp3,
  decodeRakp4,
  encodeRakp1,
  encodeRakp2,
  encodeRakp3,
  encodeRakp4
} from '../../../src/wire/ipmi/rakp.ts'
import { refusesTruncations } from './truncations.ts'

const random = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex')
const guid = Buffer.from('f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff', 'hex')
const username = Buffer.from('nobody')

t.test('RAKP 1', (t) => {
  const message = { tag: 5, bmcSessionId: 0xd3beb15b, consoleRandom: random, role: 0x14, username }
  const bytes = Buffer.from(
    '05000000' + '5bb1bed3' + random.toString('hex') + '14000006' + username.toString('hex'),
    'hex'
  )
  t.same(encodeRakp1(message), bytes)
  t.same(decodeRakp1(bytes), message)
  refusesTruncations(t, bytes, decodeRakp1)
  const long = Buffer.concat([bytes.subarray(0, 27), Buffer.from([17]), Buffer.alloc(17)])
  t.throws(() => decodeRakp1(long), { code: 'name-length', offset: 27 })
  t.end()
})

t.test('RAKP 2, granted and refused', (t) => {
  const code = Buffer.alloc(32, 0xaa)
  const message = {
    tag: 5,
    status: 0 as const,
    consoleSessionId: 1,
    bmcRandom: random,
    bmcGuid: guid,
    code
  }
  const bytes = Buffer.concat([Buffer.from('0500000001000000', 'hex'), random, guid, code])
  t.same(encodeRakp2(message), bytes)
  t.same(decodeRakp2(bytes), message)
  refusesTruncations(t, bytes.subarray(0, 40), decodeRakp2)
  const refusal = { tag: 0, status: 0x0d, consoleSessionId: 0xa0a2a3a4, refused: true as const }
  t.same(decodeRakp2(Buffer.from('000d0000a4a3a2a0', 'hex')), refusal)
  t.same(encodeRakp2(refusal), Buffer.from('000d0000a4a3a2a0', 'hex'))
  t.end()
})

t.test('RAKP 3, with a code, and with a status that tells the BMC to drop the session', (t) => {
  for (const message of [
    { tag: 5, status: 0, bmcSessionId: 2, code: Buffer.alloc(20, 0xbb) },
    { tag: 5, status: 0x0f, bmcSessionId: 2, code: Buffer.alloc(0) }
  ]) {
    t.same(decodeRakp3(encodeRakp3(message)), message)
  }
  t.same(
    encodeRakp3({ tag: 5, status: 0x0f, bmcSessionId: 2, code: Buffer.alloc(0) }),
    Buffer.from('050f000002000000', 'hex')
  )
  refusesTruncations(t, Buffer.from('050f000002000000', 'hex'), decodeRakp3)
  t.end()
})

t.test('RAKP 4, granted and refused', (t) => {
  const message = { tag: 5, status: 0 as const, consoleSessionId: 1, check: Buffer.alloc(12, 0xcc) }
  t.same(decodeRakp4(encodeRakp4(message)), message)
  const refusal = { tag: 5, status: 0x0f, consoleSessionId: 1, refused: true as const }
  t.same(decodeRakp4(encodeRakp4(refusal)), refusal)
  refusesTruncations(t, Buffer.from('0500000001000000', 'hex'), decodeRakp4)
  t.end()
})
