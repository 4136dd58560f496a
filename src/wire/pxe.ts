// What PXE and iPXE pack inside DHCP options: option 43 of PXE 2.1, option 175 of iPXE, the machine's GUID in option 97,
// the architecture inside the vendor class. None of them makes a packet unreadable: what does not parse is undefined.

import { Buffer } from 'node:buffer'

/** Sub-options of 43 in answers to PXE clients (PXE 2.1, table 2-1, "PXE options"). */
const DISCOVERY_CONTROL = 6
const BOOT_MENU = 9
const MENU_PROMPT = 10

/** Discovery control 8: no boot server discovery, take the boot file that this same answer names. */
const TAKE_THE_FILE = 8

/** Option 43 of an answer to a PXE client that is to fetch the boot file at once and ask nobody on port 4011. */
export const PXE_TAKE_THE_FILE: Buffer = Buffer.of(DISCOVERY_CONTROL, 1, TAKE_THE_FILE, 255)

/** Discovery controls 1 and 2: no broadcast, no multicast discovery. */
const DISCOVER_NOBODY = 3
/** Boot server type 0: none, the machine's own disk (PXE 2.1, table 2-1, PXE_BOOT_MENU). */
const LOCAL_BOOT = [0, 0]

/**
 * Option 43 of an answer that sends a PXE client on to its next boot device at once: a menu whose only item is the local disk, taken
 * without a prompt. Firmware that finds neither a file nor this waits out all its retries first (UEFI: a minute).
 */
export const PXE_LOCAL_BOOT: Buffer = localBoot('Boot from the local disk')

function localBoot(words: string): Buffer {
  const text = Buffer.from(words, 'latin1')
  const menu = Buffer.of(...LOCAL_BOOT, text.length, ...text)
  // The first byte is the time-out in seconds: 0 takes the first item.
  const prompt = Buffer.of(0, ...text)
  return Buffer.concat([
    Buffer.of(DISCOVERY_CONTROL, 1, DISCOVER_NOBODY),
    Buffer.of(BOOT_MENU, menu.length),
    menu,
    Buffer.of(MENU_PROMPT, prompt.length),
    prompt,
    Buffer.of(255)
  ])
}

/** Features that a build of iPXE names, by their sub-option of 175 (iPXE, `include/ipxe/features.h`). */
const IPXE_FEATURES: Readonly<Record<number, string>> = {
  0x10: 'pxe-extensions',
  0x11: 'iscsi',
  0x12: 'aoe',
  0x13: 'http',
  0x14: 'https',
  0x15: 'tftp',
  0x16: 'ftp',
  0x17: 'dns',
  0x18: 'bzimage',
  0x19: 'multiboot',
  0x1a: 'slam',
  0x1b: 'srp',
  0x20: 'nbi',
  0x21: 'pxe',
  0x22: 'elf',
  0x23: 'comboot',
  0x24: 'efi',
  0x25: 'fcoe',
  0x26: 'vlan',
  0x27: 'menu',
  0x28: 'sdi',
  0x29: 'nfs'
}

const IPXE_VERSION = 0xeb

export type IpxeOptions = {
  /** Names of what this build can do; a feature unknown to us is its number in hex. */
  features: string[]
  /** `1.21.1`; null: not told. */
  version: string | null
}

/**
 * Option 175 as a client sends it; undefined when a sub-option runs over the end. The number is not registered to iPXE, so
 * others may use it for something else.
 */
export function parseIpxeOptions(bytes: Uint8Array): IpxeOptions | undefined {
  const found = subOptions(bytes)
  if (!found) return undefined
  const features: string[] = []
  let version: string | null = null
  for (const [code, value] of found) {
    if (code === IPXE_VERSION) version = [...value].join('.')
    // A feature is one byte, its own version; 0 takes the feature back.
    else if (code >= 0x10 && code < 0x80 && value.length === 1 && value[0] !== 0)
      features.push(IPXE_FEATURES[code] ?? code.toString(16))
  }
  return { features, version }
}

const IPXE_NO_PROXY = 0xb0

/** Option 175 of our answers: do not wait seconds for a proxyDHCP server, there is none. */
export const IPXE_NO_PROXY_WAIT: Buffer = Buffer.of(IPXE_NO_PROXY, 1, 1)

/** Sub-options: code, length, content; 0 pads, 255 ends, and the end may be missing. */
function subOptions(bytes: Uint8Array): [number, Uint8Array][] | undefined {
  const found: [number, Uint8Array][] = []
  for (let at = 0; at < bytes.length;) {
    const code = bytes[at] as number
    if (code === 255) break
    if (code === 0) {
      at++
      continue
    }
    const length = bytes[at + 1]
    if (length === undefined || at + 2 + length > bytes.length) return undefined
    found.push([code, bytes.subarray(at + 2, at + 2 + length)])
    at += 2 + length
  }
  return found
}

/**
 * The GUID of option 97 as lower-case text, its bytes in the order in which they were sent; undefined when it is not 17
 * bytes of type 0, or all zeros or ones. Firmware disagrees about the byte order of the first three groups, so this
 * identifies nothing by itself.
 */
export function machineGuid(bytes: Uint8Array): string | undefined {
  if (bytes.length !== 17 || bytes[0] !== 0) return undefined
  const hex = Buffer.from(bytes.buffer, bytes.byteOffset + 1, 16).toString('hex')
  if (/^(0{32}|f{32})$/.test(hex)) return undefined
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

/** The architecture in a vendor class such as `PXEClient:Arch:00007:UNDI:003016` (PXE 2.1, 2.2.1); undefined: not there. */
export function vendorClassArchitecture(vendorClass: string): number | undefined {
  const match = /^(?:PXE|HTTP)Client:Arch:(\d{5})(?::|$)/.exec(vendorClass)
  return match ? Number(match[1]) : undefined
}
