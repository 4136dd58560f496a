// Everybody who fetches files from Seedling: the three clients that operators have, and real firmware in a machine without a network of its own.
// Each takes a list of files by TFTP or by HTTP and tells the sha256 of what it got.

import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, copyFileSync, openSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../../scripts/lab/lab.ts'
import { flashOf } from '../../scripts/lab/qemu.ts'
import { sha256 } from '../support/machine-facing.ts'
import type { Namespace } from '../support/namespace.ts'

export const SERVER = '192.0.2.1'
/** Of the clients that are programs, and of the machine. */
export const [PROGRAM, MACHINE] = ['192.0.2.100', '192.0.2.101']
export const BRIDGE = 'br0'

export type Wanted = {
  /** By TFTP. */
  name: string
  /** By HTTP: the path. */
  path: string
  size: number
  sha256: string
}

export type Place = {
  /** The namespace with `BRIDGE`, on which the server is. */
  room: Namespace
  folder: string
  /** By HTTP: what a machine without a disk starts to look at what it got. */
  kernel: string
  ramdisk: string
  /** A script that it starts, as a path by HTTP. */
  check: string
}

/** The sha256 of each of `wanted`, in their order; empty where nothing came. */
export type Fetch = (place: Place, wanted: readonly Wanted[]) => Promise<string[]>

/** Firmware tries until it works, and so do these: some stop at an OACK that comes twice, as it must when the first answer to it was lost. */
const TRIES = 12
const program =
  (command: (wanted: Wanted, to: string) => string[]): Fetch =>
  async ({ room, folder }, wanted) => {
    const to = join(folder, 'got')
    const sums: string[] = []
    for (const one of wanted) {
      let sum = ''
      for (let attempt = 1; attempt <= TRIES && sum === ''; attempt++) {
        rmSync(to, { force: true })
        const [name, ...args] = command(one, to) as [string, ...string[]]
        const ended = await room.run(name, ...args).catch(() => null)
        // Not every client's exit code tells whether it has all of the file; the size does. curl makes no file of nothing.
        const got = ended === null ? null : (bytesOf(to) ?? new Uint8Array())
        if (got?.length === one.size) sum = sha256(got)
      }
      sums.push(sum)
    }
    return sums
  }

function bytesOf(path: string): Buffer | null {
  try {
    return readFileSync(path)
  } catch {
    return null
  }
}

const curl = ['curl', '-sS', '--connect-timeout', '10', '-o']
const atftp = (options: string[], { name }: Wanted, to: string) => [
  'atftp',
  ...options.flatMap((option) => ['--option', option]),
  ...['-g', '-r', name, '-l', to, SERVER]
]
/**
 * How large a file may be where a fifth is lost, bytes; unlimited for those not named. atftp says nothing to a block that comes again because its
 * acknowledgement was lost, until nothing has come for 5 s: a block at a time, 64 MiB take it 36 hours at least, whatever the server does.
 */
export const MOST_LOSSY: Readonly<Record<string, number>> = {
  atftp: 65_536,
  'atftp, window of 8': 2 ** 20 + 1
}

export const PROGRAMS: Readonly<Record<string, Fetch>> = {
  'tftp-hpa': program(({ name }, to) => ['tftp', '-m', 'binary', SERVER, '-c', 'get', name, to]),
  atftp: program((wanted, to) => atftp([], wanted, to)),
  'atftp, window of 8': program((wanted, to) => atftp(['blksize 1468', 'windowsize 8'], wanted, to)),
  'curl by TFTP': program(({ name }, to) => [
    ...[...curl, to, '--tftp-blksize', '1468'],
    `tftp://${SERVER}/${name}`
  ]),
  'curl by HTTP': program(({ path }, to) => [...curl, to, `http://${SERVER}${path}`])
}

const url = ({ name, path }: Wanted, protocol: 'tftp' | 'http') =>
  protocol === 'tftp' ? `tftp://${SERVER}/${name}` : `http://${SERVER}${path}`

/** Files as parts of the initial RAM disk, under the kernel and with the script that looks at them. */
const ipxeScript = (
  { kernel, ramdisk, check }: Place,
  wanted: readonly Wanted[],
  protocol: 'tftp' | 'http'
) => {
  const persistently = (label: string, command: string) => [`:${label}`, `${command} || goto ${label}`]
  return [
    '#!ipxe',
    ...persistently('open', 'ifopen net0'),
    `set net0/ip ${MACHINE}`,
    'set net0/netmask 255.255.255.0',
    ...persistently(
      'kernel',
      `kernel http://${SERVER}${kernel} initrd=initrd.magic rdinit=/check console=ttyS0 loglevel=0`
    ),
    ...persistently('ramdisk', `initrd http://${SERVER}${ramdisk}`),
    ...persistently('check', `initrd http://${SERVER}${check} /check mode=755`),
    ...wanted.flatMap((one) => persistently(one.name, `initrd ${url(one, protocol)} /${one.name}`)),
    'boot'
  ].join('\n')
}
/** What is started in the machine: says what it got, twice, since a slow serial port loses words, and switches off. */
export const CHECK = `#!/bin/sh
PATH=/usr/bin:/usr/sbin:/bin:/sbin
cd /
for time in 1 2; do
  sha256sum f*
  sleep 3
done
poweroff -f
`

/** For the UEFI shell: what is fetched lands on its disk. */
const shellScript = (wanted: readonly Wanted[], protocol: 'tftp' | 'http') =>
  [
    '@echo -off',
    'connect -r',
    'fs0:',
    `ifconfig -s eth0 static ${MACHINE} 255.255.255.0 ${SERVER}`,
    'stall 3000000',
    ...wanted.flatMap(({ name, path }) => [
      `:${name}`,
      protocol === 'tftp'
        ? `tftp -s 1428 ${SERVER} ${name} ${name}`
        : `http -s 4096 http://${SERVER}${path} ${name}`,
      'if %lasterror% ne 0 then',
      `  goto ${name}`,
      'endif'
    ]),
    'reset -s',
    ''
  ].join('\r\n')

/** Then it is not going to end by itself. */
const SECONDS = 3600
/** A machine on the bridge from power-on to power-off; what it said on its serial port. */
async function machine({ room, folder }: Place, what: string): Promise<string> {
  const child = room.spawn('qemu-system-x86_64', [
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ...['-machine', 'q35,graphics=off', '-cpu', 'qemu64,svm=off', '-accel', 'tcg,tb-size=256', '-m', '1536'],
    ...['-serial', 'stdio', '-device', 'virtio-rng-pci'],
    ...['-netdev', 'tap,id=lan,ifname=tap0,script=no,downscript=no'],
    ...['-device', 'virtio-net-pci,netdev=lan,romfile='],
    ...what.split(' ').map((word) => word.replace('@', folder))
  ])
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (part: Buffer) => {
      said += part.toString('latin1')
      // For whoever wants to see where it is.
      writeFileSync(join(folder, 'said'), said)
    })
  const timer = setTimeout(() => child.kill('SIGKILL'), SECONDS * 1000)
  await once(child, 'close')
  clearTimeout(timer)
  return said
}

const FAT = '-drive if=none,id=fat,format=raw,file=@/fat -device virtio-blk-pci,drive=fat,bootindex=1'
const UEFI = `-drive if=pflash,unit=0,format=raw,readonly=on,file=${flashOf('uefi').code} -drive if=pflash,unit=1,format=raw,file=@/variables`
const mtools = (place: Place, command: string, ...args: string[]) =>
  execFileSync(command, ['-i', join(place.folder, 'fat'), ...args], { stdio: 'pipe' })

/** A FAT file system with `files`, name → path, and fresh variables for UEFI. */
function layOut(place: Place, files: Record<string, string>): void {
  const fat = join(place.folder, 'fat')
  rmSync(fat, { force: true })
  closeSync(openSync(fat, 'w'))
  truncateSync(fat, 512 * 2 ** 20)
  mtools(place, 'mformat', '-F', '::')
  mtools(place, 'mmd', '::/EFI', '::/EFI/BOOT')
  for (const [to, from] of Object.entries(files)) mtools(place, 'mcopy', from, `::/${to}`)
  copyFileSync(flashOf('uefi').variables, join(place.folder, 'variables'))
}

const sumsSaid = (said: string, wanted: readonly Wanted[]) =>
  wanted.map(({ name }) => new RegExp(`([0-9a-f]{64})  ${name}\\b`).exec(said)?.[1] ?? '')

const IPXE = join(root, '.cache/image')
const ipxeBios =
  (protocol: 'tftp' | 'http'): Fetch =>
  async (place, wanted) => {
    const { folder } = place
    const lkrn = execFileSync('isoinfo', ['-i', join(IPXE, 'ipxe-usb.iso'), '-R', '-x', '/ipxe.krn'])
    writeFileSync(join(folder, 'ipxe'), lkrn)
    writeFileSync(join(folder, 'script'), ipxeScript(place, wanted, protocol))
    return sumsSaid(await machine(place, '-kernel @/ipxe -initrd @/script'), wanted)
  }
const ipxeUefi =
  (protocol: 'tftp' | 'http'): Fetch =>
  async (place, wanted) => {
    const script = join(place.folder, 'script')
    writeFileSync(script, ipxeScript(place, wanted, protocol))
    layOut(place, {
      'EFI/BOOT/BOOTX64.EFI': join(IPXE, 'ipxe/ipxe.efi'),
      'EFI/BOOT/autoexec.ipxe': script
    })
    return sumsSaid(await machine(place, `${UEFI} ${FAT}`), wanted)
  }
/** Its shell may call half a file a success, as programs do. */
const BOOTS = 3
const ovmf =
  (protocol: 'tftp' | 'http'): Fetch =>
  async (place, wanted) => {
    const sums = new Map<string, string>()
    const to = join(place.folder, 'got')
    for (let boot = 0; boot < BOOTS && sums.size < wanted.length; boot++) {
      const missing = wanted.filter(({ name }) => !sums.has(name))
      const script = join(place.folder, 'script')
      writeFileSync(script, shellScript(missing, protocol))
      layOut(place, { 'startup.nsh': script })
      await machine(place, `${UEFI} ${FAT}`)
      for (const { name, size } of missing) {
        rmSync(to, { force: true })
        try {
          mtools(place, 'mcopy', '-n', `::/${name}`, to)
        } catch {
          // It is not there.
        }
        const got = bytesOf(to)
        if (got?.length === size) sums.set(name, sha256(got))
      }
    }
    return wanted.map(({ name }) => sums.get(name) ?? '')
  }

export const FIRMWARE: Readonly<Record<string, Fetch>> = {
  'iPXE on a BIOS by TFTP': ipxeBios('tftp'),
  'iPXE on a BIOS by HTTP': ipxeBios('http'),
  'iPXE on UEFI by TFTP': ipxeUefi('tftp'),
  'iPXE on UEFI by HTTP': ipxeUefi('http'),
  'OVMF by TFTP': ovmf('tftp'),
  'OVMF by HTTP': ovmf('http')
}
