import t from 'tap'
import { decodeRmcp, encodeRmcp } from '../../../src/wire/ipmi/rmcp.ts'
import { refusesTruncations } from './truncations.ts'

const HEADER = Buffer.from('0600ff07', 'hex')

t.test('an IPMI packet: version 1.0, no acknowledgement, class 7', (t) => {
  t.same(encodeRmcp('ipmi', Buffer.from([1, 2])), Buffer.concat([HEADER, Buffer.from([1, 2])]))
  t.same(decodeRmcp(Buffer.from('0600ff070102', 'hex')), {
    messageClass: 'ipmi',
    body: Buffer.from([1, 2])
  })
  t.equal(decodeRmcp(Buffer.from('0600ff06', 'hex')).messageClass, 'asf')
  refusesTruncations(t, HEADER, decodeRmcp)
  t.end()
})

t.test('what is not RMCP 1.0 with IPMI or ASF is refused', (t) => {
  t.throws(() => decodeRmcp(Buffer.from('0500ff07', 'hex')), { code: 'rmcp-version', offset: 0 })
  t.throws(() => decodeRmcp(Buffer.from('0600ff08', 'hex')), { code: 'rmcp-class', offset: 3 })
  // An ASF acknowledgement has the class's top bit set.
  t.throws(() => decodeRmcp(Buffer.from('0600ff86', 'hex')), { code: 'rmcp-class' })
  t.end()
})
