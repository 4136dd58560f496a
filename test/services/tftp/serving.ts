// TFTP servers and clients for tests: a service in this process, one in a process of its own (serve.ts), and a client made by hand.

import { spawn, type ChildProcess } from 'node:child_process'
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'
import type { Loaders } from '../../../services/tftp/loaders.ts'
import { startTftp, type TftpDeps } from '../../../services/tftp/server.ts'
import { decodeTftp, encodeTftp, type TftpPacket } from '../../../src/wire/tftp.ts'
import { aLease } from '../../support/builders.ts'
import { aPlace, RAMDISK_WINDOW, type Given } from '../../support/machine-facing.ts'
import { content } from './content.ts'
import type { Serve } from './serve.ts'

/** A service on loopback with one machine, at 127.0.0.1, and loaders of these sizes; in this thread alone if not told otherwise: it starts at once. */
export async function aServer(
  t: Test,
  loaders: Record<string, number>,
  given: Given = RAMDISK_WINDOW,
  more: Partial<TftpDeps> = {}
) {
  const place = aPlace(t, given)
  const { store, apply } = place.deps
  store.commit(() => apply([{ put: 'lease', row: aLease({ ip: '127.0.0.1' }) }]))
  const files: Loaders = new Map(
    Object.entries(loaders).map(([name, size]) => [name, { bytes: content(size), sha256: '' }])
  )
  const socket = createSocket('udp4')
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const { port } = socket.address()
  const { settings } = place
  const deps = {
    ...place.deps,
    socket,
    address: '127.0.0.1',
    loaders: files,
    settings,
    oneThread: true,
    ...more
  }
  const tftp = await startTftp(deps)
  t.teardown(() => tftp.close())
  return { ...place, tftp, port }
}

export type Closed = { rss: number; loopP99: number }
export type Served = { port: number; pid: number; log: Record<string, unknown>[]; stop(): Promise<Closed> }

/** A service in a process of its own. `wrap`: the program that starts it, in a namespace for instance. */
export async function serveApart(serve: Serve, wrap: string[] = []): Promise<Served> {
  const [command, ...args] = [
    ...wrap,
    process.execPath,
    join(import.meta.dirname, 'serve.ts'),
    JSON.stringify(serve)
  ]
  const child: ChildProcess = spawn(command as string, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const log: Record<string, unknown>[] = []
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
  const listening = new Promise<number>((resolve, reject) => {
    child.once('close', (code) => reject(new Error(`the TFTP service ended: ${code}`)))
    lines.on('line', (line) => {
      const entry = JSON.parse(line) as Record<string, unknown>
      log.push(entry)
      if (entry['msg'] === 'listening') resolve(entry['port'] as number)
    })
  })
  const port = await listening
  return {
    port,
    pid: child.pid as number,
    log,
    async stop() {
      const ended = once(child, 'close')
      child.stdin?.end()
      await ended
      return log.find(({ msg }) => msg === 'closed') as Closed
    }
  }
}

export type Client = {
  socket: Socket
  send(packet: TftpPacket | Buffer, port: number): void
  /** The next datagram, or null after `milliseconds`. */
  next(milliseconds?: number): Promise<{ packet: TftpPacket; from: RemoteInfo } | null>
}

/** A client made by hand, on its own port of `address`. */
export async function aClient(t: Test, address = '127.0.0.1'): Promise<Client> {
  const socket = createSocket('udp4')
  socket.bind(0, address)
  await once(socket, 'listening')
  t.teardown(() => new Promise<void>((resolve) => socket.close(() => resolve())))
  const heard: { packet: TftpPacket; from: RemoteInfo }[] = []
  let wake: (() => void) | null = null
  socket.on('message', (bytes, from) => {
    heard.push({ packet: decodeTftp(bytes), from })
    wake?.()
  })
  return {
    socket,
    send: (packet, port) =>
      socket.send(Buffer.isBuffer(packet) ? packet : encodeTftp(packet), port, '127.0.0.1'),
    async next(milliseconds = 2000) {
      if (heard.length === 0)
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, milliseconds)
          wake = () => (clearTimeout(timer), resolve())
        })
      wake = null
      return heard.shift() ?? null
    }
  }
}

export const read = (file: string, asked: Record<string, string> = {}, mode = 'octet'): TftpPacket => ({
  op: 'read',
  file,
  mode,
  options: new Map(Object.entries(asked))
})
