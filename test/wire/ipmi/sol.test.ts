import t from 'tap'
import {
  charactersPerPacket,
  decodeSol,
  encodeSol,
  nextSolSequence,
  SOL_STATUS
} from '../../../src/wire/ipmi/sol.ts'

t.test('a packet with characters, and one that only acknowledges', (t) => {
  const packet = {
    sequence: 5,
    acked: 3,
    accepted: 11,
    flags: SOL_STATUS.overrun,
    characters: Buffer.from('ab')
  }
  t.same(encodeSol(packet), Buffer.from('05030b086162', 'hex'))
  t.same(decodeSol(Buffer.from('05030b086162', 'hex')), packet)
  t.match(decodeSol(Buffer.from('00020b00', 'hex')), { sequence: 0, acked: 2, accepted: 11 })
  t.throws(() => decodeSol(Buffer.alloc(3)), { code: 'short' })
  t.end()
})

t.test('numbers go from 1 to 15', (t) => {
  t.equal(nextSolSequence(0), 1)
  t.equal(nextSolSequence(14), 15)
  t.equal(nextSolSequence(15), 1)
  t.end()
})

t.test('sizes that make no sense', (t) => {
  t.equal(charactersPerPacket(0x20), 28, 'ipmi_sim')
  t.equal(charactersPerPacket(0x2000), 28, 'with its bytes swapped')
  t.equal(charactersPerPacket(1), 200, 'pyghmi')
  t.equal(charactersPerPacket(0), 200)
  t.equal(charactersPerPacket(0xffff), 251)
  t.end()
})
