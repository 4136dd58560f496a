import t from 'tap'
import { decodeSelRecord } from '../../../src/wire/ipmi/sel-record.ts'
import { refusesTruncations } from './truncations.ts'

const bytes = (hex: string) => Buffer.from(hex, 'hex')

t.test('an event, as ipmi_sim sent it; its clock was not set', (t) => {
  t.same(decodeSelRecord(bytes('0100028a170000200004010101575050')), {
    kind: 'event',
    recordId: 1,
    at: null,
    generator: 0x20,
    sensorType: 1,
    sensor: 1,
    eventType: 1,
    asserted: true,
    offset: 7,
    data: bytes('575050')
  })
  t.end()
})

t.test('time, direction, states', (t) => {
  t.match(decodeSelRecord(bytes('0a000200e1f55e20000408036ff1ffff')), {
    at: 0x5ef5e100,
    sensorType: 8,
    sensor: 3,
    eventType: 0x6f,
    asserted: true,
    offset: 1
  })
  t.match(decodeSelRecord(bytes('0a000200e1f55e2000040803ef01ffff')), { asserted: false })
  t.match(decodeSelRecord(bytes('0a0002ffffffff2000040803ef01ffff')), { at: null })
  t.end()
})

t.test('records of the makers’ own', (t) => {
  t.match(decodeSelRecord(bytes('0200dc00e1f55ea20200010203040506')), {
    kind: 'oem',
    type: 0xdc,
    at: 0x5ef5e100,
    maker: 674,
    data: bytes('010203040506')
  })
  const untimed = {
    kind: 'oem',
    type: 0xe0,
    at: null,
    maker: null,
    data: bytes('0102030405060708090a0b0c0d')
  }
  t.match(decodeSelRecord(bytes('0200e00102030405060708090a0b0c0d')), untimed)
  t.end()
})

t.test('records cut short are refused', (t) => {
  refusesTruncations(t, bytes('0200dc00e1f55ea20200010203040506'), decodeSelRecord)
  t.end()
})
