// A whole DHCPv4 packet ⇄ a plain object (RFC 2131 2). Options are in dhcp-options.ts.

import { Buffer } from 'node:buffer'
import { formatIp, macFromBytes, parseIp, type Ip } from './address.ts'
import { decodeOptions, writeOptions, type DhcpOptions } from './dhcp-options.ts'
import { WireError } from './wire-error.ts'

//   0               1               2               3
//   +---------------+---------------+---------------+---------------+
//   |  op           |  htype        |  hlen         |  hops         |   0
//   +---------------+---------------+---------------+---------------+
//   |                              xid                              |   4
//   +-------------------------------+-------------------------------+
//   |             secs              | B|          flags             |   8
//   +-------------------------------+-------------------------------+
//   |  ciaddr: the client's address, when it can answer ARP for it  |  12
//   |  yiaddr: "your" address, given by the server                  |  16
//   |  siaddr: next server, where the boot file is                  |  20
//   |  giaddr: the relay that the packet came through               |  24
//   |  chaddr: hardware address, 16 bytes, hlen of them used        |  28
//   |  sname:  64 bytes, text or options                            |  44
//   |  file:  128 bytes, text or options                            | 108
//   +---------------------------------------------------------------+
//   |  99          130            83             99                 | 236
//   |  options … end (255), padding                                 | 240

export type DhcpMessage = {
  op: 'request' | 'reply'
  /** Hardware type: 1 Ethernet, 32 InfiniBand. */
  htype: number
  hops: number
  /** Transaction: copied from the request into every answer. */
  xid: number
  secs: number
  /** 16 bits; only the highest, `BROADCAST_FLAG`, means anything. */
  flags: number
  ciaddr: Ip
  yiaddr: Ip
  siaddr: Ip
  giaddr: Ip
  /** `hlen` bytes as hex with colons: for Ethernet a Mac. */
  chaddr: string
  /** Text, at most 63 bytes; empty when options were in its place. */
  sname: string
  /** Text, at most 127 bytes; empty when options were in its place. */
  file: string
  options: DhcpOptions
}

export const BROADCAST_FLAG = 0x8000
export const NO_ADDRESS: Ip = '0.0.0.0'
export const SERVER_PORT = 67
export const CLIENT_PORT = 68

/** RFC 1542 2.1: relays and clients exist that drop less than the size of a BOOTP packet. */
const MINIMUM_BYTES = 300
/** A client must take an IP datagram of 576 bytes (RFC 2131 2); option 57 counts the IP and UDP headers too. */
const MINIMUM_DATAGRAM = 576
const HEADERS = 28
/** No answer is larger than an Ethernet frame carries, whatever the client says it can take: it would come in fragments. */
const MAXIMUM_DATAGRAM = 1500
const COOKIE = 0x63825363

const CHADDR = 28
const SNAME = { start: 44, end: 108 }
const FILE = { start: 108, end: 236 }
const OPTIONS_START = 240

/** Bytes → message. WireError when it is not a whole DHCP packet. */
export function decodeDhcp(input: Uint8Array): DhcpMessage {
  const packet = Buffer.isBuffer(input)
    ? input
    : Buffer.from(input.buffer, input.byteOffset, input.byteLength)
  if (packet.length < OPTIONS_START)
    throw new WireError('dhcp-short', packet.length, `${packet.length} bytes are too few for DHCP`)
  const op = packet.readUInt8(0)
  if (op !== 1 && op !== 2) throw new WireError('dhcp-op', 0, `op ${op} is neither request nor reply`)
  const hlen = packet.readUInt8(2)
  if (hlen > 16) throw new WireError('dhcp-hlen', 2, `hardware address of ${hlen} bytes`)
  if (packet.readUInt32BE(236) !== COOKIE)
    throw new WireError('dhcp-cookie', 236, 'no DHCP cookie: a plain BOOTP packet or something else')
  const main = { start: OPTIONS_START, end: packet.length }
  const { options, overloaded } = decodeOptions(packet, main, FILE, SNAME)
  return {
    op: op === 1 ? 'request' : 'reply',
    htype: packet.readUInt8(1),
    hops: packet.readUInt8(3),
    xid: packet.readUInt32BE(4),
    secs: packet.readUInt16BE(8),
    flags: packet.readUInt16BE(10),
    ciaddr: formatIp(packet.readUInt32BE(12)),
    yiaddr: formatIp(packet.readUInt32BE(16)),
    siaddr: formatIp(packet.readUInt32BE(20)),
    giaddr: formatIp(packet.readUInt32BE(24)),
    chaddr: macFromBytes(packet, CHADDR, hlen),
    sname: overloaded.sname ? '' : textField(packet, SNAME),
    file: overloaded.file ? '' : textField(packet, FILE),
    options
  }
}

function textField(packet: Buffer, { start, end }: { start: number; end: number }): string {
  let nul = start
  while (nul < end && packet[nul] !== 0) nul++
  return nul === start ? '' : packet.toString('latin1', start, nul)
}

/**
 * Message → bytes, padded to 300. `maxMessageSize` is the client's option 57, headers included; less than 576 counts as
 * 576 (RFC 2132 9.10). Options beyond that size are left out from the end. WireError for values that no packet can hold.
 */
export function encodeDhcp(message: DhcpMessage, maxMessageSize = MINIMUM_DATAGRAM): Buffer {
  const datagram = Math.min(Math.max(maxMessageSize, MINIMUM_DATAGRAM), MAXIMUM_DATAGRAM)
  // Out of Node's pool, which is a good deal cheaper than memory of its own.
  const packet = Buffer.allocUnsafe(datagram - HEADERS).fill(0)
  const chaddr = Buffer.from(message.chaddr.replaceAll(':', ''), 'hex')
  if (chaddr.length > 16) throw new WireError('dhcp-hlen', CHADDR, 'hardware address above 16 bytes')
  packet.writeUInt8(message.op === 'request' ? 1 : 2, 0)
  packet.writeUInt8(message.htype, 1)
  packet.writeUInt8(chaddr.length, 2)
  packet.writeUInt8(message.hops, 3)
  packet.writeUInt32BE(message.xid, 4)
  packet.writeUInt16BE(message.secs, 8)
  packet.writeUInt16BE(message.flags, 10)
  writeIp(packet, message.ciaddr, 12)
  writeIp(packet, message.yiaddr, 16)
  writeIp(packet, message.siaddr, 20)
  writeIp(packet, message.giaddr, 24)
  chaddr.copy(packet, CHADDR)
  writeText(packet, message.sname, SNAME)
  writeText(packet, message.file, FILE)
  packet.writeUInt32BE(COOKIE, 236)
  const end = writeOptions(message.options, packet, OPTIONS_START)
  return packet.subarray(0, Math.max(end, MINIMUM_BYTES))
}

function writeIp(packet: Buffer, ip: Ip, offset: number): void {
  const value = parseIp(ip)
  if (value === undefined) throw new WireError('dhcp-address', offset, `"${ip}" is not an IPv4 address`)
  packet.writeUInt32BE(value, offset)
}

/** Readers want a NUL at the end, so a field of 64 holds 63. */
function writeText(packet: Buffer, text: string, { start, end }: { start: number; end: number }): void {
  if (text === '') return
  if (text.length >= end - start)
    throw new WireError('dhcp-text', start, `text of ${text.length} bytes in a field of ${end - start}`)
  packet.write(text, start, 'latin1')
}
