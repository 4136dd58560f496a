// What a DHCP request says of the program that sent it, taken out of the packet once.

import { cpuArch, type Node } from '../../domain/node.ts'
import type { Mac } from '../../wire/address.ts'
import type { DhcpMessage } from '../../wire/dhcp.ts'
import { machineGuid, parseIpxeOptions, vendorClassArchitecture, type IpxeOptions } from '../../wire/pxe.ts'
import type { DhcpOptions } from '../../wire/dhcp-options.ts'
import { ARCHITECTURES, LIARS, type Architecture } from './architectures.ts'

export type Client = {
  mac: Mac
  /** Option 60; empty: not told. */
  vendorClass: string
  /** Option 77 without the count that RFC 3004 puts before it; empty: not told. */
  userClass: string
  /** Option 93, or else what the vendor class says; the first one that we know. null: the client names none. */
  arch: number | null
  /** The row of `arch`; null when the number is unknown or a known lie. */
  architecture: Architecture | null
  /** What `architecture` being null means, for people. */
  archText: string
  /** What else can be done where there is no boot loader, for people; null: nothing is known. */
  instead: string | null
  /** Option 175 as iPXE sends it. */
  ipxe: IpxeOptions | null
  /** Option 97, bytes in the order in which they were sent. */
  guid: string | null
}

export function clientOf(message: DhcpMessage): Client {
  const { options, chaddr: mac } = message
  const vendorClass = options.vendorClass ?? ''
  const arch = architectureOf(vendorClass, options.clientArchitectures ?? [])
  const guid = (options.clientMachineId && machineGuid(options.clientMachineId)) ?? null
  const lie = LIARS.find(
    ({ macs, guids, claims }) =>
      claims === arch &&
      (macs.some((start) => mac.startsWith(start)) || guids.some((start) => guid?.startsWith(start)))
  )
  const architecture = arch === null || lie ? null : (ARCHITECTURES[arch] ?? null)
  return {
    mac,
    vendorClass,
    userClass: userClassOf(options.userClass),
    arch,
    architecture,
    archText: lie?.is ?? architecture?.name ?? (arch === null ? 'no architecture' : `architecture ${arch}`),
    instead: lie?.instead ?? architecture?.instead ?? null,
    ipxe: (options.ipxe && parseIpxeOptions(options.ipxe)) ?? null,
    guid
  }
}

/** Why a node's boot files are not for the processor that asks, for people; null: they are, or nothing is known of it. */
export function wrongProcessor({ architecture }: Client, node: Pick<Node, 'properties'>): string | null {
  if (!architecture?.cpu || architecture.cpu === cpuArch(node)) return null
  const enrolled = String(node.properties['cpu_arch'] ?? 'x86_64, since it names none')
  return `${architecture.name} asks, and the node is enrolled as ${enrolled}: set properties.cpu_arch to ${architecture.cpu}`
}

function architectureOf(vendorClass: string, listed: readonly number[]): number | null {
  const known = listed.find((number) => ARCHITECTURES[number])
  return known ?? listed[0] ?? vendorClassArchitecture(vendorClass) ?? null
}

function userClassOf(bytes: DhcpOptions['userClass']): string {
  if (!bytes || bytes.length === 0) return ''
  // RFC 3004: each class has its length before it. iPXE sends its name bare.
  const counted = bytes[0] === bytes.length - 1
  return bytes.toString('latin1', counted ? 1 : 0).replace(/\0+$/, '')
}
