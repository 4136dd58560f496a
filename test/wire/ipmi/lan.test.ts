import t from 'tap'
import {
  decodeAddressSource,
  decodeLanAddress,
  decodeLanMac,
  decodeLanSuites,
  decodeLanVlan,
  decodeSuitePrivileges
} from '../../../src/wire/ipmi/lan.ts'

const bytes = (hex: string) => Buffer.from(hex, 'hex')

t.test('what the parameters hold', (t) => {
  t.equal(decodeLanAddress(bytes('c0000207')), '192.0.2.7')
  t.equal(decodeLanMac(bytes('525400bc0001')), '52:54:00:bc:00:01')
  t.equal(decodeAddressSource(bytes('01')), 'static')
  t.equal(decodeAddressSource(bytes('02')), 'dhcp')
  t.equal(decodeAddressSource(bytes('0f')), 'other')
  t.equal(decodeLanVlan(bytes('0000')), null)
  t.equal(decodeLanVlan(bytes('0a80')), 10)
  t.same(decodeLanSuites(bytes('0000010203'), 4), [0, 1, 2, 3])
  t.same(decodeSuitePrivileges(bytes('004340'), 3), [3, 4, 0])
  t.end()
})

t.test('values cut short are refused', (t) => {
  for (const decode of [decodeLanAddress, decodeLanMac, decodeAddressSource, decodeLanVlan]) {
    t.throws(() => decode(Buffer.alloc(0)), { code: 'short' })
  }
  t.throws(() => decodeSuitePrivileges(bytes('0043'), 3), { code: 'short' })
  t.end()
})
