// The last packets of every MAC, in memory taken once at the start. Enrolled machines and strangers have shelves of their own, so a flood
// of forged MACs pushes out strangers only. Where room runs out, the MAC that has been quiet longest loses its oldest packet.

import type { DhcpPacket } from '../../src/domain/packet.ts'
import type { Mac } from '../../src/wire/address.ts'

/** At most `packets` of one MAC, and `cells` of 512 bytes for all of them: most packets fit into one. */
export type ShelfLimits = { packets: number; cells: number }

export type RingLimits = { enrolled: ShelfLimits; strangers: ShelfLimits }

/** 18 MiB: a deployment is some 20 packets, so this is the last one of 1,500 machines, or three of 500. */
const LIMITS: RingLimits = {
  enrolled: { packets: 64, cells: 32_768 },
  strangers: { packets: 16, cells: 4096 }
}

const CELL = 512
/** No boot program sends more than an Ethernet frame holds; what is longer is not worth the room of others. */
const LONGEST = 4 * CELL

export type PacketRing = ReturnType<typeof createPacketRing>

export function createPacketRing(limits: RingLimits = LIMITS) {
  const enrolled = createShelf(limits.enrolled)
  const strangers = createShelf(limits.strangers)

  return {
    /**
     * Keeps a copy of `bytes`, unless they are more than 2 KiB. `enrolled` is what the MAC is now; what was kept of it as a
     * stranger stays with the strangers.
     */
    note(packet: DhcpPacket & { mac: Mac; enrolled: boolean }): void {
      ;(packet.enrolled ? enrolled : strangers).put(packet.mac, packet)
    },

    /**
     * What is kept of this MAC in the order of time, which is not that of noting where many packets are decided together. Copies: nothing
     * that comes later changes them.
     */
    of: (mac: Mac): DhcpPacket[] => [...strangers.of(mac), ...enrolled.of(mac)].sort((a, b) => a.at - b.at),

    /** The last packet that came from this MAC. */
    newest: (mac: Mac): DhcpPacket | undefined => enrolled.newest(mac) ?? strangers.newest(mac),

    /** All MACs of which something is kept, the one that spoke or was spoken to last first. */
    macs(): Mac[] {
      const all = [...enrolled.rings(), ...strangers.rings()].sort((a, b) => b.lastAt - a.lastAt)
      return [...new Set(all.map(({ mac }) => mac))]
    },

    /** For a MAC that is no longer enrolled: drops what is kept of it. */
    forget(mac: Mac): void {
      enrolled.drop(mac)
      strangers.drop(mac)
    }
  }
}

/** The packets of one MAC are a chain of cells; all rings are in a circle, in the order in which their MACs spoke last. */
type Ring = {
  mac: Mac
  lastAt: number
  count: number
  first: number
  last: number
  before: Ring
  after: Ring
}

const NONE = -1

function createShelf({ packets: most, cells }: ShelfLimits) {
  const rings = new Map<Mac, Ring>()
  /** Where the circle begins and ends: after it comes the quietest MAC, before it is the one that spoke last. */
  const seam = newRing()
  /** The ring that became empty last. Used again, because a flood empties one for each packet, and the garbage collector takes long to see it. */
  let spare: Ring | undefined

  // One row for each cell. What is told of a packet stands in the row of its first cell.
  const content = Buffer.allocUnsafeSlow(cells * CELL)
  const next = new Int32Array(cells).map((_, cell) => (cell + 1 < cells ? cell + 1 : NONE))
  const at = new Float64Array(cells)
  const length = new Uint16Array(cells)
  const outwards = new Uint8Array(cells)
  const fromPort = new Uint16Array(cells)
  const toPort = new Uint16Array(cells)
  const fromAddress = new Array<string>(cells).fill('')
  const toAddress = new Array<string>(cells).fill('')
  const decision = new Array<string>(cells).fill('')
  let free = 0
  let left = cells

  function put(mac: Mac, packet: DhcpPacket): void {
    const { bytes, from, to } = packet
    if (bytes.length === 0 || bytes.length > LONGEST) return
    const known = rings.get(mac)
    if (known) {
      leave(known)
      enter(known)
      if (known.count === most) dropOldest(known)
    }
    while (left < cellsOf(bytes.length)) dropOldest(seam.after)
    // Where it was the only one, it may have lost all it had.
    const ring = known && known.count > 0 ? known : add(mac)
    const first = free
    for (let done = 0; done < bytes.length; done += CELL)
      content.set(bytes.length > CELL ? bytes.subarray(done, done + CELL) : bytes, append(ring) * CELL)
    at[first] = packet.at
    length[first] = bytes.length
    outwards[first] = packet.direction === 'out' ? 1 : 0
    fromAddress[first] = from.address
    fromPort[first] = from.port
    toAddress[first] = to.address
    toPort[first] = to.port
    decision[first] = packet.decision
    ring.count++
    ring.lastAt = packet.at
  }

  function add(mac: Mac): Ring {
    const ring = spare ?? newRing()
    spare = undefined
    ring.mac = mac
    rings.set(mac, ring)
    enter(ring)
    return ring
  }

  /** Puts it where the one stands that spoke last. */
  function enter(ring: Ring): void {
    ring.before = seam.before
    ring.after = seam
    ring.before.after = ring
    seam.before = ring
  }

  function append(ring: Ring): number {
    const cell = free
    free = next[cell] as number
    left--
    if (ring.last === NONE) ring.first = cell
    else next[ring.last] = cell
    ring.last = cell
    next[cell] = NONE
    return cell
  }

  function dropOldest(ring: Ring): void {
    for (let rest = cellsOf(length[ring.first] as number); rest > 0; rest--) {
      const cell = ring.first
      ring.first = next[cell] as number
      next[cell] = free
      free = cell
      left++
    }
    if (--ring.count > 0) return
    leave(ring)
    rings.delete(ring.mac)
    ring.last = NONE
    spare = ring
  }

  /** The first cells of a ring's packets, oldest first. */
  function packets({ first, count }: Ring): number[] {
    const found = []
    for (let cell = first; found.length < count;) {
      found.push(cell)
      for (let rest = cellsOf(length[cell] as number); rest > 0; rest--) cell = next[cell] as number
    }
    return found
  }

  function read(first: number): DhcpPacket {
    const bytes = Buffer.alloc(length[first] as number)
    for (let done = 0, cell = first; done < bytes.length; done += CELL, cell = next[cell] as number)
      content.copy(bytes, done, cell * CELL, cell * CELL + Math.min(CELL, bytes.length - done))
    return {
      at: at[first] as number,
      direction: outwards[first] ? 'out' : 'in',
      from: { address: fromAddress[first] as string, port: fromPort[first] as number },
      to: { address: toAddress[first] as string, port: toPort[first] as number },
      bytes,
      decision: decision[first] as string
    }
  }

  return {
    put,
    of(mac: Mac): DhcpPacket[] {
      const ring = rings.get(mac)
      return ring ? packets(ring).map(read) : []
    },
    newest(mac: Mac): DhcpPacket | undefined {
      const ring = rings.get(mac)
      const first = ring && packets(ring).findLast((cell) => outwards[cell] === 0)
      return first === undefined ? undefined : read(first)
    },
    rings(): Ring[] {
      const found: Ring[] = []
      for (let ring = seam.before; ring !== seam; ring = ring.before) found.push(ring)
      return found
    },
    drop(mac: Mac): void {
      const ring = rings.get(mac)
      while (ring && ring.count > 0) dropOldest(ring)
    }
  }
}

const cellsOf = (bytes: number): number => Math.ceil(bytes / CELL)

/** A ring that stands alone in its circle. */
function newRing(): Ring {
  const ring = { mac: '', lastAt: 0, count: 0, first: NONE, last: NONE } as Ring
  ring.before = ring.after = ring
  return ring
}

function leave(ring: Ring): void {
  ring.before.after = ring.after
  ring.after.before = ring.before
}
