// MAC and IPv4 addresses as the text and numbers everything else uses: MACs lower case with colons, IPv4 as dotted
// text outside and unsigned 32-bit numbers where ranges are computed.

import { Buffer } from 'node:buffer'

/** `aa:bb:cc:dd:ee:ff`, always lower case. */
export type Mac = string
/** Dotted IPv4 text, `192.0.2.1`. */
export type Ip = string

const MAC =
  /^([0-9a-f]{2})[:-]?([0-9a-f]{2})[:-]?([0-9a-f]{2})[:-]?([0-9a-f]{2})[:-]?([0-9a-f]{2})[:-]?([0-9a-f]{2})$/i

/** Reads a 48-bit MAC in any common notation (colons, dashes, none); undefined when it is not one. */
export function parseMac(text: string): Mac | undefined {
  const match = MAC.exec(text.trim())
  return match ? match.slice(1).join(':').toLowerCase() : undefined
}

const HEX: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/** `length` bytes at `offset` as hex with colons: six of them are a MAC. */
export function macFromBytes(bytes: Uint8Array, offset = 0, length = 6): Mac {
  let text = ''
  for (let at = offset; at < offset + length; at++)
    text += (at === offset ? '' : ':') + (HEX[bytes[at] as number] as string)
  return text
}

export function macToBytes(mac: Mac): Buffer {
  return Buffer.from(mac.replaceAll(':', ''), 'hex')
}

/** Dotted text → unsigned 32-bit number; undefined when it is not four decimal octets. */
export function parseIp(text: string): number | undefined {
  let value = 0
  let octet = 0
  let digits = 0
  let dots = 0
  // By hand, because every packet needs several: a regular expression takes five times as long.
  for (let at = 0; at < text.length; at++) {
    const sign = text.charCodeAt(at)
    if (sign >= 48 && sign <= 57) {
      octet = octet * 10 + sign - 48
      if (++digits > 3 || octet > 255) return undefined
    } else if (sign === 46 && digits > 0 && ++dots < 4) {
      value = value * 256 + octet
      octet = digits = 0
    } else return undefined
  }
  return dots === 3 && digits > 0 ? value * 256 + octet : undefined
}

/** Unsigned 32-bit number → dotted text. */
export function formatIp(value: number): Ip {
  return `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`
}

/** `192.0.2.0/24` → first address, last address and prefix length; undefined when malformed or host bits are set. */
export function parseCidr(text: string): { first: number; last: number; prefix: number } | undefined {
  const [base, bits] = text.split('/')
  const first = parseIp(base ?? '')
  if (first === undefined || bits === undefined || !/^\d{1,2}$/.test(bits)) return undefined
  const prefix = Number(bits)
  if (prefix > 32) return undefined
  const size = 2 ** (32 - prefix)
  if (first % size !== 0) return undefined
  return { first, last: first + size - 1, prefix }
}

/** The netmask of a prefix length, dotted. */
export function netmask(prefix: number): Ip {
  return formatIp(prefix === 0 ? 0 : (0xffffffff << (32 - prefix)) >>> 0)
}
