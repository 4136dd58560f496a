import t from 'tap'
import { readNetworkOptions } from '../../src/decide/network-options.ts'

const read = (given: Record<string, unknown>) => {
  const faults: string[] = []
  return { read: readNetworkOptions(given, 'here', faults), faults }
}

t.test('what can be said', async (t) => {
  t.same(
    read({
      gateway: '192.0.2.254',
      dns: [],
      ntp: ['192.0.2.1'],
      domain: 'example.org',
      mtu: 9000,
      routes: [{ network: '198.51.100.0/24', router: '192.0.2.253' }],
      options: {
        150: { ips: ['192.0.2.1', '192.0.2.2'] },
        100: { text: 'CET' },
        2: { u32: 0xfffffff0 },
        13: { u16: 258 },
        46: { u8: 8 },
        44: { ip: '192.0.2.9' },
        224: { hex: '00ff' }
      }
    }),
    {
      faults: [],
      read: {
        gateway: '192.0.2.254',
        dns: [],
        ntp: ['192.0.2.1'],
        domain: 'example.org',
        mtu: 9000,
        routes: [{ network: '198.51.100.0/24', router: '192.0.2.253' }],
        options: {
          2: 'fffffff0',
          13: '0102',
          44: 'c0000209',
          46: '08',
          100: '434554',
          150: 'c0000201c0000202',
          224: '00ff'
        }
      }
    }
  )
  t.same(read({ gateway: null, domain: null, mtu: null }).read, { gateway: null, domain: null, mtu: null })
})

const wrong: Record<string, { given: Record<string, unknown>; says: RegExp }> = {
  'a key that is none': {
    given: { gatewy: '192.0.2.1' },
    says: /"here\.gatewy" is unknown; there are gateway/
  },
  'a gateway that is no address': { given: { gateway: 'router' }, says: /"here\.gateway" is not an IPv4/ },
  'DNS servers that are names': { given: { dns: ['ns1'] }, says: /"here\.dns" is not a list/ },
  'an MTU below what IPv4 needs': { given: { mtu: 100 }, says: /"here\.mtu" .*576/ },
  'a domain with a space': { given: { domain: 'a b' }, says: /"here\.domain"/ },
  'routes that are no list': { given: { routes: {} }, says: /"here\.routes" is not a list/ },
  'a route with host bits': {
    given: { routes: [{ network: '10.0.0.1/8', router: '192.0.2.1' }] },
    says: /10\.0\.0\.1\/8.*not a network/
  },
  'a route to nowhere': {
    given: { routes: [{ network: '10.0.0.0/8' }] },
    says: /no router .*10\.0\.0\.0\/8/
  },
  'a route that knows more': {
    given: { routes: [{ network: '10.0.0.0/8', router: '192.0.2.1', metric: 1 }] },
    says: /unknown keys .*metric/
  },
  'an option number beyond a byte': {
    given: { options: { 256: { u8: 1 } } },
    says: /options\.256" is not an opt/
  },
  'an option by name': {
    given: { options: { mtu: { u8: 1 } } },
    says: /options\.mtu" is not an option number/
  },
  'an option that has a key of its own': {
    given: { options: { 3: { ip: '192.0.2.1' } } },
    says: /use "gateway"/
  },
  'an option of the protocol': { given: { options: { 51: { u32: 1 } } }, says: /the protocol itself/ },
  'an option for boot firmware': { given: { options: { 43: { hex: 'ff' } } }, says: /answers boot firmware/ },
  'an option without content': { given: { options: { 100: null } }, says: /needs one of hex, text, ip/ },
  'an option with two contents': {
    given: { options: { 100: { text: 'a', hex: '00' } } },
    says: /needs one of hex/
  },
  'half a byte': { given: { options: { 100: { hex: 'abc' } } }, says: /is no hex: "abc"/ },
  'a number that does not fit': { given: { options: { 46: { u8: 256 } } }, says: /is no u8: 256/ }
}

t.test('what cannot, and why', async (t) => {
  for (const [name, { given, says }] of Object.entries(wrong)) {
    const { faults } = read(given)
    t.equal(faults.length, 1, name)
    t.match(faults[0], says, name)
  }
  t.equal(read({ mtu: 1, dns: 'x', what: 1 }).faults.length, 3, 'all faults at once')
})
