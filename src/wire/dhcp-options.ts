// DHCP options: one table of code, name and type; typed objects ⇄ the bytes between the cookie and the end mark.
// Sources: RFC 2132 unless a row says otherwise.

import { Buffer } from 'node:buffer'
import { formatIp, parseCidr, parseIp, type Ip } from './address.ts'
import { WireError } from './wire-error.ts'

/** A classless route (RFC 3442): the network and the router to it; router `0.0.0.0` means on-link. */
export type ClasslessRoute = { network: string; router: Ip }

/** Option 53, RFC 2132 9.6; the index is the number on the wire. */
export const MESSAGE_TYPES = [
  '',
  'discover',
  'offer',
  'request',
  'decline',
  'ack',
  'nak',
  'release',
  'inform'
] as const

export type MessageType = Exclude<(typeof MESSAGE_TYPES)[number], ''>

/** Content between `start` and `end` of the bytes ⇄ a value; `offset` is where `start` is in the packet, for errors. */
type Codec<T> = {
  decode(bytes: Buffer, start: number, end: number, offset: number): T
  size(value: T): number
  write(value: T, to: Buffer, at: number): void
}

function fixed<T>(
  length: number,
  read: (bytes: Buffer, at: number) => T,
  write: (value: T, to: Buffer, at: number) => void
): Codec<T> {
  return {
    decode(bytes, start, end, offset) {
      if (end - start !== length)
        throw new WireError('dhcp-option', offset, `option of ${end - start} bytes instead of ${length}`)
      return read(bytes, start)
    },
    size: () => length,
    write
  }
}

function list<T>(
  size: number,
  read: (bytes: Buffer, at: number) => T,
  write: (value: T, to: Buffer, at: number) => void
): Codec<T[]> {
  return {
    decode(bytes, start, end, offset) {
      if (start === end || (end - start) % size !== 0)
        throw new WireError('dhcp-option', offset, `list of ${end - start} bytes is not made of ${size}s`)
      const values: T[] = []
      for (let at = start; at < end; at += size) values.push(read(bytes, at))
      return values
    },
    size: (values) => values.length * size,
    write(values, to, at) {
      for (const [index, value] of values.entries()) write(value, to, at + index * size)
    }
  }
}

const readU8 = (bytes: Buffer, at: number) => bytes.readUInt8(at)
const readU16 = (bytes: Buffer, at: number) => bytes.readUInt16BE(at)
const readU32 = (bytes: Buffer, at: number) => bytes.readUInt32BE(at)
const readIp = (bytes: Buffer, at: number): Ip => formatIp(bytes.readUInt32BE(at))
const writeU8 = (value: number, to: Buffer, at: number) => void to.writeUInt8(value, at)
const writeU16 = (value: number, to: Buffer, at: number) => void to.writeUInt16BE(value, at)
const writeU32 = (value: number, to: Buffer, at: number) => void to.writeUInt32BE(value, at)
const writeIp = (ip: Ip, to: Buffer, at: number) => {
  const value = parseIp(ip)
  if (value === undefined) throw new WireError('dhcp-address', 0, `"${ip}" is not an IPv4 address`)
  to.writeUInt32BE(value, at)
}

const u8 = fixed(1, readU8, writeU8)
const u16 = fixed(2, readU16, writeU16)
const u32 = fixed(4, readU32, writeU32)
const ip = fixed(4, readIp, writeIp)
const u8s = list(1, readU8, writeU8)
const u16s = list(2, readU16, writeU16)
const ips = list(4, readIp, writeIp)

/** Latin 1, so that every byte survives; trailing NULs are dropped (RFC 2132 2). Empty is let pass: clients send it. */
const text: Codec<string> = {
  decode(bytes, start, end) {
    while (end > start && bytes[end - 1] === 0) end--
    return bytes.toString('latin1', start, end)
  },
  size: (value) => value.length,
  write: (value, to, at) => void to.write(value, at, 'latin1')
}

const bytes: Codec<Buffer> = {
  // A copy: what comes in may lie in a buffer that is used again.
  decode: (packet, start, end) => Buffer.from(packet.subarray(start, end)),
  size: (value) => value.length,
  write: (value, to, at) => to.set(value, at)
}

const messageType: Codec<MessageType> = {
  decode(bytes, start, end, offset) {
    const name = end - start === 1 ? MESSAGE_TYPES[bytes.readUInt8(start)] : undefined
    if (!name) {
      const hex = bytes.toString('hex', start, end)
      throw new WireError('dhcp-message-type', offset, `message type ${hex} is unknown`)
    }
    return name
  },
  size: () => 1,
  write: (name, to, at) => void to.writeUInt8(MESSAGE_TYPES.indexOf(name), at)
}

const octetsOf = (prefix: number) => Math.ceil(prefix / 8)

function routeRange({ network }: ClasslessRoute): { first: number; prefix: number } {
  const range = parseCidr(network)
  if (!range) throw new WireError('dhcp-route', 0, `"${network}" is not a network`)
  return range
}

// RFC 3442: per route the prefix length, as many octets of the network as the prefix covers, the router.
const routes: Codec<ClasslessRoute[]> = {
  decode(bytes, start, end, offset) {
    const found: ClasslessRoute[] = []
    for (let at = start; at < end;) {
      const prefix = bytes.readUInt8(at)
      const router = at + 1 + octetsOf(prefix)
      if (prefix > 32 || router + 4 > end)
        throw new WireError(
          'dhcp-route',
          offset + at - start,
          'classless route is cut off or longer than /32'
        )
      let network = 0
      for (let octet = 0; octet < octetsOf(prefix); octet++)
        network += bytes.readUInt8(at + 1 + octet) * 2 ** (24 - 8 * octet)
      // Bits beyond the prefix are for the reader to clear.
      const mask = prefix === 0 ? 0 : (0xffffffff << (32 - prefix)) >>> 0
      found.push({ network: `${formatIp((network & mask) >>> 0)}/${prefix}`, router: readIp(bytes, router) })
      at = router + 4
    }
    return found
  },
  size: (value) => value.reduce((sum, route) => sum + 5 + octetsOf(routeRange(route).prefix), 0),
  write(value, to, at) {
    for (const route of value) {
      const { first, prefix } = routeRange(route)
      to[at++] = prefix
      for (let octet = 0; octet < octetsOf(prefix); octet++) to[at++] = (first >>> (24 - 8 * octet)) & 255
      writeIp(route.router, to, at)
      at += 4
    }
  }
}

/** Every option with a name and a type of its own; all others are kept as bytes in `other`. */
const OPTIONS = {
  subnetMask: { code: 1, type: ip },
  routers: { code: 3, type: ips },
  dnsServers: { code: 6, type: ips },
  hostName: { code: 12, type: text },
  domainName: { code: 15, type: text },
  interfaceMtu: { code: 26, type: u16 },
  broadcastAddress: { code: 28, type: ip },
  ntpServers: { code: 42, type: ips },
  /** PXE 2.1 packs options of its own in here: src/wire/pxe.ts. */
  vendorOptions: { code: 43, type: bytes },
  requestedAddress: { code: 50, type: ip },
  leaseSeconds: { code: 51, type: u32 },
  messageType: { code: 53, type: messageType },
  serverId: { code: 54, type: ip },
  parameterList: { code: 55, type: u8s },
  message: { code: 56, type: text },
  maxMessageSize: { code: 57, type: u16 },
  renewSeconds: { code: 58, type: u32 },
  rebindSeconds: { code: 59, type: u32 },
  vendorClass: { code: 60, type: text },
  clientId: { code: 61, type: bytes },
  tftpServerName: { code: 66, type: text },
  bootFileName: { code: 67, type: text },
  /** RFC 3004 makes it a list of counted strings; iPXE and many others send bare text. So: bytes. */
  userClass: { code: 77, type: bytes },
  /** RFC 3046; echoed, always last. */
  relayAgent: { code: 82, type: bytes },
  /** RFC 4578 2.1: a list, although nearly every client sends one. */
  clientArchitectures: { code: 93, type: u16s },
  /** RFC 4578 2.2. */
  clientInterface: { code: 94, type: bytes },
  /** RFC 4578 2.3: a type octet and a GUID; bytes, because firmware sends other lengths and wants them echoed. */
  clientMachineId: { code: 97, type: bytes },
  autoConfigure: { code: 116, type: u8 },
  /** RFC 3442. */
  classlessRoutes: { code: 121, type: routes },
  /** iPXE's encapsulated options: src/wire/pxe.ts. */
  ipxe: { code: 175, type: bytes }
} as const

export type OptionName = keyof typeof OPTIONS
type ValueOf<C> = C extends Codec<infer T> ? T : never

/** The options of a message by name; an absent option is an absent key, and the order of the keys is that on the wire. */
export type DhcpOptions = { [N in OptionName]?: ValueOf<(typeof OPTIONS)[N]['type']> } & {
  /** Options that the table does not name, by number. */
  [code: `#${number}`]: Buffer
}

const nameByCode = new Map<number, OptionName>(
  Object.entries(OPTIONS).map(([name, { code }]) => [code, name as OptionName])
)

/** The name of an option by its code; undefined: it has none here. */
export function optionName(code: number): OptionName | undefined {
  return nameByCode.get(code)
}

/** The code of a named option, as it appears in a client's parameter request list. */
export function optionCode(name: OptionName): number {
  return OPTIONS[name].code
}

const PAD = 0
const OVERLOAD = 52
const END = 255

/** One area of a packet that holds options: where it starts and ends in the packet. */
type Area = { start: number; end: number }

/**
 * Reads the options of `packet` in `main`, and in the `file` and `sname` fields as far as option 52 in `main` says that
 * they hold options too (RFC 2132 9.3). Parts of one option are joined in the order main, file, sname before they are
 * interpreted (RFC 3396 7). WireError for a part that runs over its area's end, a missing end mark or content that
 * breaks its type.
 */
export function decodeOptions(
  packet: Buffer,
  main: Area,
  file: Area,
  sname: Area
): { options: DhcpOptions; overloaded: { file: boolean; sname: boolean } } {
  const found = new Map<number, Part[]>()
  collect(packet, main, found)
  const overload = found.get(OVERLOAD)
  let overloaded = { file: false, sname: false }
  if (overload) {
    const value = decodeParts(u8, packet, overload)
    if (value < 1 || value > 3)
      throw new WireError('dhcp-overload', (overload[0] as Part).start, `overload ${value} is not 1, 2 or 3`)
    overloaded = { file: (value & 1) !== 0, sname: (value & 2) !== 0 }
    if (overloaded.file) collect(packet, file, found)
    if (overloaded.sname) collect(packet, sname, found)
    found.delete(OVERLOAD)
  }
  const options: Record<string, unknown> = {}
  for (const [code, parts] of found) {
    const name = nameByCode.get(code)
    if (name) options[name] = decodeParts(OPTIONS[name].type as Codec<unknown>, packet, parts)
    else options[`#${code}`] = decodeParts(bytes, packet, parts)
  }
  return { options: options as DhcpOptions, overloaded }
}

/** One occurrence of an option: where its content starts and ends in the packet. */
type Part = { start: number; end: number }

function decodeParts<T>(type: Codec<T>, packet: Buffer, parts: readonly Part[]): T {
  const { start, end } = parts[0] as Part
  if (parts.length === 1) return type.decode(packet, start, end, start)
  const whole = Buffer.concat(parts.map((part) => packet.subarray(part.start, part.end)))
  return type.decode(whole, 0, whole.length, start)
}

function collect(packet: Buffer, area: Area, into: Map<number, Part[]>): void {
  let at = area.start
  while (at < area.end) {
    const code = packet[at] as number
    if (code === END) return
    if (code === PAD) {
      at++
      continue
    }
    const start = at + 2
    const end = start + (start <= area.end ? (packet[at + 1] as number) : 0)
    if (start > area.end || end > area.end)
      throw new WireError('dhcp-option-cut', at, `option ${code} runs over the end`)
    const found = into.get(code)
    if (found) found.push({ start, end })
    else into.set(code, [{ start, end }])
    at = end
  }
  throw new WireError('dhcp-no-end', area.end, 'options have no end mark')
}

/**
 * Writes options into `packet` from `start` to its end at most, the end mark included; answers where it stopped. The message type comes
 * first, then the others in the order of the object's keys, the relay agent option last (RFC 3046 2.2). An option above 255 bytes is
 * split (RFC 3396 5). What does not fit is left out whole, so the caller puts what matters most first; the relay's own option
 * has its place kept.
 */
export function writeOptions(options: DhcpOptions, packet: Buffer, start: number): number {
  let at = start
  const { messageType: type, relayAgent } = options
  // The end mark, and the relay's option if it can have a place at all.
  let limit = packet.length - 1
  const kept = relayAgent ? placeOf(relayAgent.length) : 0
  const keepRelay = relayAgent !== undefined && kept <= limit - at - (type ? 3 : 0)
  if (keepRelay) limit -= kept
  const write = <T>(code: number, type: Codec<T>, value: T) => {
    // EDK2's PXE driver ends the boot file name with a NUL of its own, on top of the next option's code: the client then
    // misses what follows, the subnet mask for one, and declines the address. A pad takes the blow (OVMF 2022.11).
    const pad = code === OPTIONS.bootFileName.code ? 1 : 0
    const size = type.size(value)
    if (at + placeOf(size) + pad > limit) return
    at = put(packet, at, code, type, value, size)
    if (pad) packet[at++] = PAD
  }
  if (type) write(OPTIONS.messageType.code, messageType, type)
  for (const name in options) {
    if (name === 'messageType' || name === 'relayAgent') continue
    const value: unknown = options[name as OptionName]
    if (value === undefined) continue
    if (name.startsWith('#')) {
      write(Number(name.slice(1)), bytes, value as Buffer)
      continue
    }
    const option = OPTIONS[name as OptionName]
    write(option.code, option.type as Codec<unknown>, value)
  }
  if (keepRelay) at = put(packet, at, OPTIONS.relayAgent.code, bytes, relayAgent, relayAgent.length)
  packet[at++] = END
  return at
}

/** Bytes that an option of so much content takes: two more for every 255 of it. */
function placeOf(size: number): number {
  return size + 2 * Math.max(1, Math.ceil(size / 255))
}

function put<T>(packet: Buffer, at: number, code: number, type: Codec<T>, value: T, size: number): number {
  if (size <= 255) {
    packet[at] = code
    packet[at + 1] = size
    type.write(value, packet, at + 2)
    return at + 2 + size
  }
  const whole = Buffer.alloc(size)
  type.write(value, whole, 0)
  for (let from = 0; from < size; from += 255)
    at = put(packet, at, code, bytes, whole.subarray(from, from + 255), Math.min(255, size - from))
  return at
}
