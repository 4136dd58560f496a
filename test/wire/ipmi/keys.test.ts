import { createHmac } from 'node:crypto'
import t from 'tap'
import { cipherSuite } from '../../../src/wire/ipmi/cipher-suite.ts'
import { rakp4Check, sameCode, sessionKeys } from '../../../src/wire/ipmi/keys.ts'

// The formulas themselves are proved by captures.test.ts; here is what no capture shows.

const suite = (id: number) => {
  const found = cipherSuite(id)
  if (!found) throw new Error(`no suite ${id}`)
  return found
}

t.test('K1 and K2 come from 20-byte constants, for SHA-256 too', (t) => {
  const sik = Buffer.alloc(32, 3)
  const { k1, aes } = sessionKeys(suite(17), sik)
  t.same(k1.export(), createHmac('sha256', sik).update(Buffer.alloc(20, 1)).digest())
  t.same(aes.export(), createHmac('sha256', sik).update(Buffer.alloc(20, 2)).digest().subarray(0, 16))
  t.end()
})

t.test('the check value of RAKP 4 is cut to 12 bytes for SHA-1 and 16 for SHA-256', (t) => {
  const facts = {
    consoleSessionId: 1,
    bmcSessionId: 2,
    consoleRandom: Buffer.alloc(16),
    bmcRandom: Buffer.alloc(16),
    bmcGuid: Buffer.alloc(16),
    role: 0x14,
    username: Buffer.from('admin')
  }
  t.equal(rakp4Check(suite(3), Buffer.alloc(20), facts).length, 12)
  t.equal(rakp4Check(suite(17), Buffer.alloc(32), facts).length, 16)
  t.end()
})

t.test('codes of different length are never the same, not even empty ones to full ones', (t) => {
  t.ok(sameCode(Buffer.from('abc'), Buffer.from('abc')))
  t.notOk(sameCode(Buffer.from('abc'), Buffer.from('abd')))
  t.notOk(sameCode(Buffer.alloc(0), Buffer.from('a')))
  t.notOk(sameCode(Buffer.from('abc'), Buffer.from('ab')))
  t.end()
})
