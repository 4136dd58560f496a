// What every answer of a DHCP server must have, and whether it has what a case says. Faults are sentences; none is good.

import { isDeepStrictEqual } from 'node:util'
import { parseIp, type Ip } from '../../src/wire/address.ts'
import { BROADCAST_FLAG, NO_ADDRESS, type DhcpMessage } from '../../src/wire/dhcp.ts'
import { optionCode } from '../../src/wire/dhcp-options.ts'
import { LINK, type Heard } from '../support/dhcp-wire.ts'
import type { Answer } from './dhcp-cases.ts'

/** RFC 1542 2.1. */
const SHORTEST = 300
/** RFC 2131 2, less the headers of IP and UDP. */
const HEADERS = 28
const EVERY_CLIENT_TAKES = 576

/** RFC 2131 4.3.1 table 3: what only clients send. */
const CLIENTS_OWN = [
  optionCode('requestedAddress'),
  optionCode('parameterList'),
  optionCode('maxMessageSize'),
  93,
  94
]
const RELAY_INFO = optionCode('relayAgent')

/** The rules of RFC 2131 4.1 and 4.3.1 (table 3), RFC 6842 3 and RFC 3046 2.2, for any answer to any request. */
export function ruleFaults(request: DhcpMessage, { bytes, message, from }: Heard): string[] {
  const faults: string[] = []
  const rule = (holds: boolean, fault: string) => void (holds || faults.push(fault))
  const { options } = message
  const codes = optionCodes(bytes)
  const nak = options.messageType === 'nak'
  const most = mostBytes(request)

  rule(from === `${LINK.address}:67`, `comes from ${from}`)
  rule(bytes.length >= SHORTEST, `${bytes.length} bytes are less than ${SHORTEST}`)
  rule(bytes.length <= most, `${bytes.length} bytes are more than the ${most} that the client takes`)
  rule(message.op === 'reply', 'op is not reply')
  for (const field of ['xid', 'htype', 'chaddr', 'giaddr'] as const)
    rule(message[field] === request[field], `${field} ${message[field]} was ${request[field]} in the request`)
  const flags = nak && request.giaddr !== NO_ADDRESS ? request.flags | BROADCAST_FLAG : request.flags
  rule((message.flags & BROADCAST_FLAG) === (flags & BROADCAST_FLAG), `flags are ${message.flags}`)
  rule(message.hops === 0, `hops is ${message.hops}`)
  rule(message.secs === 0, `secs is ${message.secs}`)
  rule(options.serverId !== undefined, 'no server id')
  rule(isDeepStrictEqual(options.clientId, request.options.clientId), 'the client id is not the request’s')
  rule(isDeepStrictEqual(options.relayAgent, request.options.relayAgent), 'option 82 is not the request’s')
  rule(!codes.includes(RELAY_INFO) || codes.at(-1) === RELAY_INFO, 'option 82 is not the last')
  for (const code of CLIENTS_OWN) rule(!codes.includes(code), `option ${code} is for clients`)

  const { leaseSeconds: lease, renewSeconds: renew = 1, rebindSeconds: rebind = 2 } = options
  if (nak) {
    for (const field of ['ciaddr', 'yiaddr', 'siaddr'] as const)
      rule(message[field] === NO_ADDRESS, `a NAK with ${field} ${message[field]}`)
    rule(lease === undefined, 'a NAK with a lease time')
  } else if (request.options.messageType === 'inform') {
    rule(message.yiaddr === NO_ADDRESS, `yiaddr ${message.yiaddr} for an INFORM`)
    rule(lease === undefined, 'a lease time for an INFORM')
  } else {
    rule(message.yiaddr !== NO_ADDRESS, 'no yiaddr')
    rule(lease !== undefined, 'no lease time')
    rule(renew < rebind && rebind < (lease ?? 3), `times ${renew}, ${rebind} and ${lease} are not in order`)
  }
  return faults
}

/** The longest answer that the client takes, bytes of DHCP (RFC 2132 9.10). */
export function mostBytes({ options }: DhcpMessage): number {
  return Math.max(options.maxMessageSize ?? 0, EVERY_CLIENT_TAKES) - HEADERS
}

/** What the case says, held against the answer. `before` is the answer to the step before. */
export function expectationFaults(expect: Answer, heard: Heard, before: Heard | undefined): string[] {
  const { message, bytes } = heard
  const faults: string[] = []
  const same = (what: string, found: unknown, wanted: unknown) => {
    if (!isDeepStrictEqual(found, wanted)) faults.push(`${what} is ${show(found)} instead of ${show(wanted)}`)
  }
  const codes = optionCodes(bytes)
  same('type', message.options.messageType, expect.type)
  if (expect.to) same('destination', heard.to, expect.to)
  for (const [field, wanted] of Object.entries(expect.fields ?? {}))
    same(field, message[field as 'xid'], wanted)
  for (const [name, wanted] of Object.entries(expect.options ?? {}))
    same(name, message.options[name as 'xid' & keyof typeof message.options], wanted)
  const contents = optionContents(bytes)
  for (const [code, wanted] of Object.entries(expect.byCode ?? {}))
    same(`option ${code}`, contents.get(Number(code)), wanted)
  for (const code of expect.without ?? []) if (codes.includes(code)) faults.push(`option ${code} is there`)
  if (expect.order) {
    const found = [...new Set(codes)].filter((code) => expect.order?.includes(code))
    same('order of options', found, expect.order)
  }
  if (expect.atMost !== undefined && bytes.length > expect.atMost) faults.push(`it has ${bytes.length} bytes`)
  if (expect.from && !within(message.yiaddr, expect.from)) faults.push(`yiaddr is ${message.yiaddr}`)
  if (expect.not?.includes(message.yiaddr)) faults.push(`yiaddr is ${message.yiaddr} again`)
  if (expect.likeBefore) same('answer', comparable(message), before && comparable(before.message))
  return faults
}

export function within(ip: Ip, { start, end }: { start: Ip; end: Ip }): boolean {
  const value = parseIp(ip) ?? -1
  return value >= (parseIp(start) ?? 0) && value <= (parseIp(end) ?? 0)
}

/** An answer without what differs between an OFFER and its ACK. */
function comparable({ options, ...fields }: DhcpMessage): unknown {
  return { ...fields, xid: 0, options: { ...options, messageType: undefined } }
}

const show = (value: unknown): string => {
  if (Buffer.isBuffer(value)) return value.toString('hex')
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}

/** Option codes as they stand behind the cookie; the decoder that is tested elsewhere has no part in it. */
export function optionCodes(bytes: Buffer): number[] {
  return walk(bytes).map(({ code }) => code)
}

/** Content by code in hex, parts joined. */
export function optionContents(bytes: Buffer): Map<number, string> {
  const found = new Map<number, string>()
  for (const { code, content } of walk(bytes)) found.set(code, (found.get(code) ?? '') + content)
  return found
}

function walk(bytes: Buffer): { code: number; content: string }[] {
  const found: { code: number; content: string }[] = []
  for (let at = 240; at < bytes.length && bytes[at] !== 255;) {
    const code = bytes.readUInt8(at)
    if (code === 0) {
      at++
      continue
    }
    const end = at + 2 + bytes.readUInt8(at + 1)
    found.push({ code, content: bytes.toString('hex', at + 2, end) })
    at = end
  }
  return found
}
