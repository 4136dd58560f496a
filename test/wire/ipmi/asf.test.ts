import t from 'tap'
import { decodeAsf, encodeAsf } from '../../../src/wire/ipmi/asf.ts'
import { decodeRmcp } from '../../../src/wire/ipmi/rmcp.ts'
import { capture } from './captures.ts'
import { refusesTruncations } from './truncations.ts'

t.test('ping and pong as captured', (t) => {
  const [ping, pong] = capture('sim-asf-ping').packets.map(({ bytes }) => decodeRmcp(bytes).body)
  if (!ping || !pong) throw new Error('the capture holds no ping and pong')
  const { tag } = decodeAsf(ping)
  t.same(decodeAsf(pong), { type: 'pong', tag, ipmi: true })
  t.same(encodeAsf({ type: 'ping', tag }), ping)
  refusesTruncations(t, ping, decodeAsf)
  refusesTruncations(t, pong, decodeAsf)
  t.end()
})

t.test('round trip', (t) => {
  for (const message of [
    { type: 'ping', tag: 255 },
    { type: 'pong', tag: 0, ipmi: true },
    { type: 'pong', tag: 7, ipmi: false }
  ] as const) {
    t.same(decodeAsf(encodeAsf(message)), message)
  }
  t.end()
})

t.test('other makers and other messages are refused', (t) => {
  t.throws(() => decodeAsf(Buffer.from('000011bf80000000', 'hex')), { code: 'asf-iana' })
  t.throws(() => decodeAsf(Buffer.from('000011be41000000', 'hex')), { code: 'asf-type' })
  t.end()
})
