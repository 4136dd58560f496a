// What a DHCP server has to do, as a table: a sentence → what is sent and what must come back. Each expectation is written from the
// RFC that the case names, not from our code; where Seedling departs from one on purpose, the case says so. How Kea and
// dnsmasq differ from Seedling in a case stands there with the reason; what is not listed is the same.

import { Buffer } from 'node:buffer'
import type { Discovery, Subnet } from '../../src/domain/subnet.ts'
import type { Ip, Mac } from '../../src/wire/address.ts'
import { BROADCAST_FLAG, encodeDhcp, NO_ADDRESS, type DhcpMessage } from '../../src/wire/dhcp.ts'
import type { DhcpOptions, MessageType } from '../../src/wire/dhcp-options.ts'
import { aRequest } from '../support/dhcp.ts'
import { LINK, RELAY, type Sent } from '../support/dhcp-wire.ts'

// The networks

const SERVER = LINK.address

const forLab: Discovery = { start: '10.3.4.1', end: '10.3.4.200', leaseSeconds: 800, perSecond: 10_000 }
/** For two strangers only. */
const forTiny: Discovery = { start: '10.4.4.1', end: '10.4.4.2', leaseSeconds: 800, perSecond: 10_000 }

/** A network with all that a case does not speak of left out. */
function network(number: number, given: Partial<Subnet>): Subnet {
  return {
    name: null,
    cidr: `10.${number}.0.0/16`,
    pool: { start: `10.${number}.1.0`, end: `10.${number}.3.255` },
    relays: [`10.${number}.0.254`],
    gateway: `10.${number}.0.254`,
    dns: [`10.${number}.0.53`],
    ntp: [],
    domain: null,
    mtu: null,
    routes: [],
    options: {},
    leaseSeconds: 3600,
    discovery: null,
    ...given
  }
}

/** `near` is the server's own; the others are behind the relay. Strangers are served where there is a discovery pool. */
export const NETWORKS = {
  near: network(1, {
    dns: ['10.1.0.53', '10.1.0.54'],
    ntp: ['10.1.0.123'],
    domain: 'near.example',
    mtu: 1400,
    relays: []
  }),
  far: network(2, { domain: 'far.example', leaseSeconds: 600, relays: ['10.2.0.254', RELAY] }),
  lab: network(3, { discovery: forLab }),
  tiny: network(4, { discovery: forTiny }),
  /** More options than a datagram of 576 bytes holds. */
  wide: network(5, {
    routes: [{ network: '10.77.0.0/16', router: '10.5.0.253' }],
    options: {
      4: '0a0500040a050005',
      16: '0a050010',
      22: '05dc',
      23: '11',
      24: '00015180',
      224: '61'.repeat(200),
      225: '62'.repeat(200),
      226: 'c5'.repeat(300)
    }
  })
}

export type NetworkName = keyof typeof NETWORKS

/** The relay's address in each network behind it. */
export const GIADDR: Readonly<Record<Exclude<NetworkName, 'near'>, Ip>> = {
  far: '10.2.0.254',
  lab: '10.3.0.254',
  tiny: '10.4.0.254',
  wide: '10.5.0.254'
}

// The table's types

export type Machine = {
  mac: Mac
  at: NetworkName
  /** Reserved for it; for a stranger an address that it has no claim to. */
  ip: Ip
}

/** An answer, as far as the case cares; what every answer must have is checked in every case (answer-rules.ts). */
export type Answer = {
  type: 'offer' | 'ack' | 'nak'
  /** `address:port`. */
  to?: string
  fields?: Partial<Omit<DhcpMessage, 'options'>>
  /** By name; undefined: must not be there. */
  options?: { [N in keyof DhcpOptions]: DhcpOptions[N] | undefined }
  /** By code, content in hex. */
  byCode?: Readonly<Record<number, string>>
  /** Codes that must not be there. */
  without?: readonly number[]
  /** Codes that must come in this order. */
  order?: readonly number[]
  /** Bytes of DHCP at most. */
  atMost?: number
  /** yiaddr is in this range. */
  from?: { start: Ip; end: Ip }
  /** yiaddr is none of these. */
  not?: readonly (Ip | undefined)[]
  /** Whatever the answer before had, but for the message type. */
  likeBefore?: true
}

export type Step = {
  send: Sent
  expect: Answer | 'silence'
  /** The lease table must change, without an answer; otherwise only an ACK of a lease may change it. */
  changes?: true
}

/** By what differs (outcome.ts), the reason. */
export type Differences = Readonly<Record<string, string>>

export type Case = {
  /** Documents and sections that the expectation is from. */
  rfc: string
  at?: NetworkName
  /** Default `idle`: enrolled, nothing ordered. `deploying`: inside the window for the deploy ramdisk. */
  machine?: 'idle' | 'deploying' | 'installed' | 'stranger'
  /** `extra.dhcp` of the machine's node. */
  dhcp?: Readonly<Record<string, unknown>>
  /** A generator gets the answer to each step; undefined: silence. */
  steps(me: Machine, other: Machine): Iterable<Step> | Generator<Step, void, DhcpMessage | undefined>
  kea?: Differences
  dnsmasq?: Differences
  /** Why the peers are not asked. */
  alone?: string
}

/** Of what is `installed`. */
export const HOST_NAME = 'compute-7'

// Words of the table

/** What an ordinary client asks for. */
const PARAMETERS = [1, 121, 3, 6, 15, 26, 28, 42, 51, 58, 59]

let transactions = 0x0a000000

function message(
  me: Machine,
  messageType: MessageType | undefined,
  options: DhcpOptions = {},
  given: Partial<DhcpMessage> = {}
): DhcpMessage {
  return aRequest({
    xid: transactions++,
    chaddr: me.mac,
    options: { ...(messageType ? { messageType } : {}), parameterList: PARAMETERS, ...options },
    ...given
  })
}

/** Large enough for whatever a case puts in. */
const encode = (request: DhcpMessage): Buffer => encodeDhcp(request, 1500)

const broadcast = (request: DhcpMessage | Buffer, from?: Ip): Sent => ({
  by: 'client',
  ...(from ? { from } : {}),
  fromPort: 68,
  to: 'broadcast',
  bytes: Buffer.isBuffer(request) ? request : encode(request)
})

/** As a relay forwards it: from its port 67, with giaddr and one hop more. */
function relayed(request: DhcpMessage, giaddr: Ip, from: Ip = giaddr): Sent {
  return { by: 'relay', from, fromPort: 67, to: 'server', bytes: encode({ ...request, giaddr, hops: 1 }) }
}

/** The way by which a broadcast of a client of this network comes. */
function ask(me: Machine, request: DhcpMessage): Sent {
  return me.at === 'near' ? broadcast(request) : relayed(request, GIADDR[me.at])
}

/** Straight to the server, from the address that the machine has. */
function unicast(me: Machine, request: DhcpMessage | Buffer, from: Ip = me.ip): Sent {
  const bytes = Buffer.isBuffer(request) ? request : encode(request)
  return { by: me.at === 'near' ? 'client' : 'relay', from, fromPort: 68, to: 'server', bytes }
}

const discover = (me: Machine, options?: DhcpOptions, given?: Partial<DhcpMessage>) =>
  ask(me, message(me, 'discover', options, given))

/** The server's offer is taken. */
const selecting = (me: Machine, options?: DhcpOptions, given?: Partial<DhcpMessage>) =>
  ask(me, message(me, 'request', { serverId: SERVER, requestedAddress: me.ip, ...options }, given))

/** An address from before is to be used again. */
const rebooting = (
  me: Machine,
  requestedAddress: Ip = me.ip,
  options?: DhcpOptions,
  given?: Partial<DhcpMessage>
) => ask(me, message(me, 'request', { requestedAddress, ...options }, given))

const renewing = (me: Machine, options?: DhcpOptions, given?: Partial<DhcpMessage>) =>
  unicast(me, message(me, 'request', options, { flags: 0, ciaddr: me.ip, ...given }))

const rebinding = (me: Machine, options?: DhcpOptions, given?: Partial<DhcpMessage>) => {
  const request = message(me, 'request', options, { flags: 0, ciaddr: me.ip, ...given })
  return me.at === 'near' ? broadcast(request, me.ip) : ask(me, request)
}

const releasing = (me: Machine, options?: DhcpOptions, given?: Partial<DhcpMessage>, from?: Ip) =>
  unicast(
    me,
    message(me, 'release', { serverId: SERVER, ...options }, { flags: 0, ciaddr: me.ip, ...given }),
    from
  )

const declining = (me: Machine, options?: DhcpOptions, given?: Partial<DhcpMessage>) =>
  ask(me, message(me, 'decline', { serverId: SERVER, requestedAddress: me.ip, ...options }, given))

const informing = (me: Machine, options?: DhcpOptions, given?: Partial<DhcpMessage>, from?: Ip) =>
  unicast(me, message(me, 'inform', options, { flags: 0, ciaddr: me.ip, ...given }), from)

const EVERYWHERE = '255.255.255.255:68'

type More = Omit<Answer, 'type'>

const answer = (type: Answer['type'], yiaddr: Ip, { fields, ...more }: More): Answer => ({
  type,
  fields: { yiaddr, ...fields },
  ...more
})
const offer = (me: Machine, more: More = {}) => answer('offer', me.ip, more)
const ack = (me: Machine, more: More = {}) => answer('ack', me.ip, more)
const nak = (more: More = {}) => answer('nak', NO_ADDRESS, more)

const sends = (send: Sent, expect: Step['expect']): Step => ({ send, expect })
const silently = (send: Sent): Step => ({ send, expect: 'silence' })
const takesEffect = (send: Sent): Step => ({ send, expect: 'silence', changes: true })

/** The four messages that give the machine its lease. */
const leased = (me: Machine, options?: DhcpOptions): Step[] => [
  sends(discover(me, options), offer(me)),
  sends(selecting(me, options), ack(me))
]

/** The stranger takes what it is offered; resolves to that address. */
function* taken(
  me: Machine,
  options?: DhcpOptions,
  expected: More = {}
): Generator<Step, Machine, DhcpMessage | undefined> {
  const found: DhcpMessage | undefined = yield sends(discover(me, options), { type: 'offer', ...expected })
  const had = { ...me, ip: found?.yiaddr ?? NO_ADDRESS }
  yield sends(selecting(had, options), ack(had))
  return had
}

const edited = (sent: Sent, edit: (bytes: Buffer) => Buffer | void): Sent => {
  const bytes = Buffer.from(sent.bytes)
  return { ...sent, bytes: edit(bytes) ?? bytes }
}

const OPTIONS_START = 240

/** Replaces all options by these bytes. */
const withOptions = (sent: Sent, ...parts: Buffer[]): Sent =>
  edited(sent, (bytes) => Buffer.concat([bytes.subarray(0, OPTIONS_START), ...parts]))

const opt = (code: number, ...content: number[]): Buffer => Buffer.of(code, content.length, ...content)
const optIp = (code: number, ip: Ip): Buffer => opt(code, ...ip.split('.').map(Number))
const END = Buffer.of(255)
const DISCOVER = opt(53, 1)
const REQUEST = opt(53, 3)

/** Writes options into the file (108..235) or sname (44..107) field. */
const inField = (sent: Sent, field: 'file' | 'sname', ...parts: Buffer[]): Sent =>
  edited(sent, (bytes) => {
    const [start, end] = field === 'file' ? [108, 236] : [44, 108]
    bytes.fill(0, start, end)
    Buffer.concat(parts).copy(bytes, start)
  })

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')
const clientId = (text: string): DhcpOptions => ({ clientId: hex(text) })

const GUID = hex('00 4c4c4544 0042 3510 8051 b4c04f4d3532')
const UEFI_X64: DhcpOptions = {
  vendorClass: 'PXEClient:Arch:00007:UNDI:003016',
  clientArchitectures: [7],
  clientInterface: hex('010300'),
  clientMachineId: GUID,
  parameterList: [
    1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 66, 67, 97
  ]
}
const BIOS: DhcpOptions = {
  ...UEFI_X64,
  vendorClass: 'PXEClient:Arch:00000:UNDI:002001',
  clientArchitectures: [0],
  clientInterface: hex('010201')
}
const HTTP_X64: DhcpOptions = {
  ...UEFI_X64,
  vendorClass: 'HTTPClient:Arch:00016:UNDI:003001',
  clientArchitectures: [16]
}
/** Sub-option 6 of 43, discovery control: take the file that is named here and ask nobody else. */
const TAKE_THE_FILE = hex('060108ff')

/** Circuit id, remote id and one that no RFC knows. */
const RELAY_INFO = hex('0105 6574683031 0206 001122334455 f703 010203')
const LINK_SELECTION = (ip: Ip): Buffer => optIp(5, ip)
const SERVER_OVERRIDE = (ip: Ip): Buffer => optIp(11, ip)

const METADATA = '169.254.169.254/32'

// Reasons that stand in several cases

const NO_END = 'the end of the packet is taken for the end of the options'
const HARDWARE = 'only the address is looked at, not the type of hardware'
const UNICAST = 'sent to an address that nobody answers for yet, through a packet socket'
const INFORMED = 'anybody is told the parameters of the network'
const OVERLOADS = 'puts options into file and sname when there is no other room'
const LONG = 'not configured there: dnsmasq takes 255 bytes at most'
const EMPTY = 'an option without content does not come back'
const CLIENT_ID = 'the client id is the key to a lease (RFC 2131 4.2)'
const KEA_AUTHORITY = 'with authority Kea refuses whoever it has no lease of'
const KEA_PARTS = 'Kea 2.2 takes each part for an option, and one of two bytes is malformed'
const KEA_GIVES = 'Kea gives it the address that it has for it'
const KEA_MASK = 'Kea leaves the mask out of answers to INFORM'
const KEA_43 = 'Kea reads option 43 and leaves the end mark inside it out'
const KEA_SIZE = 'Kea does not look at what the client takes'
const KEA_5107 = 'Kea takes REQUESTs for the address that the relay names, and names itself'
const KEA_OFFERS = 'Kea forgets an offer at once'
const DNSMASQ_AUTHORITY = 'with authority dnsmasq refuses whoever it has no lease of'
const DNSMASQ_PARTS = 'dnsmasq reads the first part alone'
const DNSMASQ_SHORT = 'dnsmasq takes an option that is too short as absent'
const DNSMASQ_BOOTP =
  'what has no message type that it knows is BOOTP to dnsmasq, and machines with a reservation are served BOOTP'
const DNSMASQ_ELSEWHERE = 'with authority dnsmasq refuses what is meant for other servers'
const DNSMASQ_WORD = 'with authority dnsmasq takes the client’s word for an address that is free'
const DNSMASQ_ROOM = 'of what does not all fit dnsmasq keeps other options'
const DNSMASQ_FLAG = 'dnsmasq sets the broadcast flag in every refusal'

export const CASES: Readonly<Record<string, Case>> = {
  // DISCOVER

  'an enrolled machine is offered the address that is reserved for it': {
    rfc: '2131 4.3.1',
    steps: (me) => [
      sends(
        discover(me),
        offer(me, { options: { serverId: SERVER, leaseSeconds: 3600, subnetMask: '255.255.0.0' } })
      )
    ]
  },
  'transaction, hardware address and flags come back as they were sent': {
    rfc: '2131 4.3.1 table 3',
    steps: (me) => [
      sends(
        discover(me, {}, { xid: 0xfedcba98, flags: BROADCAST_FLAG }),
        offer(me, { fields: { xid: 0xfedcba98, chaddr: me.mac, htype: 1, flags: BROADCAST_FLAG } })
      ),
      sends(discover(me, {}, { xid: 0 }), offer(me, { fields: { xid: 0 } })),
      sends(discover(me, {}, { xid: 0xffffffff }), offer(me, { fields: { xid: 0xffffffff } }))
    ]
  },
  'flag bits that must be zero do no harm': {
    rfc: '2131 2 figure 2',
    steps: (me) => [sends(discover(me, {}, { flags: 0xffff }), offer(me, { to: EVERYWHERE }))]
  },
  'an answer has no hops and no seconds, whatever the request had': {
    rfc: '2131 4.3.1 table 3',
    steps: (me) => [
      sends(discover(me, {}, { hops: 3, secs: 258 }), offer(me, { fields: { hops: 0, secs: 0 } }))
    ]
  },
  'an offer has no ciaddr, even if the DISCOVER has one': {
    rfc: '2131 4.3.1 table 3; its 4.1 would send the answer to that address, but table 5 lets no DISCOVER have one',
    steps: (me) => [
      sends(
        discover(me, {}, { ciaddr: me.ip }),
        offer(me, { fields: { ciaddr: NO_ADDRESS }, to: EVERYWHERE })
      )
    ],
    kea: { to: 'Kea believes the ciaddr' }
  },
  'an answer is at least 300 bytes long': {
    rfc: '1542 2.1',
    steps: (me) => [
      sends(
        withOptions(discover(me), DISCOVER, END),
        offer(me, { options: { hostName: undefined, bootFileName: undefined } })
      )
    ]
  },
  'a request that names no parameters still gets a lease that can be used': {
    rfc: '2131 4.3.1',
    steps: (me) => [
      sends(
        withOptions(discover(me), DISCOVER, END),
        offer(me, { options: { leaseSeconds: 3600, serverId: SERVER, subnetMask: '255.255.0.0' } })
      )
    ]
  },
  'requested parameters come in the order in which they were asked for': {
    rfc: '2132 9.8',
    steps: (me) => [
      sends(discover(me, { parameterList: [6, 42, 3, 15, 1] }), offer(me, { order: [6, 42, 3, 15, 1] })),
      sends(discover(me, { parameterList: [1, 3, 15, 42, 6] }), offer(me, { order: [1, 3, 15, 42, 6] }))
    ]
  },
  'a parameter asked for twice comes once': {
    rfc: '2132 9.8',
    steps: (me) => [
      sends(discover(me, { parameterList: [3, 3, 3] }), offer(me, { options: { routers: ['10.1.0.254'] } }))
    ]
  },
  'parameters asked for by a number that has no name come in their place': {
    rfc: '2132 9.8',
    at: 'wide',
    steps: (me) => [
      sends(discover(me, { parameterList: [24, 3, 4, 1] }), offer(me, { order: [24, 3, 4, 1] }))
    ]
  },
  'all that the subnet has comes when asked for': {
    rfc: '2132 3.3, 3.5, 3.8, 3.17, 5.1, 5.3, 8.3',
    steps: (me) => [
      sends(
        discover(me),
        offer(me, {
          options: {
            subnetMask: '255.255.0.0',
            routers: ['10.1.0.254'],
            dnsServers: ['10.1.0.53', '10.1.0.54'],
            domainName: 'near.example',
            interfaceMtu: 1400,
            broadcastAddress: '10.1.255.255',
            ntpServers: ['10.1.0.123']
          }
        })
      )
    ]
  },
  'another address that a DISCOVER asks for is not the machine’s': {
    rfc: '2131 4.3.1',
    steps: (me, other) => [
      sends(discover(me, { requestedAddress: other.ip }), offer(me)),
      sends(discover(me, { requestedAddress: '192.0.2.7' }), offer(me)),
      sends(discover(me, { requestedAddress: '255.255.255.255' }), offer(me))
    ]
  },
  'the lease time that a DISCOVER asks for is a hint': {
    rfc: '2131 4.3.1, 2132 9.2',
    steps: (me) => [
      sends(discover(me, { leaseSeconds: 30 }), offer(me, { options: { leaseSeconds: 3600 } })),
      sends(discover(me, { leaseSeconds: 0xffffffff }), offer(me, { options: { leaseSeconds: 3600 } }))
    ],
    dnsmasq: { 'option 51': 'dnsmasq grants a shorter time, two minutes at least' }
  },
  'the client renews after half of the lease and rebinds after seven eighths': {
    rfc: '2131 4.4.5',
    steps: (me) => [
      sends(
        discover(me),
        offer(me, { options: { leaseSeconds: 3600, renewSeconds: 1800, rebindSeconds: 3150 } })
      ),
      sends(
        selecting(me),
        ack(me, { options: { leaseSeconds: 3600, renewSeconds: 1800, rebindSeconds: 3150 } })
      )
    ]
  },
  'a repeated DISCOVER gets the same offer': {
    rfc: '2131 4.1, 4.3.1',
    steps: (me) => [
      sends(discover(me, {}, { xid: 0x51515151 }), offer(me)),
      sends(discover(me, {}, { xid: 0x51515151, secs: 4 }), offer(me, { likeBefore: true })),
      sends(discover(me, {}, { xid: 0x51515151, secs: 12 }), offer(me, { likeBefore: true }))
    ]
  },
  'a machine has one address, whatever client id its programs send': {
    rfc: '2131 2 would give each id its own; by hardware address on purpose, a boot goes through several programs',
    steps: (me) => [
      sends(discover(me), offer(me)),
      sends(discover(me, clientId(`01 ${me.mac.replaceAll(':', '')}`)), offer(me)),
      sends(discover(me, clientId('00 4c4c4544 0042 3510 8051 b4c04f4d3532')), offer(me)),
      ...leased(me, clientId('ff 00000001 0002 0000ab11 0123456789abcdef')),
      sends(discover(me), offer(me))
    ]
  },
  'the client id comes back in OFFER, ACK and NAK': {
    rfc: '6842 3',
    steps: (me, other) => {
      const id = clientId('ff 12345678 0004 00112233445566778899aabbccddeeff')
      return [
        sends(discover(me, id), offer(me, { options: id })),
        sends(selecting(me, id), ack(me, { options: id })),
        sends(rebooting(me, other.ip, id), nak({ options: id }))
      ]
    }
  },
  'without a client id none comes back': {
    rfc: '6842 3',
    steps: (me) => [
      sends(discover(me), offer(me, { options: { clientId: undefined } })),
      sends(selecting(me), ack(me, { options: { clientId: undefined } }))
    ]
  },
  'a client id shorter than the two bytes it must have does no harm': {
    rfc: '2132 9.14',
    steps: (me) => [sends(discover(me, clientId('07')), offer(me))],
    kea: { 'answers silence': 'Kea drops the packet' }
  },
  'a stranger gets nothing where there is no discovery pool': {
    rfc: '2131 4.3.1: a server without an address for the client may stay silent',
    machine: 'stranger',
    steps: (me) => [silently(discover(me))]
  },
  'two machines are never offered the same address': {
    rfc: '2131 1.6, 3.1',
    steps: (me, other) => [
      sends(discover(me, { requestedAddress: me.ip }), offer(me)),
      sends(discover(other, { requestedAddress: me.ip }), offer(other)),
      ...leased(other),
      ...leased(me)
    ]
  },
  'two machines with one client id have their own addresses': {
    rfc: '2131 4.2 makes the id the key; by hardware address on purpose, cloned disks share ids',
    steps: (me, other) => {
      const id = clientId('ff aaaaaaaa 0002 0000ab11 ffffffffffffffff')
      return [...leased(me, id), ...leased(other, id), sends(discover(me, id), offer(me))]
    }
  },

  // Size, long options, overload

  'no answer is longer than the 576 bytes that every client takes': {
    rfc: '2131 2, 2132 9.10',
    at: 'wide',
    steps: (me) => [
      sends(
        discover(me, { parameterList: [224, 225, 226, 1, 3] }),
        offer(me, { atMost: 548, options: { leaseSeconds: 3600, subnetMask: '255.255.0.0' } })
      )
    ],
    dnsmasq: { 'option 224': DNSMASQ_ROOM, 'option 225': DNSMASQ_ROOM, 'option 52': OVERLOADS },
    kea: { 'over the maximum size': KEA_SIZE, 'option 225': KEA_SIZE }
  },
  'what does not fit is left out whole, and lease and mask are there': {
    rfc: '2132 9.10, 3396 5',
    at: 'wide',
    steps: (me) => [
      sends(
        discover(me, { parameterList: [226, 1, 3], maxMessageSize: 576 }),
        offer(me, { atMost: 548, without: [226], options: { subnetMask: '255.255.0.0', serverId: SERVER } })
      )
    ]
  },
  'what was not asked for takes no room from what was': {
    rfc: '2132 9.8, 9.10',
    at: 'wide',
    steps: (me) => [
      sends(
        discover(me, { parameterList: [225] }),
        offer(me, { atMost: 548, byCode: { 225: '62'.repeat(200) } })
      )
    ]
  },
  'a client that takes more gets all': {
    rfc: '2132 9.10',
    at: 'wide',
    steps: (me) => [
      sends(
        discover(me, { parameterList: [224, 225], maxMessageSize: 1400 }),
        offer(me, {
          atMost: 1372,
          byCode: { 224: '61'.repeat(200), 225: '62'.repeat(200) }
        })
      )
    ]
  },
  'an option above 255 bytes comes in parts': {
    rfc: '3396 5',
    at: 'wide',
    steps: (me) => [
      sends(
        discover(me, { parameterList: [226], maxMessageSize: 1400 }),
        offer(me, { byCode: { 226: 'c5'.repeat(300) } })
      )
    ],
    kea: { 'option 226': LONG },
    dnsmasq: { 'option 226': LONG }
  },
  'a maximum size below 576 counts as 576': {
    rfc: '2132 9.10',
    steps: (me) => [
      sends(
        discover(me, { maxMessageSize: 100 }),
        offer(me, { options: { leaseSeconds: 3600, dnsServers: ['10.1.0.53', '10.1.0.54'] } })
      ),
      sends(discover(me, { maxMessageSize: 0 }), offer(me, { options: { leaseSeconds: 3600 } }))
    ]
  },
  'a maximum size above any link’s does no harm': {
    rfc: '2132 9.10',
    at: 'wide',
    steps: (me) => [
      sends(
        discover(me, { parameterList: [224, 225, 226], maxMessageSize: 65535 }),
        offer(me, { atMost: 1472, byCode: { 226: 'c5'.repeat(300) } })
      )
    ],
    kea: { 'option 226': LONG },
    dnsmasq: { 'option 226': LONG }
  },
  'a maximum size that is no number of 16 bits is no reason to serve the client': {
    rfc: '2132 9.10: length 2',
    steps: (me) => [silently(withOptions(discover(me), DISCOVER, opt(57, 5), END))],
    dnsmasq: { 'answers offer': 'dnsmasq goes on without' }
  },
  'a request of 1,400 bytes is read': {
    rfc: '2131 2: options have no fixed length',
    steps: (me) => [
      sends(
        withOptions(
          discover(me),
          ...[224, 225, 226, 227].map((code) => opt(code, ...Array<number>(250).fill(0x41))),
          DISCOVER,
          END
        ),
        offer(me)
      )
    ]
  },
  'options in the file field are read': {
    rfc: '2132 9.3',
    steps: (me) => [
      sends(
        inField(
          withOptions(selecting(me), REQUEST, opt(52, 1), END),
          'file',
          optIp(50, me.ip),
          optIp(54, SERVER),
          END
        ),
        ack(me)
      )
    ]
  },
  'options in the sname field are read': {
    rfc: '2132 9.3',
    steps: (me) => [
      sends(
        inField(
          withOptions(selecting(me), REQUEST, optIp(54, SERVER), opt(52, 2), END),
          'sname',
          optIp(50, me.ip),
          END
        ),
        ack(me)
      )
    ]
  },
  'options in both fields are read': {
    rfc: '2132 9.3',
    steps: (me) => [
      sends(
        inField(
          inField(withOptions(selecting(me), REQUEST, opt(52, 3), END), 'file', optIp(50, me.ip), END),
          'sname',
          optIp(54, SERVER),
          END
        ),
        ack(me)
      )
    ]
  },
  'options in a field that is not said to hold any are no options': {
    rfc: '2132 9.3',
    steps: (me, other) => [
      sends(
        inField(
          inField(
            withOptions(selecting(me), REQUEST, optIp(50, me.ip), optIp(54, SERVER), opt(52, 2), END),
            'file',
            optIp(50, other.ip),
            END
          ),
          'sname',
          END
        ),
        ack(me)
      )
    ]
  },
  'an overload that is not 1, 2 or 3 makes a packet unreadable': {
    rfc: '2132 9.3',
    steps: (me) => [silently(withOptions(discover(me), DISCOVER, opt(52, 4), END))],
    kea: { 'answers offer': 'Kea goes on without' },
    dnsmasq: { 'answers offer': 'dnsmasq goes on without' }
  },
  'an option in two parts is one': {
    rfc: '3396 7',
    steps: (me) => {
      const [a, b, c, d] = me.ip.split('.').map(Number) as [number, number, number, number]
      return [
        sends(
          withOptions(selecting(me), REQUEST, opt(50, a, b), optIp(54, SERVER), opt(50, c, d), END),
          ack(me)
        )
      ]
    },
    kea: { 'answers silence': KEA_PARTS },
    dnsmasq: { 'answers nak': DNSMASQ_PARTS }
  },
  'parts of an option are joined over options, file and sname, in this order': {
    rfc: '3396 5, 7',
    steps: (me) => {
      const [a, b, c, d] = me.ip.split('.').map(Number) as [number, number, number, number]
      const request = withOptions(selecting(me), REQUEST, opt(52, 3), optIp(54, SERVER), opt(50, a), END)
      return [sends(inField(inField(request, 'file', opt(50, b, c), END), 'sname', opt(50, d), END), ack(me))]
    },
    kea: { 'answers silence': KEA_PARTS },
    dnsmasq: { 'answers nak': DNSMASQ_PARTS }
  },
  'a client id of 300 bytes comes back whole': {
    rfc: '3396 5, 6842 3',
    steps: (me) => [
      sends(
        discover(me, { clientId: Buffer.alloc(300, 0x6b), maxMessageSize: 1400 }),
        offer(me, { options: { clientId: Buffer.alloc(300, 0x6b) } })
      )
    ],
    kea: { 'answers silence': 'Kea drops a client id above 255 bytes' }
  },
  'padding between options and bytes after the end mark do no harm': {
    rfc: '2132 3.1, 3.2',
    steps: (me, other) => [
      sends(
        withOptions(
          selecting(me),
          Buffer.alloc(7),
          REQUEST,
          Buffer.alloc(3),
          optIp(50, me.ip),
          optIp(54, SERVER),
          END,
          optIp(50, other.ip),
          Buffer.alloc(60, 0xaa)
        ),
        ack(me)
      )
    ]
  },

  // Packets that are no requests

  'a reply is not a request': {
    rfc: '2131 2 table 1',
    steps: (me) => [
      silently(edited(discover(me), (bytes) => void bytes.writeUInt8(2, 0))),
      silently(edited(discover(me), (bytes) => void bytes.writeUInt8(0, 0))),
      silently(edited(discover(me), (bytes) => void bytes.writeUInt8(3, 0)))
    ],
    kea: { 'answers offer': 'Kea does not look at op' }
  },
  'messages that only servers send are not answered': {
    rfc: '2131 3 table 2',
    steps: (me) => (['offer', 'ack', 'nak'] as const).map((type) => silently(ask(me, message(me, type))))
  },
  'a message type that DHCP for IPv4 servers does not have is not answered': {
    rfc: '2132 9.6',
    steps: (me) => [0, 9, 19, 255].map((type) => silently(withOptions(discover(me), opt(53, type), END))),
    dnsmasq: { 'answers BOOTP': DNSMASQ_BOOTP }
  },
  'a message type of no byte or of two is not answered': {
    rfc: '2132 9.6: length 1',
    steps: (me) => [
      silently(withOptions(discover(me), opt(53), END)),
      silently(withOptions(discover(me), opt(53, 1, 1), END))
    ],
    kea: { 'answers offer': 'Kea reads the first byte' },
    dnsmasq: { 'answers BOOTP': DNSMASQ_BOOTP, 'answers offer': 'dnsmasq reads the first byte' }
  },
  'BOOTP, that is no message type, is not served': {
    rfc: '1534 2: a DHCP server may serve BOOTP or not',
    steps: (me) => [silently(withOptions(discover(me), opt(12, 0x78), END))],
    dnsmasq: { 'answers BOOTP': DNSMASQ_BOOTP }
  },
  'a BOOTP packet without the cookie of DHCP is not served': {
    rfc: '2131 3, 1534 2',
    steps: (me) => [
      silently(edited(discover(me), (bytes) => void bytes.fill(0, 236, 300))),
      silently(edited(discover(me), (bytes) => void bytes.writeUInt32BE(0x63825364, 236)))
    ],
    dnsmasq: { 'answers BOOTP': DNSMASQ_BOOTP }
  },
  'a packet that is cut off is not answered': {
    rfc: '2131 2',
    steps: (me) =>
      [0, 1, 28, 235, 239].map((length) =>
        silently(edited(discover(me), (bytes) => bytes.subarray(0, length)))
      ),
    dnsmasq: { 'answers BOOTP': DNSMASQ_BOOTP }
  },
  'an option that runs over the end makes a packet unreadable': {
    rfc: '2132 2',
    steps: (me) => [
      silently(withOptions(discover(me), DISCOVER, Buffer.of(12, 200, 0x41))),
      silently(withOptions(discover(me), DISCOVER, Buffer.of(12)))
    ],
    kea: { 'answers offer': 'Kea takes what stands before it' },
    dnsmasq: { 'answers offer': 'dnsmasq takes what stands before it' }
  },
  'options without an end mark are not finished': {
    rfc: '2131 4.1',
    steps: (me) => [silently(withOptions(discover(me), DISCOVER, opt(12, 0x78)))],
    kea: { 'answers offer': NO_END },
    dnsmasq: { 'answers offer': NO_END }
  },
  'options of a length that they cannot have make a packet unreadable': {
    rfc: '2132 9.1, 9.7',
    steps: (me) => [
      silently(withOptions(selecting(me), REQUEST, optIp(54, SERVER), opt(50, 10, 1), END)),
      silently(withOptions(selecting(me), REQUEST, opt(54, 10, 1), optIp(50, me.ip), END))
    ],
    dnsmasq: { 'answers nak': DNSMASQ_SHORT, 'answers ack': DNSMASQ_SHORT }
  },
  'hardware that is not Ethernet is not served': {
    rfc: '2131 2; machines are enrolled by Ethernet address',
    steps: (me) => [
      silently(edited(discover(me), (bytes) => void bytes.writeUInt8(32, 1))),
      silently(edited(discover(me), (bytes) => void bytes.writeUInt8(0, 1)))
    ],
    kea: { 'answers offer': HARDWARE },
    dnsmasq: { 'answers offer': HARDWARE }
  },
  'a hardware address of another length is nobody’s': {
    rfc: '2131 2; Ethernet has 6 bytes',
    steps: (me) =>
      [0, 5, 7, 16, 17, 255].map((hlen) =>
        silently(edited(discover(me), (bytes) => void bytes.writeUInt8(hlen, 2)))
      )
  },

  // REQUEST: selecting

  'taking the offer is acknowledged with what was offered': {
    rfc: '2131 4.3.1: OFFER and ACK must not differ, 4.3.2',
    steps: (me) => [
      sends(discover(me), offer(me)),
      sends(selecting(me), ack(me, { likeBefore: true, fields: { ciaddr: NO_ADDRESS } }))
    ]
  },
  'a repeated REQUEST gets the same ACK': {
    rfc: '2131 4.1, 4.3.2',
    steps: (me) => [
      sends(discover(me), offer(me)),
      sends(selecting(me, {}, { xid: 0x52525252 }), ack(me)),
      sends(selecting(me, {}, { xid: 0x52525252 }), ack(me, { likeBefore: true }))
    ]
  },
  'taking another server’s offer is left to that server': {
    rfc: '2131 3.1, 4.3.2',
    steps: (me) => [
      sends(discover(me), offer(me)),
      silently(selecting(me, { serverId: '10.1.0.9' })),
      silently(selecting(me, { serverId: '10.1.0.9', requestedAddress: '10.1.9.9' }))
    ],
    dnsmasq: { 'answers nak': DNSMASQ_ELSEWHERE }
  },
  'after another server was chosen the machine is served again': {
    rfc: '2131 3.1',
    steps: (me) => [
      sends(discover(me), offer(me)),
      silently(selecting(me, { serverId: '10.1.0.9', requestedAddress: '10.1.9.9' })),
      ...leased(me)
    ],
    dnsmasq: { 'answers nak': DNSMASQ_ELSEWHERE }
  },
  'taking an address that was not offered is refused': {
    rfc: '2131 4.3.2',
    steps: (me, other) => [
      sends(discover(me), offer(me)),
      sends(selecting(me, { requestedAddress: '10.1.200.200' }), nak()),
      sends(selecting(me, { requestedAddress: other.ip }), nak())
    ]
  },
  'taking an offer without saying which is refused': {
    rfc: '2131 4.3.2: selecting must have option 50',
    steps: (me) => [sends(ask(me, message(me, 'request', { serverId: SERVER })), nak())],
    kea: { 'answers ack': KEA_GIVES }
  },
  'taking an offer of ours in another network is refused': {
    rfc: '2131 4.3.2',
    at: 'far',
    steps: (me) => [sends(selecting(me, { requestedAddress: '10.1.1.1' }), nak())]
  },
  'a stranger that takes an address from us gets no answer': {
    rfc: '2131 4.3.2: no record of the client',
    machine: 'stranger',
    steps: (me) => [silently(selecting(me))],
    dnsmasq: { 'answers nak': DNSMASQ_AUTHORITY }
  },

  // REQUEST: init-reboot

  'the address from before is acknowledged': {
    rfc: '2131 3.2, 4.3.2',
    steps: (me) => [...leased(me), sends(rebooting(me), ack(me, { fields: { ciaddr: NO_ADDRESS } }))]
  },
  'an enrolled machine may take its address up without any lease': {
    rfc: '2131 4.3.2; the reservation is the record of the client',
    steps: (me) => [sends(rebooting(me), ack(me))],
    kea: { 'answers nak': KEA_AUTHORITY }
  },
  'a wrong address of the right network is refused': {
    rfc: '2131 4.3.2',
    steps: (me, other) => [
      ...leased(me),
      sends(rebooting(me, '10.1.200.201'), nak()),
      sends(rebooting(me, other.ip), nak())
    ]
  },
  'an address of another network is refused': {
    rfc: '2131 4.3.2',
    steps: (me) => [sends(rebooting(me, '192.168.1.50'), nak()), sends(rebooting(me, '10.2.1.1'), nak())]
  },
  'an address of another network is refused through the relay': {
    rfc: '2131 4.3.2',
    at: 'far',
    steps: (me) => [sends(rebooting(me, '10.1.1.1'), nak({ to: `${GIADDR.far}:67` }))]
  },
  'a stranger that had an address here before hears nothing': {
    rfc: '2131 4.3.2: must remain silent',
    machine: 'stranger',
    steps: (me) => [silently(rebooting(me))],
    kea: { 'answers nak': KEA_AUTHORITY },
    dnsmasq: { 'answers nak': DNSMASQ_AUTHORITY }
  },
  'a stranger that comes from another network hears nothing': {
    rfc: '2131 4.3.2 should refuse; machines that are not enrolled are not ours to refuse',
    machine: 'stranger',
    steps: (me) => [silently(rebooting(me, '192.168.1.50'))],
    kea: { 'answers nak': KEA_AUTHORITY },
    dnsmasq: { 'answers nak': DNSMASQ_AUTHORITY }
  },
  'a REQUEST that names neither server nor address is refused': {
    rfc: '2131 4.3.2: none of the four',
    steps: (me) => [sends(ask(me, message(me, 'request')), nak())],
    kea: { 'answers ack': KEA_GIVES }
  },

  // REQUEST: renewing and rebinding

  'renewing is acknowledged to the address itself, for the whole time again': {
    rfc: '2131 4.1, 4.3.2, 4.4.5',
    steps: (me) => [
      ...leased(me),
      sends(
        renewing(me),
        ack(me, { to: `${me.ip}:68`, fields: { ciaddr: me.ip }, options: { leaseSeconds: 3600 } })
      )
    ]
  },
  'renewing with the broadcast flag is answered to the address all the same': {
    rfc: '2131 4.1: the flag counts only without giaddr and ciaddr',
    steps: (me) => [
      ...leased(me),
      sends(renewing(me, {}, { flags: BROADCAST_FLAG }), ack(me, { to: `${me.ip}:68` }))
    ]
  },
  'renewing behind a relay comes straight and gets its own network’s answer': {
    rfc: '2131 4.3.2, 4.4.5',
    at: 'far',
    steps: (me) => [
      ...leased(me),
      sends(
        renewing(me),
        ack(me, {
          to: `${me.ip}:68`,
          fields: { giaddr: NO_ADDRESS },
          options: { leaseSeconds: 600, routers: ['10.2.0.254'], domainName: 'far.example' }
        })
      )
    ]
  },
  'renewing with a server id, which it must not have, is renewing': {
    rfc: '2131 4.3.2: must not be filled in',
    steps: (me) => [...leased(me), sends(renewing(me, { serverId: SERVER }), ack(me))]
  },
  'renewing with a requested address, which it must not have, is renewing': {
    rfc: '2131 4.3.2: must not be filled in',
    steps: (me) => [...leased(me), sends(renewing(me, { requestedAddress: me.ip }), ack(me))],
    dnsmasq: { ciaddr: 'dnsmasq takes it for INIT-REBOOT' }
  },
  'renewing another’s address is refused': {
    rfc: '2131 4.3.2',
    steps: (me, other) => [
      ...leased(me),
      ...leased(other),
      sends(renewing(me, {}, { ciaddr: other.ip }), nak({ to: EVERYWHERE }))
    ],
    kea: { to: 'Kea sends the refusal to ciaddr; there it reaches the other machine' },
    dnsmasq: { flags: DNSMASQ_FLAG }
  },
  'a stranger that renews hears nothing': {
    rfc: '2131 4.3.2: no record of the client',
    machine: 'stranger',
    steps: (me) => [silently(renewing(me))],
    dnsmasq: { 'answers nak': DNSMASQ_AUTHORITY }
  },
  'rebinding is acknowledged to the address itself': {
    rfc: '2131 4.1, 4.3.2',
    steps: (me) => [
      ...leased(me),
      sends(rebinding(me), ack(me, { to: `${me.ip}:68`, fields: { ciaddr: me.ip } }))
    ]
  },
  'rebinding through a relay is acknowledged to the relay': {
    rfc: '2131 4.1, 4.3.2',
    at: 'far',
    steps: (me) => [
      ...leased(me),
      sends(rebinding(me), ack(me, { to: `${GIADDR.far}:67`, fields: { ciaddr: me.ip, giaddr: GIADDR.far } }))
    ]
  },
  'rebinding an address of another network is refused': {
    rfc: '2131 4.3.2',
    at: 'far',
    steps: (me) => [
      ...leased(me),
      sends(rebinding(me, {}, { ciaddr: '10.1.1.250' }), nak({ to: `${GIADDR.far}:67` }))
    ],
    kea: { 'answers silence': 'Kea leaves an address that it knows nothing of to other servers' }
  },
  'rebinding a lease that another server gave is acknowledged if the address is the right one': {
    rfc: '2131 4.3.2; the reservation is the record of the client',
    steps: (me) => [sends(rebinding(me), ack(me))]
  },

  // NAK

  'a refusal says why and gives nothing': {
    rfc: '2131 4.3.1 table 3',
    steps: (me) => [
      sends(
        rebooting(me, '192.168.1.50'),
        nak({
          fields: { ciaddr: NO_ADDRESS, yiaddr: NO_ADDRESS, siaddr: NO_ADDRESS, sname: '', file: '' },
          options: { serverId: SERVER },
          without: [1, 3, 6, 12, 15, 26, 28, 42, 43, 51, 52, 58, 59, 66, 67, 121]
        })
      )
    ]
  },
  'a refusal on our own link is broadcast, whatever the flag says': {
    rfc: '2131 4.1, 4.3.2',
    steps: (me) => [sends(rebooting(me, '192.168.1.50', {}, { flags: 0 }), nak({ to: EVERYWHERE }))],
    dnsmasq: { flags: DNSMASQ_FLAG }
  },
  'a refusal through a relay has the broadcast flag set': {
    rfc: '2131 4.3.2',
    at: 'far',
    steps: (me) => [
      sends(
        rebooting(me, '192.168.1.50', {}, { flags: 0 }),
        nak({ to: `${GIADDR.far}:67`, fields: { flags: BROADCAST_FLAG, giaddr: GIADDR.far } })
      )
    ],
    kea: { flags: 'Kea does not set it' }
  },
  'a refusal through a relay has its option 82': {
    rfc: '3046 2.2',
    at: 'far',
    steps: (me) => [
      sends(
        rebooting(me, '192.168.1.50', { relayAgent: RELAY_INFO }),
        nak({ options: { relayAgent: RELAY_INFO } })
      )
    ]
  },
  'after a refusal the machine starts over and is served': {
    rfc: '2131 3.2',
    steps: (me) => [sends(rebooting(me, '192.168.1.50'), nak()), ...leased(me)]
  },

  // Where answers go

  'with the broadcast flag the answer is a broadcast': {
    rfc: '2131 4.1',
    steps: (me) => [
      sends(discover(me, {}, { flags: BROADCAST_FLAG }), offer(me, { to: EVERYWHERE })),
      sends(selecting(me, {}, { flags: BROADCAST_FLAG }), ack(me, { to: EVERYWHERE }))
    ]
  },
  'without the flag a broadcast serves as well': {
    rfc: '2131 4.1: should be unicast to yiaddr, may be a broadcast where that is not possible',
    steps: (me) => [
      sends(discover(me, {}, { flags: 0 }), offer(me, { to: EVERYWHERE })),
      sends(selecting(me, {}, { flags: 0 }), ack(me, { to: EVERYWHERE }))
    ],
    kea: { to: UNICAST },
    dnsmasq: { to: UNICAST }
  },
  'through a relay the broadcast flag changes nothing and comes back': {
    rfc: '2131 4.1',
    at: 'far',
    steps: (me) => [
      sends(discover(me, {}, { flags: 0 }), offer(me, { to: `${GIADDR.far}:67`, fields: { flags: 0 } })),
      sends(
        discover(me, {}, { flags: BROADCAST_FLAG }),
        offer(me, { to: `${GIADDR.far}:67`, fields: { flags: BROADCAST_FLAG } })
      )
    ]
  },
  'a request sent to our address instead of to everybody is answered': {
    rfc: '2131 4.4.4',
    steps: (me) => [
      sends(unicast(me, message(me, 'discover')), offer(me, { to: EVERYWHERE })),
      sends(
        unicast(me, message(me, 'request', { serverId: SERVER, requestedAddress: me.ip })),
        ack(me, { to: EVERYWHERE })
      )
    ]
  },

  // RELEASE

  'a release gets no answer, and the address stays the machine’s': {
    rfc: '2131 3.1, 4.3.4',
    steps: (me, other) => [
      ...leased(me),
      takesEffect(releasing(me)),
      sends(discover(other, { requestedAddress: me.ip }), offer(other)),
      sends(discover(me), offer(me))
    ]
  },
  'a release that is repeated gets no answer': {
    rfc: '2131 4.3.4',
    steps: (me) => [...leased(me), takesEffect(releasing(me)), silently(releasing(me))]
  },
  'a release with the client id of the lease is taken': {
    rfc: '2131 4.4.6',
    steps: (me) => {
      const id = clientId('01 525400aabbcc')
      return [...leased(me, id), takesEffect(releasing(me, id)), sends(discover(me, id), offer(me))]
    }
  },
  'a forged release changes nothing': {
    rfc: '2131 4.4.6',
    alone: 'the change is looked for in our lease table',
    steps: (me, other) => [
      ...leased(me, clientId('01 0a0b0c')),
      ...leased(other),
      ...forgeries(me, other).map(({ who, serverId, ip, id }) => {
        const options = { serverId, ...id }
        return silently(
          unicast(who, message(who, 'release', options, { flags: 0, ciaddr: ip ?? NO_ADDRESS }), me.ip)
        )
      }),
      sends(renewing(me, clientId('01 0a0b0c')), ack(me))
    ]
  },

  // DECLINE

  'a decline gets no answer': {
    rfc: '2131 3.1, 4.3.3',
    steps: (me) => [...leased(me), takesEffect(declining(me))]
  },
  'an address that its own machine declined is not given out for a moment': {
    rfc: '2131 4.3.3; a reserved address stays away for seconds only, on purpose: the machine has no other',
    steps: (me) => [
      ...leased(me),
      takesEffect(declining(me)),
      silently(discover(me)),
      sends(rebooting(me), nak())
    ],
    dnsmasq: { 'answers ack': DNSMASQ_WORD }
  },
  'a forged decline changes nothing': {
    rfc: '2131 4.3.3, 4.4.4',
    alone: 'the change is looked for in our lease table',
    steps: (me, other) => [
      ...leased(me, clientId('01 0a0b0c')),
      ...leased(other),
      ...forgeries(me, other).map(({ who, serverId, ip, id }) => {
        const options = { serverId, ...(ip ? { requestedAddress: ip } : {}), ...id }
        return silently(ask(who, message(who, 'decline', options)))
      }),
      sends(renewing(me, clientId('01 0a0b0c')), ack(me))
    ]
  },

  // INFORM

  'an INFORM gets the parameters and no lease': {
    rfc: '2131 4.3.5',
    steps: (me) => [
      sends(
        informing(me),
        ack(
          { ...me, ip: NO_ADDRESS },
          {
            to: `${me.ip}:68`,
            fields: { ciaddr: me.ip },
            options: {
              subnetMask: '255.255.0.0',
              routers: ['10.1.0.254'],
              dnsServers: ['10.1.0.53', '10.1.0.54']
            },
            without: [51, 58, 59]
          }
        )
      )
    ],
    kea: { 'option 1': KEA_MASK }
  },
  'an INFORM is answered to its address, whatever the flag says': {
    rfc: '2131 4.3.5: unicast to ciaddr',
    steps: (me) => [
      sends(
        informing(me, {}, { flags: BROADCAST_FLAG }),
        ack({ ...me, ip: NO_ADDRESS }, { to: `${me.ip}:68` })
      )
    ],
    kea: { 'option 1': KEA_MASK }
  },
  'an INFORM that is broadcast is answered to its address': {
    rfc: '2131 4.3.5, 4.4.3',
    steps: (me) => [
      sends({ ...informing(me), to: 'broadcast' }, ack({ ...me, ip: NO_ADDRESS }, { to: `${me.ip}:68` }))
    ],
    kea: { 'option 1': KEA_MASK }
  },
  'an INFORM from behind a relay gets its own network’s parameters': {
    rfc: '2131 4.3.5',
    at: 'far',
    steps: (me) => [
      sends(
        informing(me),
        ack(
          { ...me, ip: NO_ADDRESS },
          { to: `${me.ip}:68`, options: { domainName: 'far.example' }, without: [51] }
        )
      )
    ],
    kea: { 'option 1': KEA_MASK }
  },
  'an INFORM of an address that the machine gave itself is answered': {
    rfc: '2131 3.4, 4.3.5: must not check for a lease',
    steps: (me) => [
      sends(
        informing(me, {}, { ciaddr: '10.1.200.1' }, '10.1.200.1'),
        ack({ ...me, ip: NO_ADDRESS }, { to: '10.1.200.1:68', without: [51] })
      )
    ],
    kea: { 'option 1': KEA_MASK }
  },
  'an INFORM without an address is not answered': {
    rfc: '2131 4.4.1 table 5: ciaddr is the client’s address',
    steps: (me) => [silently(broadcast(message(me, 'inform')))]
  },
  'an INFORM from a network that we do not serve is not answered': {
    rfc: '2131 4.3.5; we have no parameters for it',
    steps: (me) => [silently(broadcast(message(me, 'inform', {}, { ciaddr: '192.168.1.50' })))],
    kea: { 'answers ack': 'Kea takes the client for one of its own link' }
  },
  'an INFORM of a stranger is not answered': {
    rfc: '2131 4.3.5 answers anybody; only enrolled machines are served, on purpose',
    machine: 'stranger',
    steps: (me) => [silently(informing(me))],
    kea: { 'answers ack': INFORMED },
    dnsmasq: { 'answers ack': INFORMED }
  },

  // Relays

  'through a relay the answer goes to its port 67, from its network': {
    rfc: '2131 4.1, 4.3.1; 1542 4.1.2',
    at: 'far',
    steps: (me) => [
      sends(
        discover(me),
        offer(me, {
          to: `${GIADDR.far}:67`,
          fields: { giaddr: GIADDR.far },
          options: { leaseSeconds: 600, routers: ['10.2.0.254'], domainName: 'far.example' }
        })
      ),
      sends(selecting(me), ack(me, { to: `${GIADDR.far}:67`, fields: { giaddr: GIADDR.far } }))
    ]
  },
  'each network behind the relay gets what is its own': {
    rfc: '2131 4.3.1',
    at: 'wide',
    steps: (me) => [
      sends(
        discover(me),
        offer(me, { to: `${GIADDR.wide}:67`, options: { leaseSeconds: 3600, routers: ['10.5.0.254'] } })
      )
    ]
  },
  'an answer to a relay goes to port 67 whatever port the relay sent from': {
    rfc: '2131 4.1; 8357 is not offered',
    at: 'far',
    steps: (me) => [sends({ ...discover(me), fromPort: 68 }, offer(me, { to: `${GIADDR.far}:67` }))]
  },
  'a request that came over several relays is served by the first one’s address': {
    rfc: '1542 4.1.1',
    at: 'far',
    steps: (me) => [
      sends(
        edited(discover(me), (bytes) => void bytes.writeUInt8(4, 3)),
        offer(me, { to: `${GIADDR.far}:67`, fields: { hops: 0 } })
      )
    ]
  },
  'option 82 comes back unchanged and last': {
    rfc: '3046 2.2',
    at: 'far',
    steps: (me) => [
      sends(discover(me, { relayAgent: RELAY_INFO }), offer(me, { options: { relayAgent: RELAY_INFO } })),
      sends(selecting(me, { relayAgent: RELAY_INFO }), ack(me, { options: { relayAgent: RELAY_INFO } }))
    ]
  },
  'option 82 comes back last, wherever it stood in the request': {
    rfc: '3046 2.1, 2.2',
    at: 'far',
    steps: (me) => [
      sends(
        withOptions(
          discover(me),
          Buffer.concat([Buffer.of(82, RELAY_INFO.length), RELAY_INFO]),
          DISCOVER,
          opt(55, 1, 3, 6),
          END
        ),
        offer(me, { options: { relayAgent: RELAY_INFO } })
      )
    ]
  },
  'an option 82 of 255 bytes has its place kept': {
    rfc: '3046 2.2; 2132 9.10',
    at: 'wide',
    steps: (me) => {
      const relayAgent = Buffer.concat([Buffer.of(1, 253), Buffer.alloc(253, 0x63)])
      return [
        sends(
          discover(me, { relayAgent, parameterList: [224, 225, 226, 1, 3], maxMessageSize: 576 }),
          offer(me, { atMost: 548, options: { relayAgent, subnetMask: '255.255.0.0', leaseSeconds: 3600 } })
        )
      ]
    },
    kea: {
      'over the maximum size': KEA_SIZE,
      'option 224': KEA_SIZE,
      'option 225': KEA_SIZE,
      'option 82': 'Kea takes it apart and returns 512 bytes of it'
    },
    dnsmasq: { 'option 225': DNSMASQ_ROOM, 'option 82': 'dnsmasq leaves it out', 'option 52': OVERLOADS }
  },
  'an option 82 with nothing in it comes back with nothing in it': {
    rfc: '3046 2.0 would have a sub-option in it; what says nothing cannot mislead, so the machine is served',
    at: 'far',
    steps: (me) => [
      sends(
        withOptions(discover(me), DISCOVER, opt(82), END),
        offer(me, { options: { relayAgent: Buffer.alloc(0) } })
      )
    ],
    kea: { 'option 82': EMPTY },
    dnsmasq: { 'option 82': EMPTY }
  },
  'without option 82 none comes back': {
    rfc: '3046 2.2',
    at: 'far',
    steps: (me) => [sends(discover(me), offer(me, { options: { relayAgent: undefined } }))]
  },
  'a relay of no network of ours is not answered': {
    rfc: '2131 4.3.1',
    steps: (me) => [
      silently(relayed(message(me, 'discover'), '10.99.0.1', RELAY)),
      silently(relayed(message(me, 'request', { requestedAddress: me.ip }), '10.99.0.1', RELAY))
    ],
    kea: { 'answers nak': KEA_AUTHORITY }
  },
  'a relay that is the server itself, the network or everybody is none': {
    rfc: '1542 4.1: giaddr is an address of the relay',
    alone: 'malformed packets, which a server may treat as it likes',
    steps: (me) =>
      [SERVER, '10.1.0.0', '10.1.255.255'].map((giaddr) =>
        silently(relayed(message(me, 'discover'), giaddr, RELAY))
      )
  },
  'a machine that is enrolled in another network is not given an address here': {
    rfc: '2131 4.3.1',
    steps: (me) => [silently(relayed(message(me, 'discover'), GIADDR.far))]
  },
  'relayed packets that cannot be right are not answered': {
    rfc: '3046 2.0, 3527 3, 5107 4; reliability rule of ours: silence',
    at: 'far',
    alone: 'twenty malformed packets, each of which a server may treat as it likes',
    steps: (me) => [
      ...['127.0.0.1', '224.0.0.1', '255.255.255.255', SERVER, '10.2.255.255', '10.2.0.0', '0.0.0.1'].map(
        (giaddr) => silently(relayed(message(me, 'discover'), giaddr, GIADDR.far))
      ),
      ...[
        '01', // a sub-option without length
        '0105', // with a length and nothing else
        '0105 6162', // cut off
        '0102 6162 02', // the second one cut off
        '05', // link selection without length
        '0500', // and without an address
        '0503 0a0200', // and with three bytes of one
        '0505 0a02000000', // and with five
        '0104 61 0b04 0a02', // the last of two cut off
        '0b00', // server id override without an address
        '0b03 0a0200', // and with three bytes of one
        '0b05 0a02000000', // and with five
        '0504 0a630000' // a link that is not ours
      ].map((content) => silently(relayAgent82(me, hex(content)))),
      sends(discover(me), offer(me))
    ]
  },
  'link selection names the network, giaddr where the answer goes': {
    rfc: '3527 3',
    at: 'far',
    steps: (me) => {
      const relayAgent = LINK_SELECTION('10.2.0.0')
      const through = (request: DhcpMessage) => relayed(request, RELAY)
      return [
        sends(
          through(message(me, 'discover', { relayAgent })),
          offer(me, {
            to: `${RELAY}:67`,
            options: { relayAgent, routers: ['10.2.0.254'], leaseSeconds: 600 }
          })
        ),
        sends(
          through(message(me, 'request', { relayAgent, serverId: SERVER, requestedAddress: me.ip })),
          ack(me, { to: `${RELAY}:67`, options: { relayAgent } })
        )
      ]
    }
  },
  'link selection wins over giaddr, for refusals as well': {
    rfc: '3527 3',
    at: 'far',
    steps: (me) => [
      sends(
        relayed(
          message(me, 'request', { relayAgent: LINK_SELECTION('10.2.0.0'), requestedAddress: '10.1.1.250' }),
          RELAY
        ),
        nak({ to: `${RELAY}:67` })
      )
    ]
  },
  'a relay that stands in for the server is named as the server': {
    rfc: '5107 4',
    at: 'far',
    steps: (me) => {
      const relayAgent = SERVER_OVERRIDE(GIADDR.far)
      return [
        sends(discover(me, { relayAgent }), offer(me, { options: { serverId: GIADDR.far, relayAgent } })),
        sends(
          selecting(me, { relayAgent, serverId: GIADDR.far }),
          ack(me, { options: { serverId: GIADDR.far, relayAgent } })
        ),
        sends(
          ask(me, message(me, 'request', { relayAgent }, { ciaddr: me.ip, flags: 0 })),
          ack(me, { to: `${GIADDR.far}:67`, options: { serverId: GIADDR.far } })
        )
      ]
    },
    kea: { 'option 54': KEA_5107 }
  },
  'a relay that stands in for the server is named in refusals': {
    rfc: '5107 4',
    at: 'far',
    steps: (me) => [
      sends(
        selecting(me, {
          relayAgent: SERVER_OVERRIDE(GIADDR.far),
          serverId: GIADDR.far,
          requestedAddress: '10.2.200.1'
        }),
        nak({ options: { serverId: GIADDR.far } })
      )
    ],
    kea: { 'option 54': KEA_5107 }
  },
  'a server id that no relay of this packet stands in for is another server’s': {
    rfc: '5107 4',
    at: 'far',
    steps: (me) => [silently(selecting(me, { serverId: GIADDR.far }))],
    dnsmasq: { 'answers nak': DNSMASQ_ELSEWHERE }
  },

  // Strangers and the discovery pool

  'a stranger is offered an address of the discovery pool': {
    rfc: '2131 4.3.1',
    at: 'lab',
    machine: 'stranger',
    steps: (me) => taken(me, {}, { from: forLab, options: { leaseSeconds: 800, routers: ['10.3.0.254'] } })
  },
  'a stranger is offered the same address again': {
    rfc: '2131 4.3.1',
    at: 'lab',
    machine: 'stranger',
    *steps(me) {
      const found = yield sends(discover(me), { type: 'offer', from: forLab })
      const had = { ...me, ip: found?.yiaddr ?? NO_ADDRESS }
      yield sends(discover(me), offer(had))
      yield sends(discover(me, clientId('ff 00000001 0002 0000ab11 1111111111111111')), offer(had))
    },
    kea: { yiaddr: KEA_OFFERS }
  },
  'two strangers are offered two addresses': {
    rfc: '2131 3.1',
    at: 'lab',
    machine: 'stranger',
    *steps(me, other) {
      const first = yield sends(discover(me), { type: 'offer', from: forLab })
      yield* taken(other, {}, { from: forLab, not: [first?.yiaddr] })
      const had = { ...me, ip: first?.yiaddr ?? NO_ADDRESS }
      yield sends(selecting(had), ack(had))
    }
  },
  'two strangers with one client id have two addresses': {
    rfc: '2131 4.2 makes the id the key; by hardware address on purpose, cloned disks share ids',
    at: 'lab',
    machine: 'stranger',
    *steps(me, other) {
      const id = clientId('ff bbbbbbbb 0002 0000ab11 eeeeeeeeeeeeeeee')
      const had = yield* taken(me, id)
      yield* taken(other, id, { not: [had.ip] })
    },
    kea: { yiaddr: CLIENT_ID },
    dnsmasq: { yiaddr: CLIENT_ID }
  },
  'a stranger gets the free address that it asks for': {
    rfc: '2131 4.3.1: the third choice',
    at: 'lab',
    machine: 'stranger',
    steps: (me) => [
      sends(discover(me, { requestedAddress: '10.3.4.150' }), offer({ ...me, ip: '10.3.4.150' })),
      sends(selecting({ ...me, ip: '10.3.4.150' }), ack({ ...me, ip: '10.3.4.150' }))
    ]
  },
  'a stranger does not get the address of another that it asks for': {
    rfc: '2131 4.3.1',
    at: 'lab',
    machine: 'stranger',
    *steps(me, other) {
      const had = yield* taken(other)
      yield sends(discover(me, { requestedAddress: had.ip }), {
        type: 'offer',
        from: forLab,
        not: [had.ip]
      })
    }
  },
  'a stranger does not get an address outside of the discovery pool': {
    rfc: '2131 4.3.1',
    at: 'lab',
    machine: 'stranger',
    steps: (me) => [
      sends(discover(me, { requestedAddress: '10.3.1.1' }), { type: 'offer', from: forLab }),
      sends(discover(me, { requestedAddress: '10.1.1.1' }), { type: 'offer', from: forLab })
    ],
    kea: { yiaddr: KEA_OFFERS }
  },
  'a stranger that takes what it was not offered is refused': {
    rfc: '2131 4.3.2',
    at: 'lab',
    machine: 'stranger',
    *steps(me, other) {
      const had = yield* taken(other)
      yield sends(discover(me), { type: 'offer' })
      yield sends(selecting(me, { requestedAddress: had.ip }), nak())
      yield sends(selecting(me, { requestedAddress: '10.3.1.1' }), nak())
    },
    kea: { 'answers silence': 'Kea leaves an address that it knows nothing of to other servers' }
  },
  'a stranger renews': {
    rfc: '2131 4.3.2, 4.4.5',
    at: 'lab',
    machine: 'stranger',
    *steps(me) {
      const had = yield* taken(me)
      yield sends(renewing(had), ack(had, { to: `${had.ip}:68`, options: { leaseSeconds: 800 } }))
      yield sends(rebinding(had), ack(had, { to: `${GIADDR.lab}:67` }))
      yield sends(rebooting(had), ack(had))
    }
  },
  'a stranger that nobody knows here hears nothing about the address it had': {
    rfc: '2131 4.3.2: must remain silent',
    at: 'lab',
    machine: 'stranger',
    steps: (me) => [silently(rebooting(me, '10.3.4.190'))],
    kea: { 'answers nak': KEA_AUTHORITY },
    dnsmasq: { 'answers ack': DNSMASQ_WORD }
  },
  'a stranger of the discovery pool that comes with an address of another network is refused': {
    rfc: '2131 4.3.2',
    at: 'lab',
    machine: 'stranger',
    *steps(me) {
      yield* taken(me)
      yield sends(rebooting(me, '192.168.1.50'), nak({ to: `${GIADDR.lab}:67` }))
    }
  },
  'a stranger that gives its address back gets the same one again': {
    rfc: '2131 4.3.1: the second choice, 4.3.4',
    at: 'lab',
    machine: 'stranger',
    *steps(me) {
      const had = yield* taken(me)
      yield takesEffect(releasing(had))
      yield sends(discover(me), offer(had))
    },
    kea: { yiaddr: 'Kea takes the next address of the pool' }
  },
  'an address that was declined is offered to nobody for a while': {
    rfc: '2131 4.3.3',
    at: 'lab',
    machine: 'stranger',
    *steps(me, other) {
      const had = yield* taken(me)
      yield takesEffect(declining(had))
      yield sends(discover(me), { type: 'offer', from: forLab, not: [had.ip] })
      yield sends(discover(other, { requestedAddress: had.ip }), {
        type: 'offer',
        from: forLab,
        not: [had.ip]
      })
    },
    dnsmasq: { yiaddr: 'dnsmasq has a declined address free at once' }
  },
  'when the discovery pool is used up a stranger gets nothing, and those who have addresses keep them': {
    rfc: '2131 4.3.1',
    at: 'tiny',
    machine: 'stranger',
    *steps(me, other) {
      const one = yield* taken(me)
      const two = yield* taken(other, {}, { not: [one.ip] })
      const third = { ...me, mac: me.mac.replace('52:54', '52:56') }
      yield silently(discover(third))
      yield sends(discover(me), offer(one))
      yield sends(renewing(two), ack(two))
    }
  },
  'a stranger that wants to boot from the network gets an address and no boot file': {
    rfc: '2131 4.3.1; only ordered machines boot from us',
    at: 'lab',
    machine: 'stranger',
    alone: 'what may boot is our own decision',
    steps: (me) => taken(me, UEFI_X64, { fields: { file: '' }, without: [66, 67] })
  },

  // Boot

  'PXE firmware of a machine to be deployed is told its boot file in every place where it may look': {
    rfc: '2131 2, 2132 9.4, 9.5, 4578; PXE 2.1 table 2-1',
    machine: 'deploying',
    steps: (me) => [
      sends(
        discover(me, UEFI_X64),
        offer(me, {
          fields: { siaddr: SERVER, file: 'snponly.efi' },
          options: {
            vendorClass: 'PXEClient',
            vendorOptions: TAKE_THE_FILE,
            tftpServerName: SERVER,
            bootFileName: 'snponly.efi'
          }
        })
      ),
      sends(selecting(me, UEFI_X64), ack(me, { likeBefore: true }))
    ],
    kea: { 'option 43': KEA_43 }
  },
  'BIOS gets another boot file': {
    rfc: '4578 2.1',
    machine: 'deploying',
    steps: (me) => [
      sends(discover(me, BIOS), offer(me, { fields: { siaddr: SERVER, file: 'undionly.kpxe' } }))
    ],
    kea: { 'option 43': KEA_43 }
  },
  'of several architectures the first that we know counts': {
    rfc: '4578 2.1: a list',
    machine: 'deploying',
    alone: 'the peers match the first number only',
    steps: (me) => [
      sends(
        discover(me, { ...UEFI_X64, vendorClass: 'PXEClient', clientArchitectures: [4711, 7] }),
        offer(me, { fields: { file: 'snponly.efi' } })
      )
    ]
  },
  'the machine id comes back byte for byte, right or wrong': {
    rfc: '4578 2.3; PXE 2.1',
    machine: 'deploying',
    steps: (me) =>
      [GUID, Buffer.alloc(17), hex('00 0102'), Buffer.alloc(20, 0x5a)].map((clientMachineId) =>
        sends(discover(me, { ...UEFI_X64, clientMachineId }), offer(me, { options: { clientMachineId } }))
      ),
    kea: { 'option 43': KEA_43 }
  },
  'architecture and interface of the client do not come back': {
    rfc: '4578 2.1, 2.2: sent by clients',
    machine: 'deploying',
    steps: (me) => [sends(discover(me, UEFI_X64), offer(me, { without: [93, 94] }))],
    kea: { 'option 43': KEA_43 }
  },
  'UEFI’s HTTP boot gets its class back and a URL': {
    rfc: 'UEFI 2.10 24.7.3',
    machine: 'deploying',
    steps: (me) => [
      sends(
        discover(me, HTTP_X64),
        offer(me, {
          options: {
            vendorClass: 'HTTPClient',
            bootFileName: `http://${SERVER}/boot/loader/snponly.efi`,
            vendorOptions: undefined
          }
        })
      )
    ]
  },
  'an unknown architecture gets an address and no boot file': {
    rfc: '4578 2.1',
    machine: 'deploying',
    steps: (me) => [
      sends(
        discover(me, { ...UEFI_X64, vendorClass: 'PXEClient', clientArchitectures: [4711] }),
        offer(me, { fields: { file: '' }, without: [67] })
      )
    ]
  },
  'an installed system is told nothing of booting': {
    rfc: '2132 9.13, 8.4; PXE 2.1: 43 and 60 are for PXE clients',
    machine: 'deploying',
    steps: (me) => [
      sends(
        discover(me, { vendorClass: 'udhcp 1.36.1', parameterList: [1, 3, 6, 43, 60, 66, 67] }),
        offer(me, { fields: { siaddr: NO_ADDRESS, sname: '', file: '' }, without: [43, 60, 66, 67] })
      )
    ]
  },
  'an installed system is told its name when it asks': {
    rfc: '2132 3.14',
    machine: 'installed',
    steps: (me) => [
      sends(discover(me, { parameterList: [1, 3, 12] }), offer(me, { options: { hostName: HOST_NAME } })),
      sends(discover(me, { parameterList: [1, 3] }), offer(me, { options: { hostName: undefined } }))
    ]
  },
  'a machine that nothing is ordered for gets an address and no boot file': {
    rfc: '2131 4.3.1; the gate decides',
    alone: 'what may boot is our own decision',
    steps: (me) => [
      sends(discover(me, UEFI_X64), offer(me, { fields: { file: '' }, without: [66, 67] })),
      sends(discover(me, HTTP_X64), offer(me, { fields: { file: '' }, without: [66, 67] }))
    ]
  },
  'boot firmware is answered by broadcast, whatever the flag says': {
    rfc: '2131 4.1 would be unicast; ROMs miss it',
    machine: 'deploying',
    steps: (me) => [sends(discover(me, BIOS, { flags: 0 }), offer(me, { to: EVERYWHERE }))],
    kea: { to: UNICAST, 'option 43': KEA_43 },
    dnsmasq: { to: UNICAST }
  },

  // Routes and options by number

  'routes lead to the metadata address and to the gateway': {
    rfc: '3442; a client that takes 121 ignores option 3',
    steps: (me) => [
      sends(
        discover(me, { parameterList: [1, 121, 3] }),
        offer(me, {
          options: {
            classlessRoutes: [
              { network: METADATA, router: SERVER },
              { network: '0.0.0.0/0', router: '10.1.0.254' }
            ],
            routers: ['10.1.0.254']
          }
        })
      )
    ]
  },
  'routes behind a relay are the network’s own': {
    rfc: '3442',
    at: 'wide',
    steps: (me) => [
      sends(
        discover(me, { parameterList: [1, 121, 3] }),
        offer(me, {
          options: {
            classlessRoutes: [
              { network: '10.77.0.0/16', router: '10.5.0.253' },
              { network: '0.0.0.0/0', router: '10.5.0.254' }
            ]
          }
        })
      )
    ]
  },
  'options of the subnet by number come as they are configured': {
    rfc: '2132 3.6, 4.4, 4.5, 4.6, 3.18',
    at: 'wide',
    steps: (me) => [
      sends(
        discover(me, { parameterList: [4, 16, 22, 23, 24] }),
        offer(me, {
          byCode: { 4: '0a0500040a050005', 16: '0a050010', 22: '05dc', 23: '11', 24: '00015180' }
        })
      )
    ]
  },
  'a node’s own options stand in for its subnet’s': {
    rfc: '2131 4.3.1: parameters of the client before those of its network',
    alone: 'options of a single machine are set in other ways in each server',
    dhcp: { gateway: '10.1.0.253', dns: ['10.1.0.99'], mtu: 9000, options: { 150: { ip: '10.1.0.150' } } },
    steps: (me) => [
      sends(
        discover(me, { parameterList: [1, 3, 6, 15, 26, 150] }),
        offer(me, {
          options: {
            routers: ['10.1.0.253'],
            dnsServers: ['10.1.0.99'],
            domainName: 'near.example',
            interfaceMtu: 9000
          },
          byCode: { 150: '0a010096' }
        })
      )
    ]
  }
}

type Forgery = { who: Machine; serverId: Ip | undefined; ip: Ip | undefined; id: DhcpOptions }

/** Whatever is wrong with a release or decline of `me`, who has a lease with client id `01 0a0b0c`: 35 ways, all but the right one. */
function forgeries(me: Machine, other: Machine): Forgery[] {
  const found: Forgery[] = []
  const right = clientId('01 0a0b0c')
  for (const serverId of [SERVER, '10.1.0.9'])
    for (const ip of [me.ip, other.ip, undefined])
      for (const id of [right, clientId('01 0a0b0d')])
        for (const mac of [me.mac, other.mac, '52:54:00:ff:ff:01'])
          if (serverId !== SERVER || ip !== me.ip || id !== right || mac !== me.mac)
            found.push({ who: { ...me, mac }, serverId, ip, id })
  return found
}

/** A relayed DISCOVER with this option 82, as bytes that our encoder would not write. */
function relayAgent82(me: Machine, content: Buffer): Sent {
  return withOptions(discover(me), DISCOVER, Buffer.concat([Buffer.of(82, content.length), content]), END)
}
