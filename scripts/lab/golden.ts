// The command line of scripts/capture: what real clients and Seedling said to each other on a rack's LAN becomes the golden packets
// of test/fixtures/dhcp, NAME-TYPE.hex with the same packet decoded beside it in NAME-TYPE.json.
import { Command } from 'commander'
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { readCapture } from './capture.ts'
import { dhcpExchanges } from './exchanges.ts'
import type { DhcpPacket, Exchange } from './exchanges.ts'
import { root } from './lab.ts'
import { defaults, machineMacs, planRack } from './plan.ts'

const folder = join(root, 'test/fixtures/dhcp')
const ordinary = planRack(root, defaults, () => '').capture.pcap

type Program = {
  /** What its files' names begin with. */
  name: string
  /** As `Exchange` has it. */
  client: string
  /** Option 93, where one name stands for two programs. */
  architecture?: number
  /** For people. */
  is: string
  /** The Debian package of this host that it came from. */
  from?: string
}

const programs: readonly Program[] = [
  { name: 'seabios-ipxe', client: 'iPXE', architecture: 0, is: "the network card's iPXE", from: 'ipxe-qemu' },
  { name: 'ipxe-uefi', client: 'iPXE', architecture: 7, is: 'our iPXE (snponly.efi) under OVMF' },
  { name: 'ovmf-pxe', client: 'PXEClient:Arch:00007', is: "OVMF's PXE client", from: 'ovmf' },
  { name: 'ovmf-http', client: 'HTTPClient:Arch:00016', is: "OVMF's HTTP boot", from: 'ovmf' },
  { name: 'ramdisk', client: 'seedling-ramdisk', is: 'udhcpc of the deploy ramdisk' },
  { name: 'udhcpc', client: 'udhcp', is: 'udhcpc of the sample image "tiny"' },
  { name: 'networkd', client: 'no class', is: 'systemd-networkd of the sample image "debian"' }
]

new Command('capture')
  .description("golden DHCP packets from a recording of the rack's LAN (scripts/rack up --capture)")
  .argument('[pcap]', 'the recording', ordinary)
  .option('--rewrite', `write them to ${folder}, in place of those there; without it they are only listed`)
  .addHelpText(
    'after',
    `
All of them, from two racks:
  scripts/rack up --capture --image tiny --nodes 3 --firmware bios,uefi,http
  scripts/rack seedling node power reboot node1 node2 node3      # and wait until they are up again
  scripts/capture --rewrite; scripts/rack down
  scripts/rack up --capture --image debian --nodes 1
  scripts/capture --rewrite; scripts/rack down`
  )
  .action((pcap: string, { rewrite }: { rewrite?: boolean }) => {
    for (const [name, { packet, title }] of goldenPackets(dhcpExchanges(readCapture(pcap)))) {
      console.log(`${name}: ${title}`)
      if (!rewrite) continue
      writeFileSync(join(folder, `${name}.hex`), `# ${title}\n${hexLines(packet.payload)}`)
      writeFileSync(join(folder, `${name}.json`), jsonLines(packet))
    }
  })
  .parse()

/** Of each program's first conversation the first packet of each type; likewise of the first that has no boot file for it. */
function goldenPackets(exchanges: readonly Exchange[]): Map<string, { packet: DhcpPacket; title: string }> {
  const golden = new Map<string, { packet: DhcpPacket; title: string }>()
  const done = new Set<string>()
  for (const { mac, client, packets } of exchanges) {
    // Seedling asks too, for other DHCP servers, and calls itself what firmware does.
    if (!mac.startsWith(machineMacs)) continue
    const { clientArchitectures: asks } = packets[0]!.message.options
    const program = programs.find(
      ({ client: name, architecture }) =>
        name === client && (architecture === undefined || architecture === asks?.[0])
    )
    const idle = asks !== undefined && packets.every(({ message }) => !message.options.bootFileName)
    const name = `${program?.name}${idle ? '-idle' : ''}`
    if (!program || done.has(name)) continue
    done.add(name)
    const who = program.is + (program.from ? ` (${program.from} ${versionOf(program.from)})` : '')
    for (const packet of packets) {
      const { op, options } = packet.message
      const file = `${name}-${options.messageType}`
      const title = `${options.messageType?.toUpperCase()} of ${op === 'reply' ? `Seedling to ${who}` : who}`
      if (!golden.has(file))
        golden.set(file, {
          packet,
          title: title + (idle ? ', when it is to boot nothing from the network' : '')
        })
    }
  }
  return golden
}

function versionOf(debianPackage: string): string {
  return spawnSync('dpkg-query', ['-W', '-f', '${Version}', debianPackage], { encoding: 'utf8' }).stdout
}

function hexLines(bytes: Buffer): string {
  const octets = bytes.toString('hex').match(/../g) ?? []
  return (
    octets
      .map((octet, index) => octet + (index % 32 === 31 ? '\n' : ' '))
      .join('')
      .trimEnd() + '\n'
  )
}

/** Every field and option on a line of its own, bytes as hex. */
function jsonLines({ message: { options, ...fields } }: DhcpPacket): string {
  const lines = (object: object, indent: string) =>
    Object.entries(object).map(([name, value]) => `${indent}"${name}": ${inline(value)}`)
  const last = `  "options": {\n${lines(options, '    ').join(',\n')}\n  }`
  return `{\n${[...lines(fields, '  '), last].join(',\n')}\n}\n`
}

function inline(value: unknown): string {
  if (Buffer.isBuffer(value)) return `"${value.toString('hex')}"`
  if (Array.isArray(value)) return `[${value.map(inline).join(', ')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const pairs = Object.entries(value).map(([name, inner]) => `"${name}": ${inline(inner)}`)
  return `{ ${pairs.join(', ')} }`
}
