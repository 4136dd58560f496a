// Address plans and what was promised from them.

import type { ClasslessRoute } from '../wire/dhcp-options.ts'
import type { Ip, Mac } from '../wire/address.ts'

/** What a network tells those in it: a subnet has all of it, a node may have its own in place of some. */
export type NetworkOptions = {
  gateway: Ip | null
  dns: readonly Ip[]
  ntp: readonly Ip[]
  domain: string | null
  /** Bytes; null: say nothing. */
  mtu: number | null
  /** Beside the default route and the way to the metadata address. */
  routes: readonly ClasslessRoute[]
  /** Any further DHCP option: code → content as hex. */
  options: Readonly<Record<number, string>>
}

/** A range of addresses, both ends included. */
export type AddressRange = { start: Ip; end: Ip }

export type Subnet = NetworkOptions & {
  /** What `physical_network` of a port calls it; null: only its cidr. */
  name: string | null
  /** `192.0.2.0/24`. */
  cidr: string
  /** The addresses that machines get at their enrolment; null in proxyDHCP mode, where another server has them. */
  pool: AddressRange | null
  /** The relays (giaddr) whose packets are taken; empty: any that is itself in the subnet. */
  relays: readonly Ip[]
  leaseSeconds: number
  /** Addresses for machines that are not enrolled; null: those get no answer. */
  discovery: Discovery | null
}

export type Discovery = AddressRange & {
  leaseSeconds: number
  /** New addresses given out in a second, at most: what a flood of invented MACs can cost. */
  perSecond: number
}

/**
 * `reserved`: a machine's own from its enrolment on. `discovery`: from the pool for strangers. `foreign`: another server's, seen
 * in proxyDHCP mode.
 */
export type LeaseKind = 'reserved' | 'discovery' | 'foreign'

/** One address that was promised to somebody; at most one lease an address. */
export type Lease = {
  ip: Ip
  mac: Mac
  kind: LeaseKind
  /** `declined`: its holder found it in use by somebody else, so it is given to nobody before `expiresAt`. */
  state: 'bound' | 'released' | 'declined'
  /** On the lease clock (services/clock.ts), ms. */
  expiresAt: number
  /** Option 61 of the request that was last acknowledged, hex; null: it had none. */
  clientId: string | null
  /** How often in a row it was declined. */
  declines: number
  hostname: string | null
  updatedAt: number
}

/** Where the lease clock stood, and what to go on from (services/clock.ts). */
export type ClockMark = {
  id: 1
  /** The lease clock, ms. */
  leaseTime: number
  /** The wall clock at the same moment, ms. */
  wallTime: number
  /** Whether the wall clock was then known to be right. */
  synchronised: boolean
  /** The machine's own time since it started, ms, and which start that was. */
  uptime: number
  bootId: string
}
