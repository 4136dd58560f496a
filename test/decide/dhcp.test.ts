import fc from 'fast-check'
import assert from 'node:assert/strict'
import t from 'tap'
import {
  decideDhcp,
  type DhcpFacts,
  type DhcpIgnored,
  type DhcpSettings,
  type DhcpVerdict
} from '../../src/decide/dhcp.ts'
import { placeOf } from '../../src/decide/dhcp-place.ts'
import { bootPlan } from '../../src/decide/gate.ts'
import type { Change } from '../../src/domain/change.ts'
import type { StableState } from '../../src/domain/node.ts'
import { CHECKLIST, type Milestone, type Order, type OrderKind } from '../../src/domain/order.ts'
import type { Lease, Subnet } from '../../src/domain/subnet.ts'
import { decodeDhcp, encodeDhcp, type DhcpMessage } from '../../src/wire/dhcp.ts'
import type { DhcpOptions, MessageType } from '../../src/wire/dhcp-options.ts'
import { aHandover, aLease, anInstance, aNode, anOrder, aPort, aSubnet, NOW } from '../support/builders.ts'
import { aRequest, recorded } from '../support/dhcp.ts'

const MAC = '52:54:00:00:00:01'
const IP = '192.0.2.100'
const US = '192.0.2.1'
const RELAY = '198.51.100.254'
const EVERYWHERE = '255.255.255.255:68'

const near = aSubnet({ dns: ['192.0.2.53', '192.0.2.54'], mtu: 9000 })
const far: Subnet = {
  ...near,
  cidr: '198.51.100.0/24',
  pool: { start: '198.51.100.10', end: '198.51.100.20' },
  gateway: RELAY,
  leaseSeconds: 600
}
const OPEN = '198.18.0.1'
const GUEST = '198.18.0.5'
/** Where strangers get an address. */
const open = aSubnet({
  cidr: '198.18.0.0/24',
  pool: { start: '198.18.0.100', end: '198.18.0.110' },
  relays: [OPEN],
  gateway: null,
  discovery: { start: '198.18.0.2', end: '198.18.0.9', leaseSeconds: 120, perSecond: 20 }
})
const settings: DhcpSettings = {
  address: US,
  httpPort: 80,
  subnets: [near, far, open],
  hasLoader: () => true,
  unicastWithoutArp: false
}

const off = { 'powered-off': NOW }
const seen = { ...off, 'powered-on': NOW, 'agent-seen': NOW }
const written = { ...seen, 'image-written': NOW }
const up = { ...written, 'instance-up': NOW }

const machine = (given: Partial<DhcpFacts> = {}): DhcpFacts => ({
  node: aNode(),
  port: aPort(),
  order: null,
  instance: null,
  lease: null,
  candidate: null,
  conflict: null,
  standDown: null,
  stages: null,
  heard: null,
  modelLoader: null,
  ...given
})
const stranger = machine({ node: null, port: null })
const deploying = machine({ order: anOrder({ ticks: off }) })
const imageWritten = machine({ order: anOrder({ ticks: written }) })
const active = machine({
  node: aNode({ state: 'active' }),
  order: anOrder({ state: 'done', ticks: up })
})
const leased = machine({ lease: aLease() })
const behindRelay = machine({ port: aPort({ reservedIp: '198.51.100.10' }) })

/** An installed system's message; `given` are fields, `options` its options beside the type. */
const says = (
  messageType: MessageType,
  options: DhcpOptions = {},
  given: Partial<DhcpMessage> = {}
): DhcpMessage => aRequest({ options: { messageType, ...options }, ...given })

const declined = (expiresAt: number) =>
  machine({ lease: aLease({ state: 'declined', declines: 1, expiresAt }) })
const intruded = machine({ standDown: 'another DHCP server answers here' })
const guestLease = aLease({ ip: GUEST, kind: 'discovery' })
const guest = (given: Partial<DhcpFacts> = {}) =>
  machine({ node: null, port: null, candidate: GUEST, ...given })
const strangely = (type: MessageType, options: DhcpOptions = {}, given: Partial<DhcpMessage> = {}) =>
  says(type, options, { giaddr: OPEN, ...given })

const ipxe = recorded('seabios-ipxe-discover', { chaddr: MAC })
const ovmf = recorded('ovmf-pxe-discover', { chaddr: MAC })
const ovmfHttp = recorded('ovmf-http-discover', { chaddr: MAC })
const ramdisk = recorded('ramdisk-discover', { chaddr: MAC })
const selecting = { serverId: US, requestedAddress: IP }
const hardBios = says('discover', {
  vendorClass: 'PXEClient:Arch:00000:UNDI:002001',
  clientArchitectures: [0]
})
const unknownArch = says('discover', { vendorClass: 'PXEClient', clientArchitectures: [4711] })

const script = (query: string) => `http://192.0.2.1/boot/script?mac=${MAC}&${query}`
const GUID = 'uuid=0000ed5e-0000-0040-8000-000000000001'

const handedOver = machine({
  node: aNode({
    state: 'active',
    handover: aHandover()
  })
})

type Expected =
  | { ignore: DhcpIgnored; events?: number }
  | { answer: 'offer' | 'ack' | 'nak'; to?: string; bootFile?: string | null; lease?: Lease['state'] | null }

const cases: Record<string, { request: DhcpMessage; facts?: DhcpFacts; expect: Expected }> = {
  // Who is answered
  'a stranger is not answered': {
    request: says('discover'),
    facts: stranger,
    expect: { ignore: 'not-enrolled', events: 0 }
  },
  'a stranger that wants to boot is not answered': {
    request: ovmf,
    facts: stranger,
    expect: { ignore: 'not-enrolled', events: 0 }
  },
  'a stranger with an old address hears no refusal': {
    request: says('request', { requestedAddress: '192.0.2.150' }),
    facts: stranger,
    expect: { ignore: 'not-enrolled', events: 0 }
  },
  'a machine that is handed over is not answered, whatever it asks': {
    request: says('discover'),
    facts: handedOver,
    expect: { ignore: 'handed-over', events: 0 }
  },
  'nor is its renewal': {
    request: says('request', {}, { ciaddr: IP }),
    facts: handedOver,
    expect: { ignore: 'handed-over', events: 0 }
  },
  'a port that does not boot has no address': {
    request: says('discover'),
    facts: machine({ port: aPort({ reservedIp: null }) }),
    expect: { ignore: 'no-address' }
  },
  'a server’s reply is not a request': {
    request: { ...says('discover'), op: 'reply' },
    expect: { ignore: 'not-a-request', events: 0 }
  },
  'an OFFER in a request’s clothes': {
    request: says('offer'),
    expect: { ignore: 'not-a-request', events: 0 }
  },
  'an ACK in a request’s clothes': { request: says('ack'), expect: { ignore: 'not-a-request', events: 0 } },
  'BOOTP without a message type': {
    request: aRequest({ options: {} }),
    expect: { ignore: 'not-dhcp', events: 0 }
  },
  InfiniBand: {
    request: says('discover', {}, { htype: 32, chaddr: '' }),
    expect: { ignore: 'not-ethernet', events: 0 }
  },

  // DISCOVER and the gate
  'an idle machine gets a lease and no boot file, from BIOS': {
    request: hardBios,
    expect: { answer: 'offer', bootFile: null }
  },
  'an idle machine gets a lease and no boot file, from UEFI': {
    request: ovmf,
    expect: { answer: 'offer', bootFile: null }
  },
  'an idle machine gets a lease and no boot file, from UEFI HTTP': {
    request: ovmfHttp,
    expect: { answer: 'offer', bootFile: null }
  },
  'an idle machine gets a lease and no boot file, from iPXE': {
    request: ipxe,
    expect: { answer: 'offer', bootFile: null }
  },
  'an active machine that starts from the network gets no boot file': {
    request: ovmf,
    facts: active,
    expect: { answer: 'offer', bootFile: null }
  },
  'an active machine’s iPXE gets no boot file': {
    request: ipxe,
    facts: active,
    expect: { answer: 'offer', bootFile: null }
  },
  'a deploy that has not seen the machine off serves no boot file': {
    request: ovmf,
    facts: machine({ order: anOrder() }),
    expect: { answer: 'offer', bootFile: null }
  },
  'a deploy whose image is written serves no boot file': {
    request: ovmf,
    facts: imageWritten,
    expect: { answer: 'offer', bootFile: null }
  },
  'a failed deploy serves no boot file': {
    request: ovmf,
    facts: machine({ order: anOrder({ state: 'failed', ticks: seen }) }),
    expect: { answer: 'offer', bootFile: null }
  },
  'maintenance serves no boot file': {
    request: ovmf,
    facts: machine({ node: aNode({ maintenance: true }), order: anOrder({ ticks: off }) }),
    expect: { answer: 'offer', bootFile: null }
  },
  'a port with network boot off serves no boot file': {
    request: ovmf,
    facts: machine({ port: aPort({ pxeEnabled: false }), order: anOrder({ ticks: off }) }),
    expect: { answer: 'offer', bootFile: null }
  },
  'deploying, BIOS takes undionly by TFTP': {
    request: hardBios,
    facts: deploying,
    expect: { answer: 'offer', bootFile: 'undionly.kpxe', to: EVERYWHERE }
  },
  'deploying, OVMF takes snponly by TFTP': {
    request: ovmf,
    facts: deploying,
    expect: { answer: 'offer', bootFile: 'snponly.efi', to: EVERYWHERE }
  },
  'deploying, OVMF’s HTTP boot takes snponly by URL': {
    request: ovmfHttp,
    facts: deploying,
    expect: { answer: 'offer', bootFile: 'http://192.0.2.1/boot/loader/snponly.efi' }
  },
  'deploying, iPXE takes the script': {
    request: ipxe,
    facts: deploying,
    expect: { answer: 'offer', bootFile: script(`${GUID}&client=ipxe&arch=0`), to: EVERYWHERE }
  },
  'deploying, an unknown architecture gets a lease and no boot file': {
    request: unknownArch,
    facts: deploying,
    expect: { answer: 'offer', bootFile: null }
  },
  'deploying, the ramdisk itself gets a lease and no boot file': {
    request: ramdisk,
    facts: deploying,
    expect: { answer: 'offer', bootFile: null }
  },
  'inspecting, OVMF takes snponly': {
    request: ovmf,
    facts: machine({ order: anOrder({ kind: 'inspect', ticks: off }) }),
    expect: { answer: 'offer', bootFile: 'snponly.efi' }
  },

  // REQUEST: selecting
  'selecting our offer is acknowledged and the lease written': {
    request: says('request', selecting),
    expect: { answer: 'ack', lease: 'bound', to: EVERYWHERE }
  },
  'selecting with another client id gets the same address': {
    request: says('request', { ...selecting, clientId: Buffer.from('ff0102030405', 'hex') }),
    expect: { answer: 'ack', lease: 'bound' }
  },
  'selecting another server is left to that server': {
    request: says('request', { serverId: '192.0.2.2', requestedAddress: '192.0.2.77' }),
    expect: { ignore: 'other-server' }
  },
  'selecting us with an address that we did not offer is refused': {
    request: says('request', { serverId: US, requestedAddress: '192.0.2.101' }),
    expect: { answer: 'nak', to: EVERYWHERE, lease: null }
  },
  'selecting us without an address is refused': {
    request: says('request', { serverId: US }),
    expect: { answer: 'nak' }
  },
  'OVMF taking the offer gets its boot file again': {
    request: recorded('ovmf-pxe-request', { chaddr: MAC, options: { requestedAddress: IP } }),
    facts: deploying,
    expect: { answer: 'ack', bootFile: 'snponly.efi', lease: 'bound' }
  },
  'OVMF’s HTTP boot taking the offer gets its URL again': {
    request: recorded('ovmf-http-request', { chaddr: MAC, options: { requestedAddress: IP } }),
    facts: deploying,
    expect: { answer: 'ack', bootFile: 'http://192.0.2.1/boot/loader/snponly.efi', lease: 'bound' }
  },
  'iPXE taking the offer gets its script again': {
    request: recorded('seabios-ipxe-request', { chaddr: MAC, options: { requestedAddress: IP } }),
    facts: deploying,
    expect: { answer: 'ack', bootFile: script(`${GUID}&client=ipxe&arch=0`), lease: 'bound' }
  },

  // REQUEST: init-reboot
  'init-reboot with its own address is acknowledged': {
    request: says('request', { requestedAddress: IP }),
    expect: { answer: 'ack', lease: 'bound', to: EVERYWHERE }
  },
  'init-reboot with an address of another network is refused': {
    request: says('request', { requestedAddress: '10.1.2.3' }),
    expect: { answer: 'nak', to: EVERYWHERE, lease: null }
  },
  'init-reboot with another address of this network is refused': {
    request: says('request', { requestedAddress: '192.0.2.101' }),
    expect: { answer: 'nak' }
  },
  'init-reboot on the wrong side of a relay is refused through that relay': {
    request: says('request', { requestedAddress: IP }, { giaddr: RELAY }),
    expect: { answer: 'nak', to: `${RELAY}:67` }
  },

  // REQUEST: renewing and rebinding
  'renewing goes back to the address itself': {
    request: says('request', {}, { ciaddr: IP, flags: 0 }),
    expect: { answer: 'ack', lease: 'bound', to: `${IP}:68` }
  },
  'rebinding, by broadcast, is answered to the address as well': {
    request: says('request', {}, { ciaddr: IP }),
    expect: { answer: 'ack', lease: 'bound', to: `${IP}:68` }
  },
  'renewing with a server id, against the RFC, is acknowledged too': {
    request: says('request', { serverId: US }, { ciaddr: IP }),
    expect: { answer: 'ack', lease: 'bound', to: `${IP}:68` }
  },
  'renewing an address that is not its own is refused by broadcast': {
    request: says('request', {}, { ciaddr: '192.0.2.101', flags: 0 }),
    expect: { answer: 'nak', to: EVERYWHERE, lease: null }
  },
  'renewing from behind a router finds its subnet by its address': {
    request: says('request', {}, { ciaddr: '198.51.100.10', flags: 0 }),
    facts: behindRelay,
    expect: { answer: 'ack', to: '198.51.100.10:68', lease: 'bound' }
  },

  // RELEASE, DECLINE, INFORM
  'a release of its address, to us, is taken': {
    request: says('release', { serverId: US }, { ciaddr: IP }),
    facts: leased,
    expect: { ignore: 'released' }
  },
  'a release without our server id changes nothing': {
    request: says('release', {}, { ciaddr: IP }),
    facts: leased,
    expect: { ignore: 'other-server' }
  },
  'a release of another address changes nothing': {
    request: says('release', { serverId: US }, { ciaddr: '192.0.2.101' }),
    facts: leased,
    expect: { ignore: 'not-its-address' }
  },
  'a decline of its address is told': {
    request: says('decline', { serverId: US, requestedAddress: IP }),
    facts: leased,
    expect: { ignore: 'declined' }
  },
  'a decline of another address changes nothing': {
    request: says('decline', { serverId: US, requestedAddress: '192.0.2.101' }),
    facts: leased,
    expect: { ignore: 'not-its-address' }
  },
  'a decline to another server changes nothing': {
    request: says('decline', { serverId: '192.0.2.2', requestedAddress: IP }),
    facts: leased,
    expect: { ignore: 'other-server' }
  },
  'INFORM is answered without a lease': {
    request: says('inform', {}, { ciaddr: IP }),
    expect: { answer: 'ack', lease: null, to: `${IP}:68` }
  },
  'INFORM with an address of no subnet of ours is not answered': {
    request: says('inform', {}, { ciaddr: '203.0.113.9' }),
    expect: { ignore: 'not-its-address' }
  },
  'INFORM without an address is not answered': {
    request: says('inform'),
    expect: { ignore: 'not-its-address' }
  },

  'a release by another client id changes nothing': {
    request: says('release', { serverId: US, clientId: Buffer.from('01ff', 'hex') }, { ciaddr: IP }),
    facts: leased,
    expect: { ignore: 'other-client-id' }
  },
  'a decline by another client id changes nothing': {
    request: says('decline', { ...selecting, clientId: Buffer.from('01ff', 'hex') }),
    facts: leased,
    expect: { ignore: 'other-client-id' }
  },
  'a release of what was never acknowledged changes nothing': {
    request: says('release', { serverId: US }, { ciaddr: IP }),
    expect: { ignore: 'not-its-address' }
  },
  'a second release changes nothing': {
    request: says('release', { serverId: US }, { ciaddr: IP }),
    facts: machine({ lease: aLease({ state: 'released' }) }),
    expect: { ignore: 'not-its-address' }
  },

  // An address that somebody else uses
  'a declined address is not offered for a moment': {
    request: says('discover'),
    facts: declined(NOW + 1),
    expect: { ignore: 'quarantined' }
  },
  'nor acknowledged to who asks for it afresh': {
    request: says('request', { requestedAddress: IP }),
    facts: declined(NOW + 1),
    expect: { answer: 'nak', lease: null }
  },
  'after the moment it is offered again': {
    request: says('discover'),
    facts: declined(NOW),
    expect: { answer: 'offer' }
  },
  'an address that another machine answers at is not offered': {
    request: says('discover'),
    facts: machine({ conflict: { mac: '52:54:00:00:00:77' } }),
    expect: { ignore: 'address-in-use' }
  },
  'nor acknowledged to who took the offer': {
    request: says('request', selecting),
    facts: machine({ conflict: { mac: '52:54:00:00:00:77' } }),
    expect: { answer: 'nak', lease: null }
  },
  'who has it already may go on using it': {
    request: says('request', {}, { ciaddr: IP }),
    facts: machine({ conflict: { mac: '52:54:00:00:00:77' } }),
    expect: { answer: 'ack', lease: 'bound' }
  },

  // Another DHCP server on the link
  'no offer beside another server': {
    request: says('discover'),
    facts: intruded,
    expect: { ignore: 'standing-down' }
  },
  'who starts afresh is to wait': {
    request: says('request', { requestedAddress: IP }),
    facts: intruded,
    expect: { ignore: 'standing-down' }
  },
  'who took our offer before may have it': {
    request: says('request', selecting),
    facts: intruded,
    expect: { answer: 'ack', lease: 'bound' }
  },
  'renewals go on': {
    request: says('request', {}, { ciaddr: IP }),
    facts: intruded,
    expect: { answer: 'ack', lease: 'bound' }
  },

  // Strangers where there is a pool for them
  'a stranger is offered what the pool has': {
    request: strangely('discover'),
    facts: guest(),
    expect: { answer: 'offer', bootFile: null, lease: null }
  },
  'a stranger’s firmware gets no boot file': {
    request: { ...ovmf, giaddr: OPEN },
    facts: guest(),
    expect: { answer: 'offer', bootFile: null }
  },
  'a stranger gets nothing when the pool has nothing': {
    request: strangely('discover'),
    facts: guest({ candidate: null }),
    expect: { ignore: 'pool-exhausted', events: 0 }
  },
  'a stranger gets nothing beside another server': {
    request: strangely('discover'),
    facts: guest({ standDown: intruded.standDown }),
    expect: { ignore: 'standing-down', events: 0 }
  },
  'a stranger takes the offer': {
    request: strangely('request', { serverId: US, requestedAddress: GUEST }),
    facts: guest(),
    expect: { answer: 'ack', lease: 'bound' }
  },
  'a stranger takes what it was not offered': {
    request: strangely('request', { serverId: US, requestedAddress: '198.18.0.9' }),
    facts: guest(),
    expect: { answer: 'nak', lease: null }
  },
  'a stranger takes another server’s offer': {
    request: strangely('request', { serverId: '198.18.0.2', requestedAddress: GUEST }),
    facts: guest(),
    expect: { ignore: 'other-server', events: 0 }
  },
  'init-reboot of a stranger that is known': {
    request: strangely('request', { requestedAddress: GUEST }),
    facts: guest({ lease: guestLease }),
    expect: { answer: 'ack', lease: 'bound' }
  },
  'init-reboot of a stranger that is not known: silence': {
    request: strangely('request', { requestedAddress: GUEST }),
    facts: guest(),
    expect: { ignore: 'unknown-lease', events: 0 }
  },
  'init-reboot of a stranger from another network': {
    request: strangely('request', { requestedAddress: '10.1.2.3' }),
    facts: guest(),
    expect: { answer: 'nak', to: `${OPEN}:67` }
  },
  'init-reboot of a stranger whose address went to somebody else': {
    request: strangely('request', { requestedAddress: GUEST }),
    facts: guest({ lease: guestLease, candidate: '198.18.0.9' }),
    expect: { answer: 'nak' }
  },
  'a stranger renews': {
    request: strangely('request', {}, { giaddr: '0.0.0.0', ciaddr: GUEST }),
    facts: guest({ lease: guestLease }),
    expect: { answer: 'ack', lease: 'bound', to: `${GUEST}:68` }
  },
  'a stranger renews what we know nothing of': {
    request: strangely('request', {}, { giaddr: '0.0.0.0', ciaddr: GUEST }),
    facts: guest(),
    expect: { ignore: 'unknown-lease', events: 0 }
  },
  'a stranger gives its address back': {
    request: strangely('release', { serverId: US }, { giaddr: '0.0.0.0', ciaddr: GUEST }),
    facts: guest({ lease: guestLease }),
    expect: { ignore: 'released', events: 0 }
  },
  'a stranger gives another’s address back': {
    request: strangely('release', { serverId: US }, { giaddr: '0.0.0.0', ciaddr: '198.18.0.9' }),
    facts: guest({ lease: guestLease }),
    expect: { ignore: 'not-its-address', events: 0 }
  },
  'a stranger declines': {
    request: strangely('decline', { serverId: US, requestedAddress: GUEST }),
    facts: guest({ lease: guestLease }),
    expect: { ignore: 'declined', events: 0 }
  },
  'a stranger informs itself': {
    request: strangely('inform', {}, { giaddr: '0.0.0.0', ciaddr: GUEST }),
    facts: guest({ lease: guestLease }),
    expect: { ignore: 'not-enrolled', events: 0 }
  },
  'a stranger in a subnet without a pool': {
    request: says('discover'),
    facts: guest(),
    expect: { ignore: 'not-enrolled', events: 0 }
  },

  // Relays and destinations
  'a relay that is not known is not answered': {
    request: says('discover', {}, { giaddr: '198.18.0.77' }),
    expect: { ignore: 'unknown-relay', events: 0 }
  },
  'a cut-off option 82 is not answered': {
    request: says('discover', { relayAgent: Buffer.of(1, 9) }, { giaddr: RELAY }),
    expect: { ignore: 'bad-relay-option', events: 0 }
  },
  'a relayed DISCOVER is answered to the relay': {
    request: says('discover', {}, { giaddr: RELAY, hops: 1 }),
    facts: behindRelay,
    expect: { answer: 'offer', to: `${RELAY}:67` }
  },
  'a relay of no subnet of ours is not answered': {
    request: says('discover', {}, { giaddr: '203.0.113.1' }),
    expect: { ignore: 'no-subnet' }
  },
  'a machine that was moved to another subnet is not answered': {
    request: says('discover', {}, { giaddr: RELAY }),
    expect: { ignore: 'address-elsewhere' }
  },
  'a DISCOVER that claims an address is answered by broadcast all the same': {
    request: says('discover', {}, { ciaddr: '192.0.2.66', flags: 0 }),
    expect: { answer: 'offer', to: EVERYWHERE }
  },
  'without the broadcast flag it is broadcast as long as we cannot address a MAC': {
    request: says('discover', {}, { flags: 0 }),
    expect: { answer: 'offer', to: EVERYWHERE }
  }
}

const decide = (request: DhcpMessage, facts = machine(), with_ = settings): DhcpVerdict =>
  decideDhcp(request, placeOf(request, with_), facts, with_, { now: NOW, leaseNow: NOW })

const of = <K extends string>(changes: Change[], key: K) =>
  changes.filter((change): change is Extract<Change, Record<K, unknown>> => key in change)
const leases = (changes: Change[]) =>
  of(changes, 'put').flatMap((change) => (change.put === 'lease' ? [change.row] : []))
const events = (changes: Change[]) => of(changes, 'event').map(({ event }) => event)

function answer(verdict: DhcpVerdict): Extract<DhcpVerdict, { reply: unknown }> {
  if (!('reply' in verdict)) throw new Error(`ignored: ${verdict.ignore}`)
  return verdict
}

const offered = (request: DhcpMessage, facts = machine(), with_ = settings) =>
  answer(decide(request, facts, with_))

t.test('what is answered, where to, with which boot file', async (t) => {
  for (const [name, { request, facts = machine(), expect }] of Object.entries(cases)) {
    const verdict = decide(request, facts)
    if ('ignore' in expect) {
      t.equal('ignore' in verdict ? verdict.ignore : 'answered', expect.ignore, name)
      const noted = events(verdict.changes)
      t.equal(noted.length, expect.events ?? 1, `${name}: events`)
      for (const { kind } of noted) t.equal(kind, 'dhcp-ignored', name)
      continue
    }
    if ('ignore' in verdict) {
      t.fail(`${name}: ignored, ${verdict.ignore}`)
      continue
    }
    const { reply, destination } = verdict
    t.equal(reply.options.messageType, expect.answer, name)
    if (expect.to) t.equal(`${destination.address}:${destination.port}`, expect.to, `${name}: destination`)
    if (expect.bootFile !== undefined) {
      t.equal(verdict.bootFile, expect.bootFile, `${name}: boot file`)
      t.equal(reply.options.bootFileName, expect.bootFile ?? undefined, `${name}: option 67`)
    }
    if (expect.lease !== undefined)
      t.same(
        leases(verdict.changes).map(({ state }) => state),
        expect.lease === null ? [] : [expect.lease],
        `${name}: lease`
      )
    t.equal(
      events(verdict.changes).filter(({ kind }) => kind === 'dhcp-answered').length,
      facts.node ? 1 : 0,
      `${name}: event`
    )
    t.ok(verdict.reason.length > 5, `${name}: "${verdict.reason}"`)
  }
})

const WORDS = 'Boot from the local disk'
const length = (extra: number) => String.fromCharCode(WORDS.length + extra)
/** Option 43: discover nobody; a menu with the local disk alone; a prompt of no seconds (PXE 2.1, table 2-1). */
const LOCAL_BOOT = `\x06\x01\x03\x09${length(3)}\0\0${length(0)}${WORDS}\x0a${length(1)}\0${WORDS}\xff`

t.test('PXE firmware with nothing to boot is told to go on to its disk, and is given no file', async (t) => {
  for (const [name, request] of Object.entries({ hardBios, ovmf })) {
    const { reply } = offered(request, active)
    const { vendorClass, vendorOptions, tftpServerName, bootFileName } = reply.options
    t.same(
      [tftpServerName, bootFileName, reply.siaddr, reply.file],
      [undefined, undefined, '0.0.0.0', ''],
      name
    )
    t.equal(vendorClass, 'PXEClient', `${name}: or else it would not read option 43`)
    t.equal(vendorOptions?.toString('latin1'), LOCAL_BOOT, `${name}: one item, type 0, taken at once`)
  }
})

t.test('no boot file means nothing of PXE to anything else', async (t) => {
  for (const [name, request] of Object.entries({ ovmfHttp, ipxe, unknownArch, ramdisk })) {
    const { reply } = offered(request, name === 'unknownArch' ? deploying : active)
    const { vendorClass, vendorOptions, tftpServerName, bootFileName, ipxe } = reply.options
    t.same([vendorClass, vendorOptions, tftpServerName, bootFileName, ipxe], Array(5).fill(undefined), name)
    t.same([reply.siaddr, reply.file, reply.sname], ['0.0.0.0', '', ''], `${name}: fields`)
    t.equal(reply.yiaddr, IP, `${name}: but an address`)
  }
})

t.test('the boot file stands wherever a client may look for it', async (t) => {
  const tftp = offered(ovmf, deploying).reply
  t.match(tftp, { siaddr: US, file: 'snponly.efi', sname: '' })
  t.match(tftp.options, { bootFileName: 'snponly.efi', tftpServerName: US, vendorClass: 'PXEClient' })
  t.equal(tftp.options.vendorOptions?.toString('hex'), '060108ff', 'take this file, ask nobody else')

  const http = offered(ovmfHttp, deploying).reply
  t.match(http, { siaddr: US, file: 'http://192.0.2.1/boot/loader/snponly.efi' })
  t.match(http.options, { vendorClass: 'HTTPClient', tftpServerName: undefined, vendorOptions: undefined })

  const byScript = offered(ipxe, deploying).reply
  t.equal(byScript.file, byScript.options.bootFileName)
  t.same(byScript.options.vendorClass, undefined, 'no PXEClient: iPXE would look for a proxy')
  t.equal(byScript.options.ipxe?.toString('hex'), 'b00101')
})

t.test('the longest script URL still fits into the file field', async (t) => {
  const subnets = [{ ...near, cidr: '192.168.200.0/24' }]
  const long = { ...settings, address: '192.168.200.100', httpPort: 50080, subnets }
  const there = machine({ port: aPort({ reservedIp: '192.168.200.101' }), order: anOrder({ ticks: off }) })
  const request = recorded('seabios-ipxe-discover', {
    chaddr: MAC,
    options: { clientArchitectures: [65535] }
  })
  const { reply, bootFile } = offered(request, there, long)
  t.equal(bootFile?.length, 127)
  t.match(reply, { file: bootFile, options: { bootFileName: bootFile } })
  t.equal(decodeDhcp(encodeDhcp(reply)).file, bootFile)
})

t.test('an OFFER and the ACK after it agree', async (t) => {
  for (const request of [ipxe, ovmf, ovmfHttp, ramdisk, says('discover')]) {
    const offer = offered(request, deploying).reply
    const options = { ...request.options, messageType: 'request' as const, ...selecting }
    const ack = offered({ ...request, options }, deploying).reply
    t.same({ ...ack, options: { ...ack.options, messageType: 'offer' } }, offer)
  }
})

t.test('every stage of one machine gets the same address', async (t) => {
  const stages = [ipxe, ovmf, ovmfHttp, ramdisk, recorded('dhclient-discover', { chaddr: MAC })]
  for (const request of stages) t.equal(offered(request).reply.yiaddr, IP)
})

t.test('what the network is like', async (t) => {
  const { options } = offered(says('discover', { leaseSeconds: 99999 })).reply
  t.match(options, {
    serverId: US,
    leaseSeconds: 3600,
    renewSeconds: 1800,
    rebindSeconds: 3150,
    subnetMask: '255.255.255.0',
    routers: ['192.0.2.254'],
    dnsServers: ['192.0.2.53', '192.0.2.54'],
    domainName: 'example.org',
    ntpServers: [US],
    interfaceMtu: 9000
  })
  const bare = { ...near, gateway: null, dns: [], ntp: [], domain: null, mtu: null }
  const plain = offered(ipxe, machine(), { ...settings, subnets: [bare] }).reply.options
  t.same(Object.keys(plain).sort(), [
    'clientId',
    'clientMachineId',
    'leaseSeconds',
    'messageType',
    'rebindSeconds',
    'renewSeconds',
    'serverId',
    'subnetMask'
  ])
})

t.test('options come in the order in which they were asked for', async (t) => {
  const { options } = offered(says('discover', { parameterList: [42, 6, 1] })).reply
  const names = Object.keys(options).filter((name) => /ntp|dns|subnet|routers/.test(name))
  t.same(names, ['ntpServers', 'dnsServers', 'subnetMask', 'routers'])
})

t.test('classless routes', async (t) => {
  const metadata = { network: '169.254.169.254/32', router: US }
  const byDefault = { network: '0.0.0.0/0', router: '192.0.2.254' }
  const routes = (request: DhcpMessage, facts = machine(), with_ = settings) =>
    offered(request, facts, with_).reply.options.classlessRoutes
  t.same(routes(says('discover')), [metadata, byDefault], 'an installed system need not ask')
  t.same(routes(ovmf), undefined, 'firmware does not get them unasked')
  t.same(
    routes({ ...ovmf, options: { ...ovmf.options, parameterList: [121] } }),
    [metadata, byDefault],
    'asked for'
  )
  const noGateway = { ...settings, subnets: [{ ...near, gateway: null }] }
  t.same(routes(says('discover'), machine(), noGateway), [metadata], 'no gateway, no default route')
  t.same(
    routes(says('discover', {}, { giaddr: RELAY }), behindRelay),
    [{ network: '0.0.0.0/0', router: RELAY }],
    'behind a relay we are no neighbour'
  )
})

t.test('what is copied and echoed', async (t) => {
  const relayAgent = Buffer.from('0104000100020206aabbccddeeff', 'hex')
  const request = recorded('ovmf-pxe-discover', {
    chaddr: MAC,
    giaddr: RELAY,
    hops: 3,
    secs: 12,
    options: { clientId: Buffer.from('ff00', 'hex'), relayAgent }
  })
  const { reply } = offered(request, behindRelay)
  const { xid, flags, htype } = request
  t.match(reply, { op: 'reply', xid, flags, htype, chaddr: MAC, giaddr: RELAY, hops: 0, secs: 0 })
  t.same(reply.options.clientId, request.options.clientId)
  t.same(reply.options.clientMachineId, request.options.clientMachineId, 'option 97 byte for byte')
  const bytes = encodeDhcp(reply)
  const end = bytes.indexOf(Buffer.concat([relayAgent, Buffer.of(255)]))
  t.ok(end > 240, 'option 82 is the last one')
})

t.test('a refusal says why, and little else', async (t) => {
  const relayAgent = Buffer.from('010100', 'hex')
  const wrong = { requestedAddress: '10.1.2.3', clientId: Buffer.from('01ff', 'hex'), relayAgent }
  const { reply, changes } = offered(says('request', wrong, { flags: 0, giaddr: RELAY }), behindRelay)
  t.same(Object.keys(reply.options), ['messageType', 'serverId', 'message', 'clientId', 'relayAgent'])
  t.match(reply.options.message, /198\.51\.100\.10.*10\.1\.2\.3/)
  t.match(reply, { yiaddr: '0.0.0.0', ciaddr: '0.0.0.0', siaddr: '0.0.0.0', flags: 0x8000 })
  t.equal(leases(changes).length, 0)
  t.equal(offered(says('request', wrong, { flags: 0 })).reply.flags, 0, 'not relayed: the flag is left alone')
})

t.test('INFORM: no address, no lease times', async (t) => {
  const { reply } = offered(says('inform', {}, { ciaddr: IP }))
  t.match(reply, { yiaddr: '0.0.0.0', ciaddr: IP })
  const { leaseSeconds, renewSeconds, rebindSeconds, subnetMask } = reply.options
  t.same([leaseSeconds, renewSeconds, rebindSeconds], [undefined, undefined, undefined])
  t.equal(subnetMask, '255.255.255.0')
})

t.test('the lease that is written', async (t) => {
  const row = (request: DhcpMessage, lease: Lease | null = null) =>
    leases(decide(request, machine({ lease })).changes)[0]
  const bound = row(says('request', { ...selecting, hostName: 'ctl-1' }))
  t.same(bound, {
    ...aLease(),
    hostname: 'ctl-1'
  })
  t.equal(row(says('request', selecting), bound)?.hostname, 'ctl-1', 'a name once told is kept')
  t.match(row(says('release', { serverId: US }, { ciaddr: IP }), bound), {
    state: 'released',
    expiresAt: NOW
  })
  t.match(row(says('decline', selecting), bound), {
    state: 'declined',
    declines: 1,
    expiresAt: NOW + 10_000
  })
  t.equal(row(says('discover')), undefined, 'an offer writes none')
})

t.test('a stranger’s lease is short, says so, and is kept apart', async (t) => {
  const verdict = answer(decide(strangely('request', { serverId: US, requestedAddress: GUEST }), guest()))
  t.match(verdict, { kind: 'discovery', reply: { yiaddr: GUEST, options: { leaseSeconds: 120 } } })
  t.match(leases(verdict.changes), [{ kind: 'discovery', ip: GUEST, mac: MAC, expiresAt: NOW + 120_000 }])
})

t.test('declined again and again: longer each time, never for long, and people are told', async (t) => {
  const decline = says('decline', selecting)
  const barred: number[] = []
  let lease = aLease()
  for (let time = 1; time <= 5; time++) {
    const { changes } = decide(decline, machine({ lease }))
    const [row] = leases(changes)
    barred.push(((row?.expiresAt ?? 0) - NOW) / 1000)
    const alarms = events(changes).filter(({ kind }) => kind === 'address-conflict')
    t.equal(alarms.length, time >= 3 ? 1 : 0, `time ${time}`)
    lease = { ...(row as Lease), state: 'bound' }
  }
  t.same(barred, [10, 20, 40, 60, 60])
  t.equal(leases(decide(says('request', {}, { ciaddr: IP }), machine({ lease })).changes)[0]?.declines, 0)
  t.equal(leases(decide(says('request', selecting), machine({ lease })).changes)[0]?.declines, 5)
  const far = leases(
    decide(strangely('decline', { serverId: US, requestedAddress: GUEST }), guest({ lease: guestLease }))
      .changes
  )
  t.match(far, [{ ip: GUEST, state: 'declined', expiresAt: NOW + 3_600_000 }], 'a pool has others to give')
})

t.test('a relay may have clients take it for the server (RFC 5107)', async (t) => {
  const relayAgent = Buffer.from('0b04c63364fe', 'hex')
  const relayed = (type: MessageType, options: DhcpOptions = {}) =>
    says(type, { relayAgent, ...options }, { giaddr: RELAY })
  const facts = machine({ port: aPort({ reservedIp: '198.51.100.10' }) })
  t.equal(offered(relayed('discover'), facts).reply.options.serverId, RELAY)
  const taken = relayed('request', { serverId: RELAY, requestedAddress: '198.51.100.10' })
  t.match(offered(taken, facts).reply.options, { messageType: 'ack', serverId: RELAY })
  const ours = relayed('request', { serverId: US, requestedAddress: '198.51.100.10' })
  t.match(decide(ours, facts), { ignore: 'other-server' })
})

t.test('a node’s own options come before its subnet’s', async (t) => {
  const subnets = [{ ...near, options: { 100: '434554', 101: '61' } }]
  const node = aNode({ extra: { dhcp: { mtu: 1500, gateway: null, options: { 100: { text: 'UTC' } } } } })
  const { options } = offered(says('discover'), machine({ node }), { ...settings, subnets }).reply
  t.match(options, { interfaceMtu: 1500, dnsServers: near.dns, routers: undefined })
  t.match(options, { '#100': Buffer.from('UTC'), '#101': Buffer.from('a') })
  t.same(
    options.classlessRoutes,
    [{ network: '169.254.169.254/32', router: US }],
    'no default route without a gateway'
  )
})

t.test('routes of the subnet stand in option 121; one of them may be the default', async (t) => {
  const more = [{ network: '10.0.0.0/8', router: '192.0.2.253' }]
  const routes = (given: typeof more) =>
    offered(says('discover'), machine(), { ...settings, subnets: [{ ...near, routes: given }] }).reply.options
      .classlessRoutes
  const metadata = { network: '169.254.169.254/32', router: US }
  t.same(routes(more), [metadata, ...more, { network: '0.0.0.0/0', router: '192.0.2.254' }])
  const own = [{ network: '0.0.0.0/0', router: '192.0.2.253' }]
  t.same(routes(own), [metadata, ...own])
})

t.test('an installed system that asks for its name is told it', async (t) => {
  const facts = machine({ node: aNode({ state: 'active' }), instance: anInstance({ hostname: 'web-1' }) })
  const hostName = (parameterList: number[], known = facts) =>
    offered(says('discover', { parameterList }), known).reply.options.hostName
  t.equal(hostName([1, 12]), 'web-1')
  t.equal(hostName([1]), undefined, 'not asked for')
  t.equal(hostName([12], machine({ instance: anInstance() })), undefined, 'not installed yet')
})

t.test('a machine that gets nowhere is told the next boot file, and in the end none', async (t) => {
  const order = anOrder({ ticks: off })
  const stages = (visits: number): DhcpFacts['stages'] => ({
    orderId: order.id,
    attempt: 1,
    silent: 0,
    visits: { 'pxe-uefi': visits },
    xid: 0
  })
  const at = (visits: number) => {
    const request = { ...ovmf, options: { ...ovmf.options, messageType: 'request' as const, ...selecting } }
    const { bootFile, reason, changes } = offered(request, machine({ order, stages: stages(visits) }))
    const changed = events(changes).filter(({ kind }) => kind === 'boot-file-changed')
    return { bootFile, reason, changed: changed.map(({ detail }) => detail) }
  }
  t.match(at(0), { bootFile: 'snponly.efi', changed: [] })
  t.match(at(1), { bootFile: 'snponly.efi', reason: /visit 2 of this stage/, changed: [] })
  t.match(at(2), { bootFile: 'ipxe.efi', changed: [{ visits: 2, from: 'snponly.efi', to: 'ipxe.efi' }] })
  t.match(at(3), { bootFile: 'ipxe.efi', changed: [] })
  t.match(at(8), { bootFile: null, reason: /8 boot files in attempt 1/, changed: [{ to: null }] })
  t.match(at(9), { bootFile: null, changed: [] })
  const left = offered(ovmf, machine({ order, stages: stages(8) })).reply
  t.equal(left.options.vendorOptions?.toString('latin1'), LOCAL_BOOT, 'and its firmware is sent on')
})

t.test(
  'boot programs that we have nothing for get an address and nothing else, and the reason names them',
  async (t) => {
    const arm = { ...deploying, node: aNode({ properties: { cpu_arch: 'aarch64' } }) }
    const unsupported: Record<string, RegExp> = {
      'uboot-pxe-discover': /no boot loader for ARM64 U-Boot: let U-Boot boot by UEFI/,
      'rpi4-discover': /no boot loader for the boot ROM of a Raspberry Pi: give the Pi UEFI firmware/
    }
    for (const [name, words] of Object.entries(unsupported)) {
      const request = recorded(name, { chaddr: MAC })
      const answer = offered(request, arm)
      t.match(answer, { bootFile: null, reason: words }, name)
      const { file, siaddr, yiaddr, options } = answer.reply
      t.same([file, siaddr, yiaddr], ['', '0.0.0.0', IP], name)
      for (const option of ['bootFileName', 'tftpServerName', 'vendorClass', 'vendorOptions'] as const)
        t.equal(options[option], undefined, `${name}: ${option}`)
      t.match(events(answer.changes), [{ kind: 'dhcp-answered', detail: { bootFile: null, reason: words } }])
      t.equal(offered(request, machine({ node: arm.node })).bootFile, null, `${name}, without an order`)
      t.match(decide(request, stranger), { ignore: 'not-enrolled' }, `${name}, a stranger`)
    }
    const efi = recorded('uboot-efi-discover', { chaddr: MAC })
    t.match(offered(efi, arm), { bootFile: 'ipxe-arm64.efi', reply: { file: 'ipxe-arm64.efi', siaddr: US } })
    t.equal(offered(efi, machine({ node: arm.node })).bootFile, null, 'U-Boot by UEFI, without an order')
  }
)

t.test('a machine of another architecture than it is enrolled with gets no boot file', async (t) => {
  const enrolled = (cpu_arch?: string) => ({
    ...deploying,
    node: aNode({ properties: cpu_arch === undefined ? {} : { cpu_arch } })
  })
  const arm64 = recorded('uboot-efi-discover', { chaddr: MAC })
  t.match(offered(arm64, enrolled('x86_64')), {
    bootFile: null,
    reason: /ARM64 UEFI asks, and the node is enrolled as x86_64: set properties.cpu_arch to aarch64/
  })
  t.match(offered(arm64, enrolled()), { bootFile: null, reason: /names none.*aarch64/ })
  t.match(offered(ovmf, enrolled('aarch64')), { bootFile: null, reason: /set properties.cpu_arch to x86_64/ })
  t.match(offered(ipxe, enrolled('aarch64')), { bootFile: null, reason: /x86 BIOS/ })
  t.match(offered(ovmf, enrolled('x86_64')), { bootFile: 'snponly.efi' })
  t.match(offered(arm64, enrolled('aarch64')), { bootFile: 'ipxe-arm64.efi' })
})

t.test(
  'a machine that was not heard for long, or asks again, is told of; only while it is to boot',
  async (t) => {
    const delays = (given: Partial<DhcpMessage>, facts: DhcpFacts) =>
      events(offered({ ...ovmf, ...given }, facts).changes)
        .filter(({ kind }) => kind === 'boot-delayed')
        .map(({ detail }) => detail)
    t.match(delays({ secs: 28 }, deploying), [
      { client: 'pxe-uefi', cause: 'port-blocked', evidence: /28 s/ }
    ])
    t.same(delays({ secs: 4 }, deploying), [])
    t.same(delays({ secs: 28 }, machine()), [], 'without an order')
    const heard = { xid: ovmf.xid, at: NOW - 4000 }
    t.match(delays({ secs: 4 }, { ...deploying, heard }), [{ cause: 'packets-lost' }])
  }
)

t.test(
  'a loader that was fetched and came to nothing is followed by the next, and that is told',
  async (t) => {
    const trial = (given: object) => ({ fetched: null, worked: null, silent: [], refused: false, ...given })
    const fetched = { loader: 'snponly.efi', at: NOW - 4000 }
    const asks = (request: DhcpMessage, given: object, facts: Partial<DhcpFacts> = {}) => {
      const order = anOrder({ ticks: off, loaderTrial: trial(given) })
      const asked = {
        ...request,
        options: { ...request.options, messageType: 'request' as const, ...selecting }
      }
      const { bootFile, changes } = offered(asked, machine({ order, ...facts }))
      const row = changes.flatMap((change) =>
        'put' in change && change.put === 'order' ? [change.row] : []
      )[0]
      return { bootFile, told: events(changes).filter(({ kind }) => kind === 'loader-silent'), row }
    }
    const refused = asks(ovmfHttp, { fetched })
    t.equal(refused.bootFile, 'http://192.0.2.1/boot/loader/shimx64.efi', 'refused at once: a signed one')
    t.match(refused.told, [
      { subject: 'snponly.efi', detail: { seconds: 4, reason: /Secure Boot/, next: /shimx64\.efi$/ } }
    ])
    t.match(refused.row?.loaderTrial, { fetched: null, silent: ['snponly.efi'], refused: true })
    const slow = asks(ovmf, { fetched: { ...fetched, at: NOW - 200_000 } })
    t.match(slow, { bootFile: 'ipxe.efi', told: [{ detail: { seconds: 200, next: 'ipxe.efi' } }] })
    t.match(asks(ovmf, { silent: ['snponly.efi'] }), { bootFile: 'ipxe.efi', told: [] }, 'told once')
    t.match(asks(ovmf, { worked: 'snponly.efi' }), { bootFile: 'snponly.efi', told: [], row: undefined })
    t.match(
      asks(ipxe, { fetched: { loader: 'undionly.kpxe', at: NOW } }),
      { told: [], row: { loaderTrial: { fetched: null, worked: 'undionly.kpxe' } } },
      'iPXE asks: the loader works'
    )
    const offer = offered(ovmf, machine({ order: anOrder({ ticks: off, loaderTrial: trial({ fetched }) }) }))
    t.equal(offer.bootFile, 'shimx64.efi', 'an offer says the same')
    t.same(
      offer.changes.filter((change) => !('event' in change)),
      [],
      'and is none of the facts'
    )
    t.equal(
      asks(ovmf, {}, { modelLoader: 'shimx64.efi' }).bootFile,
      'shimx64.efi',
      'what its model is known for'
    )
    t.equal(asks(ovmf, {}, { modelLoader: 'undionly.kpxe' }).bootFile, 'snponly.efi')
  }
)

t.test('a loader that is not there is not told', async (t) => {
  const order = anOrder({ ticks: off })
  const without = (name: string) => ({ ...settings, hasLoader: (other: string) => other !== name })
  const file = (name: string) => {
    const verdict = decideDhcp(ovmf, placeOf(ovmf, settings), machine({ order }), without(name), {
      now: NOW,
      leaseNow: NOW
    })
    return 'reply' in verdict ? [verdict.bootFile, verdict.reason] : verdict
  }
  t.match(file('snponly.efi'), ['ipxe.efi'])
  t.match(file('shimx64.efi'), ['snponly.efi'])
})

t.test('a client’s own words come with the event, made printable', async (t) => {
  const decline = recorded('ovmf-pxe-decline', { chaddr: MAC, options: { requestedAddress: IP } })
  const lease = aLease({ clientId: decline.options.clientId?.toString('hex') ?? null })
  const [event] = events(decide(decline, machine({ lease })).changes)
  t.match(event, {
    kind: 'dhcp-ignored',
    detail: { reason: 'declined: Lease is denied upon entering bound' }
  })
  const rude = says('decline', { ...selecting, message: '\x1b[2J' + 'x'.repeat(300) })
  const [cut] = events(decide(rude, leased).changes)
  t.match(cut?.detail, { reason: `declined: ?[2J${'x'.repeat(96)}` })
})

t.test('events fold by message and client', async (t) => {
  const subject = (request: DhcpMessage) => events(decide(request, deploying).changes)[0]
  t.match(subject(ipxe), { subject: 'offer ipxe', nodeUuid: aNode().uuid, orderId: anOrder().id, at: NOW })
  t.equal(subject({ ...ipxe, xid: 7 })?.subject, subject(ipxe)?.subject)
  t.equal(subject(ovmf)?.subject, 'offer pxe-uefi')
  t.match(subject(ovmf)?.detail, { type: 'offer', ip: IP, client: 'pxe-uefi', bootFile: 'snponly.efi' })
})

const systemRequest = says('request', selecting)
const signs: Record<string, { request: DhcpMessage; facts: DhcpFacts; up: boolean }> = {
  'the installed system after the write': { request: systemRequest, facts: imageWritten, up: true },
  'its renewal': { request: says('request', {}, { ciaddr: IP }), facts: imageWritten, up: true },
  'before the write (the old system, say)': { request: systemRequest, facts: deploying, up: false },
  'a DISCOVER only': { request: says('discover'), facts: imageWritten, up: false },
  'a refused address': {
    request: says('request', { requestedAddress: '10.1.2.3' }),
    facts: imageWritten,
    up: false
  },
  'the ramdisk': {
    request: recorded('ramdisk-discover', { chaddr: MAC, options: { messageType: 'request', ...selecting } }),
    facts: imageWritten,
    up: false
  },
  OVMF: {
    request: recorded('ovmf-pxe-request', { chaddr: MAC, options: selecting }),
    facts: imageWritten,
    up: false
  },
  iPXE: {
    request: recorded('seabios-ipxe-request', { chaddr: MAC, options: selecting }),
    facts: imageWritten,
    up: false
  },
  'an instance that is up already': {
    request: systemRequest,
    facts: machine({ order: anOrder({ ticks: up }) }),
    up: false
  },
  'an order that is done': { request: systemRequest, facts: active, up: false },
  'an inspection': {
    request: systemRequest,
    facts: machine({ order: anOrder({ kind: 'inspect', ticks: seen }) }),
    up: false
  },
  INFORM: { request: says('inform', {}, { ciaddr: IP }), facts: imageWritten, up: false }
}

t.test('what shows that the instance is up', async (t) => {
  for (const [name, { request, facts, up }] of Object.entries(signs)) {
    const { changes } = decide(request, facts)
    const tick = { tick: 'instance-up', orderId: anOrder().id, attempt: 1, at: NOW }
    t.same(of(changes, 'tick'), up ? [tick] : [], name)
    const reached = events(changes).filter(({ kind }) => kind === 'milestone-reached')
    t.match(reached, up ? [{ detail: { milestone: 'instance-up', by: 'dhcp' } }] : [], name)
    t.equal(reached.length, up ? 1 : 0, name)
  }
})

const kinds = Object.keys(CHECKLIST) as OrderKind[]
const orderStates: Order['state'][] = ['open', 'done', 'failed', 'cancelled']
const nodeStates: StableState[] = ['enroll', 'manageable', 'available', 'active']

/** Every order there can be: each kind in each state with each number of lines ticked. */
const allOrders = kinds.flatMap((kind) =>
  orderStates.flatMap((state) =>
    [...CHECKLIST[kind], null].map((_, ticked) => {
      const done = CHECKLIST[kind].slice(0, ticked).map((milestone): [Milestone, number] => [milestone, NOW])
      return anOrder({ kind, state, ticks: Object.fromEntries(done) })
    })
  )
)

/** Every state a machine can be in, as far as the gate and DHCP look at it. */
const allFacts = [null, ...allOrders].flatMap((order) =>
  nodeStates.flatMap((state) =>
    [false, true].flatMap((maintenance) =>
      [false, true].map((pxeEnabled) =>
        machine({ node: aNode({ state, maintenance }), port: aPort({ pxeEnabled }), order })
      )
    )
  )
)

const allRequests = [ipxe, ovmf, ovmfHttp, hardBios, unknownArch, ramdisk, says('discover')].flatMap(
  (request) =>
    [
      { options: { messageType: 'discover' as const } },
      { options: { messageType: 'request' as const, ...selecting } },
      { options: { messageType: 'request' as const, requestedAddress: IP } },
      { options: { messageType: 'request' as const }, ciaddr: IP },
      { options: { messageType: 'inform' as const }, ciaddr: IP }
    ].map(({ options, ...fields }) => ({
      ...request,
      ...fields,
      options: { ...request.options, ...options }
    }))
)

t.test('in every state and to every firmware: a boot file only if the gate says ramdisk', async (t) => {
  let served = 0
  for (const facts of allFacts) {
    const { boot } = bootPlan(facts)
    for (const request of allRequests) {
      const { reply, bootFile } = offered(request, facts)
      const { vendorClass, vendorOptions, bootFileName, tftpServerName, ipxe } = reply.options
      const signs = [reply.file, bootFileName, vendorClass, vendorOptions, tftpServerName, ipxe]
      const leaves = vendorOptions?.toString('latin1') === LOCAL_BOOT
      if (leaves) assert.equal(vendorClass, 'PXEClient')
      const signed = leaves ? [reply.file, bootFileName, tftpServerName, ipxe] : signs
      const told = signed.some((sign) => sign) || reply.siaddr !== '0.0.0.0'
      assert.equal(told, bootFile !== null, 'a boot file and its options come together')
      if (bootFile !== null) assert.equal(boot, 'ramdisk', JSON.stringify({ facts, request }))
      if (bootFile !== null) served++
    }
  }
  // Deploy with one to four lines ticked, inspect with one to three; out of maintenance, network boot on.
  t.equal(served, (4 + 3) * nodeStates.length * 4 * 5, 'four firmwares, five kinds of request')
})

t.test('whatever decodes can be decided and answered', async (t) => {
  let answered = 0
  const anyBytes = fc.tuple(
    fc.constantFrom(...allRequests),
    fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 6 })
  )
  fc.assert(
    fc.property(fc.constantFrom(...allFacts), anyBytes, (facts, [request, damage]) => {
      const bytes = encodeDhcp(request, 1500)
      for (const [at, value] of damage) if (at < bytes.length) bytes[at] = value
      let damaged: DhcpMessage
      try {
        damaged = decodeDhcp(bytes)
      } catch {
        return
      }
      const verdict = decide(damaged, facts)
      if (!('reply' in verdict)) return
      answered++
      assert.equal(decodeDhcp(encodeDhcp(verdict.reply, damaged.options.maxMessageSize)).xid, damaged.xid)
    }),
    { numRuns: 5000, seed: 4 }
  )
  t.ok(answered > 500, `${answered} of 5000 were answered`)
})
