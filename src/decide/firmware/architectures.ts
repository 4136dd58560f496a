// Processor architectures as network boot clients name them (option 93), and the boot loader each one takes.
// Numbers: RFC 4578 2.1 and IANA's "Processor Architecture Types"; RFC 4578 prints 7 and 9 the wrong way round.

import type { CpuArch } from '../../domain/node.ts'

/** The boot loaders that may be served, by file name in `boot.loaders` of the configuration (image/ipxe/fetch, image/shim/fetch). */
export const LOADERS = ['undionly.kpxe', 'snponly.efi', 'ipxe.efi', 'ipxe-arm64.efi', 'shimx64.efi'] as const

/** Those that firmware starts under Secure Boot. What shim starts in turn, `grubx64.efi`, is no loader of its own. */
export const SIGNED_LOADERS: readonly (typeof LOADERS)[number][] = ['shimx64.efi']

export type Loader = (typeof LOADERS)[number]

/** The machine's own script by TFTP; also what iPXE asks for by itself in the folder it came from. */
export const SCRIPT_NAME = 'autoexec.ipxe'

export type Architecture = {
  /** For people. */
  name: string
  firmware: 'bios' | 'uefi' | 'other'
  /** What processor the machine has; null: one that there is no deploy ramdisk for. */
  cpu: CpuArch | null
  /** How such firmware fetches its boot file. */
  by: 'tftp' | 'http'
  /**
   * The loaders to give it, the next when one came to nothing (loader-ladder.ts): first one that drives the NIC through the firmware, then
   * one with drivers of its own, then a signed one. Empty: we have none.
   */
  loaders: readonly Loader[]
  /** Where there is no loader: by what other way such a machine can be booted. */
  instead?: string
}

const X64_UEFI: readonly Loader[] = ['snponly.efi', 'ipxe.efi', 'shimx64.efi']
const UBOOT_INSTEAD = 'let U-Boot boot by UEFI (bootefi), where it asks as ARM64 UEFI'

export const ARCHITECTURES: Readonly<Record<number, Architecture>> = {
  0: { name: 'x86 BIOS', firmware: 'bios', cpu: 'x86_64', by: 'tftp', loaders: ['undionly.kpxe'] },
  2: { name: 'Itanium', firmware: 'uefi', cpu: null, by: 'tftp', loaders: [] },
  6: { name: 'x86 UEFI', firmware: 'uefi', cpu: 'x86_64', by: 'tftp', loaders: [] },
  7: { name: 'x64 UEFI', firmware: 'uefi', cpu: 'x86_64', by: 'tftp', loaders: X64_UEFI },
  // By its number EFI byte code; machines that send it are x64 (LP#1768034).
  9: {
    name: 'x64 UEFI (as 9)',
    firmware: 'uefi',
    cpu: 'x86_64',
    by: 'tftp',
    loaders: X64_UEFI
  },
  10: { name: 'ARM UEFI', firmware: 'uefi', cpu: null, by: 'tftp', loaders: [] },
  11: { name: 'ARM64 UEFI', firmware: 'uefi', cpu: 'aarch64', by: 'tftp', loaders: ['ipxe-arm64.efi'] },
  15: { name: 'x86 UEFI HTTP', firmware: 'uefi', cpu: 'x86_64', by: 'http', loaders: [] },
  16: {
    name: 'x64 UEFI HTTP',
    firmware: 'uefi',
    cpu: 'x86_64',
    by: 'http',
    loaders: X64_UEFI
  },
  17: {
    name: 'x64 UEFI HTTP (as 17)',
    firmware: 'uefi',
    cpu: 'x86_64',
    by: 'http',
    loaders: X64_UEFI
  },
  18: { name: 'ARM UEFI HTTP', firmware: 'uefi', cpu: null, by: 'http', loaders: [] },
  19: { name: 'ARM64 UEFI HTTP', firmware: 'uefi', cpu: 'aarch64', by: 'http', loaders: ['ipxe-arm64.efi'] },
  20: { name: 'x86 BIOS HTTP', firmware: 'bios', cpu: 'x86_64', by: 'http', loaders: [] },
  21: { name: 'ARM U-Boot', firmware: 'other', cpu: null, by: 'tftp', loaders: [], instead: UBOOT_INSTEAD },
  22: {
    name: 'ARM64 U-Boot',
    firmware: 'other',
    cpu: 'aarch64',
    by: 'tftp',
    loaders: [],
    instead: UBOOT_INSTEAD
  },
  27: { name: 'RISC-V 64 UEFI', firmware: 'uefi', cpu: null, by: 'tftp', loaders: [] },
  28: { name: 'RISC-V 64 UEFI HTTP', firmware: 'uefi', cpu: null, by: 'http', loaders: [] },
  // U-Boot before 2018, on any ARM.
  256: {
    name: 'ARM U-Boot (as 256)',
    firmware: 'other',
    cpu: null,
    by: 'tftp',
    loaders: [],
    instead: UBOOT_INSTEAD
  }
}

/** Machines whose number is a lie, by the start of their MAC or of the GUID in option 97 (hex, without dashes). */
export const LIARS: readonly {
  macs: readonly string[]
  guids: readonly string[]
  claims: number
  is: string
  instead: string
}[] = [
  {
    // The boot ROM of Raspberry Pi 3 to 5 says x86 BIOS and reads its own set of files, from a server that calls itself "Raspberry Pi Boot" in option 43.
    // Since 2020 its GUID begins with RPi and the model.
    guids: ['525069'],
    macs: ['b8:27:eb', 'dc:a6:32', 'e4:5f:01', 'd8:3a:dd', '28:cd:c1', '2c:cf:67', '88:a2:9e'],
    claims: 0,
    is: 'the boot ROM of a Raspberry Pi',
    instead: 'give the Pi UEFI firmware, which asks as ARM64 UEFI'
  }
]
