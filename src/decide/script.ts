// The machine's own script, in the words of the program that asks: into the ramdisk when the gate says so, else on to the next boot device.

import type { BootPlan } from '../domain/boot.ts'
import type { Change } from '../domain/change.ts'
import type { Mac } from '../wire/address.ts'
import { cpuArch, type Node } from '../domain/node.ts'
import { encodeGrub, type GrubCommand } from '../wire/grub.ts'
import { encodeIpxe, type IpxeCommand } from '../wire/ipxe.ts'
import { machineEvent, printable, type BootFacts, type BootSettings } from './boot-file.ts'
import { bootPlan } from './gate.ts'
import { loaderFollowed } from './loader-ladder.ts'

/** The ramdisk's name inside the machine: UEFI finds it by the kernel's `initrd=`. */
const RAMDISK_NAME = 'ramdisk.img'
/** A switch port that is still blocked, or a server that restarts, is back within this: 20 × 6 s. */
const TRIES = 20
const PAUSE_SECONDS = 6

/** The programs that we have words for. */
export type Dialect = 'ipxe' | 'grub'

export type ScriptVerdict =
  | { script: string; plan: BootPlan['boot']; reason: string; changes: Change[] }
  /** `stranger`: the address belongs to no enrolled machine. `wrong-mac`: the MAC asked for is not the one that has this address. */
  | { refuse: 'stranger' | 'wrong-mac'; reason: string; changes: Change[] }

/**
 * `facts` are those of the asking address. `mac` is the MAC named in the request, undefined when the way of asking has no place for it
 * (TFTP): whoever asks for another machine's script gets nothing, since a script carries its attempt's token.
 */
export function decideScript(
  dialect: Dialect,
  mac: Mac | null | undefined,
  facts: BootFacts,
  settings: BootSettings,
  now: number
): ScriptVerdict {
  const { node, port, order } = facts
  if (!node || !port)
    return { refuse: 'stranger', reason: 'this address is not an enrolled machine', changes: [] }
  if (mac !== undefined && mac !== port.address)
    return {
      refuse: 'wrong-mac',
      reason: `${port.reservedIp} is the address of ${port.address}, not of ${mac ?? 'the MAC named'}`,
      changes: []
    }
  const plan = planFor(facts, node, settings)
  const served = machineEvent(facts, now, 'script-served', plan.boot, {
    plan: plan.boot,
    reason: plan.reason
  })
  return {
    script: WRITERS[dialect](plan, port.address, settings),
    plan: plan.boot,
    reason: plan.reason,
    changes: [...served, ...(plan.boot === 'ramdisk' && order ? loaderFollowed(order) : [])]
  }
}

/** What is booted: the files are those of the machine's architecture. */
type RamdiskPlan = Extract<BootPlan, { boot: 'ramdisk' }> & { files: { kernel: string; ramdisk: string } }

type ScriptPlan = RamdiskPlan | Exclude<BootPlan, { boot: 'ramdisk' }>

/** The gate's answer, with the files for this architecture. Without them there is nothing to boot. */
function planFor(facts: BootFacts, node: Node, { ramdisks }: BootSettings): ScriptPlan {
  const plan = bootPlan(facts)
  if (plan.boot !== 'ramdisk') return plan
  const arch = cpuArch(node)
  const files = arch === null ? undefined : ramdisks[arch]
  if (files) return { ...plan, files }
  const named = printable(String(arch ?? node.properties['cpu_arch']), 20).replace(/[^A-Za-z0-9_-]/g, '?')
  return { boot: 'nothing', reason: `no deploy ramdisk for ${named}: see boot in the configuration` }
}

type Writer = (plan: ScriptPlan, mac: Mac, settings: BootSettings) => string

const GIVING_UP = 'Seedling: giving up: the next boot device follows'
const nothingToDo = (reason: string) =>
  `Seedling: nothing to do here (${reason}): the next boot device follows`

const ipxe: Writer = (plan, mac, settings) => {
  if (plan.boot !== 'ramdisk')
    return encodeIpxe([
      { do: 'echo', text: nothingToDo(plan.reason) },
      { do: 'exit', status: 1 }
    ])
  const { kernel, ramdisk } = urls(plan, settings)
  const commands: IpxeCommand[] = [
    {
      do: 'kernel',
      url: kernel,
      name: 'vmlinuz',
      arguments: [`initrd=${RAMDISK_NAME}`, ...kernelArguments(mac, plan.token, settings)]
    },
    { do: 'initrd', url: ramdisk, name: RAMDISK_NAME },
    { do: 'boot' }
  ]
  return encodeIpxe([
    { do: 'retry', times: TRIES, pauseSeconds: PAUSE_SECONDS, commands },
    { do: 'echo', text: GIVING_UP },
    { do: 'exit', status: 1 }
  ])
}

/**
 * Where the installed system may have its loader. Debian's GRUB cannot tell firmware to go on to the next boot device (its `exit` ends in the
 * firmware's menu), so it goes to the disk itself; it sees the disks that are in the firmware's boot order.
 */
const DISK_LOADERS = [
  '/EFI/debian/shimx64.efi',
  '/EFI/ubuntu/shimx64.efi',
  '/EFI/redhat/shimx64.efi',
  '/EFI/centos/shimx64.efi',
  '/EFI/rocky/shimx64.efi',
  '/EFI/almalinux/shimx64.efi',
  '/EFI/fedora/shimx64.efi',
  '/EFI/opensuse/shim.efi',
  '/EFI/sles/shim.efi',
  '/EFI/BOOT/BOOTX64.EFI'
]
const GRUB_LEAVES: readonly GrubCommand[] = [{ do: 'chainload', paths: DISK_LOADERS }, { do: 'exit' }]

const grub: Writer = (plan, mac, settings) => {
  if (plan.boot !== 'ramdisk')
    return encodeGrub([{ do: 'echo', text: nothingToDo(plan.reason) }, ...GRUB_LEAVES])
  const { kernel, ramdisk } = urls(plan, settings)
  const commands: GrubCommand[] = [
    { do: 'linux', url: kernel, arguments: kernelArguments(mac, plan.token, settings) },
    { do: 'initrd', url: ramdisk },
    { do: 'boot' }
  ]
  return encodeGrub([
    { do: 'retry', times: TRIES, pauseSeconds: PAUSE_SECONDS, commands },
    { do: 'echo', text: GIVING_UP },
    ...GRUB_LEAVES
  ])
}

const WRITERS: Readonly<Record<Dialect, Writer>> = { ipxe, grub }

function urls({ files }: RamdiskPlan, { url }: BootSettings): { kernel: string; ramdisk: string } {
  return { kernel: `${url}/boot/kernel/${files.kernel}`, ramdisk: `${url}/boot/ramdisk/${files.ramdisk}` }
}

function kernelArguments(mac: Mac, token: string, { url, console, kernelArguments }: BootSettings): string[] {
  return [
    // Hardware type 1 (Ethernet), then the MAC: what PXELINUX's IPAPPEND 2 writes, which ramdisks understand.
    `BOOTIF=01-${mac.replaceAll(':', '-')}`,
    `seedling.url=${url}`,
    `seedling.token=${token}`,
    ...console.map((name) => `console=${name}`),
    ...kernelArguments
  ]
}
