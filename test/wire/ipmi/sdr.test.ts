import t from 'tap'
import { convertReading, decodeSdr, decodeSdrHeader, type Conversion } from '../../../src/wire/ipmi/sdr.ts'
import { refusesTruncations } from './truncations.ts'

/** As ipmi_sim sent them (sim-c3-sel-sdr-fru): a temperature, a fan and a voltage, and two locators. */
const TEMPERATURE =
  '0300510132' +
  '2000010701450001010000000000000001000001000001010000000000ff0000' +
  '0000000000000000000000c74d422054656d70'.slice(2)
const FAN =
  '040051012e' +
  '2000021d01450004010000000000000012000032000001010000000000ff0000' +
  '00000000000000000000008466e846'.slice(2)
const VOLTAGE =
  '050051012e' +
  '2000030a0145000201000000000000000400000600000101e000000000ff0000' +
  '000000000000000000000083916403'.slice(2)
const CONTROLLER = '0100511211' + '2000008f000000070100876c2802623b02'
const EVENT_ONLY = '0200510314' + '2000000701236f00000000c87761746368646f67'

const bytes = (hex: string) => Buffer.from(hex, 'hex')

t.test('sensors of a recorded repository', (t) => {
  const temperature = decodeSdr(bytes(TEMPERATURE))
  t.match(temperature, {
    kind: 'sensor',
    recordId: 3,
    name: 'MB Temp',
    owner: 0x20,
    sensor: 1,
    sensorType: 1,
    eventType: 1,
    unit: '°C'
  })
  const fan = decodeSdr(bytes(FAN))
  t.match(fan, { name: 'FAN1', unit: 'RPM', sensor: 2 })
  const voltage = decodeSdr(bytes(VOLTAGE))
  t.match(voltage, { name: '12V', unit: 'V', sensor: 3 })
  for (const [record, raw, value] of [
    [temperature, 0x22, 34],
    [fan, 0x64, 5000],
    [voltage, 0xc8, 12]
  ] as const) {
    if (record.kind !== 'sensor' || !record.conversion) throw new Error('no value')
    t.equal(convertReading(record.conversion, raw), value)
  }
  t.end()
})

t.test('other records', (t) => {
  t.same(decodeSdr(bytes(CONTROLLER)), { kind: 'controller', recordId: 1, name: 'LAB BMC', address: 0x20 })
  t.same(decodeSdr(bytes(EVENT_ONLY)), {
    kind: 'event-only',
    recordId: 2,
    name: 'watchdog',
    sensor: 0,
    sensorType: 0x23,
    eventType: 0x6f
  })
  const locator = '0600511115' + '20058000000001000a00' + 'c4' + '50535531'
  t.match(decodeSdr(bytes(locator)), { kind: 'fru', fru: 5, logical: true, name: 'PSU1' })
  const compact =
    '0700510220' +
    '2000091301670708' +
    '6f' +
    'ffffffffffff' +
    'c00000' +
    '0100' +
    '0000000000' +
    '00' +
    'c3505331'
  t.match(decodeSdr(bytes(compact)), { kind: 'sensor', name: 'PS1', conversion: null, eventType: 0x6f })
  t.same(decodeSdr(bytes('080051c000')), { kind: 'other', recordId: 8, type: 0xc0 })
  t.end()
})

t.test('thresholds are those that can be read', (t) => {
  const record = bytes(TEMPERATURE)
  // Upper critical and upper non-critical, 75 and 70.
  record[18] = 0x18
  record[37] = 75
  record[38] = 70
  const found = decodeSdr(record)
  if (found.kind !== 'sensor') throw new Error('no sensor')
  t.match(found.thresholds, { 'upper critical': 75, 'upper non-critical': 70, 'lower critical': null })
  t.end()
})

t.test('units', (t) => {
  const unit = (flags: number, base: number, modifier: number) => {
    const record = bytes(TEMPERATURE)
    record[20] = flags
    record[21] = base
    record[22] = modifier
    const found = decodeSdr(record)
    return found.kind === 'sensor' && found.unit
  }
  t.equal(unit(0x01, 0, 0), '%')
  t.equal(unit(0x02, 6, 4), 'W/V')
  t.equal(unit(0x04, 4, 5), 'V·A')
  t.equal(unit(0x18, 70, 0), 'B/s')
  t.equal(unit(0x00, 99, 0), '')
  t.end()
})

const LINEAR: Conversion = {
  format: 'unsigned',
  linearization: 0,
  m: 1,
  b: 0,
  bExponent: 0,
  resultExponent: 0
}
/** The formula of section 36.3, by hand. */
const CONVERSIONS: Record<string, [changes: Partial<Conversion>, raw: number, value: number | null]> = {
  'as it is': [{}, 200, 200],
  'with an offset': [{ m: 2, b: -5, bExponent: 1 }, 30, 10],
  'with a fraction, and no dust of binary numbers': [{ m: 7, resultExponent: -2 }, 47, 3.29],
  "two's complement": [{ format: "two's complement" }, 0xfb, -5],
  "one's complement": [{ format: "one's complement" }, 0xfa, -5],
  'natural logarithm': [{ linearization: 1 }, 10, 2.30258509299],
  'logarithm of 10': [{ linearization: 2 }, 100, 2],
  'logarithm of 2': [{ linearization: 3 }, 32, 5],
  'power of e': [{ linearization: 4 }, 2, 7.38905609893],
  'power of 10': [{ linearization: 5 }, 3, 1000],
  'power of 2': [{ linearization: 6 }, 10, 1024],
  reciprocal: [{ linearization: 7 }, 4, 0.25],
  square: [{ linearization: 8 }, 12, 144],
  cube: [{ linearization: 9 }, 3, 27],
  'square root': [{ linearization: 10 }, 144, 12],
  'cube root': [{ linearization: 11 }, 27, 3],
  'a reciprocal of zero is no number': [{ linearization: 7 }, 0, null],
  'a logarithm of zero is no number': [{ linearization: 1 }, 0, null],
  'a formula of the maker’s': [{ linearization: 0x70 }, 5, null]
}
for (const [name, [changes, raw, value]] of Object.entries(CONVERSIONS)) {
  t.test(`a reading: ${name}`, (t) => {
    t.equal(convertReading({ ...LINEAR, ...changes }, raw), value)
    t.end()
  })
}

t.test('factors have 10 bits and signs, exponents 4', (t) => {
  const record = bytes(TEMPERATURE)
  // M = -2 (0x3fe), B = 511 (0x1ff), exponents -8 and 7.
  record.set([0xfe, 0xc0, 0xff, 0x40, 0x00, 0x87], 24)
  const found = decodeSdr(record)
  if (found.kind !== 'sensor') throw new Error('no sensor')
  t.match(found.conversion, { m: -2, b: 511, resultExponent: -8, bExponent: 7 })
  t.end()
})

t.test('records cut short are refused, never misread', (t) => {
  refusesTruncations(t, bytes(TEMPERATURE).subarray(0, 48), decodeSdr)
  refusesTruncations(t, bytes(CONTROLLER).subarray(0, 16), decodeSdr)
  t.throws(() => decodeSdrHeader(bytes('03005101')), { code: 'short' })
  t.end()
})
