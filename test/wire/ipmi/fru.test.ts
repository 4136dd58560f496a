import t from 'tap'
import { decodeFru } from '../../../src/wire/ipmi/fru.ts'
import { checksum } from '../../../src/wire/ipmi/message.ts'

/** As ipmi_sim sent it (sim-c3-sel-sdr-fru): header, board area, product area. */
const RECORDED =
  '01000001070000f7' +
  '010600000000c84c6162576f726b73c44c572d31c742524430303031c5422d31' +
  '3030c466727531c1000000000000001f'.slice(0) +
  '010700c84c6162576f726b73c44e6f6465c5502d313030c3312e30c74c414230' +
  '303031c87261636b312d7531c466727531c10000000000d5'

t.test('a recorded inventory', (t) => {
  const fru = decodeFru(Buffer.from(RECORDED, 'hex'))
  t.same(fru, {
    chassis: null,
    board: {
      manufacturer: 'LabWorks',
      'product name': 'LW-1',
      'serial number': 'BRD0001',
      'part number': 'B-100',
      'FRU file ID': 'fru1'
    },
    product: {
      manufacturer: 'LabWorks',
      'product name': 'Node',
      'part number': 'P-100',
      version: '1.0',
      'serial number': 'LAB0001',
      'asset tag': 'rack1-u1',
      'FRU file ID': 'fru1'
    },
    faults: []
  })
  t.end()
})

function area(head: number[], fields: string[]): Buffer {
  const body = [
    1,
    0,
    ...head,
    ...fields.flatMap((field) => [0xc0 | field.length, ...Buffer.from(field)]),
    0xc1
  ]
  const length = Math.ceil((body.length + 1) / 8) * 8
  const bytes = Buffer.from([...body, ...Array.from({ length: length - body.length }, () => 0)])
  bytes[1] = length / 8
  bytes[length - 1] = checksum(bytes.subarray(0, length - 1))
  return bytes
}

function whole(areas: { chassis?: Buffer; board?: Buffer }): Buffer {
  const header = Buffer.alloc(8)
  header[0] = 1
  let at = 1
  const parts: Buffer[] = []
  for (const [place, bytes] of [
    [2, areas.chassis],
    [3, areas.board]
  ] as const) {
    if (!bytes) continue
    header[place] = at
    at += bytes.length / 8
    parts.push(bytes)
  }
  header[7] = checksum(header)
  return Buffer.concat([header, ...parts])
}

t.test('a chassis, a date, fields of the maker’s own', (t) => {
  // 2020-01-01 00:00 is 12,623,040 minutes after 1996.
  const board = area([0, 0xc0, 0x9c, 0xc0], ['Maker', 'Board', 'S1', 'P1', 'F1', 'extra', 'more'])
  const chassis = area([23], ['CP', 'CS', 'rail'])
  const fru = decodeFru(whole({ chassis, board }))
  t.same(fru.chassis, { type: '23', 'part number': 'CP', 'serial number': 'CS', 'custom 1': 'rail' })
  t.match(fru.board, { made: '2020-01-01T00:00:00.000Z', 'custom 1': 'extra', 'custom 2': 'more' })
  t.same(fru.faults, [])
  t.end()
})

t.test('a wrong checksum is told, and the area read all the same', (t) => {
  const chassis = area([23], ['CP', 'CS'])
  chassis[chassis.length - 1] = 0
  const fru = decodeFru(whole({ chassis }))
  t.match(fru.chassis, { 'part number': 'CP' })
  t.match(fru.faults, [/chassis: the checksum is wrong/])
  t.end()
})

t.test('an area beyond the end is told', (t) => {
  const bytes = whole({ chassis: area([23], ['CP']) }).subarray(0, 12)
  t.match(decodeFru(bytes), { chassis: null, faults: [/chassis: .*needs/] })
  t.end()
})

t.test('what is no FRU is refused', (t) => {
  t.throws(() => decodeFru(Buffer.alloc(8, 0xff)), { code: 'fru-header' })
  t.throws(() => decodeFru(Buffer.alloc(7)), { code: 'short' })
  t.end()
})
