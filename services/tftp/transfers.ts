// Transfers under way, whatever was asked for: datagrams go in, steps of src/decide/tftp-transfer.ts are carried out. Nobody can make us hold
// more than a fixed number of them. Who calls (carrier.ts, worker.ts) owns the ports and the time.

import { performance } from 'node:perf_hooks'
import {
  largestBlockFor,
  smallerBlock,
  startTransfer,
  stepTransfer,
  type Transfer,
  type TransferEnd,
  type TransferStep
} from '../../src/decide/tftp-transfer.ts'
import type { Ip } from '../../src/wire/address.ts'
import { decodeTftp, encodeBlocks, encodeTftp, TFTP_ERROR, type TftpOptions } from '../../src/wire/tftp.ts'
import { WireError } from '../../src/wire/wire-error.ts'
import { createWheel, type Timed } from './wheel.ts'

/** A room full of machines that boot at once, twice over, and no more. */
const MOST_TRANSFERS = 2048
/** A machine loads one file; beside it may linger what it gave up. */
const MOST_PER_CLIENT = 4
const MOST_SMALL_CLIENTS = 4096

/** The client's end of a transfer; `key` says the same in one word. */
export type Peer = Readonly<{ address: Ip; port: number; key: string }>

export function makePeer(address: Ip, port: number): Peer {
  return { address, port, key: `${address}:${port}` }
}

/** A UDP port of ours. */
export type Port = {
  /**
   * Sends what lies in the first `length` bytes of `bytes`: datagrams of `size` bytes one after the other, the last one perhaps shorter.
   * `bytes` may be used again on return. What cannot be sent is lost, as datagrams are.
   */
  send(bytes: Buffer, length: number, size: number, to: Peer): void
}

export type Begin = {
  id: number
  peer: Peer
  options: TftpOptions
  bytes: Uint8Array
  /** What the path to the client carries in one piece, with the IP header. */
  mtu: number
}

export type Ended = {
  id: number
  /** `no-room`: it never began. */
  end: TransferEnd | { ended: 'no-room' }
  blockSize: number
  windowSize: number
  /** Blocks sent more than once. */
  resent: number
  /** What this client's blocks are lowered to, because these did not arrive; null: nothing is amiss. */
  smaller: number | null
}

type Running = Timed & { id: number; peer: Peer; port: Port; transfer: Transfer }

export type Transfers = {
  /** Begins one. */
  begin(begin: Begin): void
  /** A datagram that came to one of the ports. */
  heard(port: Port, message: Uint8Array, from: Peer): void
  /** To be called every TICK (wheel.ts) unless `idle`. */
  turn(): void
  idle(): boolean
  /** Ends all; each is told. */
  close(): void
}

/** What becomes of transfers. */
export type Told = {
  /** Its client is real: the first ACK came. */
  acknowledged(id: number): void
  /** Once for every transfer that was begun. */
  ended(ended: Ended): void
}

export function createTransfers(ports: readonly Port[], told: Told): Transfers {
  /** The oldest first. */
  const running = new Set<Running>()
  /** By both ends, which is a transfer's identity (RFC 1350, section 4): port, then the client's end. */
  const ends = new Map(ports.map((port) => [port, new Map<string, Running>()]))
  /** Addresses that lost big blocks, with what they get instead: a hint, gone with the process. */
  const smallBlocks = new Map<Ip, number>()
  const wheel = createWheel<Running>((entry) => {
    take(entry, stepTransfer(entry.transfer, 'timer', performance.now()))
  })
  /** Datagrams on their way to the kernel; grows to the largest window. */
  let outgoing = Buffer.allocUnsafe(2 ** 17)
  let turn = 0

  function begin({ id, peer, options, bytes, mtu }: Begin): void {
    for (const { transfer } of ofClient(peer.address)) rememberLoss(transfer, peer.address)
    if (!makeRoom(peer.address))
      return told.ended({
        id,
        end: { ended: 'no-room' },
        blockSize: 0,
        windowSize: 0,
        resent: 0,
        smaller: null
      })
    const largest = Math.min(largestBlockFor(mtu), smallBlocks.get(peer.address) ?? Infinity)
    const first = startTransfer(bytes, options, performance.now(), largest)
    const port = freePort(peer)
    const before = ends.get(port)?.get(peer.key)
    if (before) drop(before)
    const entry: Running = { id, peer, port, transfer: first.transfer, wakeAt: null, tick: 0 }
    running.add(entry)
    ends.get(port)?.set(peer.key, entry)
    take(entry, first)
  }

  /**
   * In turn, and one from which this end has no transfer yet: whether the one before is over only the client knows, which may have asked twice,
   * or begun anew. It goes on with the one it likes; the other gets no ACK and ends.
   */
  function freePort({ key }: Peer): Port {
    let port = ports[0] as Port
    for (let tries = 0; tries < ports.length; tries++) {
      port = ports[turn++ % ports.length] as Port
      if (!ends.get(port)?.has(key)) break
    }
    return port
  }

  function heard(port: Port, message: Uint8Array, from: Peer): void {
    let packet
    try {
      packet = decodeTftp(message)
    } catch (error) {
      if (!(error instanceof WireError)) throw error
      return // noise does not end a transfer
    }
    const entry = ends.get(port)?.get(from.key)
    if (entry) return take(entry, stepTransfer(entry.transfer, packet, performance.now()))
    // Somebody else's packet disturbs nobody; its sender is told (RFC 1350, section 4). Not an end that has a transfer from another port: what
    // comes late from the one before must not end the one that runs. Not a stranger: sources are easily forged. And errors are never answered.
    const client = packet.op === 'error' ? [] : ofClient(from.address)
    if (client.length === 0 || client.some(({ peer }) => peer.key === from.key)) return
    const message5 = 'unknown transfer'
    const error = encodeTftp({ op: 'error', code: TFTP_ERROR.unknownTransfer, message: message5 })
    port.send(error, error.length, error.length, from)
  }

  /** Carries out one step. */
  function take(entry: Running, step: TransferStep): void {
    const { send, transfer, end } = step
    if (transfer.heard && !entry.transfer.heard) told.acknowledged(entry.id)
    entry.transfer = transfer
    entry.wakeAt = step.wakeAt
    if (send?.op === 'blocks') {
      const size = transfer.blockSize + 4
      const room = size * (send.until - send.from + 1)
      if (outgoing.length < room) outgoing = Buffer.allocUnsafe(room)
      const length = encodeBlocks(outgoing, transfer.bytes, transfer.blockSize, send.from, send.until)
      entry.port.send(outgoing, length, size, entry.peer)
    } else if (send) {
      const bytes = encodeTftp(send)
      entry.port.send(bytes, bytes.length, bytes.length, entry.peer)
    }
    if (end) drop(entry, end)
    else wheel.arm(entry)
  }

  function drop(entry: Running, end: TransferEnd = { ended: 'gave-up' }): void {
    running.delete(entry)
    ends.get(entry.port)?.delete(entry.peer.key)
    entry.wakeAt = null
    rememberLoss(entry.transfer, entry.peer.address)
    const { blockSize, windowSize, resent } = entry.transfer
    told.ended({ id: entry.id, end, blockSize, windowSize, resent, smaller: smallerBlock(entry.transfer) })
  }

  function rememberLoss(transfer: Transfer, address: Ip): void {
    const smaller = smallerBlock(transfer)
    if (smaller === null) return
    if (smallBlocks.size >= MOST_SMALL_CLIENTS) smallBlocks.clear()
    smallBlocks.set(address, Math.min(smaller, smallBlocks.get(address) ?? Infinity))
  }

  function ofClient(address: Ip): Running[] {
    return [...running].filter((entry) => entry.peer.address === address)
  }

  /** Room for one more; those that never acknowledged anything go first, the oldest before the others. False: none can be made. */
  function makeRoom(address: Ip): boolean {
    const full = (entries: readonly Running[], most: number): boolean => {
      if (entries.length < most) return false
      const unheard = entries.find((entry) => !entry.transfer.heard)
      if (unheard) drop(unheard)
      return !unheard
    }
    if (full(ofClient(address), MOST_PER_CLIENT)) return false
    return running.size < MOST_TRANSFERS || !full([...running], MOST_TRANSFERS)
  }

  return {
    begin,
    heard,
    turn: wheel.turn,
    idle: wheel.isEmpty,
    close() {
      for (const entry of [...running]) drop(entry)
    }
  }
}
