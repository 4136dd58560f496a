// What to answer to a DHCP packet, and why. An enrolled machine has the address that its port got at enrolment, so ROM, iPXE, ramdisk and
// installed system get the same one whatever client id they send. Strangers are answered only where a subnet has a discovery pool, and
// never with a boot file. What a machine may boot is the gate's answer.

import type { BootPlan } from '../domain/boot.ts'
import type { Change } from '../domain/change.ts'
import type { EventDetail } from '../domain/event.ts'
import type { Instance } from '../domain/instance.ts'
import type { Node, Port } from '../domain/node.ts'
import type { Order } from '../domain/order.ts'
import type { Lease, LeaseKind, Subnet } from '../domain/subnet.ts'
import type { Ip, Mac } from '../wire/address.ts'
import { BROADCAST_FLAG, NO_ADDRESS, type DhcpMessage } from '../wire/dhcp.ts'
import type { MessageType } from '../wire/dhcp-options.ts'
import { bootDelayed, discoverDelay, type Heard } from './boot-delay.ts'
import { choiceOf, isFirmware, MOST_VISITS, visitsBefore, type BootStages } from './boot-stage.ts'
import { dhcpDestination, type DhcpDestination } from './dhcp-destination.ts'
import { contains, type DhcpPlace } from './dhcp-place.ts'
import { echoed, emptyReply, leaseTimes, networkOptions } from './dhcp-reply.ts'
import { bootPlace, firmwareOf, type Firmware, type FirmwareName } from './firmware.ts'
import { wrongProcessor, type Client } from './firmware/client.ts'
import { bootPlan } from './gate.ts'
import { loaderFollowed, loaderLadder, loaderSilence } from './loader-ladder.ts'
import { readNetworkOptions } from './network-options.ts'

/** What is known of the sender of a packet; `port`, `node`, `order` and `instance` are null for a stranger. */
export type DhcpFacts = {
  port: Port | null
  node: Node | null
  /** The node's latest order, open or not. */
  order: Order | null
  instance: Instance | null
  /** Of the machine's reserved address, or a stranger's own; null: it has none. */
  lease: Lease | null
  /** What the discovery pool has for a stranger: what it has already, else what it asks for, else any. null: nothing. */
  candidate: Ip | null
  /** Somebody else was just found to answer at the address; `mac` null: unknown who. */
  conflict: { mac: Mac | null } | null
  /** Why nobody is to start afresh with us, another DHCP server on the link say, for people; null: all may. */
  standDown: string | null
  /** How far this machine came in earlier tries; a hint. */
  stages: BootStages | null
  /** Its last DISCOVER; a hint. */
  heard: Heard | null
  /** The boot loader that last worked for a machine of the same hardware model; null: none is known. */
  modelLoader: string | null
}

export type DhcpSettings = {
  /** Our address on the link: server id, next server, host of the boot URLs. */
  address: Ip
  httpPort: number
  subnets: readonly Subnet[]
  /** Whether we have a boot loader. */
  hasLoader(this: void, name: string): boolean
  /** Whether answers can be addressed to a MAC whose address does not answer ARP yet. */
  unicastWithoutArp: boolean
}

/** `now` on the wall clock, for people; `leaseNow` on the lease clock, for what expires. Both ms. */
export type DhcpTime = { now: number; leaseNow: number }

/** Why a packet gets no answer. */
export type DhcpIgnored =
  | 'not-a-request' // a server's answer, or a message type that only servers send
  | 'not-dhcp' // no message type: plain BOOTP
  | 'not-ethernet'
  | 'unknown-relay'
  | 'bad-relay-option'
  | 'not-enrolled'
  | 'handed-over' // it is another owner's; who answers it now is not us
  | 'no-address' // the port does not boot, so it has no reserved address
  | 'no-subnet' // relayed, or informed, from a network that is not configured
  | 'address-elsewhere' // the reserved address belongs to another subnet than the client is in
  | 'address-in-use' // somebody else answers at the address
  | 'quarantined' // the address was declined a moment ago
  | 'standing-down' // another DHCP server is on the link, or may be
  | 'pool-exhausted' // the discovery pool has nothing left, or gave out as much as it may in a second
  | 'unknown-lease' // a stranger speaks of a lease that we know nothing of
  | 'other-server' // the client took another server's offer
  | 'not-its-address' // a release, decline or inform about an address that the machine does not have
  | 'other-client-id' // a release or decline by somebody who is not the lease's holder
  | 'released'
  | 'declined'
  | 'nothing-to-boot' // proxyDHCP: we have no boot file for it, and addresses are another server's business
  | 'not-for-a-proxy' // proxyDHCP: addresses are another server's business

/** `client` null: the packet was not looked into, its sender is a stranger. */
export type DhcpVerdict =
  DhcpAnswer | { ignore: DhcpIgnored; reason: string; client: FirmwareName | null; changes: Change[] }

export type DhcpAnswer = {
  reply: DhcpMessage
  destination: DhcpDestination
  client: FirmwareName
  /** Where the address comes from. */
  kind: LeaseKind
  /** As it stands in the answer; null: none. */
  bootFile: string | null
  /** Why there is a boot file or none, or why the request was refused. */
  reason: string
  changes: Change[]
}

/** Everything the cases below look at, taken together once. */
export type DhcpCase = DhcpFacts & {
  request: DhcpMessage
  type: MessageType
  place: DhcpPlace
  firmware: Firmware
  client: Client
  plan: BootPlan
  /** What stands in option 54: our address, unless the relay has clients believe otherwise (RFC 5107). */
  serverId: Ip
  settings: DhcpSettings
  time: DhcpTime
}

/** A case with an address and the subnet it is in. */
type Holder = DhcpCase & { ip: Ip; subnet: Subnet; kind: 'reserved' | 'discovery' }

/** How long a declined address is given to nobody; seconds. A reserved one never stays away for long: it is its machine's only one. */
const QUARANTINE = { reserved: { first: 10, most: 60 }, discovery: 3600 }
/** So many declines in a row, and people are told. */
const DECLINES_ALARM = 3

/** Decides one packet. Needs nothing but its arguments and never throws. */
export function decideDhcp(
  request: DhcpMessage,
  place: DhcpPlace,
  facts: DhcpFacts,
  settings: DhcpSettings,
  time: DhcpTime
): DhcpVerdict {
  const asked = openCase(request, place, facts, settings, time)
  if ('ignore' in asked) return asked
  return asked.node ? decideEnrolled(asked) : decideStranger(asked)
}

/** What every mode of serving looks at first. */
export function openCase(
  request: DhcpMessage,
  place: DhcpPlace,
  facts: DhcpFacts,
  settings: DhcpSettings,
  time: DhcpTime
): DhcpCase | Extract<DhcpVerdict, { ignore: unknown }> {
  const stranger = (ignore: DhcpIgnored) => ({ ignore, reason: ignore, client: null, changes: [] })
  const type = request.options.messageType
  if (request.op !== 'request') return stranger('not-a-request')
  if (!type) return stranger('not-dhcp')
  if (type === 'offer' || type === 'ack' || type === 'nak') return stranger('not-a-request')
  if (request.htype !== 1 || request.chaddr.length !== 17) return stranger('not-ethernet')
  if (place.refused) return stranger(place.refused)
  const enrolled = facts.port !== null && facts.node !== null
  if (!enrolled && !place.subnet?.discovery) return stranger('not-enrolled')
  if (facts.node?.handover) return stranger('handed-over')
  const { firmware, client } = firmwareOf(request)
  const serverId = place.relay?.serverIdOverride ?? settings.address
  return { ...facts, request, type, place, firmware, client, plan: bootPlan(facts), serverId, settings, time }
}

// Enrolled machines

function decideEnrolled(asked: DhcpCase): DhcpVerdict {
  const ip = asked.port?.reservedIp ?? null
  const { subnet } = asked.place
  if (ip === null) return ignored(asked, 'no-address')
  if (!subnet) return ignored(asked, 'no-subnet')
  const holder: Holder = { ...asked, ip, subnet, kind: 'reserved' }
  switch (asked.type) {
    case 'discover': {
      if (!contains(subnet, ip)) return ignored(asked, 'address-elsewhere', [], elsewhere(holder))
      const barred = barredOf(holder)
      if (barred) return ignored(asked, ...barred)
      // An offer is a promise that costs nothing, since the address is reserved: no lease is written.
      return withDelay(asked, answered(holder, 'offer', []))
    }
    case 'request':
      return decideRequest(holder)
    case 'inform':
      return decideInform(holder)
    default:
      return decideReturn(holder)
  }
}

function withDelay({ request, heard, time, ...asked }: DhcpCase, offer: DhcpAnswer): DhcpAnswer {
  const delay = discoverDelay(request, heard, offer.bootFile !== null, time.now)
  return { ...offer, changes: [...offer.changes, ...bootDelayed(asked, offer.client, delay, time.now)] }
}

const elsewhere = ({ ip, subnet }: Holder) =>
  `its address ${ip} is not in ${subnet.cidr}, where it asks from; set physical_network of its port to ${subnet.name ?? subnet.cidr}`

/** What keeps an address from being given out for a while. */
function barredOf({ ip, lease, conflict, standDown, time }: Holder): [DhcpIgnored, Change[], string] | null {
  if (standDown !== null) return ['standing-down', [], standDown]
  if (conflict) return ['address-in-use', [], `${ip} is in use by ${conflict.mac ?? 'somebody else'}`]
  if (lease?.state === 'declined' && lease.expiresAt > time.leaseNow)
    return [
      'quarantined',
      [],
      `${ip} was declined ${lease.declines === 1 ? 'once' : `${lease.declines} times`}`
    ]
  return null
}

/** The four meanings of REQUEST (RFC 2131 4.3.2, table 4); *renewing* and *rebinding* differ only in how they reach us. */
function meaningOf({ options, ciaddr }: DhcpMessage): 'selecting' | 'init-reboot' | 'renewing' {
  if (options.serverId !== undefined && ciaddr === NO_ADDRESS) return 'selecting'
  return options.requestedAddress !== undefined && ciaddr === NO_ADDRESS ? 'init-reboot' : 'renewing'
}

/** The rule for an enrolled machine is one: its own address is acknowledged, any other refused. */
function decideRequest(asked: Holder): DhcpVerdict {
  const { request, subnet, ip } = asked
  const { serverId, requestedAddress } = request.options
  if (serverId !== undefined && serverId !== asked.serverId) return ignored(asked, 'other-server')
  const meaning = meaningOf(request)
  // Clients that renew with a server id, against the RFC, mean the address they have.
  const wanted = requestedAddress ?? request.ciaddr
  if (wanted !== ip) return refused(asked, `${ip} is reserved for this machine, not ${wanted}`)
  if (!contains(subnet, ip)) return refused(asked, elsewhere(asked))
  const barred = meaning === 'renewing' ? null : barredOf(asked)
  // Whoever took our offer before the other server was seen may have it; whoever starts afresh is to wait.
  if (barred?.[0] === 'standing-down') {
    if (meaning === 'init-reboot') return ignored(asked, ...barred)
  } else if (barred) return refused(asked, barred[2])
  return answered(asked, 'ack', [leaseChange(asked, 'bound'), ...instanceUp(asked)])
}

/** A machine that has an address already wants to know the rest (RFC 2131 4.3.5): no lease time, no yiaddr, no lease written. */
function decideInform(asked: Holder): DhcpVerdict {
  if (!contains(asked.subnet, asked.request.ciaddr)) return ignored(asked, 'not-its-address')
  return answered(asked, 'ack', [])
}

/**
 * RELEASE and DECLINE: honoured only when server, address, MAC and client id are those of the lease, so that a forged packet has more to
 * guess. A declined address stays its machine's all the same: no other is, so it is barred for a moment only and people are told.
 */
function decideReturn(asked: Holder): DhcpVerdict {
  const { request, type, lease, ip, kind, time } = asked
  const { serverId, requestedAddress } = request.options
  if (serverId !== asked.serverId) return ignored(asked, 'other-server')
  const given = type === 'release' ? request.ciaddr : requestedAddress
  if (given !== ip || lease?.ip !== ip || lease.mac !== request.chaddr || lease.state !== 'bound')
    return ignored(asked, 'not-its-address')
  if (lease.clientId !== clientIdOf(request)) return ignored(asked, 'other-client-id')
  if (type === 'release') return ignored(asked, 'released', [leaseChange(asked, 'released')])
  const declines = lease.declines + 1
  const { first, most } = QUARANTINE.reserved
  const seconds =
    kind === 'discovery' ? QUARANTINE.discovery : Math.min(first * 2 ** Math.min(lease.declines, 10), most)
  const row: Lease = {
    ...lease,
    state: 'declined',
    declines,
    expiresAt: time.leaseNow + seconds * 1000,
    updatedAt: time.now
  }
  const told = declines >= DECLINES_ALARM ? addressConflict(asked, ip, null, declines) : []
  return ignored(asked, 'declined', [{ put: 'lease', row }, ...told])
}

/** The line in the timeline for an address that somebody else uses. */
export function addressConflict(
  { node, order, time }: Pick<DhcpCase, 'node' | 'order' | 'time'>,
  ip: Ip,
  holder: Mac | null,
  times: number
): Change[] {
  if (!node) return []
  const orderId = order?.state === 'open' ? order.id : null
  const detail = { ip, holder, times }
  return [
    {
      event: {
        kind: 'address-conflict',
        at: time.now,
        nodeUuid: node.uuid,
        orderId,
        subject: holder ?? ip,
        detail
      }
    }
  ]
}

/** The installed system's own DHCP is a sign of life: it comes after the image was written, and from no boot program. */
export function instanceUp({
  order,
  node,
  firmware,
  time: { now }
}: Pick<DhcpCase, 'order' | 'node' | 'firmware' | 'time'>): Change[] {
  if (firmware.name !== 'system' || !node || order?.kind !== 'deploy' || order.state !== 'open') return []
  if (order.ticks['image-written'] === undefined || order.ticks['instance-up'] !== undefined) return []
  const detail = { milestone: 'instance-up', by: 'dhcp' } as const
  const event = { kind: 'milestone-reached', at: now, nodeUuid: node.uuid, orderId: order.id } as const
  return [
    { tick: 'instance-up', orderId: order.id, attempt: order.attempt, at: now },
    { event: { ...event, subject: detail.milestone, detail } }
  ]
}

// Strangers, where there is a discovery pool

function decideStranger(asked: DhcpCase): DhcpVerdict {
  const { request, type, place, lease, candidate, standDown } = asked
  const { subnet } = place
  if (!subnet?.discovery) return ignored(asked, 'not-enrolled')
  const holder = (ip: Ip): Holder => ({ ...asked, ip, subnet, kind: 'discovery' })
  if (type === 'inform') return ignored(asked, 'not-enrolled')
  if (type === 'release' || type === 'decline')
    return lease ? decideReturn(holder(lease.ip)) : ignored(asked, 'unknown-lease')
  if (type === 'discover') {
    if (standDown !== null) return ignored(asked, 'standing-down', [], standDown)
    return candidate === null ? ignored(asked, 'pool-exhausted') : answered(holder(candidate), 'offer', [])
  }
  const { serverId, requestedAddress } = request.options
  if (serverId !== undefined && serverId !== asked.serverId) return ignored(asked, 'other-server')
  const wanted = requestedAddress ?? request.ciaddr
  // Of what we know nothing we say nothing (RFC 2131 4.3.2), unless the address cannot be right in this network.
  if (meaningOf(request) !== 'selecting' && !lease)
    return contains(subnet, wanted)
      ? ignored(asked, 'unknown-lease')
      : refused(holder(wanted), `${wanted} is not in the network the request came from`)
  if (candidate === null || wanted !== candidate)
    return refused(holder(wanted), `${wanted} is not an address for this machine`)
  const bound = holder(wanted)
  return answered(bound, 'ack', [leaseChange(bound, 'bound')])
}

// What both end in

function clientIdOf({ options }: DhcpMessage): string | null {
  return options.clientId ? options.clientId.toString('hex') : null
}

function leaseChange(asked: Holder, state: 'bound' | 'released'): Change {
  const { request, ip, lease, kind, time } = asked
  const seconds = state === 'bound' ? leaseSeconds(asked) : 0
  return {
    put: 'lease',
    row: {
      ip,
      mac: request.chaddr,
      kind,
      state,
      expiresAt: time.leaseNow + seconds * 1000,
      clientId: state === 'bound' ? clientIdOf(request) : (lease?.clientId ?? null),
      // Whoever comes back for more has used the address in peace.
      declines: lease && request.ciaddr === NO_ADDRESS ? lease.declines : 0,
      hostname: request.options.hostName || (lease?.hostname ?? null),
      updatedAt: time.now
    }
  }
}

function leaseSeconds({ subnet, kind }: Holder): number {
  return kind === 'discovery' ? (subnet.discovery?.leaseSeconds ?? 0) : subnet.leaseSeconds
}

/** No answer, and for an enrolled machine a line that says why. */
export function ignored(
  asked: DhcpCase,
  ignore: DhcpIgnored,
  changes: Change[] = [],
  words: string = ignore
): DhcpVerdict {
  const { type, firmware, request } = asked
  const said = request.options.message?.replace(/[^\x20-\x7e]/g, '?').slice(0, 100)
  const reason = said ? `${words}: ${said}` : words
  const noted = event(asked, 'dhcp-ignored', `${type} ${ignore}`, { type, client: firmware.name, reason })
  return { ignore, reason, client: firmware.name, changes: [...changes, ...noted] }
}

export function event<K extends 'dhcp-answered' | 'dhcp-ignored' | 'boot-file-changed' | 'loader-silent'>(
  { node, order, time }: Pick<DhcpCase, 'node' | 'order' | 'time'>,
  kind: K,
  subject: string,
  detail: EventDetail[K]
): Change[] {
  if (!node) return []
  const orderId = order?.state === 'open' ? order.id : null
  return [{ event: { kind, at: time.now, nodeUuid: node.uuid, orderId, subject, detail } as never }]
}

function answered(asked: Holder, type: 'offer' | 'ack', changes: Change[]): DhcpAnswer {
  const { request, ip, firmware, settings, subnet, node, instance, plan, kind } = asked
  const boot = bootFileFor(asked)
  const { file, reason, changes: tried } = boot
  const inform = asked.type === 'inform'
  const reply: DhcpMessage = {
    ...emptyReply(request),
    ciaddr: type === 'ack' ? request.ciaddr : NO_ADDRESS,
    yiaddr: inform ? NO_ADDRESS : ip,
    ...bootFields(file, settings),
    options: {
      messageType: type,
      serverId: asked.serverId,
      ...(inform ? {} : leaseTimes(leaseSeconds(asked))),
      ...bootOptions(asked, boot),
      ...echoed(request),
      ...networkOptions(request, subnet, ownOptions(node), {
        address: settings.address,
        hostName: instance && plan.boot === 'local-disk' ? instance.hostname : null,
        installed: firmware.name === 'system'
      })
    }
  }
  // A DISCOVER has no address of its own, whatever stands in ciaddr.
  const from = asked.type === 'discover' ? { ...request, ciaddr: NO_ADDRESS } : request
  const bootFile = file?.text ?? null
  const detail = { type, ip, client: firmware.name, bootFile, reason }
  const noted = event(asked, 'dhcp-answered', `${type} ${firmware.name}`, detail)
  return {
    reply,
    destination: destinationOf(from, reply, asked),
    client: firmware.name,
    kind,
    bootFile,
    reason,
    changes: [...changes, ...(type === 'ack' ? tried : []), ...noted]
  }
}

/** NAK says why and nothing else; through a relay it must be broadcast on the client's link (RFC 2131 4.3.2). */
function refused(asked: Holder, reason: string): DhcpVerdict {
  const { request, firmware, kind } = asked
  const reply: DhcpMessage = {
    ...emptyReply(request),
    flags: request.giaddr === NO_ADDRESS ? request.flags : request.flags | BROADCAST_FLAG,
    options: {
      messageType: 'nak',
      serverId: asked.serverId,
      message: reason,
      ...echoed(request)
    }
  }
  const detail = { type: 'nak', ip: NO_ADDRESS, client: firmware.name, bootFile: null, reason }
  return {
    reply,
    destination: destinationOf(request, reply, asked),
    client: firmware.name,
    kind,
    bootFile: null,
    reason,
    changes: event(asked, 'dhcp-answered', `nak ${firmware.name}`, detail)
  }
}

function destinationOf(
  request: DhcpMessage,
  reply: DhcpMessage,
  { firmware, settings }: DhcpCase
): DhcpDestination {
  const rom = firmware.name !== 'system' && firmware.name !== 'ramdisk'
  return dhcpDestination(request, reply, { rom, unicastWithoutArp: settings.unicastWithoutArp })
}

/** What a node has in place of its subnet's options: `extra.dhcp`, checked when it was written. */
function ownOptions(node: Node | null): ReturnType<typeof readNetworkOptions> {
  const own = node?.extra['dhcp']
  return own ? readNetworkOptions(own as Readonly<Record<string, unknown>>, '', []) : {}
}

// Boot files

export type NamedFile = { by: 'tftp' | 'http'; text: string }

/**
 * The file to tell the client, or why none. `leave`: its firmware is to go on to the next boot device at once. `changes` tell people when
 * another file is tried than before.
 */
export function bootFileFor(asked: DhcpCase): {
  file: NamedFile | null
  leave: boolean
  reason: string
  changes: Change[]
} {
  const { firmware, client, settings, plan, stages, request, node, modelLoader, time } = asked
  const none = (reason: string, leave: boolean) => ({ file: null, leave, reason, changes: [] })
  if (plan.boot !== 'ramdisk' || !asked.order || !node) return none(plan.reason, true)
  const wrong = wrongProcessor(client, node)
  if (wrong) return none(wrong, true)
  const silence = isFirmware(firmware.name) ? loaderSilence(asked.order.loaderTrial, time.now) : null
  const order = silence ? { ...asked.order, loaderTrial: silence.trial } : asked.order
  const base = `http://${settings.address}${settings.httpPort === 80 ? '' : `:${settings.httpPort}`}`
  const place = bootPlace(base, firmware.name, client, (loaders) =>
    loaderLadder(loaders.filter(settings.hasLoader), node, modelLoader, order.loaderTrial)
  )
  const found: NamedFile[] = []
  for (const file of firmware.bootFiles(client, place)) {
    if ('none' in file) return none(file.none, false)
    found.push(file.by === 'http' ? { by: 'http', text: file.url } : { by: 'tftp', text: file.name })
  }
  const visits = visitsBefore(stages, order, firmware.name, request.xid)
  const choice = choiceOf(visits, found.length)
  const file = choice === null ? null : (found[choice] as NamedFile)
  const before = visits === 0 ? choice : choiceOf(visits - 1, found.length)
  const changes = silence
    ? [{ put: 'order', row: order } as const, ...silent(asked, silence, file)]
    : isFirmware(firmware.name)
      ? []
      : loaderFollowed(order)
  if (before !== choice)
    changes.push(
      ...event(asked, 'boot-file-changed', firmware.name, {
        client: firmware.name,
        visits,
        from: before === null ? null : (found[before]?.text ?? null),
        to: file?.text ?? null
      })
    )
  if (!file)
    return {
      file,
      leave: true,
      reason: `${MOST_VISITS} boot files in attempt ${order.attempt} and nothing came after; the next attempt starts anew`,
      changes
    }
  const again = visits === 0 ? '' : `, visit ${visits + 1} of this stage`
  return { file, leave: false, reason: `${plan.reason}${again}`, changes }
}

/** The line in the timeline for a loader that came to nothing. */
function silent(
  asked: DhcpCase,
  { loader, seconds, reason }: NonNullable<ReturnType<typeof loaderSilence>>,
  next: NamedFile | null
): Change[] {
  return event(asked, 'loader-silent', loader, { loader, seconds, reason, next: next?.text ?? null })
}

/** The BOOTP fields: many ROMs read only these; a name that is too long for one stands in option 67 alone. */
export function bootFields(
  file: NamedFile | null,
  { address }: DhcpSettings
): Pick<DhcpMessage, 'siaddr' | 'file'> {
  return {
    siaddr: file ? address : NO_ADDRESS,
    file: file && file.text.length <= 127 ? file.text : ''
  }
}

export function bootOptions(
  { firmware, settings }: Pick<DhcpCase, 'firmware' | 'settings'>,
  { file, leave }: Pick<ReturnType<typeof bootFileFor>, 'file' | 'leave'>
): DhcpMessage['options'] {
  if (!file) return leave ? (firmware.leave ?? {}) : {}
  return {
    bootFileName: file.text,
    ...firmware.answer,
    ...(file.by === 'tftp' ? { tftpServerName: settings.address } : {})
  }
}
