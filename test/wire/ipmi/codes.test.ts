import t from 'tap'
import { completionWords, statusWords } from '../../../src/wire/ipmi/codes.ts'

t.test('numbers get their words, and unknown ones still their number', (t) => {
  t.equal(statusWords(0x0d), '0x0D, unauthorized name')
  t.match(statusWords(0x77), /^0x77, /)
  t.equal(completionWords(0xc0), '0xC0, node busy')
  t.equal(completionWords(0x80, { 0x80: 'parameter not supported' }), '0x80, parameter not supported')
  t.match(completionWords(0x80), /^0x80, /)
  t.end()
})
