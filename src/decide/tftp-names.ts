// What firmware and boot loaders ask for by TFTP → what is meant: an ordered table over the last part of the path, the first match
// wins. A name is looked up here and joined to nothing. Which machine it is about is decided by the asking address alone: a MAC or
// address inside a name can only make us refuse.

import { parseIp, parseMac, type Ip, type Mac } from '../wire/address.ts'

export type TftpName =
  /** The machine's own configuration, in the words of the program that asks; `mac` when the name tells one. */
  | { means: 'script'; dialect: 'ipxe' | 'grub' | 'pxelinux'; mac?: Mac }
  | { means: 'loader'; name: string }
  /** Something that the asker does without when told at once that it is not there; no news. */
  | { means: 'nothing' }

type Row = {
  pattern: RegExp
  /** The folder it is looked for in, where the name alone could be anything. */
  folder?: string
  is: (match: RegExpExecArray, asker: Ip) => TftpName
}

const NOTHING = (): TftpName => ({ means: 'nothing' })

/** Hardware type 1 (Ethernet) before the MAC, dashes between: `01-52-54-00-00-00-01`. */
const BY_MAC = '01-([0-9a-f]{2}(?:-[0-9a-f]{2}){5})'
const BY_UUID = '[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}'
/** The address in hexadecimal, whole, then one digit less with every try. */
const BY_IP = '([0-9a-f]{1,8})'

const byMac =
  (dialect: 'grub' | 'pxelinux'): Row['is'] =>
  ([, mac]) => ({ means: 'script', dialect, mac: parseMac(mac ?? '') ?? '' })
const byIp =
  (dialect: 'grub' | 'pxelinux'): Row['is'] =>
  ([, hex], asker) =>
    (parseIp(asker) ?? 0)
      .toString(16)
      .padStart(8, '0')
      .startsWith(hex ?? '-')
      ? { means: 'script', dialect }
      : { means: 'nothing' }

const ROWS: readonly Row[] = [
  // iPXE, by itself, in the folder it came from; some builds stop when it is not there.
  { pattern: /^autoexec\.ipxe$/, is: () => ({ means: 'script', dialect: 'ipxe' }) },

  // GRUB: by client identifier or UUID, MAC, address, then the plain name.
  { pattern: new RegExp(`^grub\\.cfg-${BY_MAC}$`), is: byMac('grub') },
  { pattern: new RegExp(`^grub\\.cfg-${BY_UUID}$`), is: () => ({ means: 'script', dialect: 'grub' }) },
  { pattern: new RegExp(`^grub\\.cfg-${BY_IP}$`), is: byIp('grub') },
  { pattern: /^grub\.cfg$/, is: () => ({ means: 'script', dialect: 'grub' }) },
  // What GRUB would load beside itself; ours has it built in.
  { pattern: /^(command|fs|crypto|terminal|partmap|parttool|video|moddep)\.lst$/, is: NOTHING },
  { pattern: /^[a-z0-9_]+\.mod$/, is: NOTHING },

  // PXELINUX, and U-Boot, which looks for the same.
  { pattern: new RegExp(`^${BY_MAC}$`), folder: 'pxelinux.cfg', is: byMac('pxelinux') },
  {
    pattern: new RegExp(`^(?:${BY_UUID}|default)$`),
    folder: 'pxelinux.cfg',
    is: () => ({ means: 'script', dialect: 'pxelinux' })
  },
  { pattern: new RegExp(`^${BY_IP}$`), folder: 'pxelinux.cfg', is: byIp('pxelinux') },
  { pattern: /^default-/, folder: 'pxelinux.cfg', is: NOTHING },

  // shim from 15.8 on: lists of what is revoked and certificates, all optional.
  { pattern: /^(revocations(_sbat|_sku)?|shim_certificate(_\d+)?)\.efi$/, is: NOTHING }
]

/** shim's second stage; which of them there is says what machines are here. */
const SECOND_STAGES = ['grubx64.efi', 'grubaa64.efi']

/** `asker` is the address the request came from. */
export function tftpName(path: string, asker: Ip, loaders: { has(name: string): boolean }): TftpName {
  const parts = path.toLowerCase().split(/[/\\]/)
  const last = parts.pop() ?? ''
  for (const { pattern, folder, is } of ROWS) {
    const match = folder === undefined || parts.at(-1) === folder ? pattern.exec(last) : null
    if (match) return is(match, asker)
  }
  // Option 67 without a zero at its end: BIOS boot agents take the end-of-options byte for a letter.
  const name = last.replace(/[\xff\s]+$/, '')
  if (loaders.has(name)) return { means: 'loader', name }
  // shim makes its second stage's name from what the firmware passed it; on some machines that is garbage (shim#696).
  // eslint-disable-next-line no-control-regex
  const second = /[\x00-\x1f\x7f-\xff]/.test(name) && SECOND_STAGES.find((stage) => loaders.has(stage))
  return { means: 'loader', name: second || name }
}
