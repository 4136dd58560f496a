// Which way a machine took from power-on to its installed system, read from the packets on the LAN, and which way each firmware
// is to take.

import type { Test } from 'tap'
import type { Packet } from '../../scripts/lab/capture.ts'
import { dhcpExchanges, type Exchange } from '../../scripts/lab/exchanges.ts'
import type { Firmware, RackPlan } from '../../scripts/lab/plan.ts'
import type { DhcpMessage } from '../../src/wire/dhcp.ts'
import { decodeTftp } from '../../src/wire/tftp.ts'

/** PXE: the boot server discovery that no machine is to be sent into. */
const PXE_SERVER_PORT = 4011

/** One program's DHCP: who asks, what is said, and what the answers tell of booting. */
const dhcp = (client: string, told = ''): string => `DHCP ${client}: discover offer request ack${told}`

const SCRIPT = ', file=http://192.0.2.1/boot/script'
/** Discovery control 8: take the file that is named here. */
const LOADER_BY_TFTP = ', file=snponly.efi, 60=PXEClient, 43=060108'
const LOADER_BY_HTTP = ', file=http://192.0.2.1/boot/loader/snponly.efi, 60=HTTPClient'

const RAMDISK = [
  'GET /boot/kernel/*',
  'GET /boot/ramdisk/*',
  dhcp('seedling-ramdisk'),
  'POST /agent/hello',
  'GET /images/*/manifest',
  'GET /images/chunks/*',
  'GET /agent/config-drive',
  'POST /agent/written'
]
/** The tiny image. */
const INSTANCE = [dhcp('udhcp'), 'GET /latest/meta-data/instance-id']

/** Each firmware's way from power-on to the instance, in a machine that tries the network first. */
export const BOOT_PATHS: Record<Firmware, readonly string[]> = {
  // The network card's ROM is iPXE: it takes the script, and asks again when the machine starts anew.
  bios: [dhcp('iPXE', SCRIPT), 'GET /boot/script', ...RAMDISK, dhcp('iPXE'), ...INSTANCE],
  // Our iPXE goes on with the firmware's lease and finds its script where it looks first. The boot entry that the ramdisk
  // leaves takes the machine to its disk.
  uefi: [
    dhcp('PXEClient:Arch:00007', LOADER_BY_TFTP),
    'TFTP snponly.efi',
    'TFTP autoexec.ipxe',
    ...RAMDISK,
    ...INSTANCE
  ],
  http: [
    dhcp('HTTPClient:Arch:00016', LOADER_BY_HTTP),
    'HEAD /boot/loader/snponly.efi',
    'GET /boot/loader/snponly.efi',
    'GET /boot/loader/autoexec.ipxe',
    'GET /autoexec.ipxe',
    dhcp('iPXE', SCRIPT),
    'GET /boot/script',
    ...RAMDISK,
    ...INSTANCE
  ]
}

/** Asserts of each machine of the rack that it went its firmware's way, with one address and without a word to a PXE server. */
export function checkBootPaths(t: Test, rack: RackPlan, packets: readonly Packet[]): void {
  t.same(
    packets.filter(({ from, to }) => from.port === PXE_SERVER_PORT || to.port === PXE_SERVER_PORT),
    [],
    `nothing to or from port ${PXE_SERVER_PORT}`
  )
  const exchanges = dhcpExchanges(packets)
  for (const { name, mac, firmware } of rack.machines) {
    const own = packets.filter(({ from, to }) => from.mac === mac || to.mac === mac)
    const asked = exchanges.filter((exchange) => exchange.mac === mac)
    t.same(bootPath(own, asked, mac), BOOT_PATHS[firmware], `${name} (${firmware}) took its way`)
    const addresses = addressesOf(own, asked, mac)
    t.equal(addresses.length, 1, `${name} had one address: ${addresses.join(', ')}`)
    t.comment(`${name} (${firmware}): ${own.length} packets; client ids ${clientIds(asked).join(', ')}`)
  }
}

/** The way of one machine, a line per stage; what is repeated stands once. */
function bootPath(packets: readonly Packet[], exchanges: readonly Exchange[], mac: string): string[] {
  const asked = [
    ...exchanges.map((exchange) => ({ at: exchange.packets[0]!.at, stage: dhcpStage(exchange) })),
    ...requests(packets.filter(({ from }) => from.mac === mac))
  ]
  return asked
    .sort((one, other) => one.at - other.at)
    .map(({ stage }) => stage)
    .filter((stage, index, stages) => stage !== stages[index - 1])
}

function dhcpStage({ client, packets }: Exchange): string {
  const types = new Set(packets.map(({ message }) => message.options.messageType))
  const answers = packets.filter(({ message }) => message.op === 'reply')
  const told = new Set(answers.map(({ message }) => toldOfBooting(message)))
  return `DHCP ${client}: ${[...types].join(' ')}${[...told].join(' but')}`
}

function toldOfBooting({ options: { bootFileName, vendorClass, vendorOptions } }: DhcpMessage): string {
  const parts = [
    bootFileName && `, file=${bootFileName.replace(/\?.*/, '')}`,
    vendorClass && `, 60=${vendorClass}`,
    vendorOptions && `, 43=${vendorOptions.toString('hex', 0, 3)}`
  ]
  return parts.filter(Boolean).join('')
}

/** TFTP read requests and HTTP request lines, without hashes and queries. How far the work is is told as time passes: not a stage. */
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

/** Every address that the machine was offered or used. */
function addressesOf(packets: readonly Packet[], exchanges: readonly Exchange[], mac: string): string[] {
  const used = packets.filter(({ from }) => from.mac === mac).map(({ from }) => from.ip)
  const given = exchanges.flatMap((exchange) => exchange.packets.map(({ message }) => message.yiaddr))
  return [...new Set([...used, ...given])].filter((ip) => ip !== '0.0.0.0')
}

/** What the machine's programs called themselves to the DHCP server (option 61). */
function clientIds(exchanges: readonly Exchange[]): string[] {
  const sent = exchanges.map(({ packets }) => packets[0]!.message.options.clientId?.toString('hex') ?? 'none')
  return [...new Set(sent)]
}
