// Who asks and who answers on the machines' LAN, read out of their packets for people: what listen-only mode is for.

import type { DhcpPacket } from '../domain/packet.ts'
import type { Ip, Mac } from '../wire/address.ts'
import { decodeDhcp, NO_ADDRESS, type DhcpMessage } from '../wire/dhcp.ts'
import type { MessageType } from '../wire/dhcp-options.ts'
import { WireError } from '../wire/wire-error.ts'
import { printable } from './boot-file.ts'
import { firmwareOf, type FirmwareName } from './firmware.ts'

export type SeenClient = {
  mac: Mac
  /** Milliseconds since the epoch. */
  lastAt: number
  type: MessageType | null
  client: FirmwareName
  /** For people. */
  architecture: string
  /** Option 60. */
  vendorClass: string
  /** The relay that it asks through; null: it is on our link. */
  relay: Ip | null
  /** The options that it asks for, by code. */
  requested: readonly number[]
  /** The server whose offer it takes; null: it says of none. */
  server: Ip | null
  /** What was decided, or would have been in listen-only mode. */
  decision: string
}

/** The sender of a packet; null when it is no DHCP request that can be read. */
export function seenClient({ at, bytes, decision }: DhcpPacket): SeenClient | null {
  const message = readable(bytes)
  if (!message || message.op !== 'request') return null
  const { options, chaddr, giaddr } = message
  const { firmware, client } = firmwareOf(message)
  return {
    mac: chaddr,
    lastAt: at,
    type: options.messageType ?? null,
    client: firmware.name,
    architecture: client.archText,
    vendorClass: printable(client.vendorClass, 100),
    relay: giaddr === NO_ADDRESS ? null : giaddr,
    requested: options.parameterList ?? [],
    server: options.serverId ?? null,
    decision
  }
}

/** The message in a packet that was kept; null when it cannot be read. */
export function readable(bytes: Uint8Array): DhcpMessage | null {
  try {
    return decodeDhcp(bytes)
  } catch (error) {
    if (error instanceof WireError) return null
    throw error
  }
}

/** What a server told a client. */
export type SeenAnswer = {
  type: MessageType | null
  mac: Mac
  /** null: it gave no address, as a proxyDHCP server does. */
  ip: Ip | null
  relay: Ip | null
  subnetMask: Ip | null
  routers: readonly Ip[]
  dns: readonly Ip[]
  domain: string | null
  leaseSeconds: number | null
  /** Where the boot file is. */
  nextServer: Ip | null
  bootFile: string | null
}

export function seenAnswer({ chaddr, yiaddr, siaddr, giaddr, file, options }: DhcpMessage): SeenAnswer {
  const given = (ip: Ip) => (ip === NO_ADDRESS ? null : ip)
  const text = (words: string | undefined) => (words ? printable(words, 255) : null)
  return {
    type: options.messageType ?? null,
    mac: chaddr,
    ip: given(yiaddr),
    relay: given(giaddr),
    subnetMask: options.subnetMask ?? null,
    routers: options.routers ?? [],
    dns: options.dnsServers ?? [],
    domain: text(options.domainName),
    leaseSeconds: options.leaseSeconds ?? null,
    nextServer: given(siaddr),
    bootFile: text(options.bootFileName ?? file)
  }
}

/** Another DHCP server, by the id that it gives itself (option 54), else the address that it answers from. */
export type SeenServer = {
  address: Ip
  firstAt: number
  lastAt: number
  /** How many answers of it were heard. */
  answers: number
  /** The last of them. */
  answer: SeenAnswer
}
