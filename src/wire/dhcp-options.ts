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

type Codec<T> = { decode(bytes: Buffer, offset: number): T; encode(value: T): Buffer }

function fixed<T>(length: number, read: (bytes: Buffer) => T, write: (value: T, bytes: Buffer) => void) {
  return {
    decode(bytes: Buffer, offset: number): T {
      if (bytes.length !== length)
        throw new WireError('dhcp-option', offset, `option of ${bytes.length} bytes instead of ${length}`)
      return read(bytes)
    },
    encode(value: T): Buffer {
      const bytes = Buffer.alloc(length)
      write(value, bytes)
      return bytes
    }
  }
}

function list<T>(
  size: number,
  read: (bytes: Buffer, at: number) => T,
  write: (value: T, to: Buffer) => void
) {
  return {
    decode(bytes: Buffer, offset: number): T[] {
      if (bytes.length === 0 || bytes.length % size !== 0)
        throw new WireError('dhcp-option', offset, `list of ${bytes.length} bytes is not made of ${size}s`)
      const values: T[] = []
      for (let at = 0; at < bytes.length; at += size) values.push(read(bytes, at))
      return values
    },
    encode: (values: readonly T[]): Buffer =>
      Buffer.concat(
        values.map((value) => {
          const bytes = Buffer.alloc(size)
          write(value, bytes)
          return bytes
        })
      )
  }
}

const ipNumber = (ip: Ip): number => {
  const value = parseIp(ip)
  if (value === undefined) throw new WireError('dhcp-address', 0, `"${ip}" is not an IPv4 address`)
  return value
}

const u8 = fixed<number>(
  1,
  (bytes) => bytes.readUInt8(0),
  (value, bytes) => bytes.writeUInt8(value)
)
const u16 = fixed<number>(
  2,
  (bytes) => bytes.readUInt16BE(0),
  (value, bytes) => bytes.writeUInt16BE(value)
)
const u32 = fixed<number>(
  4,
  (bytes) => bytes.readUInt32BE(0),
  (value, bytes) => bytes.writeUInt32BE(value)
)
const ip = fixed<Ip>(
  4,
  (bytes) => formatIp(bytes.readUInt32BE(0)),
  (value, bytes) => bytes.writeUInt32BE(ipNumber(value))
)
const u8s = list<number>(
  1,
  (bytes, at) => bytes.readUInt8(at),
  (value, to) => to.writeUInt8(value)
)
const u16s = list<number>(
  2,
  (bytes, at) => bytes.readUInt16BE(at),
  (value, to) => to.writeUInt16BE(value)
)
const ips = list<Ip>(
  4,
  (bytes, at) => formatIp(bytes.readUInt32BE(at)),
  (value, to) => to.writeUInt32BE(ipNumber(value))
)
/** Latin 1, so that every byte survives; trailing NULs are dropped (RFC 2132 2). Empty is let pass: clients send it. */
const text: Codec<string> = {
  decode: (bytes) => bytes.toString('latin1').replace(/\0+$/, ''),
  encode: (value) => Buffer.from(value, 'latin1')
}
const bytes: Codec<Buffer> = { decode: (value) => Buffer.from(value), encode: (value) => value }

const messageType: Codec<MessageType> = {
  decode(value, offset) {
    const name = value.length === 1 ? MESSAGE_TYPES[value.readUInt8(0)] : undefined
    if (!name)
      throw new WireError('dhcp-message-type', offset, `message type ${value.toString('hex')} is unknown`)
    return name
  },
  encode: (name) => Buffer.of(MESSAGE_TYPES.indexOf(name))
}

// RFC 3442: per route the prefix length, as many octets of the network as the prefix covers, the router.
const routes: Codec<ClasslessRoute[]> = {
  decode(value, offset) {
    const found: ClasslessRoute[] = []
    for (let at = 0; at < value.length;) {
      const prefix = value.readUInt8(at)
      const octets = Math.ceil(prefix / 8)
      if (prefix > 32 || at + 1 + octets + 4 > value.length)
        throw new WireError('dhcp-route', offset + at, 'classless route is cut off or longer than /32')
      const network = Buffer.alloc(4)
      value.copy(network, 0, at + 1, at + 1 + octets)
      const router = formatIp(value.readUInt32BE(at + 1 + octets))
      // Bits beyond the prefix are for the reader to clear.
      const mask = prefix === 0 ? 0 : (0xffffffff << (32 - prefix)) >>> 0
      found.push({ network: `${formatIp((network.readUInt32BE(0) & mask) >>> 0)}/${prefix}`, router })
      at += 1 + octets + 4
    }
    return found
  },
  encode: (value) =>
    Buffer.concat(
      value.map(({ network, router }) => {
        const range = parseCidr(network)
        if (!range) throw new WireError('dhcp-route', 0, `"${network}" is not a network`)
        const octets = Math.ceil(range.prefix / 8)
        const route = Buffer.alloc(1 + octets + 4)
        const first = Buffer.alloc(4)
        first.writeUInt32BE(range.first)
        route.writeUInt8(range.prefix)
        first.copy(route, 1, 0, octets)
        route.writeUInt32BE(ipNumber(router), 1 + octets)
        return route
      })
    )
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
  const parts = new Map<number, { offset: number; parts: Buffer[] }>()
  collect(packet, main, parts)
  const overload = parts.get(OVERLOAD)
  let overloaded = { file: false, sname: false }
  if (overload) {
    const value = u8.decode(Buffer.concat(overload.parts), overload.offset)
    if (value < 1 || value > 3)
      throw new WireError('dhcp-overload', overload.offset, `overload ${value} is not 1, 2 or 3`)
    overloaded = { file: (value & 1) !== 0, sname: (value & 2) !== 0 }
    if (overloaded.file) collect(packet, file, parts)
    if (overloaded.sname) collect(packet, sname, parts)
    parts.delete(OVERLOAD)
  }
  const options: Record<string, unknown> = {}
  for (const [code, found] of parts) {
    const whole = found.parts.length === 1 ? (found.parts[0] as Buffer) : Buffer.concat(found.parts)
    const name = nameByCode.get(code)
    if (name) options[name] = OPTIONS[name].type.decode(whole, found.offset)
    else options[`#${code}`] = Buffer.from(whole)
  }
  return { options: options as DhcpOptions, overloaded }
}

function collect(packet: Buffer, area: Area, into: Map<number, { offset: number; parts: Buffer[] }>): void {
  let at = area.start
  while (at < area.end) {
    const code = packet.readUInt8(at)
    if (code === END) return
    if (code === PAD) {
      at++
      continue
    }
    const start = at + 2
    const end = start + (start <= area.end ? packet.readUInt8(at + 1) : 0)
    if (start > area.end || end > area.end)
      throw new WireError('dhcp-option-cut', at, `option ${code} runs over the end`)
    const found = into.get(code)
    if (found) found.parts.push(packet.subarray(start, end))
    else into.set(code, { offset: start, parts: [packet.subarray(start, end)] })
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
  const kept = relayAgent ? sizeOf(relayAgent) : 0
  const keepRelay = relayAgent !== undefined && kept <= limit - at - (type ? 3 : 0)
  if (keepRelay) limit -= kept
  const write = (code: number, value: Uint8Array) => {
    // EDK2's PXE driver ends the boot file name with a NUL of its own, on top of the next option's code: the client then
    // misses what follows, the subnet mask for one, and declines the address. A pad takes the blow (OVMF 2022.11).
    const pad = code === OPTIONS.bootFileName.code ? 1 : 0
    if (at + sizeOf(value) + pad > limit) return
    at = put(packet, at, code, value)
    if (pad) packet[at++] = PAD
  }
  if (type) write(OPTIONS.messageType.code, messageType.encode(type))
  for (const name in options) {
    if (name === 'messageType' || name === 'relayAgent') continue
    const value: unknown = options[name as OptionName]
    if (value === undefined) continue
    if (name.startsWith('#')) {
      write(Number(name.slice(1)), value as Buffer)
      continue
    }
    const option = OPTIONS[name as OptionName]
    write(option.code, (option.type as Codec<unknown>).encode(value))
  }
  if (keepRelay) at = put(packet, at, OPTIONS.relayAgent.code, relayAgent)
  packet[at++] = END
  return at
}

/** Bytes that an option takes: two more than its content for every 255 of it. */
function sizeOf(value: Uint8Array): number {
  return value.length + 2 * Math.max(1, Math.ceil(value.length / 255))
}

function put(packet: Buffer, at: number, code: number, value: Uint8Array): number {
  let from = 0
  do {
    const length = Math.min(255, value.length - from)
    packet[at] = code
    packet[at + 1] = length
    packet.set(length === value.length ? value : value.subarray(from, from + length), at + 2)
    at += 2 + length
    from += length
  } while (from < value.length)
  return at
}
