// Where transfers run. With koffi: in threads of their own that do nothing else (worker.ts), so that a room that boots neither waits for the
// database's disk nor keeps the process from anything. Without it, or from one port: here, by Node's own sockets.

import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { writeSync } from 'node:fs'
import { isIPv4 } from 'node:net'
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import { parseIp, type Ip } from '../../src/wire/address.ts'
import { WAKE } from '../native-events.ts'
import { createTransfers, makePeer, type Begin, type Port, type Told } from './transfers.ts'
import { TICK } from './wheel.ts'
import type { FromWorker, ToWorker } from './worker.ts'

/** Ports that transfers share. A client that begins anew from the same port meets another of ours this many times. */
const PORTS = 8
/** One fills a gigabit link even in lock-step; two keep up with a room on processors that are busy otherwise. */
const MOST_THREADS = 2

export type Carrier = {
  begin(begin: Begin): void
  /** For a carrier that shares port 69: what came there and is no request. */
  heard(message: Buffer, from: RemoteInfo): void
  /** Ends all transfers. */
  close(): Promise<void>
}

/** Transfers in threads of their own, from ports of `address`; null when koffi is not installed. */
export async function startApart(address: Ip, told: Told): Promise<Carrier | null> {
  const threads = await Promise.all(
    Array.from({ length: Math.min(availableParallelism(), MOST_THREADS) }, () => startThread(address, told))
  )
  const able = threads.filter((thread) => thread !== null)
  if (able.length === 0) return null
  return {
    // A client's transfers belong together: what is counted and remembered is counted by its address.
    begin: (begin) => able[(parseIp(begin.peer.address) ?? 0) % able.length]?.tell({ kind: 'begin', begin }),
    heard: () => {},
    close: async () => void (await Promise.all(able.map((thread) => thread.close())))
  }
}

type Thread = { tell(message: ToWorker): void; close(): Promise<void> }

async function startThread(address: Ip, told: Told): Promise<Thread | null> {
  const worker = new Worker(new URL('./worker.ts', import.meta.url), {
    workerData: { address, ports: PORTS }
  })
  const exited = once(worker, 'exit')
  const [ready] = (await once(worker, 'message')) as [FromWorker]
  if (ready.kind !== 'ready') return null
  worker.on('message', (message: FromWorker) => {
    if (message.kind === 'acknowledged') told.acknowledged(message.id)
    if (message.kind === 'ended') told.ended(message.ended)
  })
  // It waits for datagrams, not for messages.
  const tell = (message: ToWorker): void => {
    worker.postMessage(message)
    writeSync(ready.wake, WAKE)
  }
  return {
    tell,
    async close() {
      tell({ kind: 'close' })
      await exited
    }
  }
}

/** Transfers in this thread, from ports of `address`, or all from `shared`, which stays its owner's. */
export async function startHere(where: { address: Ip } | { shared: Socket }, told: Told): Promise<Carrier> {
  const own =
    'address' in where ? await Promise.all(Array.from({ length: PORTS }, () => open(where.address))) : []
  const sockets = 'shared' in where ? [where.shared] : own
  const ports = sockets.map(portOf)
  const transfers = createTransfers(ports, told)
  let timer: NodeJS.Timeout | null = null
  const turn = (): void => {
    transfers.turn()
    timer = transfers.idle() ? null : setTimeout(turn, TICK)
  }
  const heard = (port: Port, message: Buffer, { address, port: theirs }: RemoteInfo): void => {
    transfers.heard(port, message, makePeer(address, theirs))
    if (!transfers.idle()) timer ??= setTimeout(turn, TICK)
  }
  own.forEach((socket, index) => {
    socket.on('message', (message, from) => heard(ports[index] as Port, message, from))
  })
  return {
    begin(begin) {
      transfers.begin(begin)
      timer ??= setTimeout(turn, TICK)
    },
    heard: (message, from) => heard(ports[0] as Port, message, from),
    async close() {
      transfers.close()
      if (timer) clearTimeout(timer)
      await Promise.all(own.map((socket) => new Promise<void>((resolve) => socket.close(() => resolve()))))
    }
  }
}

async function open(address: Ip): Promise<Socket> {
  // Addresses are numbers already: no look-up, so datagrams leave in the order in which they were sent.
  const lookup: NonNullable<Parameters<typeof createSocket>[0] & object>['lookup'] = (host, _, found) =>
    found(null, host, isIPv4(host) ? 4 : 6)
  const socket = createSocket({
    type: 'udp4',
    lookup,
    recvBufferSize: BUFFER_BYTES,
    sendBufferSize: BUFFER_BYTES
  })
  // It listens at once, since there is nothing to look up.
  const listening = once(socket, 'listening')
  socket.bind(0, address)
  await listening
  return socket
}

/** Answers of a room that boots at once, and windows on their way to it. */
const BUFFER_BYTES = 4 * 2 ** 20

function portOf(socket: Socket): Port {
  // A client's port that is closed shows as an error here; its transfer's timer sees to it.
  socket.on('error', ignored)
  return {
    send(bytes, length, size, to) {
      for (let start = 0; start < length; start += size) {
        const datagram = Buffer.from(bytes.subarray(start, Math.min(start + size, length)))
        socket.send(datagram, to.port, to.address, ignored)
      }
    }
  }
}

function ignored(): void {}
