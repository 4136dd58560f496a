// The UDP ports that transfers are answered from: a few, opened once, shared by all. Two transfers to one client's port get different ones,
// which is what a transfer's identity is for (RFC 1350, section 4); descriptors stay few however many machines boot.
//
// With koffi a whole window leaves in one call and the kernel cuts it into datagrams (UDP_SEGMENT, udp(7)); without it, or where the
// kernel or the link refuses, each datagram leaves by itself.

import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { isIPv4 } from 'node:net'
import type Koffi from 'koffi'
import { parseIp, type Ip } from '../../src/wire/address.ts'

export type Port = {
  /** Who gets what comes in; before it is told, datagrams are lost. */
  hear(heard: (message: Buffer, from: RemoteInfo) => void): void
  /**
   * Sends what lies in the first `length` bytes of `bytes`: datagrams of `size` bytes one after the other, the last one perhaps shorter.
   * `bytes` may be used again on return. What cannot be sent is lost, as datagrams are.
   */
  send(bytes: Buffer, length: number, size: number, to: Peer): void
  close(): Promise<void>
}

/** Where a transfer's client is; `native` is the same as the kernel's `sockaddr_in`. */
export type Peer = { address: Ip; port: number; native: Buffer }

const AF_INET = 2

export function peer(address: Ip, port: number): Peer {
  const native = Buffer.alloc(16)
  native.writeUInt16LE(AF_INET, 0)
  native.writeUInt16BE(port, 2)
  native.writeUInt32BE(parseIp(address) ?? 0, 4)
  return { address, port, native }
}

/** Answers of a room that boots at once, and windows on their way to it. */
const BUFFER_BYTES = 4 * 2 ** 20
/** The kernel's limit for one call: 64 datagrams (UDP_MAX_SEGMENTS), and what one datagram may hold. */
const MOST_SEGMENTS = 64
const MOST_BYTES = 65_000

/** Opens `count` ports on `address`, through koffi where it is installed. */
export async function openPorts(address: Ip, count: number): Promise<Port[]> {
  const native = await loadNative()
  return Promise.all(
    Array.from({ length: count }, async () => {
      const socket = addressSocket()
      const fd = native?.open(address) ?? -1
      // With a descriptor it listens at once.
      const listening = once(socket, 'listening')
      if (fd >= 0) socket.bind({ fd })
      else socket.bind(0, address)
      await listening
      return portOf(socket, fd >= 0 ? native?.sender(fd) : undefined)
    })
  )
}

/** Addresses are numbers already: no look-up, so datagrams leave in the order in which they were sent. */
function addressSocket(): Socket {
  return createSocket({ type: 'udp4', lookup: (host, _, found) => found(null, host, isIPv4(host) ? 4 : 6) })
}

/** A bound socket as a port, without `sendNative` by Node's own means. */
export function portOf(socket: Socket, sendNative?: NativeSend): Port {
  for (const set of ['setRecvBufferSize', 'setSendBufferSize'] as const)
    try {
      socket[set](BUFFER_BYTES)
    } catch {
      // the system's own size
    }
  // A client's port that is closed shows as an error here; its transfer's timer sees to it.
  socket.on('error', ignored)
  return {
    hear: (heard) => void socket.on('message', heard),
    send(bytes, length, size, to) {
      const sent = sendNative ? sendNative(bytes, length, size, to) : 0
      for (let start = sent; start < length; start += size) {
        const datagram = Buffer.from(bytes.subarray(start, Math.min(start + size, length)))
        socket.send(datagram, to.port, to.address, ignored)
      }
    },
    close: () => new Promise((resolve) => socket.close(() => resolve()))
  }
}

function ignored(): void {}

/** Sends whole datagrams from the start of `bytes` on; how many bytes left. */
type NativeSend = (bytes: Buffer, length: number, size: number, to: Peer) => number

type Native = {
  /** A descriptor on any free port of `address`; -1 when there is none. */
  open(address: Ip): number
  sender(fd: number): NativeSend
}

// Linux's numbers, alike on x86-64 and ARM64.
const SOCK_DGRAM = 2
const SOCK_NONBLOCK = 0o4000
const SOCK_CLOEXEC = 0o2000000
const SOL_SOCKET = 1
const SO_SNDBUFFORCE = 32
const SO_RCVBUFFORCE = 33
const SOL_UDP = 17
const UDP_SEGMENT = 103

/** null: the optional dependency is not installed. */
async function loadNative(): Promise<Native | null> {
  let koffi: typeof Koffi
  try {
    koffi = (await import('koffi')).default
  } catch {
    return null
  }
  const libc = koffi.load('libc.so.6')
  const socket = libc.func('int socket(int, int, int)')
  const bind = libc.func('int bind(int, const void *, uint32_t)')
  const close = libc.func('int close(int)')
  const setsockopt = libc.func('int setsockopt(int, int, int, const void *, uint32_t)')
  const sendto = libc.func('int64_t sendto(int, const void *, uint64_t, int, const void *, uint32_t)')

  const number = Buffer.alloc(4)
  const set = (fd: number, level: number, option: number, value: number): boolean => {
    number.writeInt32LE(value)
    return setsockopt(fd, level, option, number, 4) === 0
  }
  return {
    open(address) {
      const fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) as number
      if (fd < 0) return -1
      // Beyond the system's limit, where we are allowed to.
      set(fd, SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
      set(fd, SOL_SOCKET, SO_SNDBUFFORCE, BUFFER_BYTES)
      if (bind(fd, peer(address, 0).native, 16) === 0) return fd
      close(fd)
      return -1
    },
    sender(fd) {
      let segment = 0
      return (bytes, length, size, to) => {
        const most = Math.max(1, Math.min(MOST_SEGMENTS, Math.floor(MOST_BYTES / size))) * size
        let start = 0
        while (start < length) {
          const part = Math.min(most, length - start)
          const wanted = part > size ? size : part > segment ? 0 : segment
          if (wanted !== segment) {
            if (!set(fd, SOL_UDP, UDP_SEGMENT, wanted)) return start
            segment = wanted
          }
          const piece = start === 0 ? bytes : bytes.subarray(start)
          if (Number(sendto(fd, piece, part, 0, to.native, 16)) !== part) {
            // No room, or a link that segments do not fit: the other way is not to be held to segments.
            if (segment !== 0) set(fd, SOL_UDP, UDP_SEGMENT, (segment = 0))
            return start
          }
          start += part
        }
        return start
      }
    }
  }
}
