import t from 'tap'
import { openMd5, sealMd5 } from '../../../src/wire/ipmi/md5-packet.ts'
import { decodeRmcp } from '../../../src/wire/ipmi/rmcp.ts'
import { capture } from './captures.ts'
import { refusesTruncations } from './truncations.ts'

const PASSWORD = Buffer.from('secret123')

t.test('every packet of a recorded session is opened, and sealed again is the same', (t) => {
  const bodies = capture('sim-lan15-md5')
    .packets.map(({ bytes }) => decodeRmcp(bytes))
    .filter(({ messageClass, body }) => messageClass === 'ipmi' && body[0] === 0x02)
    .map(({ body }) => body)
  t.equal(bodies.length, 16)
  for (const body of bodies) {
    const sealed = sealMd5(PASSWORD, openMd5(PASSWORD, body))
    t.same(sealed, body.subarray(0, sealed.length))
    // ipmitool's one pad byte.
    t.ok(body.length - sealed.length <= 1)
  }
  t.end()
})

t.test('every bit of a packet counts', (t) => {
  const sealed = sealMd5(PASSWORD, { sessionId: 7, sequence: 9, message: Buffer.from('message') })
  for (let bit = 0; bit < sealed.length * 8; bit++) {
    const changed = Buffer.from(sealed)
    changed[bit >> 3] = changed.readUInt8(bit >> 3) ^ (1 << (bit & 7))
    t.throws(() => openMd5(PASSWORD, changed), { name: 'WireError' }, `bit ${bit}`)
  }
  t.throws(() => openMd5(Buffer.from('secret124'), sealed), { code: 'auth-code' })
  refusesTruncations(t, sealed, (cut) => openMd5(PASSWORD, cut))
  t.end()
})

t.test('a password is never cut to fit', (t) => {
  const packet = { sessionId: 1, sequence: 1, message: Buffer.alloc(7) }
  t.doesNotThrow(() => sealMd5(Buffer.alloc(16, 'a'), packet))
  t.throws(() => sealMd5(Buffer.alloc(17, 'a'), packet))
  t.end()
})
