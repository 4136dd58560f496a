// The rack on paper: every name, address and path of a virtual rack, computed from a few options and nothing else.
// Whatever the other files of this folder start, write or remove is named here.
import { join } from 'node:path'

/** `http` is UEFI set up to boot by HTTP instead of PXE, `secure` UEFI with Microsoft's keys enrolled and Secure Boot enforced. */
export const firmwares = ['bios', 'uefi', 'http', 'secure'] as const

export type Firmware = (typeof firmwares)[number]

/** How a machine with this firmware starts a system, in the words of Ironic's `boot_mode` and of IPMI's boot flags. */
export const bootMode = (firmware: Firmware): 'bios' | 'uefi' => (firmware === 'bios' ? 'bios' : 'uefi')

/** What a machine tries, in order, when no boot override says otherwise. */
export type BootDevice = 'network' | 'disk'

export type RackOptions = {
  /** Instance name, part of every system-wide name; 1 to 6 of a-z and 0-9 (an interface name has 15 characters). */
  name: string
  /** One machine per entry of `nodes`; firmware is dealt out in turn: bios, uefi, bios, … */
  nodes: number
  firmware: readonly Firmware[]
  memoryMiB: number
  diskGiB: number
  /** The machines' own first choice; the other device comes second. */
  bootFirst: BootDevice
}

export const defaults: RackOptions = {
  name: 'rack',
  nodes: 2,
  firmware: ['bios', 'uefi'],
  memoryMiB: 1024,
  diskGiB: 4,
  bootFirst: 'network'
}

/** What the MACs of all machines of all racks begin with. */
export const machineMacs = '52:54:00:5e:ed:'

/** What all machines of all racks are, by SMBIOS and by their BMCs. */
export const hardware = { manufacturer: 'Seedling', product: 'Virtual machine' }

/** One machine and its BMC. Files lie in the rack's folder. */
export type MachinePlan = {
  name: string
  firmware: Firmware
  memoryMiB: number
  diskGiB: number
  bootOrder: readonly BootDevice[]
  /** SMBIOS type 1; the BMC's GUID is the same. */
  uuid: string
  serial: string
  mac: string
  /** The machine's end of the cable: a tap on the LAN bridge. */
  tap: string
  disk: string
  efiVariables: string
  /** Everything the machine ever said on its serial port, and the socket to talk to it. */
  consoleLog: string
  consoleSocket: string
  bmc: { address: string; port: number; username: string; password: string; dir: string; log: string }
}

export type RackPlan = {
  name: string
  /** What it was planned from. */
  options: RackOptions
  dir: string
  /** Network namespaces: the machines' LAN with its bridge, the BMC network, and the seed (Seedling itself). */
  lan: { namespace: string; bridge: string; seedPort: string }
  bmcs: { namespace: string; link: string; prefix: number }
  seed: {
    namespace: string
    /** The seed's three links. `management` leads to the host and nowhere else. */
    lan: { link: string; address: string; prefix: number }
    bmc: { link: string; address: string; prefix: number }
    management: { link: string; address: string; prefix: number; hostLink: string; hostAddress: string }
    config: string
    dataDir: string
    log: string
    pidFile: string
    apiSocket: string
    apiPort: number
  }
  daemon: { socket: string; log: string; pidFile: string; bmcModule: string }
  /** The LAN's packets, when they are recorded (capture.ts). */
  capture: { pcap: string; log: string; pidFile: string }
  inventory: string
  sshKey: string
  machines: MachinePlan[]
}

/**
 * Lays out a rack.
 * @param root the project's folder; everything is kept in `.cache` below it
 * @param password makes a new BMC password (at most 16 characters of a-z, A-Z, 0-9, - and _)
 * @throws Error when an option is out of range; the message names it
 */
export function planRack(root: string, options: RackOptions, password: () => string): RackPlan {
  check(options)
  const { name } = options
  const dir = rackDir(root, name)
  const at = (file: string) => join(dir, file)
  const namespace = (part: string) => `seedling-${name}-${part}`
  const management = `198.19.${managementNet(name)}`
  return {
    name,
    options,
    dir,
    lan: { namespace: namespace('lan'), bridge: 'lan', seedPort: 'seed' },
    bmcs: { namespace: namespace('bmc'), link: 'bmc', prefix: 24 },
    seed: {
      namespace: namespace('seed'),
      lan: { link: 'lan0', address: '192.0.2.1', prefix: 24 },
      bmc: { link: 'bmc0', address: '198.18.0.1', prefix: 24 },
      management: {
        link: 'mgmt0',
        address: `${management}.2`,
        prefix: 30,
        hostLink: `seedling-${name}`,
        hostAddress: `${management}.1`
      },
      config: at('seedling.json'),
      dataDir: at('data'),
      log: at('seedling.log'),
      pidFile: at('seedling.pid'),
      apiSocket: at('api.sock'),
      apiPort: 6385
    },
    daemon: {
      socket: at('daemon.sock'),
      log: at('daemon.log'),
      pidFile: at('daemon.pid'),
      bmcModule: at('bmc-chassis.so')
    },
    capture: { pcap: at('lan.pcap'), log: at('capture.log'), pidFile: at('capture.pid') },
    inventory: at('instackenv.json'),
    sshKey: at('id_ed25519'),
    machines: Array.from({ length: options.nodes }, (_, index) => planMachine(options, index, at, password()))
  }
}

/** The folder of one rack: `.cache/rack`, or `.cache/rack-NAME` for one with a name of its own. */
export function rackDir(root: string, name: string): string {
  return join(root, '.cache', name === defaults.name ? 'rack' : `rack-${name}`)
}

function planMachine(
  options: RackOptions,
  index: number,
  at: (file: string) => string,
  password: string
): MachinePlan {
  const number = index + 1
  const name = `node${number}`
  const hex = number.toString(16).padStart(2, '0')
  return {
    name,
    firmware: options.firmware[index % options.firmware.length]!,
    memoryMiB: options.memoryMiB,
    diskGiB: options.diskGiB,
    bootOrder: options.bootFirst === 'network' ? ['network', 'disk'] : ['disk', 'network'],
    uuid: `5eed0000-0000-4000-8000-0000000000${hex}`,
    serial: `SEED${String(number).padStart(4, '0')}`,
    mac: `${machineMacs}${hex}`,
    tap: `tap-${name}`,
    disk: at(`${name}.disk`),
    efiVariables: at(`${name}.efivars`),
    consoleLog: at(`${name}.console.log`),
    consoleSocket: at(`${name}.console.sock`),
    bmc: {
      address: `198.18.0.${10 + number}`,
      port: 623,
      username: 'admin',
      password,
      dir: at(`${name}.bmc`),
      log: at(`${name}.bmc.log`)
    }
  }
}

/** The third byte of a rack's management network: 0 for the default rack, 1 to 254 by name for the others. */
function managementNet(name: string): number {
  if (name === defaults.name) return 0
  return 1 + [...name].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 254, 0)
}

function check(options: RackOptions): void {
  const within = (what: string, value: number, low: number, high: number) => {
    if (!Number.isInteger(value) || value < low || value > high)
      throw new Error(`${what} must be a whole number from ${low} to ${high}, not ${value}`)
  }
  if (!/^[a-z0-9]{1,6}$/.test(options.name))
    throw new Error(`the rack's name must be 1 to 6 of a-z and 0-9, not "${options.name}"`)
  within('the number of nodes', options.nodes, 1, 99)
  within('memory (MiB)', options.memoryMiB, 256, 65536)
  within('disk (GiB)', options.diskGiB, 1, 1024)
  if (options.firmware.length === 0)
    throw new Error(`at least one firmware is needed: ${firmwares.join(', ')}`)
  for (const firmware of options.firmware)
    if (!firmwares.includes(firmware))
      throw new Error(`firmware must be one of ${firmwares.join(', ')}, not "${firmware}"`)
  if (options.bootFirst !== 'network' && options.bootFirst !== 'disk')
    throw new Error(`the boot order must begin with network or disk, not "${options.bootFirst}"`)
}
