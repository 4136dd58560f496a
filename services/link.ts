// Whether the machines' link is as the configuration says, looked at every second. Bound sockets outlive a link that goes down
// and comes back, and an address that is taken away and given back. They are lost when the link is deleted, also if
// one of the same name is made again: `index` tells that they must be opened anew.

import { readFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { parseMac, type Mac } from '../src/wire/address.ts'
import type { Link } from './listen.ts'

export type LinkStatus = {
  /** The kernel's number of the interface of that name; null: there is none. */
  index: number | null
  present: boolean
  /** Switched on, and with a carrier. */
  up: boolean
  /** Our address is on it. Known only while it is up, else false. */
  addressOk: boolean
}

/** What holds now. */
export function linkStatus({ interface: name, address }: Link): LinkStatus {
  const index = Number(attribute(name, 'ifindex')) || null
  // Reading `carrier` fails while the link is switched off. `operstate` would be a second late.
  const up = attribute(name, 'carrier') === '1'
  const addressOk = up && (networkInterfaces()[name] ?? []).some((held) => held.address === address)
  return { index, present: index !== null, up, addressOk }
}

/** The MAC of a link that is there, also when it is down. */
export function linkMac(name: string): Mac | undefined {
  return parseMac(attribute(name, 'address') ?? '')
}

/** What the link carries in one piece, bytes with the IP header; undefined when it is not there. */
export function linkMtu(name: string): number | undefined {
  return Number(attribute(name, 'mtu')) || undefined
}

/**
 * Whether packets from outside that bear an address of our own are heard (accept_local, ip-sysctl of the kernel's documentation), as those of a Seedling
 * that was given this one's address do; else the kernel drops them.
 */
export function hearsOwnAddress(name: string): boolean {
  return ['all', name].some((which) => {
    try {
      return readFileSync(`/proc/sys/net/ipv4/conf/${which}/accept_local`, 'latin1').trim() === '1'
    } catch {
      return false
    }
  })
}

function attribute(name: string, of: string): string | null {
  try {
    return readFileSync(`/sys/class/net/${name}/${of}`, 'latin1').trim()
  } catch {
    return null
  }
}

export type LinkWatchDeps = {
  link: Link
  /** Called with every change, after it was seen. */
  onChange: (status: LinkStatus, before: LinkStatus) => void
  everyMs?: number
}

/** `status` is what was last seen. */
export function startLinkWatch({ link, onChange, everyMs = 1000 }: LinkWatchDeps): {
  status(): LinkStatus
  close(): void
} {
  let status = linkStatus(link)
  const timer = setInterval(() => {
    const before = status
    status = linkStatus(link)
    const same = (Object.keys(status) as (keyof LinkStatus)[]).every((key) => status[key] === before[key])
    if (!same) onChange(status, before)
  }, everyMs)
  return { status: () => status, close: () => clearInterval(timer) }
}
