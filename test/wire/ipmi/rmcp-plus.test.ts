import t from 'tap'
import { cipherSuite } from '../../../src/wire/ipmi/cipher-suite.ts'
import { sessionKeys, type SessionKeys } from '../../../src/wire/ipmi/keys.ts'
import { decodeHeader, encodePlain, open, PAYLOAD, seal } from '../../../src/wire/ipmi/rmcp-plus.ts'
import { refusesTruncations } from './truncations.ts'

const iv = Buffer.alloc(16, 0x55)

function keysOf(id: number): SessionKeys {
  const suite = cipherSuite(id)
  if (!suite) throw new Error(`no suite ${id}`)
  return sessionKeys(suite, Buffer.alloc(20, 7))
}

t.test('a packet of the log-in has session ID and sequence 0 and no protection', (t) => {
  const bytes = encodePlain(PAYLOAD.rakp1, Buffer.from([1, 2, 3]))
  t.same(bytes, Buffer.from('0612' + '00000000' + '00000000' + '0300' + '010203', 'hex'))
  t.match(decodeHeader(bytes), {
    payloadType: PAYLOAD.rakp1,
    encrypted: false,
    authenticated: false,
    sessionId: 0,
    sequence: 0,
    payload: Buffer.from([1, 2, 3])
  })
  refusesTruncations(t, bytes, decodeHeader)
  t.end()
})

t.test('a sealed packet opens again, whatever the length of its payload', (t) => {
  for (const id of [17, 3, 16, 2, 15, 1, 0]) {
    const keys = keysOf(id)
    const lengths = Array.from({ length: 70 }, (_, length) => length)
    const returned = lengths.map((length) => {
      const payload = Buffer.alloc(length, length)
      const packet = { payloadType: PAYLOAD.ipmi, sessionId: 0x01020304, sequence: 9, payload }
      return open(keys, seal(keys, packet, iv)).payload
    })
    t.same(
      returned,
      lengths.map((length) => Buffer.alloc(length, length)),
      `suite ${id}`
    )
  }
  t.end()
})

t.test('the part under the authentication code is a multiple of 4 bytes', (t) => {
  for (const [id, codeLength] of [
    [16, 16],
    [2, 12]
  ] as const) {
    const uneven = [0, 1, 2, 3, 4, 5].filter((length) => {
      const packet = { payloadType: 0, sessionId: 1, sequence: 1, payload: Buffer.alloc(length) }
      return (seal(keysOf(id), packet, iv).length - codeLength) % 4 !== 0
    })
    t.same(uneven, [])
  }
  t.end()
})

for (const id of [17, 3]) {
  t.test(`suite ${id}: nothing but the whole, untouched packet opens`, (t) => {
    const keys = keysOf(id)
    const packet = { payloadType: PAYLOAD.ipmi, sessionId: 5, sequence: 1, payload: Buffer.from('hello') }
    const whole = seal(keys, packet, iv)
    refusesTruncations(t, whole, (bytes) => open(keys, bytes))
    const taken = Array.from({ length: whole.length * 8 }, (_, bit) => bit).filter((bit) => {
      const spoiled = Buffer.from(whole)
      spoiled[bit >> 3] = spoiled.readUInt8(bit >> 3) ^ (1 << (bit & 7))
      try {
        open(keys, spoiled)
        return true
      } catch {
        return false
      }
    })
    t.same(taken, [], 'no flipped bit goes unnoticed')
    t.throws(() => open(keys, Buffer.concat([whole, Buffer.alloc(1)])), { code: 'auth-code' })
    t.end()
  })
}

t.test('inside a session that agreed on protection, a packet without it is refused', (t) => {
  const packet = { payloadType: PAYLOAD.ipmi, sessionId: 5, sequence: 1, payload: Buffer.from('hello') }
  for (const weaker of [0, 1, 2, 15, 16]) {
    const bytes = seal(keysOf(weaker), packet, iv)
    t.throws(() => open(keysOf(17), bytes), { code: 'not-protected' }, `suite ${weaker}`)
  }
  t.end()
})

t.test('OEM payloads and other formats are refused', (t) => {
  const bytes = encodePlain(0, Buffer.alloc(4))
  const oem = Buffer.from(bytes)
  oem[1] = 2
  t.throws(() => decodeHeader(oem), { code: 'payload-type' })
  bytes[0] = 2
  t.throws(() => decodeHeader(bytes), { code: 'rmcp-plus-format' })
  t.end()
})
