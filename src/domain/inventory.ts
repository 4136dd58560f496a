// What the deploy ramdisk reports of a machine (image/README.md, "The agent protocol").

import type { Mac } from '../wire/address.ts'

export type Disk = {
  path: string
  /** Bytes. */
  size: number
  serial: string | null
  wwn: string | null
  model: string | null
  vendor: string | null
  rotational: boolean
  removable: boolean
  /** Hangs on USB, whatever it says of being removable. Older ramdisks do not tell. */
  usb?: boolean | undefined
  readOnly: boolean
  /** Bytes. */
  logicalSectorSize: number
  /** File system, partition table and RAID signatures found on it. */
  signatures: string[]
}

export type NetworkInterface = {
  name: string
  mac: Mac
  carrier: boolean
  driver: string | null
  speedMbps: number | null
}

export type Inventory = {
  /** SMBIOS system UUID, lower case. */
  uuid: string | null
  serial: string | null
  vendor: string | null
  model: string | null
  bootMode: 'bios' | 'uefi'
  bootInterface: Mac | null
  arch: string
  secureBoot: boolean
  cpus: number
  cpuModel: string | null
  memoryMiB: number
  interfaces: NetworkInterface[]
  disks: Disk[]
  /** How long the ramdisk waited for an address, seconds, and how often its link went down since. Older ramdisks do not tell. */
  addressSeconds?: number | undefined
  linkLosses?: number | undefined
  /** The machine's own clock when it reported, RFC 3339. */
  clock: string | null
}
