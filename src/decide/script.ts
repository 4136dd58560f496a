// The machine's own iPXE script: into the ramdisk when the gate says so, else on to the next boot device.

import type { BootPlan } from '../domain/boot.ts'
import type { Change } from '../domain/change.ts'
import { encodeIpxe, type IpxeCommand } from '../wire/ipxe.ts'
import type { Mac } from '../wire/address.ts'
import { cpuArch, type Node } from '../domain/node.ts'
import { machineEvent, printable, type BootFacts, type BootSettings } from './boot-file.ts'
import { bootPlan } from './gate.ts'

/** The ramdisk's name inside the machine: UEFI finds it by the kernel's `initrd=`. */
const RAMDISK_NAME = 'ramdisk.img'
/** A switch port that is still blocked, or a server that restarts, is back within this: 20 × 6 s. */
const TRIES = 20
const PAUSE_SECONDS = 6

export type ScriptVerdict =
  | { script: string; plan: BootPlan['boot']; reason: string; changes: Change[] }
  /** `stranger`: the address belongs to no enrolled machine. `wrong-mac`: the MAC asked for is not the one that has this address. */
  | { refuse: 'stranger' | 'wrong-mac'; reason: string; changes: Change[] }

/**
 * `facts` are those of the asking address. `mac` is the MAC named in the request, undefined when the way of asking has no place for it
 * (TFTP): whoever asks for another machine's script gets nothing, since a script carries its attempt's token.
 */
export function decideScript(
  mac: Mac | null | undefined,
  facts: BootFacts,
  settings: BootSettings,
  now: number
): ScriptVerdict {
  const { node, port } = facts
  if (!node || !port)
    return { refuse: 'stranger', reason: 'this address is not an enrolled machine', changes: [] }
  if (mac !== undefined && mac !== port.address)
    return {
      refuse: 'wrong-mac',
      reason: `${port.reservedIp} is the address of ${port.address}, not of ${mac ?? 'the MAC named'}`,
      changes: []
    }
  const plan = planFor(facts, node, settings)
  const commands = 'files' in plan ? ramdisk(port.address, plan, settings) : nextDevice(plan.reason)
  return {
    script: encodeIpxe(commands),
    plan: plan.boot,
    reason: plan.reason,
    changes: machineEvent(facts, now, 'script-served', plan.boot, { plan: plan.boot, reason: plan.reason })
  }
}

type RamdiskPlan = Extract<BootPlan, { boot: 'ramdisk' }> & { files: { kernel: string; ramdisk: string } }

/** The gate's answer, with the files for this architecture. Without them there is nothing to boot. */
function planFor(
  facts: BootFacts,
  node: Node,
  { ramdisks }: BootSettings
): RamdiskPlan | Exclude<BootPlan, { boot: 'ramdisk' }> {
  const plan = bootPlan(facts)
  if (plan.boot !== 'ramdisk') return plan
  const arch = cpuArch(node)
  const files = arch === null ? undefined : ramdisks[arch]
  if (files) return { ...plan, files }
  const named = printable(String(arch ?? node.properties['cpu_arch']), 20).replace(/[^A-Za-z0-9_-]/g, '?')
  return { boot: 'nothing', reason: `no deploy ramdisk for ${named}: see boot in the configuration` }
}

function ramdisk(mac: Mac, { token, files }: RamdiskPlan, settings: BootSettings): IpxeCommand[] {
  const { url, console, kernelArguments } = settings
  return [
    {
      do: 'retry',
      times: TRIES,
      pauseSeconds: PAUSE_SECONDS,
      commands: [
        {
          do: 'kernel',
          url: `${url}/boot/kernel/${files.kernel}`,
          name: 'vmlinuz',
          arguments: [
            `initrd=${RAMDISK_NAME}`,
            // Hardware type 1 (Ethernet), then the MAC: what PXELINUX's IPAPPEND 2 writes, which ramdisks understand.
            `BOOTIF=01-${mac.replaceAll(':', '-')}`,
            `seedling.url=${url}`,
            `seedling.token=${token}`,
            ...console.map((name) => `console=${name}`),
            ...kernelArguments
          ]
        },
        { do: 'initrd', url: `${url}/boot/ramdisk/${files.ramdisk}`, name: RAMDISK_NAME },
        { do: 'boot' }
      ]
    },
    { do: 'echo', text: 'Seedling: giving up: the next boot device follows' },
    { do: 'exit', status: 1 }
  ]
}

function nextDevice(reason: string): IpxeCommand[] {
  return [
    { do: 'echo', text: `Seedling: nothing to do here (${reason}): the next boot device follows` },
    { do: 'exit', status: 1 }
  ]
}
