// Capture files (pcap, draft-ietf-opsawg-pcap) ⇄ UDP datagrams over IPv4. What a socket hands us has lost its headers; they are made up
// again so that every tool can read the file.
//
//   file    magic a1b2c3d4 (4) │ version 2.4 (4) │ reserved (8) │ snap length (4) │ link type (4) │ packets …
//   packet  seconds (4) │ microseconds (4) │ bytes here (4) │ bytes on the wire (4) │ IPv4 (20) │ UDP (8) │ content

import { Buffer } from 'node:buffer'
import { formatIp, parseIp, type Ip } from './address.ts'
import { WireError } from './wire-error.ts'

export type UdpEnd = { address: Ip; port: number }

/** A datagram: `at` in ms since the epoch with fractions, `bytes` what UDP carries. */
export type UdpPacket = { at: number; from: UdpEnd; to: UdpEnd; bytes: Uint8Array }

const MAGIC = 0xa1b2c3d4
/** The same format with nanoseconds for microseconds. */
const MAGIC_NANOSECONDS = 0xa1b23c4d
const FILE_HEADER = 24
const PACKET_HEADER = 16

const LINK_ETHERNET = 1
/** Packets begin with their IP header. */
const LINK_RAW = 101

const ETHERNET_HEADER = 14
const ETHERTYPE_IPV4 = 0x0800
const IP_HEADER = 20
const UDP_HEADER = 8
const PROTOCOL_UDP = 17
const MAX_DATAGRAM = 0xffff

/** Packets → file, link type RAW, in the order given. WireError for an address, port, time or length that no packet can have. */
export function encodePcap(packets: readonly UdpPacket[]): Buffer {
  const each = PACKET_HEADER + IP_HEADER + UDP_HEADER
  const file = Buffer.alloc(packets.reduce((size, { bytes }) => size + each + bytes.length, FILE_HEADER))
  file.writeUInt32LE(MAGIC, 0)
  file.writeUInt16LE(2, 4)
  file.writeUInt16LE(4, 6)
  file.writeUInt32LE(MAX_DATAGRAM, 16)
  file.writeUInt32LE(LINK_RAW, 20)
  let at = FILE_HEADER
  for (const packet of packets) at = writePacket(file, at, packet)
  return file
}

function writePacket(file: Buffer, start: number, { at, from, to, bytes }: UdpPacket): number {
  const length = IP_HEADER + UDP_HEADER + bytes.length
  if (length > MAX_DATAGRAM)
    throw new WireError('pcap-length', start, `${bytes.length} bytes in one datagram`)
  const microseconds = Math.round(at * 1000)
  const seconds = Math.floor(microseconds / 1e6)
  if (!(seconds >= 0 && seconds <= 0xffffffff))
    throw new WireError('pcap-time', start, `${at} ms is no time that a capture can tell`)
  file.writeUInt32LE(seconds, start)
  file.writeUInt32LE(microseconds - seconds * 1e6, start + 4)
  file.writeUInt32LE(length, start + 8)
  file.writeUInt32LE(length, start + 12)

  const ip = file.subarray(start + PACKET_HEADER, start + PACKET_HEADER + length)
  ip.writeUInt8(0x45, 0)
  ip.writeUInt16BE(length, 2)
  // Never a fragment, so the identification means nothing (RFC 6864 4.1).
  ip.writeUInt16BE(0x4000, 6)
  ip.writeUInt8(64, 8)
  ip.writeUInt8(PROTOCOL_UDP, 9)
  writeAddress(ip, 12, from.address, start)
  writeAddress(ip, 16, to.address, start)
  ip.writeUInt16BE(checksum(sum(ip.subarray(0, IP_HEADER))), 10)

  const udp = ip.subarray(IP_HEADER)
  writePort(udp, 0, from.port, start)
  writePort(udp, 2, to.port, start)
  udp.writeUInt16BE(udp.length, 4)
  udp.set(bytes, UDP_HEADER)
  // RFC 768: over both addresses, the protocol and the length too; 0 would mean "none".
  const code = checksum(sum(ip.subarray(12, IP_HEADER)) + PROTOCOL_UDP + udp.length + sum(udp))
  udp.writeUInt16BE(code || 0xffff, 6)
  return start + PACKET_HEADER + length
}

function writeAddress(ip: Buffer, offset: number, address: Ip, start: number): void {
  const value = parseIp(address)
  if (value === undefined) throw new WireError('pcap-address', start, `"${address}" is not an IPv4 address`)
  ip.writeUInt32BE(value, offset)
}

function writePort(udp: Buffer, offset: number, port: number, start: number): void {
  if (!Number.isInteger(port) || port < 0 || port > 0xffff)
    throw new WireError('pcap-port', start, `${port} is not a port`)
  udp.writeUInt16BE(port, offset)
}

/** The sum of all 16-bit words; an odd byte at the end counts as the high one (RFC 1071). */
function sum(bytes: Buffer): number {
  let total = 0
  for (let at = 0; at + 1 < bytes.length; at += 2) total += bytes.readUInt16BE(at)
  return bytes.length % 2 === 0 ? total : total + bytes.readUInt8(bytes.length - 1) * 256
}

function checksum(total: number): number {
  let folded = total
  while (folded > 0xffff) folded = (folded & 0xffff) + (folded >>> 16)
  return ~folded & 0xffff
}

/**
 * File → its UDP datagrams; whatever else was captured is passed over, fragments too. Takes link types Ethernet and RAW, either byte
 * order, micro- and nanoseconds. WireError for a file of another kind or one that is cut off, or a datagram that is.
 */
export function decodePcap(input: Uint8Array): UdpPacket[] {
  const file = Buffer.from(input.buffer, input.byteOffset, input.byteLength)
  const found: UdpPacket[] = []
  for (const { at, link, start, end } of records(file)) {
    if (end > file.length) throw new WireError('pcap-short', file.length, 'the last packet is cut off')
    const datagram = link === LINK_RAW ? start : ipv4Of(file, start, end)
    const udp = datagram === undefined ? undefined : udpOf(file, datagram, end)
    if (udp) found.push({ at, ...udp })
  }
  return found
}

/**
 * File of link type Ethernet → its frames, each as far as it was captured; `at` as in `UdpPacket`. A last one that is cut off is left
 * out: the file may still grow. WireError for a file of another kind.
 */
export function decodeFrames(input: Uint8Array): { at: number; bytes: Buffer }[] {
  const file = Buffer.from(input.buffer, input.byteOffset, input.byteLength)
  const found: { at: number; bytes: Buffer }[] = []
  for (const { at, link, start, end } of records(file)) {
    if (link !== LINK_ETHERNET) throw new WireError('pcap-link', 20, `link type ${link} is not Ethernet`)
    if (end <= file.length) found.push({ at, bytes: file.subarray(start, end) })
  }
  return found
}

/** Where each packet's bytes are in the file; the last one's end may be beyond it. */
function* records(file: Buffer): Generator<{ at: number; link: number; start: number; end: number }> {
  if (file.length < FILE_HEADER)
    throw new WireError('pcap-short', file.length, 'no whole header of a capture')
  const little = [MAGIC, MAGIC_NANOSECONDS].includes(file.readUInt32LE(0))
  const u32 = (offset: number) => (little ? file.readUInt32LE(offset) : file.readUInt32BE(offset))
  const magic = u32(0)
  if (magic !== MAGIC && magic !== MAGIC_NANOSECONDS)
    throw new WireError('pcap-magic', 0, `${magic.toString(16)} is not how a capture begins`)
  const link = u32(20)
  if (link !== LINK_ETHERNET && link !== LINK_RAW)
    throw new WireError('pcap-link', 20, `link type ${link} is neither Ethernet nor RAW`)
  const perMillisecond = magic === MAGIC ? 1e3 : 1e6
  for (let header = FILE_HEADER; header < file.length;) {
    const start = header + PACKET_HEADER
    const whole = start <= file.length
    const end = whole ? start + u32(header + 8) : Infinity
    const at = whole ? u32(header) * 1000 + u32(header + 4) / perMillisecond : 0
    yield { at, link, start, end }
    header = end
  }
}

/** Where the IPv4 packet of an Ethernet frame begins; undefined: it carries something else. */
function ipv4Of(file: Buffer, start: number, end: number): number | undefined {
  const ip = start + ETHERNET_HEADER
  return ip <= end && file.readUInt16BE(ip - 2) === ETHERTYPE_IPV4 ? ip : undefined
}

function udpOf(file: Buffer, start: number, end: number): Omit<UdpPacket, 'at'> | undefined {
  if (start + IP_HEADER > end || file.readUInt8(start) >>> 4 !== 4) return undefined
  const fragment = (file.readUInt16BE(start + 6) & 0x3fff) !== 0
  if (file.readUInt8(start + 9) !== PROTOCOL_UDP || fragment) return undefined
  const udp = start + (file.readUInt8(start) & 0x0f) * 4
  // Behind it may be padding of the link.
  const size = udp + UDP_HEADER <= end ? file.readUInt16BE(udp + 4) : 0
  if (size < UDP_HEADER || udp + size > end)
    throw new WireError('pcap-datagram', udp, 'a UDP datagram is not whole')
  return {
    from: { address: formatIp(file.readUInt32BE(start + 12)), port: file.readUInt16BE(udp) },
    to: { address: formatIp(file.readUInt32BE(start + 16)), port: file.readUInt16BE(udp + 2) },
    bytes: file.subarray(udp + UDP_HEADER, udp + size)
  }
}
