// What the kernel knows of the hosts on a link: who answers ARP for an address. Read from its table; to make it ask, something is
// sent to the address. Neither needs a privilege.

import dgram from 'node:dgram'
import { readFile } from 'node:fs/promises'
import { parseMac, type Ip, type Mac } from '../src/wire/address.ts'
import type { Link } from './listen.ts'

/** Where a traceroute knocks, by old custom: hosts keep it closed, and firewalls know what it is. */
const CLOSED_PORT = 33434

/** Addresses on `link` with the MAC they are reached by. One may be stale: its host was there, and has not been asked since. */
export async function readNeighbours(link: string): Promise<ReadonlyMap<Ip, Mac>> {
  return parseNeighbours(await readFile('/proc/net/arp', 'utf8'), link)
}

// IP address       HW type     Flags       HW address            Mask     Device
const FLAGS = 2
const MAC = 3
const DEVICE = 5
/** ATF_COM: the MAC is known (linux/if_arp.h). */
const COMPLETE = 2

export function parseNeighbours(table: string, link: string): ReadonlyMap<Ip, Mac> {
  const found = new Map<Ip, Mac>()
  for (const line of table.split('\n').slice(1)) {
    const fields = line.split(/\s+/)
    const mac = parseMac(fields[MAC] ?? '')
    if (fields[DEVICE] === link && (Number(fields[FLAGS]) & COMPLETE) !== 0 && mac)
      found.set(fields[0] as Ip, mac)
  }
  return found
}

/** `again` sends once more; `close` ends it, and nothing is reported after that. */
export type Knock = { again(): void; close(): void }

/**
 * Sends an empty datagram to a port where nobody listens. It makes the kernel ask for the address's MAC; and a host that is there may
 * say that the port is closed, on the link or far from it: then `onRefused` is called. Never throws; what cannot be sent
 * is like what gets no answer.
 */
export function knock(from: Link, to: Ip, onRefused: () => void): Knock {
  const socket = dgram.createSocket('udp4')
  let connected = false
  let closed = false
  socket.on('error', (error: NodeJS.ErrnoException) => {
    if (!closed && error.code === 'ECONNREFUSED') onRefused()
  })
  const again = () => {
    if (connected && !closed) socket.send(Buffer.alloc(0), () => {})
  }
  socket.bind({ address: from.address }, () => {
    if (closed) return
    // Only a connected socket is told of a refusal.
    socket.connect(CLOSED_PORT, to, (error?: Error) => {
      connected = !error
      again()
    })
  })
  return {
    again,
    close() {
      if (!closed) socket.close()
      closed = true
    }
  }
}
