// A machine (Ironic's "node") and its network ports. Field names are Ironic's in camel case.

import type { Ip, Mac } from '../wire/address.ts'
import type { PowerState } from './bmc.ts'
import type { Handover } from './handoff.ts'
import type { Inventory } from './inventory.ts'
import type { QuirkCard } from './quirk-card.ts'

/**
 * The states in which nothing is going on. The state that is shown (`deploying`, `deploy failed`, …) is computed from this
 * and the node's latest order: src/decide/provision-state.ts.
 */
export type StableState = 'enroll' | 'manageable' | 'available' | 'active'

export type Node = {
  uuid: string
  name: string | null
  driver: 'ipmi'
  /** `ipmi_address`, `ipmi_port`, `ipmi_username`, `ipmi_password`, `ipmi_cipher_suite`, … as the operator gave them. */
  driverInfo: Readonly<Record<string, unknown>>
  /** `cpus`, `memory_mb`, `local_gb`, `cpu_arch`, `capabilities` ("boot_mode:uefi,…"), `root_device` (hints). */
  properties: Readonly<Record<string, unknown>>
  extra: Readonly<Record<string, unknown>>
  /** Free record of what runs there; Ironic's clients read and set it. */
  instanceInfo: Readonly<Record<string, unknown>>
  instanceUuid: string | null
  resourceClass: string | null
  description: string | null
  owner: string | null
  state: StableState
  /** As last read from the BMC; null before the first reading. */
  powerState: PowerState | null
  powerStateAt: number | null
  /** When orders of the last hour switched it on: what limits how often that happens. */
  powerOns: readonly number[]
  /** What the last exam of its BMC found out; null: there was none. */
  quirkCard: QuirkCard | null
  lastError: string | null
  maintenance: boolean
  maintenanceReason: string | null
  /** What the ramdisk last reported. */
  inventory: Inventory | null
  /** The boot loader of ours that last led to the ramdisk; null: none did, or firmware and ROM needed none. */
  bootLoader: string | null
  /** Maker and product, by which machines are alike: as the BMC's FRU tells, else SMBIOS; null: neither has told yet. Set once. */
  hardwareModel: string | null
  provisionUpdatedAt: number | null
  /** On its way to another owner, or there: we are silent to it and its BMC. null: it is ours. */
  handover: Handover | null
  createdAt: number
  updatedAt: number | null
}

export type Port = {
  uuid: string
  nodeUuid: string
  address: Mac
  pxeEnabled: boolean
  physicalNetwork: string | null
  localLinkConnection: Readonly<Record<string, unknown>>
  extra: Readonly<Record<string, unknown>>
  /** The address this MAC has from enrolment on, through ROM, ramdisk and installed system; null on ports that do not boot. */
  reservedIp: Ip | null
  createdAt: number
  updatedAt: number | null
}

/** Processor architectures that there is a deploy ramdisk for, as Ironic's `cpu_arch` and `uname -m` name them. */
export type CpuArch = 'x86_64' | 'aarch64'

const CPU_ARCHS: Readonly<Record<string, CpuArch>> = {
  x86_64: 'x86_64',
  amd64: 'x86_64',
  aarch64: 'aarch64',
  arm64: 'aarch64'
}

/** The architecture in `properties.cpu_arch`; x86_64 when the operator named none, null when it is none of ours. */
export function cpuArch({ properties }: Pick<Node, 'properties'>): CpuArch | null {
  const told = properties['cpu_arch']
  return told === undefined || told === null ? 'x86_64' : (CPU_ARCHS[String(told)] ?? null)
}

/** Capabilities, a string "a:b,c:d" as Ironic keeps it, as an object. */
export function capabilities(node: Pick<Node, 'properties'>): Record<string, string> {
  const found: Record<string, string> = {}
  const text = node.properties['capabilities']
  if (typeof text !== 'string') return found
  for (const pair of text.split(',')) {
    const colon = pair.indexOf(':')
    if (colon > 0) found[pair.slice(0, colon).trim()] = pair.slice(colon + 1).trim()
  }
  return found
}

/** The firmware mode to boot in: as the operator said, else as the ramdisk saw it, else UEFI (Ironic's own default). */
export function bootMode(node: Pick<Node, 'properties' | 'inventory'>): 'bios' | 'uefi' {
  const told = capabilities(node)['boot_mode']
  if (told === 'bios' || told === 'uefi') return told
  return node.inventory?.bootMode ?? 'uefi'
}

/** Maker and product as one name; null when the product is not told, or is what makers leave in who never filled it in. */
export function hardwareModelOf(vendor: string | null, product: string | null): string | null {
  const clean = (text: string | null) => text?.trim().replace(/\s+/g, ' ') ?? ''
  const name = clean(product)
  if (
    name === '' ||
    /^(to be filled.*|default string|system product name|not specified|none|n\/?a|unknown)$/i.test(name)
  )
    return null
  return `${clean(vendor)} ${name}`.trim()
}
