import t from 'tap'
import { decodeSessionless, encodeSessionless } from '../../../src/wire/ipmi/sessionless.ts'
import { refusesTruncations } from './truncations.ts'

const PACKET = Buffer.from('00000000000000000009' + '2018c88100388e04b5', 'hex')

t.test('a message outside a session, in 1.5 framing', (t) => {
  t.same(encodeSessionless(PACKET.subarray(10)), PACKET)
  t.same(decodeSessionless(PACKET), PACKET.subarray(10))
  refusesTruncations(t, PACKET, decodeSessionless)
  t.end()
})

t.test('the legacy pad byte after the message is no part of it', (t) => {
  t.same(decodeSessionless(Buffer.concat([PACKET, Buffer.from([0])])), PACKET.subarray(10))
  t.end()
})

t.test('packets of 1.5 sessions are refused', (t) => {
  const md5 = Buffer.from(PACKET)
  md5[0] = 2
  t.throws(() => decodeSessionless(md5), { code: 'auth-type' })
  const session = Buffer.from(PACKET)
  session[5] = 1
  t.throws(() => decodeSessionless(session), { code: 'session-id' })
  t.end()
})
