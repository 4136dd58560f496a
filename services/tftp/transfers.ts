// Transfers under way, whatever was asked for: datagrams go in, steps of src/decide/tftp-transfer.ts are carried out. Nobody can make us hold
// more than a fixed number of them.

import type { RemoteInfo } from 'node:dgram'
import {
  isDoubledRequest,
  largestBlockFor,
  smallerBlock,
  startTransfer,
  stepTransfer,
  type Transfer,
  type TransferEnd,
  type TransferStep
} from '../../src/decide/tftp-transfer.ts'
import type { Ip } from '../../src/wire/address.ts'
import { decodeTftp, encodeBlocks, encodeTftp, TFTP_ERROR, type TftpRequest } from '../../src/wire/tftp.ts'
import { WireError } from '../../src/wire/wire-error.ts'
import { peer, type Peer, type Port } from './ports.ts'
import { createWheel, type Timed } from './wheel.ts'

/** A room full of machines that boot at once, twice over, and no more. */
const MOST_TRANSFERS = 2048
/** A machine loads one file; beside it may linger what it gave up. */
const MOST_PER_CLIENT = 4
const MOST_SMALL_CLIENTS = 4096

type Running = Timed & {
  key: string
  peer: Peer
  port: Port
  request: TftpRequest
  transfer: Transfer
  finish: (end: TransferEnd, transfer: Transfer) => void
}

export type Transfers = {
  /** Whether this request needs no answer: it came twice, and its transfer runs. */
  isDoubled(request: TftpRequest, from: RemoteInfo): boolean
  /** Begins a transfer of `bytes`; false: there is no room. `finish` is called once, when it has ended. */
  begin(request: TftpRequest, from: RemoteInfo, bytes: Uint8Array, finish: Running['finish']): boolean
  /** A datagram that came to a transfer's port. */
  heard(port: Port, message: Buffer, from: RemoteInfo): void
  size(): number
  /** Ends all; each is told. */
  close(): void
}

export function createTransfers(deps: {
  ports: readonly Port[]
  /** What the path to this address carries in one piece, bytes with the IP header. */
  mtu: (client: Ip) => number
  /** Whether a stray datagram from there may be answered with an error. */
  mayAnswer: (client: Ip) => boolean
}): Transfers {
  const { ports, mtu, mayAnswer } = deps
  /** By the client's end, `address:port`: it has one transfer at a time. */
  const running = new Map<string, Running>()
  /** Addresses that lost big blocks, with what they get instead: a hint, gone with the process. */
  const smallBlocks = new Map<Ip, number>()
  const wheel = createWheel<Running>((entry) => {
    take(entry, stepTransfer(entry.transfer, 'timer', performance.now()))
  })
  /** Datagrams on their way to the kernel; grows to the largest window. */
  let outgoing = Buffer.allocUnsafe(2 ** 17)
  let turn = 0

  function isDoubled(request: TftpRequest, from: RemoteInfo): boolean {
    const same = running.get(keyOf(from))
    return (
      same !== undefined &&
      isDoubledRequest(same.transfer, performance.now()) &&
      sameRequest(same.request, request)
    )
  }

  function begin(
    request: TftpRequest,
    from: RemoteInfo,
    bytes: Uint8Array,
    finish: Running['finish']
  ): boolean {
    const key = keyOf(from)
    const before = running.get(key)
    if (before) drop(before)
    for (const entry of running.values())
      if (entry.peer.address === from.address) rememberLoss(entry.transfer, from.address)
    if (!makeRoom(from.address)) return false
    const largest = Math.min(largestBlockFor(mtu(from.address)), smallBlocks.get(from.address) ?? Infinity)
    const first = startTransfer(bytes, request.options, performance.now(), largest)
    const entry: Running = {
      key,
      peer: peer(from.address, from.port),
      // In turn, so that what is still underway from this client's last transfer meets another port.
      port: ports[turn++ % ports.length] as Port,
      request,
      transfer: first.transfer,
      wakeAt: null,
      tick: 0,
      finish
    }
    running.set(key, entry)
    take(entry, first)
    return true
  }

  function heard(port: Port, message: Buffer, from: RemoteInfo): void {
    let packet
    try {
      packet = decodeTftp(message)
    } catch (error) {
      if (!(error instanceof WireError)) throw error
      return // noise does not end a transfer
    }
    const entry = running.get(keyOf(from))
    if (entry?.port === port) return take(entry, stepTransfer(entry.transfer, packet, performance.now()))
    // Somebody else's packet disturbs nobody; its sender is told (RFC 1350, section 4). Not one that has a transfer from another port: what
    // comes late from the one before must not end the one that runs. And errors are never answered.
    if (entry || packet.op === 'error' || !mayAnswer(from.address)) return
    const error = encodeTftp({
      op: 'error',
      code: TFTP_ERROR.unknownTransfer,
      message: 'unknown transfer'
    })
    port.send(error, error.length, error.length, peer(from.address, from.port))
  }

  /** Carries out one step. */
  function take(entry: Running, step: TransferStep): void {
    const { send, transfer, end } = step
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
    running.delete(entry.key)
    entry.wakeAt = null
    rememberLoss(entry.transfer, entry.peer.address)
    entry.finish(end, entry.transfer)
  }

  function rememberLoss(transfer: Transfer, address: Ip): void {
    const smaller = smallerBlock(transfer)
    if (smaller === null) return
    if (smallBlocks.size >= MOST_SMALL_CLIENTS) smallBlocks.clear()
    smallBlocks.set(address, Math.min(smaller, smallBlocks.get(address) ?? Infinity))
  }

  /** Room for one more; those that never acknowledged anything go first, the oldest before the others. False: none can be made. */
  function makeRoom(address: Ip): boolean {
    const full = (entries: readonly Running[], most: number): boolean => {
      if (entries.length < most) return false
      const unheard = entries.find((entry) => !entry.transfer.heard)
      if (unheard) drop(unheard)
      return !unheard
    }
    const own = [...running.values()].filter((entry) => entry.peer.address === address)
    if (full(own, MOST_PER_CLIENT)) return false
    return running.size < MOST_TRANSFERS || !full([...running.values()], MOST_TRANSFERS)
  }

  return {
    isDoubled,
    begin,
    heard,
    size: () => running.size,
    close() {
      for (const entry of [...running.values()]) drop(entry)
      wheel.close()
    }
  }
}

function keyOf({ address, port }: RemoteInfo): string {
  return `${address}:${port}`
}

function sameRequest(a: TftpRequest, b: TftpRequest): boolean {
  const words = ({ file, mode, options }: TftpRequest) => JSON.stringify([file, mode, ...options])
  return words(a) === words(b)
}
