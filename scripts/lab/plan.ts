// The rack on paper: every name, address and path of a virtual rack, computed from a few options and nothing else.
// Whatever the other files of this folder start, write or remove is named here.
import { join } from 'node:path'

/**
 * What kinds of machines there are: how they start a system (in the words of Ironic's `boot_mode` and of IPMI's boot flags), their processor
 * (as Ironic's `cpu_arch`), and how their firmware boots from the network. Those that do so from a `stick` know nothing of networks: they
 * have iPXE in a USB port.
 */
const FIRMWARES = {
  bios: { mode: 'bios', arch: 'x86_64', network: 'pxe' },
  uefi: { mode: 'uefi', arch: 'x86_64', network: 'pxe' },
  http: { mode: 'uefi', arch: 'x86_64', network: 'http' },
  // With Microsoft's keys enrolled and Secure Boot enforced.
  secure: { mode: 'uefi', arch: 'x86_64', network: 'pxe' },
  'bios-cd': { mode: 'bios', arch: 'x86_64', network: 'stick' },
  'uefi-stick': { mode: 'uefi', arch: 'x86_64', network: 'stick' },
  arm64: { mode: 'uefi', arch: 'aarch64', network: 'pxe' },
  'arm64-http': { mode: 'uefi', arch: 'aarch64', network: 'http' }
} as const

export type Firmware = keyof typeof FIRMWARES

export const bootMode = (firmware: Firmware): 'bios' | 'uefi' => FIRMWARES[firmware].mode
export const cpuArch = (firmware: Firmware): 'x86_64' | 'aarch64' => FIRMWARES[firmware].arch
export const networkBoot = (firmware: Firmware): 'pxe' | 'http' | 'stick' => FIRMWARES[firmware].network

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
  /** Bytes that the LAN carries in one piece. */
  mtu: number
  /**
   * The LAN's switch runs the spanning tree protocol: a port forwards nothing for 30 s after its link came up, which it does when the machine
   * is switched on.
   */
  spanningTree: boolean
  /** So many of a hundred packets to Seedling are lost, and so many of those it sends. */
  lossPercent: number
  /** Network cards of a machine. The last is on the LAN; the first on a network with a DHCP server of its own; others go nowhere. */
  nics: number
  /** Seedling is the appliance image in a virtual machine, not a process of ours. */
  appliance: boolean
}

export const defaults: RackOptions = {
  name: 'rack',
  nodes: 2,
  firmware: ['bios', 'uefi'],
  memoryMiB: 1024,
  diskGiB: 4,
  bootFirst: 'network',
  mtu: 1500,
  spanningTree: false,
  lossPercent: 0,
  nics: 1,
  appliance: false
}

/** The TCP port at each BMC's address that is its machine's serial port. */
export const serialPort = 2001

/** What the MACs of all machines of all racks begin with. */
export const machineMacs = '52:54:00:5e:ed:'

/** The same for network cards that are not on the LAN; the number of the card follows, then that of the machine. */
const otherMacs = '52:54:00:5f:'
/** The appliance's network cards. */
const applianceMacs = '52:54:00:5e:ee:'
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
  /** The switch's end of it: the tap itself, or a port that keeps its link while the machine is reset. */
  switchPort: string
  /** Network cards before that one, in the order in which the machine finds them. */
  otherNics: { mac: string; tap: string }[]
  disk: string
  /** iPXE in a USB port. */
  stick?: string
  efiVariables: string
  /** Everything the machine ever said on its serial port, the socket to talk to it, and QEMU's end of that. */
  consoleLog: string
  consoleSocket: string
  serialSocket: string
  bmc: { address: string; port: number; username: string; password: string; dir: string; log: string }
}

export type AppliancePlan = {
  disk: string
  seedDisk: string
  seedFolder: string
  console: string
  memoryMiB: number
  lan: { mac: string; tap: string; address: string }
  bmc: { mac: string; tap: string; address: string; bridge: string }
  tunnel: { log: string; pidFile: string }
}

export type RackPlan = {
  name: string
  /** What it was planned from. */
  options: RackOptions
  dir: string
  /** Network namespaces: the machines' LAN with its bridge, the BMC network, and the seed (Seedling itself). */
  lan: { namespace: string; bridge: string; seedPort: string }
  /** Where the first of several network cards is: a bridge beside the LAN's, with dnsmasq as its DHCP server. */
  otherLan: { bridge: string; address: string; prefix: number; log: string; pidFile: string }
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
  /**
   * The appliance, if Seedling is one: a virtual machine on the LAN and on the BMCs' network. What is called the seed is then the host of
   * an operator on both, where the API's socket is (by SSH). Its process in `seed.pidFile` is the machine.
   */
  appliance: AppliancePlan | null
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
    otherLan: {
      bridge: 'other',
      address: '203.0.113.1',
      prefix: 24,
      log: at('other-dhcp.log'),
      pidFile: at('other-dhcp.pid')
    },
    bmcs: { namespace: namespace('bmc'), link: 'bmc', prefix: 24 },
    seed: {
      namespace: namespace('seed'),
      lan: { link: 'lan0', address: options.appliance ? '192.0.2.2' : '192.0.2.1', prefix: 24 },
      bmc: { link: 'bmc0', address: options.appliance ? '198.18.0.2' : '198.18.0.1', prefix: 24 },
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
    appliance: options.appliance ? planAppliance(at) : null,
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

const planAppliance = (at: (file: string) => string): AppliancePlan => ({
  disk: at('appliance.qcow2'),
  seedDisk: at('appliance-seed.img'),
  seedFolder: at('appliance-seed'),
  console: at('appliance.console.log'),
  memoryMiB: 1024,
  lan: { mac: `${applianceMacs}01`, tap: 'tap-seed', address: '192.0.2.1' },
  bmc: { mac: `${applianceMacs}02`, tap: 'tap-seed-bmc', address: '198.18.0.1', bridge: 'bmcs' },
  tunnel: { log: at('tunnel.log'), pidFile: at('tunnel.pid') }
})

function planMachine(
  options: RackOptions,
  index: number,
  at: (file: string) => string,
  password: string
): MachinePlan {
  const number = index + 1
  const name = `node${number}`
  const hex = number.toString(16).padStart(2, '0')
  const firmware = options.firmware[index % options.firmware.length]!
  return {
    name,
    firmware,
    memoryMiB: options.memoryMiB,
    diskGiB: options.diskGiB,
    bootOrder: options.bootFirst === 'network' ? ['network', 'disk'] : ['disk', 'network'],
    uuid: `5eed0000-0000-4000-8000-0000000000${hex}`,
    serial: `SEED${String(number).padStart(4, '0')}`,
    mac: `${machineMacs}${hex}`,
    tap: `tap-${name}`,
    switchPort: options.spanningTree ? `port-${name}` : `tap-${name}`,
    otherNics: Array.from({ length: options.nics - 1 }, (_, card) => ({
      mac: `${otherMacs}0${card}:${hex}`,
      tap: `tap${card}-${name}`
    })),
    disk: at(`${name}.disk`),
    ...(networkBoot(firmware) === 'stick' ? { stick: at(`${name}.stick`) } : {}),
    efiVariables: at(`${name}.efivars`),
    consoleLog: at(`${name}.console.log`),
    consoleSocket: at(`${name}.console.sock`),
    serialSocket: at(`${name}.serial.sock`),
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
  within('the MTU', options.mtu, 576, 9000)
  within('the loss (percent)', options.lossPercent, 0, 90)
  within('the number of network cards', options.nics, 1, 4)
  const known = Object.keys(FIRMWARES)
  if (options.firmware.length === 0) throw new Error(`at least one firmware is needed: ${known.join(', ')}`)
  for (const firmware of options.firmware)
    if (!known.includes(firmware))
      throw new Error(`firmware must be one of ${known.join(', ')}, not "${firmware}"`)
  if (options.bootFirst !== 'network' && options.bootFirst !== 'disk')
    throw new Error(`the boot order must begin with network or disk, not "${options.bootFirst}"`)
}
