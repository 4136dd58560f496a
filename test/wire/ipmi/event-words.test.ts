import t from 'tap'
import { passedThresholds, sensorTypeWords, stateWords } from '../../../src/wire/ipmi/event-words.ts'

const STATES: [eventType: number, sensorType: number, state: number, words: string][] = [
  [0x01, 0x01, 7, 'upper non-critical going high'],
  [0x01, 0x01, 9, 'upper critical going high'],
  [0x01, 0x02, 2, 'lower critical going low'],
  [0x01, 0x02, 11, 'upper non-recoverable going high'],
  [0x6f, 0x07, 1, 'thermal trip'],
  [0x6f, 0x08, 3, 'input lost'],
  [0x6f, 0x0c, 1, 'uncorrectable error'],
  [0x6f, 0x0d, 7, 'rebuilding'],
  [0x6f, 0x10, 2, 'log cleared'],
  [0x6f, 0x1e, 2, 'PXE server not found'],
  [0x6f, 0x22, 5, 'soft off'],
  [0x6f, 0x23, 3, 'power cycle'],
  [0x03, 0xc0, 1, 'yes'],
  [0x0b, 0x09, 1, 'redundancy lost'],
  [0x07, 0x15, 6, 'non-recoverable'],
  [0x6f, 0xc0, 4, 'state 4'],
  [0x70, 0x01, 0, 'state 0'],
  [0x01, 0x01, 14, 'state 14']
]

t.test('states in words (tables 42-1 to 42-3)', (t) => {
  for (const [eventType, sensorType, state, words] of STATES) {
    t.equal(stateWords(eventType, sensorType, state), words)
  }
  t.end()
})

t.test('sensor types in words', (t) => {
  t.equal(sensorTypeWords(0x01), 'temperature')
  t.equal(sensorTypeWords(0x08), 'power supply')
  t.equal(sensorTypeWords(0x23), 'watchdog 2')
  t.equal(sensorTypeWords(0x2c), 'FRU state')
  t.equal(sensorTypeWords(0xc1), 'OEM')
  t.equal(sensorTypeWords(0x60), 'unknown')
  t.end()
})

t.test('thresholds that a reading has passed', (t) => {
  t.same(passedThresholds(0x00), [])
  t.same(passedThresholds(0xd8), ['upper non-critical', 'upper critical'], 'two bits are reserved')
  t.end()
})
