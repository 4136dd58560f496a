// One powered-on machine: a QEMU process. It lives from power-on to power-off, whoever turns it off.
import { spawn } from 'node:child_process'
import type { BootDevice, MachinePlan } from './plan.ts'
import { inNamespace } from './process.ts'
import { openQmp } from './qmp.ts'
import type { Qmp } from './qmp.ts'

/** Debian's `ovmf` package, the builds for 4 MiB of flash. */
export const ovmf = { code: '/usr/share/OVMF/OVMF_CODE_4M.fd', variables: '/usr/share/OVMF/OVMF_VARS_4M.fd' }

/** The bootable devices, by their names inside QEMU. */
const deviceIds: Record<BootDevice, string> = { network: 'nic0', disk: 'disk0' }

export type Qemu = {
  pid: number
  /** What the firmware tries from the next reset on. */
  setBootOrder(order: readonly BootDevice[]): Promise<void>
  /** The ACPI power button. */
  pressPower(): Promise<void>
  reset(): Promise<void>
  nmi(): Promise<void>
  /** Takes the power away; resolves when the machine is off. */
  cutPower(): Promise<void>
}

export type QemuEvents = {
  /** The guest or the operator reset the machine: a boot begins. */
  onReset(): void
  /** The process has ended; `problem` is what QEMU complained of, empty for an ordinary power-off. */
  onEnd(problem: string): void
}

/**
 * Turns a machine on. The process is there when this returns; `ready` resolves when the firmware runs.
 * @param order what the firmware tries at this boot
 */
export function startQemu(
  machine: MachinePlan,
  namespace: string,
  order: readonly BootDevice[],
  { onReset, onEnd }: QemuEvents
): { qemu: Qemu; ready: Promise<void> } {
  const [program, ...args] = inNamespace(namespace, ['qemu-system-x86_64', ...qemuArguments(machine, order)])
  const child = spawn(program!, args, { stdio: 'pipe' })
  let complaint = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaint += text))
  const ended = new Promise<void>((resolve) =>
    child.on('close', (_code, signal) => {
      onEnd(signal ? '' : complaint.trim())
      resolve()
    })
  )
  child.on('error', (error) => (complaint += error.message))

  const connected: Promise<Qmp> = openQmp(child.stdout, child.stdin, (event) => {
    if (event === 'RESET') onReset()
  })
  const execute = async (command: string, args?: Record<string, unknown>) => {
    await (await connected).execute(command, args)
  }
  return {
    qemu: {
      pid: child.pid ?? 0,
      async setBootOrder(order) {
        // QEMU works out the firmware's list from these indexes at each reset. All are taken away first, because no two
        // devices may have the same one even for a moment.
        const setIndex = (device: BootDevice, value: number) =>
          execute('qom-set', {
            path: `/machine/peripheral/${deviceIds[device]}`,
            property: 'bootindex',
            value
          })
        for (const device of order) await setIndex(device, -1)
        for (const [index, device] of order.entries()) await setIndex(device, index)
      },
      pressPower: () => execute('system_powerdown'),
      reset: () => execute('system_reset'),
      nmi: () => execute('inject-nmi'),
      async cutPower() {
        child.kill('SIGKILL')
        await ended
      }
    },
    // It was started halted (-S), so that nothing happens before we listen.
    ready: execute('cont')
  }
}

function qemuArguments(machine: MachinePlan, order: readonly BootDevice[]): string[] {
  const { name, firmware, uuid, serial, mac, tap } = machine
  const bootIndex = (device: BootDevice) => order.indexOf(device)
  return [
    ['-name', name],
    ['-nodefaults', '-no-user-config', '-S'],
    ['-display', 'none'],
    // graphics=off: SeaBIOS, and the network ROM through it, speak on the serial port.
    ['-machine', 'q35,accel=tcg,graphics=off'],
    ['-cpu', 'max', '-smp', '1', '-m', `${machine.memoryMiB}`],
    ['-uuid', uuid],
    [
      '-smbios',
      `type=1,manufacturer=Seedling,product=Virtual machine,version=1,serial=${serial},uuid=${uuid}`
    ],
    ['-qmp', 'stdio'],
    [
      '-chardev',
      `socket,id=serial0,path=${machine.consoleSocket},server=on,wait=off,logfile=${machine.consoleLog},logappend=on`
    ],
    ['-serial', 'chardev:serial0'],
    // Some firmware refuses to use the network without a source of randomness.
    ['-device', 'virtio-rng-pci'],
    // unsafe: flushes are not passed on to the host's disk. Cutting the power of a machine loses nothing, since what was
    // written is in the host's memory; only the host's own end would.
    [
      '-drive',
      `if=none,id=drive0,file=${machine.disk},format=raw,cache=unsafe,discard=unmap,detect-zeroes=unmap`
    ],
    [
      '-device',
      `virtio-blk-pci,id=${deviceIds.disk},drive=drive0,serial=${serial}-1,bootindex=${bootIndex('disk')}`
    ],
    ['-netdev', `tap,id=lan0,ifname=${tap},script=no,downscript=no`],
    [
      '-device',
      `virtio-net-pci,id=${deviceIds.network},netdev=lan0,mac=${mac},bootindex=${bootIndex('network')}` +
        // UEFI brings its own network boot; without this QEMU would add iPXE as the card's ROM.
        (firmware === 'uefi' ? ',romfile=' : '')
    ],
    ...(firmware === 'uefi'
      ? [
          ['-drive', `if=pflash,unit=0,format=raw,readonly=on,file=${ovmf.code}`],
          ['-drive', `if=pflash,unit=1,format=raw,file=${machine.efiVariables}`],
          // As most operators set their machines up: network boot by IPv4 only.
          ['-fw_cfg', 'name=opt/org.tianocore/IPv6Support,string=n']
        ]
      : [])
  ].flat()
}
