// Where a DHCP packet comes from: which relay, which subnet. Decided from the packet alone, before anything is looked up.

import type { Subnet } from '../domain/subnet.ts'
import { parseCidr, parseIp, type Ip } from '../wire/address.ts'
import { NO_ADDRESS, type DhcpMessage } from '../wire/dhcp.ts'
import { parseRelayAgent, type RelayAgent } from '../wire/relay-agent.ts'

export type DhcpPlace = {
  /** Where the client is; null: in no network that we serve. */
  subnet: Subnet | null
  /** What the relay said; null: none did. */
  relay: RelayAgent | null
  /** Why the packet is not looked into; null: it is. */
  refused: 'unknown-relay' | 'bad-relay-option' | null
}

/**
 * The subnet is the one that the relay selects (RFC 3527), else the relay's own; without a relay that of the address which a
 * renewing client has, because it sends straight to us from behind its router; else our own (RFC 2131 4.3.1).
 */
export function placeOf(
  { giaddr, ciaddr, options }: Pick<DhcpMessage, 'giaddr' | 'ciaddr' | 'options'>,
  { subnets, address }: { subnets: readonly Subnet[]; address: Ip }
): DhcpPlace {
  const holding = (ip: Ip) => subnets.find((subnet) => contains(subnet, ip)) ?? null
  const relay = options.relayAgent ? parseRelayAgent(options.relayAgent) : null
  if (relay === undefined) return { subnet: null, relay: null, refused: 'bad-relay-option' }
  if (giaddr === NO_ADDRESS) {
    const own = ciaddr === NO_ADDRESS ? null : holding(ciaddr)
    return { subnet: own ?? holding(address), relay, refused: null }
  }
  const link = holding(giaddr)
  // A relay is one that is named, or one that is itself in a subnet that names none: others' packets are not for us.
  const open = link?.relays.length === 0 && giaddr !== address && isHost(link, giaddr)
  const known = open || subnets.some(({ relays }) => relays.includes(giaddr))
  if (!known && link === null) return { subnet: null, relay, refused: null }
  if (!known) return { subnet: null, relay, refused: 'unknown-relay' }
  const selected = relay?.linkSelection
  return { subnet: selected ? holding(selected) : (link ?? namedBy(giaddr, subnets)), relay, refused: null }
}

/** A relay whose own address lies outside serves the subnet that names it. */
function namedBy(giaddr: Ip, subnets: readonly Subnet[]): Subnet | null {
  return subnets.find(({ relays }) => relays.includes(giaddr)) ?? null
}

const ranges = new WeakMap<Subnet, { first: number; last: number; prefix: number }>()

/** A subnet's first and last address and prefix length. */
export function rangeOf(subnet: Subnet): { first: number; last: number; prefix: number } {
  let range = ranges.get(subnet)
  if (!range) ranges.set(subnet, (range = parseCidr(subnet.cidr) ?? { first: 1, last: 0, prefix: 32 }))
  return range
}

/** Neither the network itself nor everybody in it. */
function isHost(subnet: Subnet, ip: Ip): boolean {
  const { first, last, prefix } = rangeOf(subnet)
  const value = parseIp(ip)
  return prefix > 30 || (value !== first && value !== last)
}

export function contains(subnet: Subnet | null | undefined, ip: Ip): boolean {
  const value = subnet ? parseIp(ip) : undefined
  if (!subnet || value === undefined) return false
  const { first, last } = rangeOf(subnet)
  return value >= first && value <= last
}
