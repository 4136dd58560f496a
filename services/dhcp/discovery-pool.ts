// Addresses for strangers. What is promised stands in the lease table; here is only what is on offer (never written: an offer is taken up
// in seconds or not at all) and a list of addresses that were free when it was made, so that finding one costs next to nothing.
// Everything is bounded: a flood of invented MACs costs `perSecond` offers and nothing else.

import type { Discovery, Lease, Subnet } from '../../src/domain/subnet.ts'
import { formatIp, parseIp, type Ip, type Mac } from '../../src/wire/address.ts'
import type { Facts } from '../store/facts.ts'

export type DiscoveryPool = {
  /**
   * The address for a stranger, held for it from now on: the one it has or was offered, else the one it asks for if that is free, else any.
   * null: there is none, or too many were given out this second. `lease` is its latest in this subnet.
   */
  candidate(subnet: Subnet, mac: Mac, requested: Ip | null, lease: Lease | null): Ip | null
  /** What is on offer to `mac` is so no longer: it was acknowledged, or another server's was taken. */
  settle(mac: Mac): void
  /** Takes an address that somebody else was found to use out of what is on offer. */
  bar(ip: Ip): void
  /** How much of a subnet's pool is in use. */
  use(subnet: Subnet): { size: number; leased: number; offered: number }
}

export type DiscoveryPoolDeps = {
  facts: Pick<Facts, 'leases' | 'leaseByIp' | 'isReserved'>
  /** The lease clock, ms. */
  leaseNow: () => number
  /** Whether somebody else was just found to use an address. */
  inUse: (ip: Ip) => boolean
  /** Whether it may be offered now. Where it is not known who holds what, an address is looked at first, and who asks again gets it. */
  mayOffer: (ip: Ip, mac: Mac) => boolean
}

const HOLD_MILLISECONDS = 30_000
const MAX_HOLDS = 8192
/** The list is made anew this often at most, however many ask for what is not there. */
const SWEEP_MILLISECONDS = 1000

type Range = {
  free: number[]
  next: number
  sweptAt: number
  /** The second that is being counted, and what it still has. */
  second: number
  left: number
}

export function createDiscoveryPool({ facts, leaseNow, inUse, mayOffer }: DiscoveryPoolDeps): DiscoveryPool {
  const ranges = new Map<string, Range>()
  const offered = new Map<Mac, { ip: Ip; until: number }>()
  const holders = new Map<Ip, Mac>()

  function settle(mac: Mac): void {
    const hold = offered.get(mac)
    if (!hold) return
    offered.delete(mac)
    holders.delete(hold.ip)
  }

  function hold(mac: Mac, ip: Ip): Ip {
    settle(mac)
    // The oldest go first, and a Map keeps them in that order.
    const now = leaseNow()
    for (const [oldest, { until }] of offered) {
      if (until > now && offered.size < MAX_HOLDS) break
      settle(oldest)
    }
    offered.set(mac, { ip, until: now + HOLD_MILLISECONDS })
    holders.set(ip, mac)
    return ip
  }

  function isFree(ip: Ip, mac: Mac): boolean {
    const holder = holders.get(ip)
    if (holder !== undefined && holder !== mac && (offered.get(holder)?.until ?? 0) > leaseNow()) return false
    const row = facts.leaseByIp(ip)
    if (row && row.expiresAt > leaseNow() && (row.state === 'declined' || row.mac !== mac)) return false
    return !inUse(ip) && !facts.isReserved(ip)
  }

  function rangeOf({ cidr }: Subnet, { perSecond }: Discovery): Range {
    const second = Math.floor(leaseNow() / 1000)
    let range = ranges.get(cidr)
    if (!range) ranges.set(cidr, (range = { free: [], next: 0, sweptAt: -Infinity, second, left: perSecond }))
    if (range.second !== second) Object.assign(range, { second, left: perSecond })
    return range
  }

  /** Lists what is free: first what was never used, then what has been free the longest. */
  function sweep(range: Range, discovery: Discovery): void {
    range.sweptAt = leaseNow()
    const used = new Map(facts.leases().map(({ ip, expiresAt }) => [ip, expiresAt]))
    const fresh: number[] = []
    const old: { value: number; expiresAt: number }[] = []
    const end = parseIp(discovery.end) ?? 0
    for (let value = parseIp(discovery.start) ?? 1; value <= end; value++) {
      const expiresAt = used.get(formatIp(value))
      if (expiresAt === undefined) fresh.push(value)
      else if (expiresAt <= range.sweptAt) old.push({ value, expiresAt })
    }
    old.sort((a, b) => a.expiresAt - b.expiresAt)
    range.free = [...fresh, ...old.map(({ value }) => value)]
    range.next = 0
  }

  function anyFree(range: Range, discovery: Discovery, mac: Mac): Ip | null {
    for (;;) {
      if (range.next >= range.free.length) {
        if (leaseNow() - range.sweptAt < SWEEP_MILLISECONDS) return null
        sweep(range, discovery)
        if (range.free.length === 0) return null
      }
      const ip = formatIp(range.free[range.next++] as number)
      if (isFree(ip, mac)) return ip
    }
  }

  const inside = ({ start, end }: Discovery, ip: Ip) => {
    const value = parseIp(ip) ?? 0
    return value >= (parseIp(start) ?? 1) && value <= (parseIp(end) ?? 0)
  }

  return {
    candidate(subnet, mac, requested, lease) {
      const { discovery } = subnet
      if (!discovery) return null
      const ifSure = (ip: Ip) => (mayOffer(ip, mac) ? ip : null)
      if (lease && lease.state !== 'declined' && inside(discovery, lease.ip) && isFree(lease.ip, mac))
        return lease.expiresAt > leaseNow() ? lease.ip : ifSure(lease.ip)
      const held = offered.get(mac)
      // What is on offer is nobody else's.
      if (held && held.until > leaseNow() && inside(discovery, held.ip) && !inUse(held.ip))
        return ifSure(held.ip)
      const range = rangeOf(subnet, discovery)
      if (range.left === 0) return null
      const wanted =
        requested !== null && inside(discovery, requested) && isFree(requested, mac) ? requested : null
      const ip = wanted ?? anyFree(range, discovery, mac)
      if (ip === null) return null
      range.left--
      return ifSure(hold(mac, ip))
    },
    settle,
    bar(ip) {
      const holder = holders.get(ip)
      if (holder !== undefined) settle(holder)
    },
    use(subnet) {
      const { discovery } = subnet
      if (!discovery) return { size: 0, leased: 0, offered: 0 }
      const now = leaseNow()
      const leased = facts
        .leases()
        .filter(({ ip, kind, expiresAt }) => kind === 'discovery' && expiresAt > now && inside(discovery, ip))
      return {
        size: (parseIp(discovery.end) ?? 0) - (parseIp(discovery.start) ?? 1) + 1,
        leased: leased.length,
        offered: [...offered.values()].filter(({ ip, until }) => until > now && inside(discovery, ip)).length
      }
    }
  }
}
