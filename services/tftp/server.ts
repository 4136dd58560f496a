// TFTP: one socket hears requests, every transfer has a socket of its own on our address (its port is the transfer's identity:
// RFC 1350, section 4). Nothing is read from disk here, and nobody can make us hold more than a fixed number of transfers.

import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import type { Logger } from 'pino'
import { fileServed, printable, type BootFacts, type BootSettings } from '../../src/decide/boot-file.ts'
import { decideTftp } from '../../src/decide/tftp.ts'
import {
  LARGEST_BLOCK,
  losesBigBlocks,
  startTransfer,
  stepTransfer,
  type Transfer,
  type TransferEnd,
  type TransferStep
} from '../../src/decide/tftp-transfer.ts'
import {
  decodeTftp,
  encodeTftp,
  TFTP_ERROR,
  toNetascii,
  type TftpPacket,
  type TftpRequest
} from '../../src/wire/tftp.ts'
import { WireError } from '../../src/wire/wire-error.ts'
import type { Apply } from '../store/apply.ts'
import type { Facts } from '../store/facts.ts'
import type { Store } from '../store/open.ts'
import type { Loaders } from './loaders.ts'

export type TftpDeps = {
  store: Store
  facts: Facts
  apply: Apply
  log: Logger
  now: () => number
  /** Bound to port 69; ours from here on, closed by `close`. */
  socket: Socket
  /** The address transfers are answered from. */
  address: string
  loaders: Loaders
  settings: BootSettings
}

/** A room full of machines that boot at once, and no more. */
const MOST_TRANSFERS = 1024
/** A machine loads one file; beside it may linger what it gave up. */
const MOST_PER_CLIENT = 4
/** Some paths swallow full-size datagrams (tunnels, odd MTUs): then this, which every IPv4 path carries. */
const SMALL_BLOCK = 512
const MOST_SMALL_CLIENTS = 4096

type Running = {
  key: string
  address: string
  port: number
  file: string
  socket: Socket
  transfer: Transfer
  timer: NodeJS.Timeout | null
  finish: (end: TransferEnd, transfer: Transfer) => void
}

export type TftpServer = {
  close(): Promise<void>
  /** Transfers under way. */
  transfers(): number
}

/** Serves until closed. Every request: decode, gather, decide, commit, answer, one log line. */
export function startTftp(deps: TftpDeps): TftpServer {
  const { store, facts, apply, log, now, socket, loaders, settings } = deps
  const running = new Map<string, Running>()
  /** Addresses that lost big blocks: a hint, gone with the process. */
  const smallBlocks = new Set<string>()

  function onRequest(bytes: Buffer, from: RemoteInfo): void {
    const packet = decoded(bytes, from)
    if (!packet || packet.op === 'error') return // an ERROR is never answered (RFC 1350, section 7)
    if (packet.op !== 'read' && packet.op !== 'write')
      return answerError(from, TFTP_ERROR.unknownTransfer, 'requests only on this port')

    const key = `${from.address}:${from.port}`
    const same = running.get(key)
    // The request again because our answer is late or lost: the transfer's own timer sends it again.
    if (same && !same.transfer.heard && same.file === packet.file) return

    const at = now()
    const { machine, verdict } = store.commit(() => {
      const machine = facts.machineByIp(from.address)
      const verdict = decideTftp(packet, machine, loaders, settings, at)
      apply(verdict.changes)
      return { machine, verdict }
    })
    const line = {
      client: from.address,
      node: machine.node?.name ?? machine.node?.uuid,
      file: printable(packet.file, 100)
    }
    if (verdict.serve === 'nothing') {
      log.info({ ...line, reason: verdict.message }, 'tftp refused')
      return answerError(from, verdict.code, verdict.message)
    }
    if (same) drop(same)
    if (!makeRoom(from.address)) {
      // Silence: the client asks again in a second or two, and an error would end its boot.
      log.warn({ ...line, transfers: running.size }, 'tftp busy')
      return
    }
    const content =
      verdict.serve === 'text' ? Buffer.from(verdict.text) : (loaders.get(verdict.name)?.bytes as Buffer)
    begin(packet, from, content, (end, transfer) => {
      const milliseconds = now() - at
      const served = end.ended === 'complete' || end.ended === 'unconfirmed'
      if (served && verdict.serve === 'loader') {
        const detail = {
          protocol: 'tftp' as const,
          name: verdict.name,
          bytes: transfer.bytes.length,
          milliseconds
        }
        recordServed(machine, detail)
      }
      if (losesBigBlocks(transfer)) {
        if (smallBlocks.size >= MOST_SMALL_CLIENTS) smallBlocks.clear()
        smallBlocks.add(from.address)
      }
      log.info(
        {
          ...line,
          ...end,
          bytes: transfer.bytes.length,
          milliseconds,
          blockSize: transfer.blockSize,
          resent: transfer.resent
        },
        // A client that learns the size and stops is doing the usual thing.
        served ? 'tftp served' : 'tftp stopped'
      )
    })
  }

  function recordServed(machine: BootFacts, detail: Parameters<typeof fileServed>[1]): void {
    store.commit(() => {
      // The node may be gone since.
      const { node, order } = facts.machineByIp(machine.port?.reservedIp ?? '')
      if (node) apply(fileServed({ node, order }, detail, now()))
    })
  }

  function decoded(bytes: Buffer, from: RemoteInfo): TftpPacket | null {
    try {
      return decodeTftp(bytes)
    } catch (error) {
      if (!(error instanceof WireError)) throw error
      log.debug({ client: from.address, code: error.code }, 'tftp malformed')
      // Told once, and no transfer: but not to what looks like an ERROR.
      if (bytes[1] !== 5) answerError(from, TFTP_ERROR.illegal, 'malformed')
      return null
    }
  }

  function answerError(to: RemoteInfo, code: number, message: string): void {
    socket.send(encodeTftp({ op: 'error', code, message }), to.port, to.address, ignored)
  }

  /** Room for one more; those that never acknowledged anything go first. False: none can be made. */
  function makeRoom(address: string): boolean {
    const own = [...running.values()].filter((entry) => entry.address === address)
    const full = (entries: readonly Running[], most: number): boolean => {
      if (entries.length < most) return false
      const unheard = entries.find((entry) => !entry.transfer.heard)
      if (unheard) drop(unheard)
      return !unheard
    }
    if (full(own, MOST_PER_CLIENT)) return false
    return running.size < MOST_TRANSFERS || !full([...running.values()], MOST_TRANSFERS)
  }

  function begin(request: TftpRequest, from: RemoteInfo, content: Buffer, finish: Running['finish']): void {
    const bytes = request.mode === 'netascii' ? toNetascii(content) : content
    const largest = smallBlocks.has(from.address) ? SMALL_BLOCK : LARGEST_BLOCK
    const first = startTransfer(bytes, request.options, performance.now(), largest)
    const entry: Running = {
      key: `${from.address}:${from.port}`,
      address: from.address,
      port: from.port,
      file: request.file,
      // Addresses are numbers already: no look-up, so packets leave in the order in which they were sent.
      socket: createSocket({ type: 'udp4', lookup: (host, _, found) => found(null, host, 4) }),
      transfer: first.transfer,
      timer: null,
      finish
    }
    running.set(entry.key, entry)
    entry.socket.on('error', (error) => {
      log.warn({ client: entry.address, error: error.message }, 'tftp socket')
      drop(entry)
    })
    entry.socket.on('message', (message, sender) => onPacket(entry, message, sender))
    entry.socket.bind(0, deps.address, () => take(entry, first))
  }

  function onPacket(entry: Running, message: Buffer, sender: RemoteInfo): void {
    let packet: TftpPacket
    try {
      packet = decodeTftp(message)
    } catch (error) {
      if (!(error instanceof WireError)) throw error
      return // noise does not end a transfer
    }
    if (sender.address !== entry.address || sender.port !== entry.port) {
      // Another conversation's packet must not disturb this one (RFC 1350, section 4).
      if (packet.op !== 'error')
        entry.socket.send(
          encodeTftp({ op: 'error', code: TFTP_ERROR.unknownTransfer, message: 'unknown transfer' }),
          sender.port,
          sender.address,
          ignored
        )
      return
    }
    take(entry, stepTransfer(entry.transfer, packet, performance.now()))
  }

  /** Carries out one step. */
  function take(entry: Running, step: TransferStep): void {
    if (running.get(entry.key) !== entry) return
    entry.transfer = step.transfer
    for (const packet of step.send) entry.socket.send(encodeTftp(packet), entry.port, entry.address, ignored)
    if (entry.timer) clearTimeout(entry.timer)
    entry.timer = null
    if (step.end) return drop(entry, step.end)
    if (step.wakeAt !== null)
      entry.timer = setTimeout(
        // A timer may fire a fraction early; it was set for `wakeAt`, so that is the time.
        () =>
          take(
            entry,
            stepTransfer(entry.transfer, 'timer', Math.max(performance.now(), entry.transfer.wakeAt))
          ),
        Math.max(0, step.wakeAt - performance.now())
      )
  }

  function drop(entry: Running, end: TransferEnd = { ended: 'gave-up' }): void {
    if (running.get(entry.key) !== entry) return
    running.delete(entry.key)
    if (entry.timer) clearTimeout(entry.timer)
    // What was sent last is still on its way out of the socket: send callbacks come before this.
    setImmediate(() => entry.socket.close())
    entry.finish(end, entry.transfer)
  }

  socket.on('message', onRequest)
  try {
    socket.setRecvBufferSize(4 * 2 ** 20)
  } catch (error) {
    log.debug({ error: (error as Error).message }, 'tftp: the socket keeps its buffer size')
  }
  return {
    transfers: () => running.size,
    close: () =>
      new Promise((resolve) => {
        socket.off('message', onRequest)
        for (const entry of [...running.values()]) drop(entry)
        socket.close(() => resolve())
      })
  }
}

/** A datagram that cannot be sent is a datagram lost: the timers see to it. */
function ignored(): void {}
