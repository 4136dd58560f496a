// What DHCP does and why: leases, the packets of a machine as a capture, explanations, who else is about. Reads only.

import { Type } from 'typebox'
import { explainDhcp } from '../../src/decide/dhcp-explain.ts'
import { readable } from '../../src/decide/dhcp-seen.ts'
import { provisionStateOf } from '../../src/decide/provision.ts'
import { AppError } from '../../src/domain/error.ts'
import type { Port } from '../../src/domain/node.ts'
import type { DhcpPacket } from '../../src/domain/packet.ts'
import type { AddressRange, Lease } from '../../src/domain/subnet.ts'
import { parseIp, parseMac, type Ip, type Mac } from '../../src/wire/address.ts'
import { encodePcap } from '../../src/wire/pcap.ts'
import { nodeNamed, provisionFacts, type ApiDeps, type App } from './deps.ts'
import { explanationView, otherView, packetView, seenView, serverView } from './dhcp-views.ts'
import { Ident } from './nodes.ts'
import { leaseView, type Json } from './views.ts'

const PCAP = 'application/vnd.tcpdump.pcap'
const MOST_CLIENTS = 1000

const OneMac = Type.Object({ mac: Type.String({ minLength: 1 }) })

const LeaseQuery = Type.Object(
  {
    mac: Type.Optional(Type.String()),
    ip: Type.Optional(Type.String()),
    node: Type.Optional(Type.String()),
    state: Type.Optional(
      Type.Union(['bound', 'expired', 'released', 'declined'].map((state) => Type.Literal(state)))
    )
  },
  { additionalProperties: false }
)

const SeenQuery = Type.Object(
  { limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MOST_CLIENTS })) },
  { additionalProperties: false }
)

export function dhcpRoutes(app: App, deps: ApiDeps): void {
  const { config, facts, dhcp, now, leaseNow } = deps
  const { mode } = config.network.dhcp
  const { address, interface: link, subnets } = config.network

  const macOf = (text: string): Mac => {
    const mac = parseMac(text)
    if (mac === undefined) throw new AppError('bad-request', `${JSON.stringify(text)} is not a MAC address`)
    return mac
  }
  const ownerOf = (port: Port | null) => (port ? facts.nodeByUuid(port.nodeUuid) : null)
  const shown = (lease: Lease): Json => {
    const port = facts.portByMac(lease.mac)
    return leaseView(lease, { now: now(), leaseNow: leaseNow() }, port, ownerOf(port))
  }

  app.get('/v1/dhcp/leases', { schema: { querystring: LeaseQuery } }, async (request) => {
    const { mac, ip, node, state } = request.query
    const holder = mac === undefined ? undefined : macOf(mac)
    const nodeUuid = node === undefined ? undefined : nodeNamed(facts, node).uuid
    const leases = holder === undefined ? facts.leases() : facts.leasesOfMac(holder)
    return {
      leases: leases
        .filter((lease) => ip === undefined || lease.ip === ip)
        .map(shown)
        .filter((view) => nodeUuid === undefined || view['node_uuid'] === nodeUuid)
        .filter((view) => state === undefined || view['state'] === state)
    }
  })

  /** A capture of these MACs' packets; AppError `not-found` when there is none. */
  const capture = (macs: readonly Mac[], whose: string): Buffer => {
    const packets: DhcpPacket[] = macs.flatMap((mac) => dhcp.packets.of(mac)).sort((a, b) => a.at - b.at)
    if (packets.length === 0)
      throw new AppError(
        'not-found',
        `No DHCP packet of ${whose} was seen since Seedling started. Is the machine on, its cable in this network, and its ` +
          `firmware set to boot from it? (Seedling hears what is on ${link}, and what relays send to ${address})`
      )
    return encodePcap(packets)
  }
  const attachment = (name: string) => `attachment; filename="${name.replace(/[^\w.~-]/g, '-')}.pcap"`

  app.get('/v1/dhcp/packets/:mac', { schema: { params: OneMac } }, async (request, reply) => {
    const mac = macOf(request.params.mac)
    const file = capture([mac], mac)
    return reply.type(PCAP).header('Content-Disposition', attachment(mac)).send(file)
  })
  app.get('/v1/nodes/:ident/dhcp/packets', { schema: { params: Ident } }, async (request, reply) => {
    const node = nodeNamed(facts, request.params.ident)
    const name = node.name ?? node.uuid
    const macs = facts.portsOfNode(node.uuid).map((port) => port.address)
    const whose = macs.length === 0 ? `${name} (which has no ports)` : `${name} (${macs.join(', ')})`
    return reply.type(PCAP).header('Content-Disposition', attachment(name)).send(capture(macs, whose))
  })

  app.get('/v1/dhcp/explain/:mac', { schema: { params: OneMac } }, async (request) => {
    const mac = macOf(request.params.mac)
    const { node, port, order } = facts.machineByMac(mac)
    const ip = port?.reservedIp ?? null
    const lease = ip === null ? null : facts.leaseByIp(ip)
    const conflict = ip === null ? null : dhcp.conflict(ip)
    const newest = dhcp.packets.newest(mac)
    const known = { mac, node, port, order, lease, conflict, last: newest ? readable(newest.bytes) : null }
    const explanation = explainDhcp(known, { address, subnets, mode }, leaseNow(), dhcp.dryRun)
    const leases = facts.leasesOfMac(mac)
    if (lease && !leases.some((one) => one.ip === lease.ip)) leases.push(lease)
    return {
      ...explanationView(mac, explanation),
      node: node && {
        uuid: node.uuid,
        name: node.name,
        provision_state: provisionStateOf(provisionFacts(facts, node)),
        maintenance: node.maintenance
      },
      port: port && {
        uuid: port.uuid,
        pxe_enabled: port.pxeEnabled,
        physical_network: port.physicalNetwork
      },
      leases: leases.map(shown),
      packets: dhcp.packets.of(mac).map(packetView)
    }
  })

  app.get('/v1/dhcp/status', async () => {
    const { state, servers } = dhcp.watch()
    const reserved = facts.ports().flatMap((port) => port.reservedIp ?? [])
    const held = facts
      .leases()
      .filter(({ expiresAt }) => expiresAt > leaseNow())
      .map((lease) => lease.ip)
    const taken = [...reserved, ...held]
    return {
      mode,
      interface: link,
      address,
      subnets: subnets.map((subnet) => ({
        cidr: subnet.cidr,
        name: subnet.name,
        relays: subnet.relays,
        pool: useOf(subnet.pool, taken),
        discovery: useOf(subnet.discovery, taken)
      })),
      counters: dhcp.counters,
      strangers_let_in: dhcp.strangersShare(),
      others: { state, servers: servers.map(otherView) }
    }
  })

  app.get('/v1/dhcp/seen', { schema: { querystring: SeenQuery } }, async (request) => ({
    clients: dhcp.seen
      .clients(request.query.limit ?? MOST_CLIENTS)
      .map((client) => seenView(client, ownerOf(facts.portByMac(client.mac)))),
    servers: dhcp.seen.servers().map(serverView)
  }))
}

/** How much of a range is reserved or on lease; null where there is no such range. */
function useOf(range: AddressRange | null, taken: readonly Ip[]): Json | null {
  if (range === null) return null
  const { start, end } = range
  const [first, last] = [parseIp(start) ?? 1, parseIp(end) ?? 0]
  const inside = taken.map((ip) => parseIp(ip) ?? 0).filter((value) => value >= first && value <= last)
  const size = last - first + 1
  const used = new Set(inside).size
  return { start, end, size, taken: used, free: size - used }
}
