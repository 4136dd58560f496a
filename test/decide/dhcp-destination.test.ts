import t from 'tap'
import { dhcpDestination } from '../../src/decide/dhcp-destination.ts'
import { aRequest } from '../support/dhcp.ts'

const reply = aRequest({ op: 'reply', yiaddr: '192.0.2.100', options: { messageType: 'ack' } })
const nak = { ...reply, options: { messageType: 'nak' as const } }
const can = { rom: false, unicastWithoutArp: true }
const everywhere = { address: '255.255.255.255', port: 68 }
const relay = { address: '198.51.100.254', port: 67 }
const quiet = aRequest({ flags: 0 })

type Case = { given: Parameters<typeof dhcpDestination>; expected: ReturnType<typeof dhcpDestination> }

const cases: Record<string, Case> = {
  'through a relay': { given: [aRequest({ giaddr: relay.address }), reply, can], expected: relay },
  'through a relay although the client has an address': {
    given: [aRequest({ giaddr: relay.address, ciaddr: '198.51.100.10' }), reply, can],
    expected: relay
  },
  'a refusal through a relay': { given: [aRequest({ giaddr: relay.address }), nak, can], expected: relay },
  'a refusal is broadcast although the client has an address': {
    given: [aRequest({ ciaddr: '192.0.2.101', flags: 0 }), nak, can],
    expected: everywhere
  },
  'the client has an address': {
    given: [aRequest({ ciaddr: '192.0.2.100' }), reply, can],
    expected: { address: '192.0.2.100', port: 68 }
  },
  'the broadcast flag': { given: [aRequest(), reply, can], expected: everywhere },
  'a ROM that says unicast': { given: [quiet, reply, { ...can, rom: true }], expected: everywhere },
  'no flag, but no way to address a MAC': {
    given: [quiet, reply, { ...can, unicastWithoutArp: false }],
    expected: everywhere
  },
  'no flag, and a way to address a MAC': {
    given: [quiet, reply, can],
    expected: { address: '192.0.2.100', port: 68, mac: '52:54:00:00:00:01' }
  },
  'other flag bits mean nothing': {
    given: [aRequest({ flags: 0x7fff }), reply, can],
    expected: { address: '192.0.2.100', port: 68, mac: '52:54:00:00:00:01' }
  }
}

t.test('where an answer goes', async (t) => {
  for (const [name, { given, expected }] of Object.entries(cases))
    t.same(dhcpDestination(...given), expected, name)
})
