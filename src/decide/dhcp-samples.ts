// Requests as the usual clients send them, to ask what would be answered: built after packets of real ones (test/fixtures/dhcp).

import { Buffer } from 'node:buffer'
import type { Ip, Mac } from '../wire/address.ts'
import { BROADCAST_FLAG, NO_ADDRESS, type DhcpMessage } from '../wire/dhcp.ts'
import type { DhcpOptions } from '../wire/dhcp-options.ts'
import type { FirmwareName } from './firmware.ts'

export const SAMPLE_KINDS = [
  'pxe-bios',
  'pxe-uefi',
  'http-uefi',
  'ipxe',
  'system'
] as const satisfies FirmwareName[]

export type SampleKind = (typeof SAMPLE_KINDS)[number]

type Sample = { words: string; flags: number; options: DhcpOptions }

/**
 * Option 97 is in none of them, although all firmware sends it: nothing is decided by it, and the machine's own is not known here.
 */
const SAMPLES: Readonly<Record<SampleKind, Sample>> = {
  'pxe-bios': {
    words: 'BIOS PXE',
    flags: BROADCAST_FLAG,
    options: {
      maxMessageSize: 1260,
      // What PXE 2.1 has a client ask for (table 2-1).
      parameterList: [1, 3, 6, 12, 15, 17, 18, 43, 54, 60, 66, 67, 128, 129, 130, 131, 132, 133, 134, 135],
      clientArchitectures: [0],
      clientInterface: Buffer.of(1, 2, 1),
      vendorClass: 'PXEClient:Arch:00000:UNDI:002001'
    }
  },
  'pxe-uefi': {
    words: 'UEFI PXE, x64',
    flags: BROADCAST_FLAG,
    options: {
      maxMessageSize: 1472,
      parameterList: [
        ...[1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 66],
        ...[67, 97, 128, 129, 130, 131, 132, 133, 134, 135]
      ],
      clientInterface: Buffer.of(1, 3, 0),
      clientArchitectures: [7],
      vendorClass: 'PXEClient:Arch:00007:UNDI:003000'
    }
  },
  'http-uefi': {
    words: 'UEFI HTTP boot, x64',
    flags: BROADCAST_FLAG,
    options: {
      maxMessageSize: 1472,
      parameterList: [
        ...[1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 235],
        ...[67, 97]
      ],
      clientInterface: Buffer.of(1, 3, 0),
      clientArchitectures: [16],
      vendorClass: 'HTTPClient:Arch:00016:UNDI:003000'
    }
  },
  ipxe: {
    words: 'iPXE with HTTP',
    flags: BROADCAST_FLAG,
    options: {
      maxMessageSize: 1472,
      clientArchitectures: [7],
      clientInterface: Buffer.of(1, 3, 10),
      vendorClass: 'PXEClient:Arch:00007:UNDI:003010',
      userClass: Buffer.from('iPXE', 'latin1'),
      parameterList: [
        ...[1, 3, 6, 7, 12, 15, 17, 26, 42, 43, 60, 66, 67, 119, 121, 128, 129, 130, 131, 132, 133, 134],
        ...[135, 175, 203]
      ],
      // iPXE 2.0.0: version, then among its features HTTP (0x13) and EFI (0x24).
      ipxe: Buffer.of(0xeb, 3, 2, 0, 0, 0x13, 1, 1, 0x15, 1, 1, 0x24, 1, 1)
    }
  },
  system: {
    words: 'an installed system',
    flags: 0,
    options: { parameterList: [1, 28, 2, 3, 15, 6, 119, 12, 44, 47, 26, 121, 42] }
  }
}

/** What a client of that kind is called, for people. */
export function sampleWords(kind: SampleKind): string {
  return SAMPLES[kind].words
}

/** The DISCOVER of a client of that kind. `relay`: the one it comes through; null: none. */
export function sampleRequest(kind: SampleKind, mac: Mac, relay: Ip | null): DhcpMessage {
  const { flags, options } = SAMPLES[kind]
  return {
    op: 'request',
    htype: 1,
    hops: relay === null ? 0 : 1,
    xid: 0x5eed_0000 + SAMPLE_KINDS.indexOf(kind),
    secs: 0,
    flags,
    ciaddr: NO_ADDRESS,
    yiaddr: NO_ADDRESS,
    siaddr: NO_ADDRESS,
    giaddr: relay ?? NO_ADDRESS,
    chaddr: mac,
    sname: '',
    file: '',
    options: { messageType: 'discover', ...options }
  }
}
