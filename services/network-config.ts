// The part of the configuration that says what the network is: which link, which subnets, who gets addresses, and in which manner we are there.

import { Type, type Static } from 'typebox'
import { readNetworkOptions } from '../src/decide/network-options.ts'
import type { AddressRange, Subnet } from '../src/domain/subnet.ts'
import { parseCidr, parseIp } from '../src/wire/address.ts'

export const Ip = Type.String({ pattern: '^\\d{1,3}(\\.\\d{1,3}){3}$', description: 'an IPv4 address' })
const closed = { additionalProperties: false }
const Range = Type.Object({ start: Ip, end: Ip }, closed)

const SubnetSchema = Type.Object(
  {
    name: Type.Optional(
      Type.String({ pattern: '^[A-Za-z0-9._-]{1,64}$', description: "a port's physical_network" })
    ),
    cidr: Type.String({ description: 'network and prefix length, "192.0.2.0/24"' }),
    pool: Type.Optional(Range),
    relays: Type.Optional(Type.Array(Ip)),
    gateway: Type.Optional(Ip),
    dns: Type.Optional(Type.Array(Ip)),
    ntp: Type.Optional(Type.Array(Ip)),
    domain: Type.Optional(Type.String({ minLength: 1, maxLength: 253 })),
    mtu: Type.Optional(Type.Integer({ minimum: 576, maximum: 65535 })),
    leaseSeconds: Type.Optional(Type.Integer({ minimum: 120, maximum: 30 * 86400 })),
    routes: Type.Optional(Type.Array(Type.Unknown())),
    options: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
    discovery: Type.Optional(
      Type.Object(
        {
          start: Ip,
          end: Ip,
          leaseSeconds: Type.Optional(Type.Integer({ minimum: 30, maximum: 30 * 86400 })),
          perSecond: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000 }))
        },
        closed
      )
    )
  },
  closed
)

export const NetworkSchema = Type.Object(
  {
    interface: Type.String({ minLength: 1, maxLength: 15, description: 'the link the machines are on' }),
    address: Ip,
    subnets: Type.Array(SubnetSchema, { minItems: 1 }),
    dhcp: Type.Optional(
      Type.Object(
        {
          mode: Type.Optional(Type.Union(['server', 'proxy', 'listen'].map((mode) => Type.Literal(mode)))),
          exclusive: Type.Optional(Type.Boolean()),
          tolerate: Type.Optional(Type.Array(Ip)),
          probeConflicts: Type.Optional(Type.Boolean())
        },
        closed
      )
    )
  },
  closed
)

/**
 * `server`: addresses and boot files. `proxy`: boot files only, beside another DHCP server (PXE 2.1, proxyDHCP). `listen`: not one
 * packet is sent; who asks, who answers and what we would have answered is told through the API.
 */
export type DhcpMode = 'server' | 'proxy' | 'listen'

export type NetworkConfig = {
  interface: string
  address: string
  subnets: Subnet[]
  dhcp: {
    mode: DhcpMode
    /** Stand down while another DHCP server answers on the link. */
    exclusive: boolean
    /** Other servers that may be there: machines of theirs are not ours. */
    tolerate: string[]
    /** Look whether an address is in use when it is offered. */
    probeConflicts: boolean
  }
}

type Given = Static<typeof NetworkSchema>

/** The effective network configuration; a sentence in `faults` for everything that cannot be. */
export function readNetwork(given: Given, faults: string[]): NetworkConfig {
  const mode = (given.dhcp?.mode ?? 'server') as DhcpMode
  const subnets = given.subnets.map((subnet, index) => readSubnet(subnet, `network.subnets.${index}`, faults))
  faults.push(...networkFaults(given, mode))
  return {
    interface: given.interface,
    address: given.address,
    subnets,
    dhcp: {
      mode,
      exclusive: given.dhcp?.exclusive ?? true,
      tolerate: given.dhcp?.tolerate ?? [],
      probeConflicts: given.dhcp?.probeConflicts ?? true
    }
  }
}

function readSubnet(given: Given['subnets'][number], where: string, faults: string[]): Subnet {
  const { routes, options } = readNetworkOptions(
    { routes: given.routes, options: given.options },
    where,
    faults
  )
  return {
    name: given.name ?? null,
    cidr: given.cidr,
    pool: given.pool ?? null,
    relays: given.relays ?? [],
    gateway: given.gateway ?? null,
    dns: given.dns ?? [],
    ntp: given.ntp ?? [],
    domain: given.domain ?? null,
    mtu: given.mtu ?? null,
    routes: routes ?? [],
    options: options ?? {},
    leaseSeconds: given.leaseSeconds ?? 3600,
    discovery: given.discovery
      ? {
          start: given.discovery.start,
          end: given.discovery.end,
          // Short, so that a pool that was flooded is whole again soon.
          leaseSeconds: given.discovery.leaseSeconds ?? 120,
          perSecond: given.discovery.perSecond ?? 20
        }
      : null
  }
}

function networkFaults(given: Given, mode: DhcpMode): string[] {
  const faults: string[] = []
  const own = parseIp(given.address)
  if (own === undefined) faults.push(`"network.address" ${given.address} is not an IPv4 address`)
  let served = false
  const ranges: { name: string; first: number; last: number }[] = []
  const networks: { name: string; first: number; last: number }[] = []
  const names = new Set<string>()
  given.subnets.forEach((subnet, index) => {
    const name = `network.subnets.${index}`
    const network = parseCidr(subnet.cidr)
    if (!network) {
      faults.push(
        `"${name}.cidr" ${subnet.cidr} is not a network such as 192.0.2.0/24 (host bits must be zero)`
      )
      return
    }
    if (subnet.name !== undefined && names.has(subnet.name))
      faults.push(`"${name}.name" ${subnet.name} is the name of another subnet too`)
    if (subnet.name !== undefined) names.add(subnet.name)
    for (const other of networks)
      if (network.first <= other.last && network.last >= other.first)
        faults.push(`"${name}.cidr" ${subnet.cidr} overlaps "${other.name}.cidr"`)
    networks.push({ name, first: network.first, last: network.last })
    const inside = (ip: string) => {
      const value = parseIp(ip)
      return value !== undefined && value > network.first && value < network.last
    }
    if (inside(given.address)) served = true
    const range = (key: 'pool' | 'discovery', { start, end }: AddressRange) => {
      const where = `"${name}.${key}`
      if (!inside(start)) faults.push(`${where}.start" ${start} is not a host address in ${subnet.cidr}`)
      if (!inside(end)) faults.push(`${where}.end" ${end} is not a host address in ${subnet.cidr}`)
      const first = parseIp(start) ?? 0
      const last = parseIp(end) ?? 0
      if (first > last) faults.push(`${where}" starts (${start}) after it ends (${end})`)
      const holds = (ip: string | undefined) => {
        const value = ip === undefined ? undefined : parseIp(ip)
        return value !== undefined && value >= first && value <= last
      }
      if (holds(given.address))
        faults.push(`${where}" contains Seedling's own address ${given.address}; leave it out of the pool`)
      if (holds(subnet.gateway)) faults.push(`${where}" contains the gateway ${subnet.gateway}`)
      for (const relay of subnet.relays ?? [])
        if (holds(relay)) faults.push(`${where}" contains the relay ${relay}`)
      for (const other of ranges)
        if (first <= other.last && last >= other.first) faults.push(`${where}" overlaps "${other.name}"`)
      ranges.push({ name: `${name}.${key}`, first, last })
    }
    if (subnet.pool) range('pool', subnet.pool)
    else if (mode === 'server') faults.push(`"${name}.pool" is missing: the addresses of enrolled machines`)
    if (subnet.discovery) range('discovery', subnet.discovery)
    if (subnet.gateway !== undefined && !inside(subnet.gateway))
      faults.push(`"${name}.gateway" ${subnet.gateway} is not in ${subnet.cidr}`)
    for (const ip of [...(subnet.dns ?? []), ...(subnet.ntp ?? []), ...(subnet.relays ?? [])])
      if (parseIp(ip) === undefined) faults.push(`"${name}" names ${ip}, which is not an IPv4 address`)
  })
  if (!served && faults.length === 0)
    faults.push(`"network.address" ${given.address} is in none of "network.subnets"`)
  return faults
}
