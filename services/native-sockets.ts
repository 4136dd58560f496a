// What Node's sockets lack, through koffi: opening a socket on one link, and filters in the kernel. Numbers are Linux's, alike on x86-64 and ARM64.

import { AppError } from '../src/domain/error.ts'
import { parseIp, type Ip } from '../src/wire/address.ts'
import type { Link } from './listen.ts'
import { loadKoffi } from './native-events.ts'

/** A whole room boots at once, and at the default size a burst of a few thousand datagrams loses a third. */
export const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024

/** One message for every way in which binding fails. */
export function bindFault(place: string, code: string): string {
  if (code === 'EADDRINUSE') return `${place} is in use by another program; stop that one first`
  if (code === 'EACCES' || code === 'EPERM')
    return `no permission to open ${place}; run as root, or let systemd open it (systemd/*.socket)`
  if (code === 'EADDRNOTAVAIL') return `${place} cannot be opened: this host does not have that address`
  return `${place} cannot be opened: ${code}`
}

export type Native = {
  /** Two descriptors on the link: one for every address, one for its own; `shared` with whoever else. AppError `unsafe-network`. */
  openPair(link: Link, port: number, shared: boolean): [number, number]
  /** The device a socket is bound to; empty: none. */
  boundDevice(fd: number): string
  /** Lets the kernel run a program (src/wire/socket-filter.ts) over what comes, in place of the one before; null: none. False: it does not take this one. */
  filter(fd: number, program: Buffer | null): boolean
  /** What a TCP connection has sent since it began, in segments, and how many of them were sent again (tcp(7), TCP_INFO). */
  segments(fd: number): { sent: number; resent: number } | null
  /**
   * For a TCP connection that loses packets (tcp(7)): losses no longer count as congestion (BBR, where the kernel has it and allows it), and what is
   * sent again does not wait ever longer. Without it ten lost packets of a hundred leave a thousandth of the rate.
   */
  expectLosses(fd: number): void
}

const AF_INET = 2
const SOCK_DGRAM = 2
const SOCK_NONBLOCK = 0o4000
const SOCK_CLOEXEC = 0o2000000
const SOL_SOCKET = 1
const SO_REUSEADDR = 2
const SO_BROADCAST = 6
const SO_BINDTODEVICE = 25
const SO_ATTACH_FILTER = 26
const SO_DETACH_FILTER = 27
const SO_RCVBUFFORCE = 33
const DEVICE_NAME_BYTES = 16
const IPPROTO_TCP = 6
const TCP_INFO = 11
const TCP_CONGESTION = 13
const TCP_THIN_LINEAR_TIMEOUTS = 16
const TCP_USER_TIMEOUT = 18
/** Both since Linux 6.15. */
const TCP_RTO_MAX_MS = 44
const TCP_RTO_MIN_US = 45
/** The least that it takes; milliseconds. Receivers without SACK (UEFI's) would wait for minutes, and give up after ten seconds. */
const NEVER_LONGER = 1000
/** Where waits are short, the kernel's count of them is over soon: after eleven seconds with losses it would drop the connection. Milliseconds. */
const PATIENCE = 120_000
/** Of a LAN, and no less than what a receiver that delays its ACKs a little takes; the kernel's own is ten times that. Microseconds. */
const SOON = 20_000
/** In struct tcp_info (linux/tcp.h): tcpi_total_retrans and tcpi_segs_out. */
const TOTAL_RETRANS = 100
const SEGS_OUT = 136
const TCP_INFO_BYTES = 140

/** null: the optional dependency is not installed. */
export async function loadNative(): Promise<Native | null> {
  const koffi = await loadKoffi()
  if (!koffi) return null
  const libc = koffi.load('libc.so.6')
  const socket = libc.func('int socket(int, int, int)')
  const setsockopt = libc.func('int setsockopt(int, int, int, const void *, uint32_t)')
  const getsockopt = libc.func('int getsockopt(int, int, int, _Out_ void *, _Inout_ uint32_t *)')
  const bind = libc.func('int bind(int, const void *, uint32_t)')
  const close = libc.func('int close(int)')

  const errorName = () => {
    const number = koffi.errno()
    return Object.entries(koffi.os.errno).find(([, value]) => value === number)?.[0] ?? `errno ${number}`
  }
  const setAt = (fd: number, level: number, option: number, value: Buffer | number): boolean => {
    const bytes = typeof value === 'number' ? Buffer.alloc(4) : value
    if (typeof value === 'number') bytes.writeInt32LE(value)
    return setsockopt(fd, level, option, bytes, bytes.length) === 0
  }
  const set = (fd: number, option: number, value: Buffer | number) => setAt(fd, SOL_SOCKET, option, value)
  const socketAddress = (address: Ip, port: number): Buffer => {
    const bytes = Buffer.alloc(16)
    bytes.writeUInt16LE(AF_INET, 0)
    bytes.writeUInt16BE(port, 2)
    bytes.writeUInt32BE(parseIp(address) ?? 0, 4)
    return bytes
  }

  return {
    openPair(link, port, shared) {
      const opened: number[] = []
      const check = (ok: boolean, place: string) => {
        if (ok) return
        const message = bindFault(place, errorName())
        for (const fd of opened) close(fd)
        throw new AppError('unsafe-network', message)
      }
      const open = (): number => {
        const fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) as number
        check(fd >= 0, 'a UDP socket')
        opened.push(fd)
        const device = Buffer.from(link.interface + '\0', 'latin1')
        check(set(fd, SO_BINDTODEVICE, device), `a UDP socket on ${link.interface}`)
        check(set(fd, SO_BROADCAST, 1), 'a broadcasting UDP socket')
        // Beyond the system's limit where we are allowed to; else adoptUdp asks for what the limit allows.
        set(fd, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
        return fd
      }
      const take = (fd: number, address: Ip) =>
        check(bind(fd, socketAddress(address, port), 16) === 0, `UDP ${address}:${port} on ${link.interface}`)
      // The pair shares its port, which needs SO_REUSEADDR on both for one moment; before and after it nobody else gets in,
      // unless the port is everybody's.
      const all = open()
      if (shared) set(all, SO_REUSEADDR, 1)
      take(all, '0.0.0.0')
      set(all, SO_REUSEADDR, 1)
      const own = open()
      set(own, SO_REUSEADDR, 1)
      take(own, link.address)
      if (!shared) for (const fd of opened) set(fd, SO_REUSEADDR, 0)
      return [all, own]
    },
    boundDevice(fd) {
      const name = Buffer.alloc(DEVICE_NAME_BYTES)
      const length = [name.length]
      if (getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, length) !== 0) return ''
      return name.toString('latin1', 0, length[0]).replace(/\0.*$/, '')
    },
    segments(fd) {
      const info = Buffer.alloc(TCP_INFO_BYTES)
      const length = [info.length]
      if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, length) !== 0 || length[0] !== info.length) return null
      return { sent: info.readUInt32LE(SEGS_OUT), resent: info.readUInt32LE(TOTAL_RETRANS) }
    },
    expectLosses(fd) {
      // Each helps alone; a kernel that has one of them not goes on as before.
      setAt(fd, IPPROTO_TCP, TCP_CONGESTION, Buffer.from('bbr'))
      setAt(fd, IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, 1)
      setAt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, PATIENCE)
      setAt(fd, IPPROTO_TCP, TCP_RTO_MAX_MS, NEVER_LONGER)
      setAt(fd, IPPROTO_TCP, TCP_RTO_MIN_US, SOON)
    },
    filter(fd, program) {
      if (!program) return set(fd, SO_DETACH_FILTER, 0)
      // struct sock_fprog: how many instructions of eight bytes, and where they are.
      const header = Buffer.alloc(16)
      header.writeUInt16LE(program.length / 8)
      header.writeBigUInt64LE(BigInt(koffi.address(program)), 8)
      return set(fd, SO_ATTACH_FILTER, header)
    }
  }
}
