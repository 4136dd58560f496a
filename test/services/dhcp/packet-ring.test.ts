import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { createPacketRing } from '../../../services/dhcp/packet-ring.ts'
import type { DhcpPacket } from '../../../src/domain/packet.ts'
import { aMac, aPacket } from '../../support/dhcp.ts'

const MAC = '52:54:00:00:00:01'
const OTHER = '52:54:00:00:00:02'
const times = (packets: readonly DhcpPacket[]) => packets.map(({ at }) => at)
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => from + index)

t.test('a packet comes back as it was, and stays so', async (t) => {
  const ring = createPacketRing()
  const bytes = Buffer.from('DISCOVER')
  const first = aPacket({ at: 1.25, bytes, decision: 'offer 192.0.2.100' })
  const second = aPacket({
    at: 2.5,
    direction: 'out',
    from: { address: '192.0.2.1', port: 67 },
    to: { address: '255.255.255.255', port: 68 },
    bytes: Buffer.from('OFFER')
  })
  ring.note({ ...first, mac: MAC, enrolled: true })
  ring.note({ ...second, mac: MAC, enrolled: true })
  const kept = ring.of(MAC)
  t.same(kept, [first, second])
  bytes.fill(0)
  for (let n = 0; n < 200; n++)
    ring.note({ ...aPacket({ bytes: Buffer.alloc(8, 1) }), mac: MAC, enrolled: true })
  t.equal(Buffer.from(kept[0]!.bytes).toString(), 'DISCOVER')
  t.same(ring.of(OTHER), [])
  t.equal(ring.newest(OTHER), undefined)
})

t.test('the last packets of a MAC are kept: 64, of a stranger 16', async (t) => {
  const ring = createPacketRing()
  for (const at of range(0, 100)) {
    ring.note({ ...aPacket({ at }), mac: MAC, enrolled: true })
    ring.note({ ...aPacket({ at }), mac: OTHER, enrolled: false })
  }
  t.same(times(ring.of(MAC)), range(36, 100))
  t.same(times(ring.of(OTHER)), range(84, 100))
})

t.test('what was noted together comes back in the order of time', async (t) => {
  const ring = createPacketRing()
  for (const at of [1, 3, 2, 4]) ring.note({ ...aPacket({ at }), mac: MAC, enrolled: at % 2 === 0 })
  t.same(times(ring.of(MAC)), [1, 2, 3, 4])
})

t.test('the newest is the last that came, whatever went out since', async (t) => {
  const ring = createPacketRing()
  for (const [at, direction] of [
    [1, 'in'],
    [2, 'in'],
    [3, 'out']
  ] as const)
    ring.note({ ...aPacket({ at, direction }), mac: MAC, enrolled: true })
  t.equal(ring.newest(MAC)?.at, 2)
  ring.note({ ...aPacket({ direction: 'out' }), mac: OTHER, enrolled: true })
  t.equal(ring.newest(OTHER), undefined)
})

t.test('a flood of forged MACs leaves enrolled machines all they have', async (t) => {
  const ring = createPacketRing()
  for (const at of range(0, 64)) ring.note({ ...aPacket({ at }), mac: MAC, enrolled: true })
  for (const at of range(0, 16)) ring.note({ ...aPacket({ at }), mac: OTHER, enrolled: false })
  const before = ring.of(MAC)
  const flood = aPacket({ decision: 'not enrolled' })
  const memory = process.memoryUsage()
  for (const n of range(1000, 101_000)) ring.note({ ...flood, at: n, mac: aMac(n), enrolled: false })
  t.same(ring.of(MAC), before)
  t.same(ring.of(OTHER), [], 'other strangers go')
  t.equal(ring.macs().length, 1 + 4096)
  t.same(ring.macs().slice(0, 2), [aMac(100_999), aMac(100_998)], 'those that spoke last are known')
  t.ok(process.memoryUsage().external - memory.external < 2 ** 20, 'no memory is taken for it')
})

t.test('where room runs out, the one that has been quiet longest loses its oldest packet', async (t) => {
  const shelf = { packets: 4, cells: 6 }
  const ring = createPacketRing({ enrolled: shelf, strangers: shelf })
  const note = (name: string, at: number, size = 300) =>
    ring.note({ ...aPacket({ at, bytes: Buffer.alloc(size) }), mac: name, enrolled: true })
  for (const at of [1, 2]) note('a', at)
  for (const at of [3, 4]) note('b', at)
  for (const at of [5, 6]) note('c', at)
  note('a', 7)
  t.same(
    ['a', 'b', 'c'].map((name) => times(ring.of(name))),
    [[1, 2, 7], [4], [5, 6]]
  )
  note('c', 8)
  t.same(
    ['a', 'b', 'c'].map((name) => times(ring.of(name))),
    [[1, 2, 7], [], [5, 6, 8]]
  )
  t.same(ring.macs(), ['c', 'a'])
  note('a', 9, 513)
  t.same(
    ['a', 'c'].map((name) => times(ring.of(name))),
    [[1, 2, 7, 9], [8]],
    'a long one takes two places'
  )
  for (const at of [10, 11, 12, 13]) note('d', at, 2048)
  t.same(ring.macs(), ['d'])
  t.same(times(ring.of('d')), [13], 'the longest that is kept takes four')
  note('d', 14, 2049)
  t.same(times(ring.of('d')), [13], 'what is longer is not kept')
})

t.test('a MAC that is forgotten is gone, and its room is free', async (t) => {
  const shelf = { packets: 4, cells: 4 }
  const ring = createPacketRing({ enrolled: shelf, strangers: shelf })
  ring.note({ ...aPacket({ at: 1 }), mac: MAC, enrolled: false })
  for (const at of [2, 3]) ring.note({ ...aPacket({ at }), mac: MAC, enrolled: true })
  for (const at of [4, 5]) ring.note({ ...aPacket({ at }), mac: OTHER, enrolled: true })
  t.same(times(ring.of(MAC)), [1, 2, 3], 'what it sent as a stranger counts too')
  t.same(ring.macs(), [OTHER, MAC])
  t.equal(ring.newest(MAC)?.at, 3)
  ring.forget(MAC)
  ring.forget(MAC)
  t.same(ring.of(MAC), [])
  t.same(ring.macs(), [OTHER])
  for (const at of [6, 7]) ring.note({ ...aPacket({ at }), mac: OTHER, enrolled: true })
  t.same(times(ring.of(OTHER)), [4, 5, 6, 7])
})

t.test('whatever is noted and forgotten: what is kept is what a plain list would keep', async (t) => {
  const act = fc.record(
    {
      name: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
      size: fc.oneof(fc.integer({ min: 1, max: 512 }), fc.integer({ min: 0, max: 2100 })),
      forget: fc.integer({ min: 0, max: 9 }).map((n) => n === 0)
    },
    { noNullPrototype: true }
  )
  const shelf = { packets: 3, cells: 9 }
  const cells = (packet: DhcpPacket) => Math.ceil(packet.bytes.length / 512)
  fc.assert(
    fc.property(fc.array(act, { maxLength: 60 }), (acts) => {
      const ring = createPacketRing({ enrolled: shelf, strangers: shelf })
      /** Quietest first. */
      let plain: { name: string; packets: DhcpPacket[] }[] = []
      acts.forEach(({ name, size, forget }, at) => {
        if (forget) {
          ring.forget(name)
          plain = plain.filter((one) => one.name !== name)
          return
        }
        const packet = aPacket({ at, bytes: Buffer.alloc(size, at), decision: String(at) })
        ring.note({ ...packet, mac: name, enrolled: true })
        if (size === 0 || size > 2048) return
        const own = plain.find((one) => one.name === name) ?? { name, packets: [] }
        plain = [...plain.filter((one) => one !== own), own]
        if (own.packets.length === shelf.packets) own.packets.shift()
        const used = () => plain.flatMap(({ packets }) => packets).reduce((sum, one) => sum + cells(one), 0)
        while (used() + cells(packet) > shelf.cells)
          plain.find(({ packets }) => packets.length > 0)!.packets.shift()
        own.packets.push(packet)
      })
      const left = plain.filter(({ packets }) => packets.length > 0).reverse()
      assert.deepEqual(
        ring.macs(),
        left.map(({ name }) => name)
      )
      for (const { name, packets } of left) assert.deepEqual(ring.of(name), packets)
    }),
    { numRuns: 500 }
  )
  t.pass('the same')
})
