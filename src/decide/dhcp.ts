// What to answer to a DHCP packet, and why. Only enrolled machines are answered, each with the address that its port has from
// enrolment on, so ROM, iPXE, ramdisk and installed system get the same one whatever client id they send. What they may
// boot is the gate's answer.

import type { BootPlan } from '../domain/boot.ts'
import type { Change } from '../domain/change.ts'
import type { EventDetail } from '../domain/event.ts'
import type { Node, Port } from '../domain/node.ts'
import type { Order } from '../domain/order.ts'
import type { Lease, Subnet } from '../domain/subnet.ts'
import { formatIp, netmask, parseCidr, parseIp, type Ip } from '../wire/address.ts'
import { BROADCAST_FLAG, NO_ADDRESS, type DhcpMessage } from '../wire/dhcp.ts'
import { optionCode, type DhcpOptions, type MessageType } from '../wire/dhcp-options.ts'
import { dhcpDestination, type DhcpDestination } from './dhcp-destination.ts'
import { bootPlace, firmwareOf, type BootFile, type Firmware, type FirmwareName } from './firmware.ts'
import type { Client } from './firmware/client.ts'
import { bootPlan } from './gate.ts'

/** What is known of the machine behind `request.chaddr`; all null for a stranger. */
export type DhcpFacts = {
  port: Port | null
  node: Node | null
  /** The node's latest order, open or not. */
  order: Order | null
  lease: Lease | null
}

export type DhcpSettings = {
  /** Our address on the link: server id, next server, host of the boot URLs. */
  address: Ip
  httpPort: number
  subnets: readonly Subnet[]
  /** Whether answers can be addressed to a MAC whose address does not answer ARP yet. */
  unicastWithoutArp: boolean
}

/** Why a packet gets no answer. */
export type DhcpIgnored =
  | 'not-a-request' // a server's answer, or a message type that only servers send
  | 'not-dhcp' // no message type: plain BOOTP
  | 'not-ethernet'
  | 'not-enrolled'
  | 'no-address' // the port does not boot, so it has no reserved address
  | 'no-subnet' // relayed, or informed, from a network that is not configured
  | 'address-elsewhere' // the reserved address belongs to another subnet than the client is in
  | 'other-server' // the client took another server's offer
  | 'not-its-address' // a release, decline or inform about an address that the machine does not have
  | 'released'
  | 'declined'

/** `client` null: the packet was not looked into, its sender is a stranger. */
export type DhcpVerdict = DhcpAnswer | { ignore: DhcpIgnored; client: FirmwareName | null; changes: Change[] }

export type DhcpAnswer = {
  reply: DhcpMessage
  destination: DhcpDestination
  client: FirmwareName
  /** As it stands in the answer; null: none. */
  bootFile: string | null
  /** Why there is a boot file or none, or why the request was refused. */
  reason: string
  changes: Change[]
}

/** Everything the cases below look at, taken together once. */
type Case = {
  request: DhcpMessage
  type: MessageType
  port: Port
  node: Node
  order: Order | null
  lease: Lease | null
  ip: Ip
  subnet: Subnet | undefined
  firmware: Firmware
  client: Client
  settings: DhcpSettings
  now: number
}

/** Decides one packet. `now` is in ms. Needs nothing but its arguments and never throws. */
export function decideDhcp(
  request: DhcpMessage,
  facts: DhcpFacts,
  settings: DhcpSettings,
  now: number
): DhcpVerdict {
  const stranger = (ignore: DhcpIgnored): DhcpVerdict => ({ ignore, client: null, changes: [] })
  const type = request.options.messageType
  if (request.op !== 'request') return stranger('not-a-request')
  if (!type) return stranger('not-dhcp')
  if (type === 'offer' || type === 'ack' || type === 'nak') return stranger('not-a-request')
  if (request.htype !== 1 || request.chaddr.length !== 17) return stranger('not-ethernet')
  const { port, node, order, lease } = facts
  if (!port || !node) return stranger('not-enrolled')
  const ip = port.reservedIp
  const subnet = subnetOf(request, settings)
  const { firmware, client } = firmwareOf(request)
  const known = { request, type, port, node, order, lease, subnet, firmware, client, settings, now }
  if (ip === null) return ignored(known, 'no-address')
  if (!subnet) return ignored(known, 'no-subnet')
  const asked: Case = { ...known, ip }
  switch (type) {
    case 'discover':
      return decideDiscover(asked)
    case 'request':
      return decideRequest(asked)
    case 'release':
      return decideRelease(asked)
    case 'decline':
      return decideDecline(asked)
    case 'inform':
      return decideInform(asked)
  }
}

/**
 * The subnet a packet comes from: the relay's; else that of the address a renewing client has, because it sends straight to
 * us from behind its router; else our own (RFC 2131 4.3.1).
 */
function subnetOf({ giaddr, ciaddr }: DhcpMessage, { subnets, address }: DhcpSettings): Subnet | undefined {
  const holding = (ip: Ip) => subnets.find((subnet) => contains(subnet, ip))
  if (giaddr !== NO_ADDRESS) return holding(giaddr)
  return (ciaddr === NO_ADDRESS ? undefined : holding(ciaddr)) ?? holding(address)
}

function contains(subnet: Subnet | undefined, ip: Ip): boolean {
  const range = subnet && parseCidr(subnet.cidr)
  const value = parseIp(ip)
  return range !== undefined && value !== undefined && value >= range.first && value <= range.last
}

function decideDiscover(asked: Case): DhcpVerdict {
  if (!contains(asked.subnet, asked.ip)) return ignored(asked, 'address-elsewhere')
  // An offer is a promise that costs nothing, since the address is reserved: no lease is written.
  return answered(asked, 'offer', [])
}

/**
 * The four meanings of REQUEST (RFC 2131 4.3.2): *selecting* has a server id, *init-reboot* a requested address, *renewing*
 * and *rebinding* only ciaddr. They differ in how they reach us; the rule for an enrolled machine is one:
 * its own address is acknowledged, any other refused.
 */
function decideRequest(asked: Case): DhcpVerdict {
  const { request, settings, subnet, ip } = asked
  const { serverId, requestedAddress } = request.options
  if (serverId !== undefined && serverId !== settings.address) return ignored(asked, 'other-server')
  // Clients that renew with a server id, against the RFC, mean the address they have.
  const wanted = requestedAddress ?? request.ciaddr
  if (wanted !== ip) return refused(asked, `${ip} is reserved for this machine, not ${wanted}`)
  if (!contains(subnet, ip)) return refused(asked, `${ip} is not in the network the request came from`)
  return answered(asked, 'ack', [lease(asked, 'bound'), ...instanceUp(asked)])
}

/** Honoured only when address and server are the right ones, so that a forged packet has more to guess. */
function decideRelease(asked: Case): DhcpVerdict {
  const { request, settings, ip } = asked
  if (request.options.serverId !== settings.address) return ignored(asked, 'other-server')
  if (request.ciaddr !== ip) return ignored(asked, 'not-its-address')
  return ignored(asked, 'released', [lease(asked, 'released')])
}

/** The client found its address taken. It stays reserved all the same: no other is this machine's, and the event tells people. */
function decideDecline(asked: Case): DhcpVerdict {
  const { request, settings, ip } = asked
  if (request.options.serverId !== settings.address) return ignored(asked, 'other-server')
  if (request.options.requestedAddress !== ip) return ignored(asked, 'not-its-address')
  return ignored(asked, 'declined', [lease(asked, 'declined')])
}

/** A machine that has an address already wants to know the rest (RFC 2131 4.3.5): no lease time, no yiaddr, no lease written. */
function decideInform(asked: Case): DhcpVerdict {
  if (!contains(asked.subnet, asked.request.ciaddr)) return ignored(asked, 'not-its-address')
  return answered(asked, 'ack', [])
}

/** The installed system's own DHCP is a sign of life: it comes after the image was written, and from no boot program. */
function instanceUp({ order, node, firmware, now }: Case): Change[] {
  if (firmware.name !== 'system' || order?.kind !== 'deploy' || order.state !== 'open') return []
  if (order.ticks['image-written'] === undefined || order.ticks['instance-up'] !== undefined) return []
  const detail = { milestone: 'instance-up', by: 'dhcp' } as const
  const event = { kind: 'milestone-reached', at: now, nodeUuid: node.uuid, orderId: order.id } as const
  return [
    { tick: 'instance-up', orderId: order.id, attempt: order.attempt, at: now },
    { event: { ...event, subject: detail.milestone, detail } }
  ]
}

function lease({ request, port, ip, subnet, lease, now }: Case, state: Lease['state']): Change {
  const seconds = state === 'bound' ? (subnet?.leaseSeconds ?? 0) : 0
  return {
    put: 'lease',
    row: {
      mac: port.address,
      ip,
      state,
      expiresAt: now + seconds * 1000,
      hostname: request.options.hostName || (lease?.hostname ?? null),
      updatedAt: now
    }
  }
}

function ignored(known: Omit<Case, 'ip'>, reason: DhcpIgnored, changes: Change[] = []): DhcpVerdict {
  const { type, firmware } = known
  const said = known.request.options.message?.replace(/[^\x20-\x7e]/g, '?').slice(0, 100)
  const detail = { type, client: firmware.name, reason: said ? `${reason}: ${said}` : reason }
  const noted = event(known, 'dhcp-ignored', `${type} ${reason}`, detail)
  return { ignore: reason, client: firmware.name, changes: [...changes, noted] }
}

function event<K extends 'dhcp-answered' | 'dhcp-ignored'>(
  { node, order, now }: Pick<Case, 'node' | 'order' | 'now'>,
  kind: K,
  subject: string,
  detail: EventDetail[K]
): Change {
  const orderId = order?.state === 'open' ? order.id : null
  return { event: { kind, at: now, nodeUuid: node.uuid, orderId, subject, detail } as never }
}

function answered(asked: Case, type: 'offer' | 'ack', changes: Change[]): DhcpVerdict {
  const { request, ip, firmware, settings } = asked
  const plan = bootPlan(asked)
  const { file, reason } = bootFileFor(asked, plan)
  const inform = asked.type === 'inform'
  const reply: DhcpMessage = {
    ...emptyReply(request),
    ciaddr: type === 'ack' ? request.ciaddr : NO_ADDRESS,
    yiaddr: inform ? NO_ADDRESS : ip,
    siaddr: file ? settings.address : NO_ADDRESS,
    // Many ROMs read only this field; what is too long for it stands in option 67 alone.
    file: file && file.text.length <= 127 ? file.text : '',
    options: {
      messageType: type,
      serverId: settings.address,
      ...(inform ? {} : leaseTimes(asked.subnet?.leaseSeconds ?? 0)),
      ...(file
        ? { bootFileName: file.text, ...firmware.answer }
        : plan.boot !== 'ramdisk'
          ? firmware.leave
          : {}),
      ...(file?.by === 'tftp' ? { tftpServerName: settings.address } : {}),
      ...echoed(request),
      ...networkOptions(asked)
    }
  }
  // A DISCOVER has no address of its own, whatever stands in ciaddr.
  const from = asked.type === 'discover' ? { ...request, ciaddr: NO_ADDRESS } : request
  return {
    reply,
    destination: destinationOf(from, reply, asked),
    client: firmware.name,
    bootFile: file?.text ?? null,
    reason,
    changes: [...changes, answeredEvent(asked, type, file?.text ?? null, reason)]
  }
}

/** NAK says why and nothing else; through a relay it must be broadcast on the client's link (RFC 2131 4.3.2). */
function refused(asked: Case, reason: string): DhcpVerdict {
  const { request, firmware, settings } = asked
  const reply: DhcpMessage = {
    ...emptyReply(request),
    flags: request.giaddr === NO_ADDRESS ? request.flags : request.flags | BROADCAST_FLAG,
    options: {
      messageType: 'nak',
      serverId: settings.address,
      message: reason,
      ...echoed(request)
    }
  }
  return {
    reply,
    destination: destinationOf(request, reply, asked),
    client: firmware.name,
    bootFile: null,
    reason,
    changes: [answeredEvent(asked, 'nak', null, reason)]
  }
}

function answeredEvent(asked: Case, type: MessageType, bootFile: string | null, reason: string): Change {
  const client = asked.firmware.name
  const ip = type === 'nak' ? NO_ADDRESS : asked.ip
  const detail = { type, ip, client, bootFile, reason }
  return event(asked, 'dhcp-answered', `${type} ${client}`, detail)
}

function destinationOf(
  request: DhcpMessage,
  reply: DhcpMessage,
  { firmware, settings }: Case
): DhcpDestination {
  const rom = firmware.name !== 'system' && firmware.name !== 'ramdisk'
  return dhcpDestination(request, reply, { rom, unicastWithoutArp: settings.unicastWithoutArp })
}

/** The fields that RFC 2131 table 3 has copied from the request. */
function emptyReply(request: DhcpMessage): DhcpMessage {
  return {
    op: 'reply',
    htype: request.htype,
    hops: 0,
    xid: request.xid,
    secs: 0,
    flags: request.flags,
    ciaddr: NO_ADDRESS,
    yiaddr: NO_ADDRESS,
    siaddr: NO_ADDRESS,
    giaddr: request.giaddr,
    chaddr: request.chaddr,
    sname: '',
    file: '',
    options: {}
  }
}

/** Options that go back byte for byte: 61 (RFC 6842), 97 (RFC 4578 2.3), 82 (RFC 3046 2.2). */
function echoed({ options }: DhcpMessage): DhcpOptions {
  return {
    ...(options.clientId ? { clientId: options.clientId } : {}),
    ...(options.clientMachineId ? { clientMachineId: options.clientMachineId } : {}),
    ...(options.relayAgent ? { relayAgent: options.relayAgent } : {})
  }
}

/** What the client asks for in option 51 is only a hint: the configured time keeps OFFER, ACK and every renewal alike. */
function leaseTimes(seconds: number): DhcpOptions {
  return {
    leaseSeconds: seconds,
    renewSeconds: Math.floor(seconds / 2),
    rebindSeconds: Math.floor((seconds * 7) / 8)
  }
}

function bootFileFor(
  { firmware, client, settings }: Case,
  plan: BootPlan
): { file: { by: 'tftp' | 'http'; text: string } | null; reason: string } {
  if (plan.boot !== 'ramdisk') return { file: null, reason: plan.reason }
  const base = `http://${settings.address}${settings.httpPort === 80 ? '' : `:${settings.httpPort}`}`
  const found: BootFile = firmware.bootFile(client, bootPlace(base, firmware.name, client))
  if ('none' in found) return { file: null, reason: found.none }
  return { file: { by: found.by, text: found.by === 'http' ? found.url : found.name }, reason: plan.reason }
}

const METADATA: Ip = '169.254.169.254'

/** What the subnet has to tell: asked for or not, what the client asked for first, in its order (RFC 2132 9.8). */
function networkOptions({ request, subnet, firmware, settings }: Case): DhcpOptions {
  const range = subnet && parseCidr(subnet.cidr)
  if (!subnet || !range) return {}
  const wanted = request.options.parameterList ?? []
  const asks = (name: Parameters<typeof optionCode>[0]) => wanted.includes(optionCode(name))
  const some = (list: Ip[]) => (list.length > 0 ? list : undefined)
  const options: DhcpOptions = {
    subnetMask: netmask(range.prefix),
    routers: subnet.gateway ? [subnet.gateway] : undefined,
    dnsServers: some(subnet.dns),
    domainName: subnet.domain ?? undefined,
    ntpServers: some(subnet.ntp),
    interfaceMtu: subnet.mtu ?? undefined,
    broadcastAddress: asks('broadcastAddress') ? formatIp(range.last) : undefined,
    // Installed systems get it unasked: the metadata address must work in any image.
    classlessRoutes:
      firmware.name === 'system' || asks('classlessRoutes') ? routes(subnet, settings) : undefined
  }
  const rank = (name: string) => {
    const place = wanted.indexOf(optionCode(name as never))
    return place < 0 ? wanted.length : place
  }
  const present = Object.entries(options).filter(([, value]) => value !== undefined)
  return Object.fromEntries(present.sort(([a], [b]) => rank(a) - rank(b)))
}

/** Option 121. A client that takes it ignores option 3, so the default route stands here too (RFC 3442). */
function routes(subnet: Subnet, { address }: DhcpSettings): DhcpOptions['classlessRoutes'] {
  const found = []
  // Behind a relay we are no neighbour: there the default route has to do.
  if (contains(subnet, address)) found.push({ network: `${METADATA}/32`, router: address })
  if (subnet.gateway) found.push({ network: '0.0.0.0/0', router: subnet.gateway })
  return found.length > 0 ? found : undefined
}
