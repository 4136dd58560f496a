import t from 'tap'
import { decodeFruField, decodeName, encodeName } from '../../../src/wire/ipmi/type-length.ts'

/** Type/length byte, what is left of the record, the name. */
const NAMES: Record<string, [typeLength: number, rest: string, name: string]> = {
  'eight bits': [0xc7, '4d422054656d70', 'MB Temp'],
  'six bits, counted in characters: four in three bytes': [0x84, '66e846', 'FAN1'],
  'six bits, counted in characters, as long as they are': [0x87, '6c2802623b02', 'LAB BMC'],
  'six bits, counted in bytes': [0x83, '66e846', 'FAN1'],
  'six bits that fill no whole group': [0x83, '916403', '12V'],
  'BCD plus, counted in bytes': [0x44, '12b34ac5', '12-34 .5'],
  'BCD plus, counted in characters': [0x45, '12c500', '12.50'],
  Unicode: [0x03, '4600fc003100', 'Fü1'],
  'Latin-1': [0xc4, '46fc7231', 'Für1'],
  'padding is no part of it': [0xc6, '43505531' + '2000', 'CPU1'],
  nothing: [0xc0, '', ''],
  'fewer bytes than announced': [0xc8, '4355', 'CU'],
  'what a terminal would obey is not passed on': [0xc6, '1b5b326a0a41', '\ufffd[2j\ufffdA']
}
for (const [name, [typeLength, rest, expected]] of Object.entries(NAMES)) {
  t.test(`the name of a sensor: ${name}`, (t) => {
    t.equal(decodeName(typeLength, Buffer.from(rest, 'hex')), expected)
    t.end()
  })
}

t.test('a field of a FRU', (t) => {
  const field = (typeLength: number, hex: string, english = true) =>
    decodeFruField(typeLength, Buffer.from(hex, 'hex'), english)
  t.equal(field(0xc3, '414243'), 'ABC')
  t.equal(field(0xc4, '3a043b04', false), 'кл', 'not in English: UTF-16')
  t.equal(field(0x03, '0aff10'), '0aff10', 'binary is hex')
  t.equal(field(0x83, '66e846'), 'FAN1')
  t.equal(field(0x42, '1234'), '1234')
  t.end()
})

t.test('names that we write are read again', (t) => {
  const [typeLength = 0, ...rest] = encodeName('CPU1 Temp')
  t.equal(decodeName(typeLength, Buffer.from(rest)), 'CPU1 Temp')
  t.end()
})
