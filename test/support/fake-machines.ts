// A room of machines for load: each boots as one with UEFI PXE does, with the firmware's patience, from its first DHCP packet until kernel and
// ramdisk are in its memory: DHCP, the loader by TFTP, iPXE's script, both files by HTTP. Runs where the machines' addresses
// are on the link already, since one host stands for all of them.

import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Ip, Mac } from '../../src/wire/address.ts'
import { decodeDhcp, encodeDhcp, type DhcpMessage } from '../../src/wire/dhcp.ts'
import type { DhcpOptions } from '../../src/wire/dhcp-options.ts'
import { decodeTftp, encodeTftp, type TftpPacket } from '../../src/wire/tftp.ts'
import { recorded } from './dhcp.ts'

export const STAGES = ['dhcp', 'loader', 'script', 'kernel', 'ramdisk'] as const
export type Stage = (typeof STAGES)[number]

/** How one machine's boot went. */
export type Booted = {
  mac: Mac
  /** Milliseconds of each stage that it came through, and from power-on to the end. */
  stages: Partial<Record<Stage, number>>
  total: number
  /** Packets sent again, and HTTP answers "wait", in all stages. */
  again: number
  /** Null: kernel and ramdisk came whole. */
  failure: string | null
}

/** What the files must be, byte for byte; absent: they are only counted. */
export type Expected = Partial<Record<'loader' | 'kernel' | 'ramdisk', Buffer>>

/** Waits for an answer in seconds: OVMF's DHCP (four tries), its TFTP. */
const DHCP_WAITS = [4, 8, 16, 32]
const TFTP_WAITS = [4, 4, 4, 4, 4, 4]
const BLOCK = 1468
const WINDOW = 4
/** As our script has iPXE do (src/decide/script.ts). */
const TRIES = 20
const PAUSE_SECONDS = 6

/** Machines that share port 68 of this host. */
export async function aRoom(expected: Expected) {
  const socket = createSocket({ type: 'udp4', reuseAddr: true })
  socket.bind(68)
  await once(socket, 'listening')
  socket.setBroadcast(true)
  // Answers to all of them come to this one socket.
  socket.setRecvBufferSize(4 * 2 ** 20)
  const waiting = new Map<number, (message: DhcpMessage) => void>()
  socket.on('message', (bytes) => {
    const message = decodeDhcp(bytes)
    waiting.get(message.xid)?.(message)
  })
  let lastXid = 0
  const ask: Ask = async (packet, again) => {
    const xid = ++lastXid
    const answer = new Promise<DhcpMessage>((resolve) => waiting.set(xid, resolve))
    try {
      return await insisting(DHCP_WAITS, again, answer, () =>
        socket.send(encodeDhcp({ ...packet, xid }), 67, '255.255.255.255')
      )
    } finally {
      waiting.delete(xid)
    }
  }
  return {
    boot: (mac: Mac) => boot(mac, ask, expected),
    close: () => new Promise<void>((closed) => socket.close(closed))
  }
}

type Ask = (packet: DhcpMessage, again: () => void) => Promise<DhcpMessage>

/** Sends until `answer` is there, as often as there are `waits` (s). Rejects when the last is over. */
async function insisting<T>(
  waits: readonly number[],
  again: () => void,
  answer: Promise<T>,
  send: () => void
): Promise<T> {
  for (const [index, seconds] of waits.entries()) {
    if (index > 0) again()
    send()
    const over = new AbortController()
    const first = await Promise.race([
      answer.then((value) => ({ value })),
      sleep(seconds * 1000, null, { signal: over.signal }).catch(() => null)
    ])
    over.abort()
    if (first) return first.value
  }
  throw new Error('no answer')
}

async function boot(mac: Mac, ask: Ask, expected: Expected): Promise<Booted> {
  const began = performance.now()
  const booted: Booted = { mac, stages: {}, total: 0, again: 0, failure: null }
  const again = () => void booted.again++
  let stage: Stage = 'dhcp'
  const timed = async <T>(name: Stage, work: () => Promise<T>): Promise<T> => {
    stage = name
    const start = performance.now()
    const result = await work()
    booted.stages[name] = performance.now() - start
    return result
  }
  try {
    const lease = await timed('dhcp', () => dhcp(mac, ask, again))
    const tftp = (file: string) => tftpRead(lease.ip, lease.server, file, again)
    const loader = await timed('loader', () => tftp(lease.file))
    if (expected.loader && !expected.loader.equals(loader)) throw new Error('another file')
    const script = await timed('script', () => tftp('autoexec.ipxe'))
    const [kernel, ramdisk] = filesOf(script.toString('latin1'))
    for (let tries = 1; ; tries++) {
      try {
        await timed('kernel', () => httpRead(lease.ip, kernel, expected.kernel))
        await timed('ramdisk', () => httpRead(lease.ip, ramdisk, expected.ramdisk))
        break
      } catch (error) {
        if (tries === TRIES || !(error instanceof TryAgain)) throw error
        again()
        await sleep(PAUSE_SECONDS * 1000)
      }
    }
  } catch (error) {
    booted.failure = `${stage}: ${(error as Error).message}`
  }
  booted.total = performance.now() - began
  return booted
}

const template = recorded('ovmf-pxe-discover')

async function dhcp(mac: Mac, ask: Ask, again: () => void): Promise<{ ip: Ip; server: Ip; file: string }> {
  const asking = (type: 'discover' | 'request', options: DhcpOptions = {}) =>
    ({ ...template, chaddr: mac, options: { ...template.options, ...options, messageType: type } }) as const
  const offer = await ask(asking('discover'), again)
  const { serverId } = offer.options
  if (serverId === undefined) throw new Error('an offer without a server')
  const ack = await ask(asking('request', { serverId, requestedAddress: offer.yiaddr }), again)
  if (ack.options.messageType !== 'ack') throw new Error(`${ack.options.messageType}: ${ack.options.message}`)
  const file = ack.options.bootFileName ?? ack.file
  if (file === '') throw new Error('no boot file')
  return { ip: ack.yiaddr, server: ack.options.tftpServerName ?? ack.siaddr, file }
}

/** One file, whole. Answers at the end of each window, and when nothing came for a while once more. */
export async function tftpRead(from: Ip, server: Ip, file: string, again: () => void): Promise<Buffer> {
  const socket = createSocket('udp4')
  socket.bind(0, from)
  await once(socket, 'listening')
  const packets = queueOf(socket)
  let port = 69
  const send = (packet: TftpPacket) => socket.send(encodeTftp(packet), port, server)
  const options = new Map([['blksize', `${BLOCK}`], ['windowsize', `${WINDOW}`], ['tsize', '0']]) // prettier-ignore
  let last: TftpPacket = { op: 'read', file, mode: 'octet', options }
  const parts: Uint8Array[] = []
  let silent = 0
  try {
    send(last)
    for (;;) {
      const heard = await packets(TFTP_WAITS[silent] ?? 4)
      if (!heard) {
        if (++silent === TFTP_WAITS.length) throw new Error('no answer')
        again()
        send(last)
        continue
      }
      silent = 0
      const { packet } = heard
      if (port === 69) port = heard.port
      if (packet.op === 'error') throw new Error(packet.message)
      if (packet.op === 'option-ack') send((last = { op: 'ack', block: 0 }))
      if (packet.op !== 'data') continue
      const expected = (parts.length + 1) & 0xffff
      if (packet.block !== expected) {
        // A hole: the server goes on behind what is here. What comes twice says nothing.
        if (((packet.block - expected) & 0xffff) < 0x8000) send((last = { op: 'ack', block: parts.length & 0xffff })) // prettier-ignore
        continue
      }
      parts.push(packet.data)
      const end = packet.data.length < BLOCK
      if (end || parts.length % WINDOW === 0) send((last = { op: 'ack', block: expected }))
      if (end) return Buffer.concat(parts)
    }
  } finally {
    socket.close()
  }
}

type Heard = { packet: TftpPacket; port: number }

/** What the socket hears, one by one; null when nothing came in so many seconds. */
function queueOf(socket: Socket): (seconds: number) => Promise<Heard | null> {
  const heard: Heard[] = []
  let wake = (): void => undefined
  socket.on('message', (bytes, { port }) => {
    heard.push({ packet: decodeTftp(Buffer.from(bytes)), port })
    wake()
  })
  return async (seconds) => {
    if (heard.length === 0)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, seconds * 1000)
        wake = () => (clearTimeout(timer), resolve())
      })
    return heard.shift() ?? null
  }
}

/** The URLs of kernel and ramdisk. */
function filesOf(script: string): [kernel: string, ramdisk: string] {
  const [, kernel] = /^kernel (?:--\S+ \S+ )?(http:\S+)/m.exec(script) ?? []
  const [, ramdisk] = /^initrd (?:--\S+ \S+ )?(http:\S+)/m.exec(script) ?? []
  if (!kernel || !ramdisk) throw new Error(`a script without kernel and ramdisk: ${script}`)
  return [kernel, ramdisk]
}

/** What iPXE's script tries again. */
class TryAgain extends Error {}

async function httpRead(from: Ip, url: string, expected: Buffer | undefined): Promise<void> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    get(url, { localAddress: from, agent: false }, resolve).on('error', (error) =>
      reject(new TryAgain(error.message))
    )
  })
  if (response.statusCode !== 200) {
    response.resume()
    throw new TryAgain(`HTTP ${response.statusCode}`)
  }
  let size = 0
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      if (expected && expected.compare(chunk, 0, chunk.length, size, size + chunk.length) !== 0)
        throw new Error(`other bytes at ${size}`)
      size += chunk.length
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error
    throw new TryAgain((error as Error).message)
  }
  if (size !== Number(response.headers['content-length'])) throw new TryAgain('cut off')
  if (expected && size !== expected.length) throw new Error(`${size} bytes instead of ${expected.length}`)
}
