import t from 'tap'
import { placeOf, type DhcpPlace } from '../../src/decide/dhcp-place.ts'
import type { DhcpMessage } from '../../src/wire/dhcp.ts'
import { aSubnet } from '../support/builders.ts'
import { aRequest } from '../support/dhcp.ts'

const US = '192.0.2.1'
const near = aSubnet({ cidr: '192.0.2.0/24' })
const far = aSubnet({ cidr: '198.51.100.0/24', gateway: '198.51.100.254' })
const guarded = aSubnet({ cidr: '203.0.113.0/24', relays: ['203.0.113.1'] })
const outside = aSubnet({ cidr: '10.1.0.0/16', relays: ['172.16.0.1'] })
const settings = { address: US, subnets: [near, far, guarded, outside] }

/** Option 82 with these sub-options: code → content as hex. */
const agent = (subs: Record<number, string>): Buffer =>
  Buffer.concat(
    Object.entries(subs).map(([code, hex]) =>
      Buffer.concat([Buffer.of(Number(code), hex.length / 2), Buffer.from(hex, 'hex')])
    )
  )
const from = (given: Partial<DhcpMessage>, relayAgent?: Buffer) =>
  aRequest({ ...given, options: { messageType: 'discover', ...(relayAgent ? { relayAgent } : {}) } })

const cases: Record<
  string,
  { packet: DhcpMessage; subnet: typeof near | null; refused?: DhcpPlace['refused'] }
> = {
  'a broadcast on our link': { packet: from({}), subnet: near },
  'a renewal from behind a router': { packet: from({ ciaddr: '198.51.100.10' }), subnet: far },
  'an address of no subnet, on our link': { packet: from({ ciaddr: '10.99.0.1' }), subnet: near },
  'a relay inside its subnet': { packet: from({ giaddr: '198.51.100.254' }), subnet: far },
  'giaddr comes before ciaddr': {
    packet: from({ giaddr: '198.51.100.254', ciaddr: '192.0.2.7' }),
    subnet: far
  },
  'a relay in no subnet of ours': { packet: from({ giaddr: '172.31.0.1' }), subnet: null },
  'the relay that a subnet names': { packet: from({ giaddr: '203.0.113.1' }), subnet: guarded },
  'a relay that says it is us': {
    packet: from({ giaddr: US }),
    subnet: null,
    refused: 'unknown-relay'
  },
  'a relay that says it is a whole network': {
    packet: from({ giaddr: '198.51.100.255' }),
    subnet: null,
    refused: 'unknown-relay'
  },
  'another relay in a subnet that names its relays': {
    packet: from({ giaddr: '203.0.113.2' }),
    subnet: null,
    refused: 'unknown-relay'
  },
  'a relay outside, named by the subnet it serves': {
    packet: from({ giaddr: '172.16.0.1' }),
    subnet: outside
  },
  'link selection picks the subnet (RFC 3527)': {
    packet: from({ giaddr: '198.51.100.254' }, agent({ 1: '0004', 5: '0a010203' })),
    subnet: outside
  },
  'link selection of no subnet of ours': {
    packet: from({ giaddr: '198.51.100.254' }, agent({ 5: 'ac1f0001' })),
    subnet: null
  },
  'link selection by a relay that nobody named': {
    packet: from({ giaddr: '203.0.113.2' }, agent({ 5: 'c0000200' })),
    subnet: null,
    refused: 'unknown-relay'
  },
  'option 82 without a relay changes no subnet': {
    packet: from({}, agent({ 1: '0001' })),
    subnet: near
  },
  'option 82 cut off': {
    packet: from({ giaddr: '198.51.100.254' }, Buffer.of(1, 9, 0)),
    subnet: null,
    refused: 'bad-relay-option'
  },
  'link selection of three bytes': {
    packet: from({ giaddr: '198.51.100.254' }, agent({ 5: '0a0102' })),
    subnet: null,
    refused: 'bad-relay-option'
  },
  'an empty option 82': { packet: from({ giaddr: '198.51.100.254' }, Buffer.alloc(0)), subnet: far }
}

t.test('where a packet comes from', async (t) => {
  for (const [name, { packet, subnet, refused = null }] of Object.entries(cases)) {
    const place = placeOf(packet, settings)
    t.equal(place.subnet?.cidr, subnet?.cidr, name)
    t.equal(place.refused, refused, `${name}: refused`)
  }
})

t.test('what the relay says of itself', async (t) => {
  const { relay } = placeOf(from({ giaddr: '198.51.100.254' }, agent({ 11: 'c6336401' })), settings)
  t.same(relay, { linkSelection: null, serverIdOverride: '198.51.100.1' })
  t.equal(placeOf(from({ giaddr: '198.51.100.254' }), settings).relay, null)
})
