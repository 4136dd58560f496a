// What LAN configuration parameters hold (IPMI 2.0, table 23-4).

import { requireLength } from './length.ts'

export const LAN_PARAMETER = {
  setInProgress: 0,
  address: 3,
  addressSource: 4,
  mac: 5,
  netmask: 6,
  gateway: 12,
  vlan: 20,
  suiteCount: 22,
  suites: 23,
  suitePrivileges: 24,
  badPasswords: 26
} as const

export type AddressSource = 'unspecified' | 'static' | 'dhcp' | 'bios' | 'other'
const SOURCES: readonly AddressSource[] = ['unspecified', 'static', 'dhcp', 'bios', 'other']

/** `192.0.2.7`; parameters 3, 6 and 12. Throws WireError `short`. */
export function decodeLanAddress(value: Buffer): string {
  requireLength(value, 4, 'an address')
  return value.subarray(0, 4).join('.')
}

/** `52:54:00:bc:00:01`; parameter 5. Throws WireError `short`. */
export function decodeLanMac(value: Buffer): string {
  requireLength(value, 6, 'a MAC address')
  return Array.from(value.subarray(0, 6), (byte) => byte.toString(16).padStart(2, '0')).join(':')
}

/** Parameter 4. Throws WireError `short`. */
export function decodeAddressSource(value: Buffer): AddressSource {
  requireLength(value, 1, 'an address source')
  return SOURCES[value.readUInt8(0) & 0x0f] ?? 'other'
}

/** The VLAN's number, or null when none is used; parameter 20. Throws WireError `short`. */
export function decodeLanVlan(value: Buffer): number | null {
  requireLength(value, 2, 'a VLAN')
  const bits = value.readUInt16LE(0)
  return (bits & 0x8000) !== 0 ? bits & 0x0fff : null
}

/** The IDs of the suites the BMC lists; parameter 23 begins with a reserved byte. Throws WireError `short`. */
export function decodeLanSuites(value: Buffer, count: number): number[] {
  requireLength(value, 1, 'a list of cipher suites')
  return [...value.subarray(1, 1 + count)]
}

/** Highest privilege by the place of a suite in the list; 0: the suite is off. Throws WireError `short`. */
export function decodeSuitePrivileges(value: Buffer, count: number): number[] {
  requireLength(value, 1 + Math.ceil(count / 2), 'privileges of cipher suites')
  return Array.from({ length: count }, (_, at) => (value.readUInt8(1 + (at >> 1)) >> ((at & 1) * 4)) & 0x0f)
}
