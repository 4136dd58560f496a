// The network's options as an operator writes them, for a subnet or for one node (`extra.dhcp`) → NetworkOptions. All faults are told at once.

import { Buffer } from 'node:buffer'
import type { NetworkOptions } from '../domain/subnet.ts'
import { parseCidr, parseIp } from '../wire/address.ts'
import type { ClasslessRoute } from '../wire/dhcp-options.ts'

/** Options that are not for the operator to set by number, and what to do instead. */
const NOT_BY_NUMBER: Readonly<Record<number, string>> = {
  1: 'it comes from the cidr',
  3: 'use "gateway"',
  6: 'use "dns"',
  12: 'a machine is told its own name',
  15: 'use "domain"',
  26: 'use "mtu"',
  28: 'it comes from the cidr',
  42: 'use "ntp"',
  121: 'use "routes"',
  43: 'Seedling answers boot firmware with it',
  60: 'Seedling answers boot firmware with it',
  66: 'Seedling names the boot server',
  67: 'Seedling names the boot file',
  175: 'Seedling answers iPXE with it',
  // The protocol's own: RFC 2132 9, RFC 3046, RFC 4578.
  ...Object.fromEntries(
    [0, 50, 51, 52, 53, 54, 55, 57, 58, 59, 61, 77, 82, 93, 94, 97, 255].map((code) => [
      code,
      'the protocol itself sets it'
    ])
  )
}

const KEYS = ['gateway', 'dns', 'ntp', 'domain', 'mtu', 'routes', 'options'] as const

const isIp = (value: unknown): value is string => typeof value === 'string' && parseIp(value) !== undefined
const ips = (value: unknown): string[] | undefined =>
  Array.isArray(value) && value.length > 0 && value.every(isIp) ? value : undefined
const number = (value: unknown, most: number): value is number =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) <= most
const addressBytes = (list: readonly string[]) => {
  const bytes = Buffer.alloc(4 * list.length)
  for (const [index, ip] of list.entries()) bytes.writeUInt32BE(parseIp(ip) ?? 0, 4 * index)
  return bytes
}

/** The ways to write an option's content; undefined: not that. */
const CONTENTS: Readonly<Record<string, (value: unknown) => Buffer | undefined>> = {
  hex: (value) =>
    typeof value === 'string' && /^([0-9a-f]{2})+$/i.test(value) ? Buffer.from(value, 'hex') : undefined,
  text: (value) =>
    typeof value === 'string' && value !== '' && value.length <= 1000
      ? Buffer.from(value, 'utf8')
      : undefined,
  ip: (value) => (isIp(value) ? addressBytes([value]) : undefined),
  ips: (value) => {
    const list = ips(value)
    return list && addressBytes(list)
  },
  u8: (value) => (number(value, 0xff) ? Buffer.of(value) : undefined),
  u16: (value) => (number(value, 0xffff) ? Buffer.of(value >>> 8, value & 255) : undefined),
  u32: (value) =>
    number(value, 0xffffffff)
      ? Buffer.of(value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255)
      : undefined
}

/** Reads what is there of `given`; adds a sentence to `faults` for everything that cannot be. `where` begins each. */
export function readNetworkOptions(
  given: Readonly<Record<string, unknown>>,
  where: string,
  faults: string[]
): Partial<NetworkOptions> {
  const read: { -readonly [K in keyof NetworkOptions]?: NetworkOptions[K] } = {}
  const fault = (key: string, what: string) => void faults.push(`"${where}.${key}" ${what}`)
  for (const [key, value] of Object.entries(given)) {
    if (value === undefined) continue
    if (key === 'gateway') {
      if (value === null || isIp(value)) read.gateway = value
      else fault(key, 'is not an IPv4 address')
    } else if (key === 'dns' || key === 'ntp') {
      const list = Array.isArray(value) && value.length === 0 ? [] : ips(value)
      if (list) read[key] = list
      else fault(key, 'is not a list of IPv4 addresses')
    } else if (key === 'domain') {
      if (value === null || (typeof value === 'string' && /^[!-~]{1,253}$/.test(value))) read.domain = value
      else fault(key, 'is not a domain name')
    } else if (key === 'mtu') {
      if (value === null || (number(value, 65535) && value >= 576)) read.mtu = value
      else fault(key, 'is not a number of bytes from 576 to 65535')
    } else if (key === 'routes') read.routes = readRoutes(value, (what) => fault(key, what))
    else if (key === 'options')
      read.options = readByCode(value, (code, what) => fault(`options.${code}`, what))
    else fault(key, `is unknown; there are ${KEYS.join(', ')}`)
  }
  return read
}

function readRoutes(value: unknown, fault: (what: string) => void): ClasslessRoute[] {
  if (!Array.isArray(value)) {
    fault('is not a list of {"network": "198.51.100.0/24", "router": "192.0.2.254"}')
    return []
  }
  const routes: ClasslessRoute[] = []
  for (const route of value as unknown[]) {
    const { network, router, ...rest } = (route ?? {}) as Record<string, unknown>
    if (typeof network !== 'string' || !parseCidr(network))
      fault(`has ${JSON.stringify(network)}, which is not a network such as 198.51.100.0/24`)
    else if (!isIp(router)) fault(`has no router (an IPv4 address) for ${network}`)
    else if (Object.keys(rest).length > 0)
      fault(`has unknown keys for ${network}: ${Object.keys(rest).join(', ')}`)
    else routes.push({ network, router })
  }
  return routes
}

function readByCode(value: unknown, fault: (code: string, what: string) => void): Record<number, string> {
  const found: Record<number, string> = {}
  const ways = Object.keys(CONTENTS).join(', ')
  for (const [code, content] of Object.entries((value ?? {}) as Record<string, unknown>)) {
    const reason = NOT_BY_NUMBER[Number(code)]
    const [[way, written] = ['', undefined], ...more] = Object.entries((content ?? {}) as object)
    const bytes = CONTENTS[way]?.(written)
    if (!/^\d{1,3}$/.test(code) || Number(code) > 255) fault(code, 'is not an option number from 1 to 254')
    else if (reason !== undefined) fault(code, `cannot be set: ${reason}`)
    else if (more.length > 0 || !CONTENTS[way]) fault(code, `needs one of ${ways}, such as {"text": "…"}`)
    else if (!bytes) fault(code, `is no ${way}: ${JSON.stringify(written)}`)
    else found[Number(code)] = bytes.toString('hex')
  }
  return found
}
