// Which way a machine took to its installed system, read from the packets on the LAN, and which way each firmware is to take.

import type { Test } from 'tap'
import type { Packet } from '../../scripts/lab/capture.ts'
import { dhcpExchanges, type Exchange } from '../../scripts/lab/exchanges.ts'
import type { Firmware, RackPlan } from '../../scripts/lab/plan.ts'
import type { DhcpMessage } from '../../src/wire/dhcp.ts'
import { decodeTftp } from '../../src/wire/tftp.ts'

/** One program's DHCP: who asks, what is said, and what every answer tells of booting. */
const dhcp = (client: string, told = ''): string => `DHCP ${client}: discover offer request ack${told}`

const script = ', file=http://192.0.2.1/boot/script'
/** Discovery control 8: take the file that is named here. */
const loaderByTftp = ', file=snponly.efi, 60=PXEClient, 43=060108'
const armByTftp = ', file=ipxe-arm64.efi, 60=PXEClient, 43=060108'
const armByHttp = ', file=http://192.0.2.1/boot/loader/ipxe-arm64.efi, 60=HTTPClient'
const loaderByHttp = ', file=http://192.0.2.1/boot/loader/snponly.efi, 60=HTTPClient'
const shimByTftp = ', file=shimx64.efi, 60=PXEClient, 43=060108'
/** Discovery control 3 and then a menu of the local disk alone. */
const localDisk = ', 60=PXEClient, 43=060103'

const firstCall = ['GET /boot/kernel/*', 'GET /boot/ramdisk/*', dhcp('seedling-ramdisk'), 'POST /agent/hello']
const ramdisk = [
  ...firstCall,
  'GET /images/*/manifest',
  'GET /images/chunks/*',
  'GET /agent/config-drive',
  'POST /agent/written'
]
/** The tiny image. */
const instance = [dhcp('udhcp'), 'GET /latest/meta-data/instance-id']

/** What shim and GRUB look for beside themselves, and what is there: the second stage and the configuration. */
const shimAndGrub = [
  'TFTP shimx64.efi',
  'TFTP revocations_sku.efi',
  'TFTP revocations_sbat.efi',
  'TFTP shim_certificate_0.efi',
  'TFTP grubx64.efi',
  ...['command', 'fs', 'crypto', 'terminal'].map((list) => `TFTP /grub/x86_64-efi/${list}.lst`),
  'TFTP /grub/grub.cfg'
]

type Ways = Readonly<Partial<Record<Firmware, readonly string[]>>>

/** From power-on to the instance, when the machine is to be deployed. */
export const deployment: Ways = {
  // The network card's ROM is iPXE and takes the script; it asks again when the machine starts anew.
  bios: [dhcp('iPXE', script), 'GET /boot/script', ...ramdisk, dhcp('iPXE'), ...instance],
  // Our iPXE goes on with the firmware's lease and finds its script where it looks first. The boot entry that the ramdisk
  // leaves takes the machine to its disk.
  uefi: [
    dhcp('PXEClient:Arch:00007', loaderByTftp),
    'TFTP snponly.efi',
    'TFTP autoexec.ipxe',
    ...ramdisk,
    ...instance
  ],
  http: [
    dhcp('HTTPClient:Arch:00016', loaderByHttp),
    'HEAD /boot/loader/snponly.efi',
    'GET /boot/loader/snponly.efi',
    'GET /boot/loader/autoexec.ipxe',
    ...ramdisk,
    ...instance
  ],
  secure: [dhcp('PXEClient:Arch:00007', shimByTftp), ...shimAndGrub, ...ramdisk, ...instance],
  // iPXE comes from the stick, at each start; the boot entry of UEFI spares it the second time.
  'bios-cd': [dhcp('iPXE', script), 'GET /boot/script', ...ramdisk, dhcp('iPXE'), ...instance],
  'uefi-stick': [dhcp('iPXE', script), 'GET /boot/script', ...ramdisk, ...instance]
}

/** From power-on to the ramdisk's first call. */
export const inspection: Ways = {
  arm64: [dhcp('PXEClient:Arch:00011', armByTftp), 'TFTP ipxe-arm64.efi', 'TFTP autoexec.ipxe', ...firstCall],
  'arm64-http': [
    dhcp('HTTPClient:Arch:00019', armByHttp),
    'HEAD /boot/loader/ipxe-arm64.efi',
    'GET /boot/loader/ipxe-arm64.efi',
    'GET /boot/loader/autoexec.ipxe',
    ...firstCall
  ]
}

/** From power-on to the instance, when there is no order and the machine tries the network first. */
export const restart: Ways = {
  bios: [dhcp('iPXE'), ...instance],
  // PXE leaves at once for the next boot device: the same network card, by HTTP.
  uefi: [dhcp('PXEClient:Arch:00007', localDisk), 'DHCP HTTPClient:Arch:00016: discover offer', ...instance],
  http: ['DHCP HTTPClient:Arch:00016: discover offer', ...instance],
  secure: [dhcp('PXEClient:Arch:00007', localDisk), 'DHCP HTTPClient:Arch:00016: discover offer', ...instance]
}

const afterFirst = (firmware: Firmware) => deployment[firmware]?.slice(1) ?? []

/** As `deployment`, where another server gives the addresses and Seedling only the boot files: the first program hears both. */
export const proxied: Ways = {
  bios: [dhcp('iPXE', ` or${script}, 60=PXEClient`), ...afterFirst('bios')],
  uefi: [dhcp('PXEClient:Arch:00007', ` or${loaderByTftp}`), ...afterFirst('uefi')],
  http: [dhcp('HTTPClient:Arch:00016', ` or${loaderByHttp}`), ...afterFirst('http')]
}

/** PXE's boot server discovery, into which no machine is to be sent. */
const bootServerPort = 4011

/** Asserts of each machine that it went its firmware's way, and what `checkLan` does. */
export function checkWays(t: Test, rack: RackPlan, packets: readonly Packet[], ways: Ways): void {
  checkLan(t, rack, packets)
  for (const { name, mac, firmware } of rack.machines)
    t.same(wayOf(packets, mac), ways[firmware], `${name} (${firmware}) went its way`)
}

/**
 * Asserts of any stretch of the machines' lives: none looked for another boot server (Seedling itself may, for its own reasons), no system
 * was told of booting, and each had one address, whatever its programs called themselves.
 */
export function checkLan(t: Test, rack: RackPlan, packets: readonly Packet[]): void {
  for (const { name, mac, firmware } of rack.machines) {
    const own = packets.filter(({ from, to }) => from.mac === mac || to.mac === mac)
    t.same(
      own.filter(({ from, to }) => from.port === bootServerPort || to.port === bootServerPort),
      [],
      `${name}: nothing to or from port ${bootServerPort}`
    )
    const exchanges = dhcpExchanges(packets).filter((exchange) => exchange.mac === mac)
    const systems = exchanges.filter(({ packets }) => !packets[0]!.message.options.clientArchitectures)
    t.ok(systems.length > 0, `${name}: a system asked for an address`)
    t.same(
      systems.map(dhcpStage).filter((stage) => stage.includes(',')),
      [],
      `${name}: no system was told of a boot file, option 60 or 43`
    )
    t.equal(addressesOf(packets, exchanges, mac).length, 1, `${name} had one address`)
    t.comment(`${name} (${firmware}): ${own.length} packets, client ids ${clientIds(exchanges).join(', ')}`)
  }
}

/** The way of one machine, a line per stage; what is repeated stands once. */
export function wayOf(packets: readonly Packet[], mac: string): string[] {
  const exchanges = dhcpExchanges(packets).filter((exchange) => exchange.mac === mac)
  const stages = [
    ...exchanges.map((exchange) => ({ at: exchange.packets[0]!.at, stage: dhcpStage(exchange) })),
    ...requests(packets.filter(({ from }) => from.mac === mac))
  ]
  return stages
    .sort((one, other) => one.at - other.at)
    .map(({ stage }) => stage)
    .filter((stage, index, all) => stage !== all[index - 1])
}

function dhcpStage({ client, packets }: Exchange): string {
  const types = new Set(packets.map(({ message }) => message.options.messageType))
  const answers = packets.filter(({ message }) => message.op === 'reply')
  const told = new Set(answers.map(({ message }) => toldOfBooting(message)))
  return `DHCP ${client}: ${[...types].join(' ')}${[...told].sort().join(' or')}`
}

function toldOfBooting({ file, options }: DhcpMessage): string {
  const { bootFileName = file, vendorClass, vendorOptions } = options
  const parts = [
    bootFileName && `, file=${bootFileName.replace(/\?.*/, '')}`,
    vendorClass && `, 60=${vendorClass}`,
    vendorOptions && `, 43=${vendorOptions.toString('hex', 0, 3)}`
  ]
  return parts.filter(Boolean).join('')
}

/** TFTP read requests and HTTP request lines, without hashes and queries. How far the work is, is told by the clock: no stage. */
function requests(packets: readonly Packet[]): { at: number; stage: string }[] {
  return packets.flatMap(({ at, protocol, to, payload }) => {
    if (protocol === 'udp' && to.port === 69) {
      const request = decodeTftp(payload)
      return request.op === 'read' ? [{ at, stage: `TFTP ${request.file}` }] : []
    }
    const line = to.port === 80 && /^([A-Z]+ [^ ?]+)\S* HTTP\/1\.1\r\n/.exec(payload.toString('latin1'))
    if (!line || line[1] === 'POST /agent/progress') return []
    return [{ at, stage: line[1]!.replace(/[0-9a-f]{64}/, '*') }]
  })
}

/** Every address that the machine was given or used. */
function addressesOf(packets: readonly Packet[], exchanges: readonly Exchange[], mac: string): string[] {
  const used = packets.filter(({ from }) => from.mac === mac).map(({ from }) => from.ip)
  const given = exchanges.flatMap((exchange) => exchange.packets.map(({ message }) => message.yiaddr))
  return [...new Set([...used, ...given])].filter((ip) => ip !== '0.0.0.0')
}

/** What the machine's programs called themselves (option 61). */
function clientIds(exchanges: readonly Exchange[]): string[] {
  const sent = exchanges.map(({ packets }) => packets[0]!.message.options.clientId?.toString('hex') ?? 'none')
  return [...new Set(sent)]
}
