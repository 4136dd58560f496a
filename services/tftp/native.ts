// What Node's sockets lack, through koffi: taking many datagrams in one call (recvmmsg(2)), and sending a window in one (UDP_SEGMENT, udp(7): the
// kernel cuts it into datagrams). For a thread that may block. Layouts and numbers are Linux's, alike on x86-64 and ARM64.

import { formatIp, parseIp, type Ip } from '../../src/wire/address.ts'
import { loadKoffi, nativeEvents, type NativeEvents, type Source } from '../native-events.ts'
import { makePeer, type Peer, type Port } from './transfers.ts'

export type NativePort = Port &
  Source & {
    /** Hands out what is there now; the message's memory is used again afterwards. */
    receive(heard: (message: Buffer, from: Peer) => void): void
  }

export type Native = NativeEvents & {
  /** Any free port of the address. Throws when there is none. */
  openPort(address: Ip): NativePort
}

const AF_INET = 2
const SOCK_DGRAM = 2
const SOCK_CLOEXEC = 0o2000000
const SOL_SOCKET = 1
const SO_SNDTIMEO = 21
const SO_SNDBUFFORCE = 32
const SO_RCVBUFFORCE = 33
const SOL_UDP = 17
const UDP_SEGMENT = 103
const MSG_DONTWAIT = 0x40

/** Answers of a room that boots at once, and windows on their way to it. */
const BUFFER_BYTES = 4 * 2 ** 20
/** The kernel's limits for one call: 64 datagrams (UDP_MAX_SEGMENTS), and what one datagram may hold. */
const MOST_SEGMENTS = 64
const MOST_BYTES = 65_000
/** Datagrams taken in one call, and how much of each: clients send requests, ACKs and errors. */
const BATCH = 32
const LONGEST = 2048

const ADDRESS_BYTES = 16
/** Clients whose ends are remembered as objects, so that not every datagram makes one. */
const MOST_PEERS = 8192
/** struct mmsghdr: msghdr (name, its length, iovec, their count, control, its length, flags), then the datagram's length. */
const MMSGHDR = { bytes: 64, name: 0, nameLength: 8, iovec: 16, iovecs: 24, length: 56 }
const IOVEC_BYTES = 16

/** null: the optional dependency is not installed. */
export async function loadNative(): Promise<Native | null> {
  const koffi = await loadKoffi()
  if (!koffi) return null
  const libc = koffi.load('libc.so.6')
  const socket = libc.func('int socket(int, int, int)')
  const bind = libc.func('int bind(int, const void *, uint32_t)')
  const close = libc.func('int close(int)')
  const setsockopt = libc.func('int setsockopt(int, int, int, const void *, uint32_t)')
  const sendto = libc.func('int64_t sendto(int, const void *, uint64_t, int, const void *, uint32_t)')
  const recvmmsg = libc.func('int recvmmsg(int, void *, unsigned int, int, void *)')

  const number = Buffer.alloc(4)
  const set = (fd: number, level: number, option: number, value: number): boolean => {
    number.writeInt32LE(value)
    return setsockopt(fd, level, option, number, 4) === 0
  }

  // One place for all that comes in: who receives is done with it before the next call. It must not move, so it is not a Buffer of Node's.
  const places = { names: 0, iovecs: 0, headers: 0, messages: 0 }
  let total = 0
  for (const [name, bytes] of [
    ['headers', MMSGHDR.bytes],
    ['iovecs', IOVEC_BYTES],
    ['names', ADDRESS_BYTES],
    ['messages', LONGEST]
  ] as const) {
    places[name] = total
    total += bytes * BATCH
  }
  const block: unknown = koffi.alloc('uint8_t', total)
  const memory = Buffer.from(koffi.view(block, total))
  const base = koffi.address(block)
  for (let index = 0; index < BATCH; index++) {
    const header = places.headers + index * MMSGHDR.bytes
    const iovec = places.iovecs + index * IOVEC_BYTES
    memory.writeBigUInt64LE(base + BigInt(places.names + index * ADDRESS_BYTES), header + MMSGHDR.name)
    memory.writeBigUInt64LE(base + BigInt(iovec), header + MMSGHDR.iovec)
    memory.writeBigUInt64LE(1n, header + MMSGHDR.iovecs)
    memory.writeBigUInt64LE(base + BigInt(places.messages + index * LONGEST), iovec)
    memory.writeBigUInt64LE(BigInt(LONGEST), iovec + 8)
    memory.writeUInt32LE(ADDRESS_BYTES, header + MMSGHDR.nameLength)
  }

  const peers = new Map<number, Peer>()
  function peerAt(address: number, port: number): Peer {
    const number = address * 65536 + port
    const known = peers.get(number)
    if (known) return known
    if (peers.size >= MOST_PEERS) peers.clear()
    const made = makePeer(formatIp(address), port)
    peers.set(number, made)
    return made
  }

  function receive(fd: number, heard: (message: Buffer, from: Peer) => void): void {
    const count = recvmmsg(fd, block, BATCH, MSG_DONTWAIT, null) as number
    for (let index = 0; index < count; index++) {
      const header = places.headers + index * MMSGHDR.bytes
      const name = places.names + index * ADDRESS_BYTES
      const start = places.messages + index * LONGEST
      const from = peerAt(memory.readUInt32BE(name + 4), memory.readUInt16BE(name + 2))
      memory.writeUInt32LE(ADDRESS_BYTES, header + MMSGHDR.nameLength)
      heard(memory.subarray(start, start + memory.readUInt32LE(header + MMSGHDR.length)), from)
    }
  }

  /** As the kernel has them (sockaddr_in). */
  const natives = new WeakMap<Peer, Buffer>()
  function native(peer: Peer): Buffer {
    const known = natives.get(peer)
    if (known) return known
    const bytes = Buffer.alloc(ADDRESS_BYTES)
    bytes.writeUInt16LE(AF_INET, 0)
    bytes.writeUInt16BE(peer.port, 2)
    bytes.writeUInt32BE(parseIp(peer.address) ?? 0, 4)
    natives.set(peer, bytes)
    return bytes
  }

  return {
    ...nativeEvents(koffi),
    openPort(address) {
      const fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0) as number
      // Beyond the system's limit, where we are allowed to.
      set(fd, SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
      set(fd, SOL_SOCKET, SO_SNDBUFFORCE, BUFFER_BYTES)
      // Sending waits for room, but not for ever: 20 ms (struct timeval).
      const limit = Buffer.alloc(16)
      limit.writeBigInt64LE(20_000n, 8)
      setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, limit, 16)
      if (fd < 0 || bind(fd, native(makePeer(address, 0)), ADDRESS_BYTES) !== 0)
        throw new Error(`TFTP: no UDP port on ${address} (errno ${koffi.errno()})`)
      let segment = 0
      const segments = (size: number): boolean => {
        if (segment === size) return true
        if (!set(fd, SOL_UDP, UDP_SEGMENT, size)) return false
        segment = size
        return true
      }
      const sent = (bytes: Buffer, start: number, length: number, to: Peer): boolean =>
        Number(
          sendto(fd, start === 0 ? bytes : bytes.subarray(start), length, 0, native(to), ADDRESS_BYTES)
        ) === length
      return {
        fd,
        send(bytes, length, size, to) {
          const most = Math.max(1, Math.min(MOST_SEGMENTS, Math.floor(MOST_BYTES / size))) * size
          for (let start = 0; start < length; start += most) {
            const part = Math.min(most, length - start)
            // A lone datagram goes out whole when it is no longer than a segment.
            const wanted = part > size ? size : part > segment ? 0 : segment
            if (segments(wanted) && sent(bytes, start, part, to)) continue
            if (part <= size && wanted === 0) continue // lost
            // A kernel without segments, or a link that they do not fit.
            segments(0)
            for (let at = start; at < start + part; at += size)
              sent(bytes, at, Math.min(size, start + part - at), to)
          }
        },
        receive: (heard) => receive(fd, heard),
        close: () => void close(fd)
      }
    }
  }
}
