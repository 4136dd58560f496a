// One powered-on machine: a QEMU process. It lives from power-on to power-off, whoever turns it off.
import { spawn } from 'node:child_process'
import { bootMode, cpuArch, hardware, networkBoot } from './plan.ts'
import type { BootDevice, Firmware, MachinePlan } from './plan.ts'
import { inNamespace } from './process.ts'
import { openQmp } from './qmp.ts'

/** UEFI firmware: Debian's `ovmf`, the builds for 4 MiB of flash, and `qemu-efi-aarch64`. With the keys enrolled Secure Boot is enforced. */
const FLASH = {
  plain: { code: '/usr/share/OVMF/OVMF_CODE_4M.fd', variables: '/usr/share/OVMF/OVMF_VARS_4M.fd' },
  secure: {
    code: '/usr/share/OVMF/OVMF_CODE_4M.secboot.fd',
    variables: '/usr/share/OVMF/OVMF_VARS_4M.ms.fd'
  },
  arm: { code: '/usr/share/AAVMF/AAVMF_CODE.fd', variables: '/usr/share/AAVMF/AAVMF_VARS.fd' }
}

/** The firmware of a UEFI machine, and what its variables are at first. */
export const flashOf = (firmware: Firmware): { code: string; variables: string } =>
  cpuArch(firmware) === 'aarch64' ? FLASH.arm : firmware === 'secure' ? FLASH.secure : FLASH.plain

export type Qemu = {
  pid: number
  /** The ACPI power button. */
  pressPower(): Promise<void>
  reset(): Promise<void>
  nmi(): Promise<void>
  /** Whether the card on the LAN sees a link. */
  setLink(up: boolean): Promise<void>
  /** Takes the power away; resolves when the machine is off. */
  cutPower(): Promise<void>
}

/** How a run of QEMU ended: the machine was reset and must go on at once, or it is off. */
export type QemuEnd = {
  reset: boolean
  /** What QEMU complained of; empty for an ordinary end. */
  problem: string
}

/**
 * Runs a machine from the beginning of one boot to its next reset or power-off. A reset ends the process, because in a
 * process that has run one system QEMU's translator starts the next some ten times slower.
 * @param order what the firmware tries at this boot
 */
export function startQemu(
  machine: MachinePlan,
  namespace: string,
  order: readonly BootDevice[],
  onEnd: (end: QemuEnd) => void
): Qemu {
  const [program, ...args] = inNamespace(namespace, [
    `qemu-system-${cpuArch(machine.firmware)}`,
    ...qemuArguments(machine, order)
  ])
  const child = spawn(program!, args, { stdio: 'pipe' })
  let complaint = ''
  let reset = false
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaint += text))
  child.on('error', (error) => (complaint += error.message))
  const ended = new Promise<void>((resolve) =>
    child.on('close', (_code, signal) => {
      onEnd({ reset: reset && signal === null, problem: signal ? '' : complaint.trim() })
      resolve()
    })
  )

  const connected = openQmp(child.stdout, child.stdin, (event, reason) => {
    if (event === 'SHUTDOWN') reset = /reset/.test(reason)
  })
  // A QEMU that does not even start says why on stderr; those who ask something of it are told that it has ended.
  connected.catch(() => {})
  const execute = async (command: string, parameters?: Record<string, unknown>) => {
    await (await connected).execute(command, parameters)
  }
  return {
    pid: child.pid ?? 0,
    pressPower: () => execute('system_powerdown'),
    reset: () => execute('system_reset'),
    nmi: () => execute('inject-nmi'),
    setLink: (up) => execute('set_link', { name: 'nic-lan', up }),
    async cutPower() {
      child.kill('SIGKILL')
      await ended
    }
  }
}

function qemuArguments(machine: MachinePlan, order: readonly BootDevice[]): string[] {
  const { name, firmware, uuid, serial, mac, tap, otherNics, stick } = machine
  const bootIndex = (device: BootDevice) => order.indexOf(device)
  const uefi = bootMode(firmware) === 'uefi'
  return [
    ['-name', name],
    ['-nodefaults', '-no-user-config', '-no-reboot'],
    ['-display', 'none'],
    // SeaBIOS begins anew when nothing could be booted, as servers are set up to: after so many milliseconds.
    ['-boot', 'reboot-timeout=5000'],
    ...(cpuArch(firmware) === 'aarch64' ? arm : x86),
    // tb-size: memory for translated code, MiB; QEMU would take up to 1024.
    ['-accel', 'tcg,tb-size=256'],
    ['-smp', '1', '-m', `${machine.memoryMiB}`],
    ['-uuid', uuid],
    [
      '-smbios',
      `type=1,manufacturer=${hardware.manufacturer},product=${hardware.product},version=1,serial=${serial},uuid=${uuid}`
    ],
    ['-qmp', 'stdio'],
    [
      '-chardev',
      `socket,id=serial0,path=${machine.serialSocket},server=on,wait=off,logfile=${machine.consoleLog},logappend=on`
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
    ['-device', `virtio-blk-pci,id=disk0,drive=drive0,serial=${serial}-1,bootindex=${bootIndex('disk')}`],
    // Only what has a boot index is booted from. UEFI brings its own network boot; without romfile= QEMU would add iPXE as the card's ROM.
    ...otherNics.flatMap((nic, card) => networkCard(`${card}`, nic, 'romfile=')),
    ...networkCard(
      'lan',
      { mac, tap },
      ...(stick ? ['romfile='] : [`bootindex=${bootIndex('network')}`, ...(uefi ? ['romfile='] : [])])
    ),
    ...(stick ? usbStick(stick, serial, uefi, bootIndex('network')) : []),
    ...(uefi
      ? [
          ['-drive', `if=pflash,unit=0,format=raw,readonly=on,file=${flashOf(firmware).code}`],
          ['-drive', `if=pflash,unit=1,format=raw,file=${machine.efiVariables}`],
          // As most operators set their machines up: network boot by IPv4 only.
          ['-fw_cfg', 'name=opt/org.tianocore/IPv6Support,string=n']
        ]
      : []),
    // The switch "PXE boot: off" of a firmware's menu; HTTP boot is what is left of network boot.
    ...(networkBoot(firmware) === 'http'
      ? [['-fw_cfg', 'name=opt/org.tianocore/IPv4PXESupport,string=n']]
      : [])
  ].flat()
}

const x86 = [
  // graphics=off: SeaBIOS, and the network ROM through it, speak on the serial port.
  ['-machine', 'q35,graphics=off'],
  // Without the newest vector instructions, which emulation makes slower than the plain ones, and without nested virtualisation.
  ['-cpu', 'qemu64,svm=off']
]
const arm = [
  ['-machine', 'virt'],
  // A plain one: emulating the pointer authentication of newer ones takes longer than all the rest.
  ['-cpu', 'cortex-a57']
]

const networkCard = (name: string, { mac, tap }: { mac: string; tap: string }, ...more: string[]) => [
  ['-netdev', `tap,id=net-${name},ifname=${tap},script=no,downscript=no`],
  ['-device', [`virtio-net-pci,id=nic-${name},netdev=net-${name},mac=${mac}`, ...more].join(',')]
]

/**
 * iPXE in a USB port. For BIOS a CD drive, as BMCs show their virtual media: from a stick, which is its first hard disk, a BIOS does not go on to the
 * second. For UEFI a stick that says it is fixed, as many do; it must be left alone all the same.
 */
const usbStick = (file: string, serial: string, uefi: boolean, bootIndex: number) => [
  ['-device', 'qemu-xhci,id=usb'],
  ['-drive', `if=none,id=stick,file=${file},format=raw${uefi ? '' : ',media=cdrom,readonly=on'}`],
  [
    '-device',
    `usb-storage,bus=usb.0,drive=stick,removable=${uefi ? 'off' : 'on'},serial=${serial}-U,bootindex=${bootIndex}`
  ]
]
