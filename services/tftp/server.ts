// TFTP: port 69 hears requests and decides; a few ports of our own carry the transfers (carrier.ts). Nothing is read from disk here, and nothing is
// sent to an address that no enrolled machine holds.

import type { RemoteInfo, Socket } from 'node:dgram'
import type { Logger } from 'pino'
import { fileServed, printable, type BootFacts, type BootSettings } from '../../src/decide/boot-file.ts'
import { blockSizeDelay, bootDelayed, sendingDelay } from '../../src/decide/boot-delay.ts'
import { decideTftp, mayAnswer } from '../../src/decide/tftp.ts'
import { USUAL_MTU } from '../../src/decide/tftp-transfer.ts'
import type { Change } from '../../src/domain/change.ts'
import type { Ip } from '../../src/wire/address.ts'
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
import { isFull, type Store } from '../store/open.ts'
import { shared, type Loaders } from './loaders.ts'
import { startApart, startHere } from './carrier.ts'
import { makePeer, type Ended } from './transfers.ts'

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
  /** What the path to a client carries in one piece, bytes with the IP header; not given: Ethernet's 1500 for all. */
  mtu?: (client: Ip) => number
  /** Answer from port 69 itself, for firewalls that let nothing else through. Departs from RFC 1350, section 4; clients bear it. */
  singlePort?: boolean
  /** Carry transfers in this thread even where another could (carrier.ts). */
  oneThread?: boolean
}

/** Milliseconds. */
const TELL_AFTER = 10
/** An acknowledged transfer's request that comes again within this was doubled by the network; later, the client begins anew. */
const DOUBLED = 1000

type Running = {
  key: string
  request: string
  at: number
  acknowledged: boolean
  finish: (ended: Ended) => void
}

export type TftpServer = {
  close(): Promise<void>
  /** Transfers under way. */
  transfers(): number
}

/** Serves until closed. Every request: decode, gather, decide, commit, answer, one log line. */
export async function startTftp(deps: TftpDeps): Promise<TftpServer> {
  const { store, facts, apply, log, now, loaders, settings, mtu = () => USUAL_MTU } = deps

  const { socket, address } = deps
  /** By number, in the order in which they began. */
  const running = new Map<number, Running>()
  const newest = new Map<string, number>()
  let count = 0

  function ended(end: Ended): void {
    const entry = running.get(end.id)
    if (!entry) return
    running.delete(end.id)
    if (newest.get(entry.key) === end.id) newest.delete(entry.key)
    entry.finish(end)
  }
  function acknowledged(id: number): void {
    const entry = running.get(id)
    if (entry) entry.acknowledged = true
  }
  const told = { acknowledged, ended }
  const apart = deps.singlePort || deps.oneThread ? null : await startApart(address, told)
  const carrier = apart ?? (await startHere(deps.singlePort ? { shared: socket } : { address }, told))
  socket.on('message', onRequest)

  /** Who has this address, and whether from us. */
  function holder(address: Ip): { machine: BootFacts; held: boolean } {
    const machine = facts.machineByIp(address)
    return { machine, held: mayAnswer(address, machine.port, facts.leaseByIp(address)) }
  }

  function onRequest(bytes: Buffer, from: RemoteInfo): void {
    // From one port, whatever is no request belongs to a transfer.
    if (deps.singlePort && bytes[1] !== 1 && bytes[1] !== 2) return carrier.heard(bytes, from)
    const packet = decoded(bytes, from)
    if (!packet || packet.op === 'error') return // an ERROR is never answered (RFC 1350, section 7)
    if (packet.op !== 'read' && packet.op !== 'write')
      return answerError(from, TFTP_ERROR.unknownTransfer, 'requests only on this port')
    const peer = makePeer(from.address, from.port)
    const { key } = peer
    const request = words(packet)
    const before = running.get(newest.get(key) ?? 0)
    if (before?.request === request && (!before.acknowledged || performance.now() - before.at < DOUBLED))
      return

    const at = now()
    const decided = decide(packet, from.address, at)
    // Nothing is done that cannot be stored; the client asks again.
    if (!decided) return log.error('the disk is full: nothing is loaded until there is room in dataDir')
    const { machine, verdict } = decided
    const line = {
      client: from.address,
      node: machine.node?.name ?? machine.node?.uuid,
      file: printable(packet.file, 100)
    }
    if (!verdict) return log.debug(line, 'tftp: a stranger')
    if (verdict.serve === 'nothing') {
      log.info({ ...line, reason: verdict.message }, 'tftp refused')
      if (verdict.changes.length > 0) tell(from.address, machine, () => verdict.changes)
      return answer(from, verdict.code, verdict.message)
    }
    const content =
      verdict.serve === 'text' ? Buffer.from(verdict.text) : (loaders.get(verdict.name)?.bytes as Buffer)
    const file = packet.mode === 'netascii' ? netascii(content) : content
    const finish = ({ end, blockSize, windowSize, resent, smaller }: Ended): void => {
      const milliseconds = now() - at
      // Silence: the client asks again in a second or two, and an error would end its boot.
      if (end.ended === 'no-room') return log.warn({ ...line, transfers: running.size }, 'tftp busy')
      const served = end.ended === 'complete' || end.ended === 'unconfirmed'
      if (served && verdict.serve === 'loader') {
        const detail = { protocol: 'tftp', name: verdict.name, bytes: file.length, milliseconds } as const
        const endedAt = now()
        tell(from.address, machine, (machine) => fileServed(machine, detail, endedAt))
      }
      const how = { bytes: file.length, milliseconds, blockSize, windowSize, resent }
      const delay =
        blockSizeDelay(blockSize, smaller) ?? sendingDelay(Math.ceil(file.length / blockSize), resent)
      if (delay) {
        const endedAt = now()
        tell(from.address, machine, (machine) => bootDelayed(machine, 'tftp', delay, endedAt))
      }
      // A client that learns the size and stops is doing the usual thing.
      log.info({ ...line, ...end, ...how }, served ? 'tftp served' : 'tftp stopped')
    }
    const id = ++count
    running.set(id, { key, request, at: performance.now(), acknowledged: false, finish })
    newest.set(key, id)
    carrier.begin({ id, peer, options: packet.options, bytes: file, mtu: mtu(from.address) })
  }

  /** Gather, decide, commit; null where the disk is full. */
  function decide(packet: TftpRequest, address: Ip, at: number) {
    try {
      return store.commit(() => {
        const { machine, held } = holder(address)
        if (!held) return { machine, verdict: null }
        const verdict = decideTftp(packet, machine, loaders, settings, at)
        if (verdict.serve !== 'nothing') apply(verdict.changes)
        return { machine, verdict }
      })
    } catch (error) {
      if (!isFull(error)) throw error
      return null
    }
  }

  type News = (machine: BootFacts) => Change[]
  let untold: { address: Ip; nodeUuid: string; news: News }[] = []
  let telling: NodeJS.Timeout | null = null

  /** What is only told to people is told in a while, together: neither a room that boots nor a flood of names is to cost a commit each. */
  function tell(address: Ip, { node }: BootFacts, news: News): void {
    if (node) untold.push({ address, nodeUuid: node.uuid, news })
    telling ??= setTimeout(tellAll, TELL_AFTER)
  }

  function tellAll(): void {
    if (telling) clearTimeout(telling)
    telling = null
    const all = untold
    untold = []
    if (all.length === 0) return
    store.note(() => {
      for (const { address, nodeUuid, news } of all) {
        // The node may be gone since.
        const machine = facts.machineByIp(address)
        if (machine.node?.uuid === nodeUuid) apply(news(machine))
      }
    })
  }

  /** Each loader as text once, not once a client. */
  const texts = new WeakMap<Buffer, Buffer>()
  function netascii(content: Buffer): Buffer {
    const text = texts.get(content) ?? shared(toNetascii(content))
    texts.set(content, text)
    return text
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
    if (store.commit(() => holder(to.address)).held) answer(to, code, message)
  }

  function answer(to: RemoteInfo, code: number, message: string): void {
    const error = encodeTftp({ op: 'error', code, message })
    socket.send(error, to.port, to.address, ignored)
  }

  return {
    transfers: () => running.size,
    async close() {
      socket.off('message', onRequest)
      await carrier.close()
      await new Promise<void>((resolve) => socket.close(() => resolve()))
      tellAll()
    }
  }
}

function words({ file, mode, options }: TftpRequest): string {
  return JSON.stringify([file, mode, ...options])
}

/** A datagram that cannot be sent is a datagram lost. */
function ignored(): void {}
