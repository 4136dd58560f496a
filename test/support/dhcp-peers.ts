// The other DHCP servers, Kea and dnsmasq, in a namespace of the test: what they do with a request, and how fast. Both run
// in the foreground as root, keep all they write in one folder, answer with authority, and log as they do by default.
// Needs Debian's kea-dhcp4-server and dnsmasq-base.

import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, copyFileSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { formatIp, netmask, parseCidr, type Ip, type Mac } from '../../src/wire/address.ts'
import type { Namespace } from './namespace.ts'

/** One network to serve: the link's own (it holds the server's address), or one behind a relay. */
export type PeerSubnet = {
  /** `192.0.2.0/24`. */
  cidr: string
  /** Addresses for anybody, both ends included; absent: only reservations are served. */
  pool?: { start: Ip; end: Ip }
  reservations?: readonly { mac: Mac; ip: Ip; hostname?: string }[]
  /** Content by option code, as bytes; sent to clients that ask for the option. Without 3 there is no router. */
  options?: Readonly<Record<number, Buffer>>
  /** Default 3600. */
  leaseSeconds?: number
}

export type PeerSettings = {
  /** Where configuration, leases and log go; made if absent, and taken up again if there. */
  folder: string
  /** The link in the namespace and the address on it to serve from; both must be there and up. */
  link: { interface: string; address: Ip }
  subnets: readonly PeerSubnet[]
  /** A command that runs the server in its place, `['taskset', '-c', '0']`; it must exec, so that the pid is the server's. */
  under?: readonly string[]
  /** Whatever else stands at the top of the server's own configuration: members of Kea's `Dhcp4`, lines of dnsmasq's file. */
  kea?: Readonly<Record<string, unknown>>
  dnsmasq?: readonly string[]
}

export type PeerName = 'kea' | 'dnsmasq'

export type Peer = {
  name: PeerName
  pid: number
  /** Path of the file the server logs to. */
  log: string
  /** Path of the file it keeps its leases in, in its own format. */
  leases: string
  /** Ends it, SIGTERM unless said otherwise, and waits until it is gone. */
  stop(signal?: NodeJS.Signals): Promise<void>
}

type Program = {
  /** The log has this once requests are answered. */
  ready: RegExp
  leases: string
  /** Writes the configuration; the command that serves it. */
  prepare(settings: PeerSettings): string[]
  env(folder: string): Record<string, string>
}

const PROGRAMS: Readonly<Record<PeerName, Program>> = {
  kea: {
    ready: /DHCP4_STARTED/,
    leases: 'kea-leases4.csv',
    prepare(settings) {
      const file = join(settings.folder, 'kea-dhcp4.conf')
      writeFileSync(file, JSON.stringify({ Dhcp4: keaConfig(settings) }, null, 2))
      // Under its own path AppArmor lets it write below /var/lib/kea alone.
      const program = join(settings.folder, 'kea-dhcp4')
      copyFileSync('/usr/sbin/kea-dhcp4', program)
      return [program, '-c', file]
    },
    env: (folder) => ({
      KEA_PIDFILE_DIR: folder,
      KEA_LOCKFILE_DIR: folder,
      // Since 2.6 it refuses files elsewhere than in these.
      KEA_DHCP_DATA_DIR: folder,
      KEA_LOG_FILE_DIR: folder
    })
  },
  dnsmasq: {
    ready: /DHCP, sockets bound exclusively/,
    leases: 'dnsmasq.leases',
    prepare(settings) {
      const file = join(settings.folder, 'dnsmasq.conf')
      writeFileSync(file, dnsmasqConfig(settings).join('\n') + '\n')
      return ['dnsmasq', '--keep-in-foreground', `--conf-file=${file}`]
    },
    env: () => ({})
  }
}

/** Starts a server and waits until it answers. Rejects with its log when it does not within 10 s. */
export async function startPeer(name: PeerName, namespace: Namespace, settings: PeerSettings): Promise<Peer> {
  const { folder, under = [] } = settings
  const program = PROGRAMS[name]
  mkdirSync(folder, { recursive: true })
  const command = ['ip', 'netns', 'exec', namespace.name, ...under, ...program.prepare(settings)]
  const log = join(folder, `${name}.log`)
  writeFileSync(log, '')
  const output = openSync(log, 'a')
  const child = spawn(command[0]!, command.slice(1), {
    env: { ...process.env, ...program.env(folder) },
    stdio: ['ignore', output, output]
  })
  closeSync(output)
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const stop = (signal?: NodeJS.Signals) => end(child, ended, signal)
  for (let waited = 0; !program.ready.test(readFileSync(log, 'utf8')); waited += 20) {
    if (child.exitCode !== null || waited > 10_000) {
      await stop('SIGKILL')
      throw new Error(`${name} did not come up:\n${readFileSync(log, 'utf8')}`)
    }
    await sleep(20)
  }
  return { name, pid: child.pid!, log, leases: join(folder, program.leases), stop }
}

async function end(child: ChildProcess, ended: Promise<void>, signal: NodeJS.Signals = 'SIGTERM') {
  child.kill(signal)
  const late = setTimeout(() => child.kill('SIGKILL'), 10_000)
  await ended
  clearTimeout(late)
}

/** Memory of a process in KiB: what it has in RAM now, and the most it ever had. */
export function residentMemory(pid: number): { now: number; peak: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const kib = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1])
  return { now: kib('VmRSS'), peak: kib('VmHWM') }
}

/** CPU time that a process has used up to now, all threads together; s, in steps of 10 ms. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  // Fields 14 and 15 (proc(5)), utime and stime, in ticks of which Linux has 100 a second. The name before them may hold spaces.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

function keaConfig({ folder, link, subnets, kea }: PeerSettings): object {
  return {
    'interfaces-config': { interfaces: [`${link.interface}/${link.address}`] },
    'lease-database': { type: 'memfile', persist: true, name: join(folder, PROGRAMS.kea.leases) },
    authoritative: true,
    subnet4: subnets.map(({ cidr, pool, reservations = [], options = {}, leaseSeconds = 3600 }, index) => ({
      id: index + 1,
      subnet: cidr,
      pools: pool ? [{ pool: `${pool.start} - ${pool.end}` }] : [],
      'valid-lifetime': leaseSeconds,
      reservations: reservations.map(({ mac, ip, hostname }) => ({
        'hw-address': mac,
        'ip-address': ip,
        ...(hostname ? { hostname } : {})
      })),
      'option-data': Object.entries(options).map(([code, data]) => ({
        code: Number(code),
        'csv-format': false,
        data: data.toString('hex')
      }))
    })),
    loggers: [{ name: 'kea-dhcp4', output_options: [{ output: 'stdout' }], severity: 'INFO' }],
    ...kea
  }
}

function dnsmasqConfig({ folder, link, subnets, dnsmasq = [] }: PeerSettings): string[] {
  return [
    'port=0',
    'user=root',
    `pid-file=${join(folder, 'dnsmasq.pid')}`,
    'log-facility=-',
    `interface=${link.interface}`,
    'except-interface=lo',
    'bind-interfaces',
    `dhcp-leasefile=${join(folder, PROGRAMS.dnsmasq.leases)}`,
    'dhcp-lease-max=1000000',
    'dhcp-authoritative',
    'no-ping',
    ...subnets.flatMap((subnet, index) => dnsmasqSubnet(subnet, `subnet${index + 1}`)),
    ...dnsmasq
  ]
}

function dnsmasqSubnet(
  { cidr, pool, reservations = [], options = {}, leaseSeconds = 3600 }: PeerSubnet,
  tag: string
): string[] {
  const range = parseCidr(cidr)
  if (!range) throw new Error(`${cidr} is not a network`)
  const [from, to] = pool ? [pool.start, pool.end] : [formatIp(range.first), 'static']
  return [
    `dhcp-range=set:${tag},${from},${to},${netmask(range.prefix)},${leaseSeconds}`,
    ...reservations.map(
      ({ mac, ip, hostname }) => `dhcp-host=${[mac, ip, hostname].filter(Boolean).join(',')}`
    ),
    // Named without content, it is not sent: by default dnsmasq is the router itself.
    ...(3 in options ? [] : [`dhcp-option=tag:${tag},3`]),
    ...Object.entries(options).map(
      ([code, data]) => `dhcp-option=tag:${tag},${code},${dnsmasqValue(Number(code), data)}`
    )
  ]
}

// Options that dnsmasq knows by type it takes only as that type: addresses, text.
const ADDRESSES: readonly number[] = [
  1, 3, 6, 7, 9, 16, 21, 28, 32, 33, 41, 42, 44, 45, 48, 49, 50, 54, 65, 68, 69, 70, 71, 74, 150
]
const TEXTS: readonly number[] = [12, 14, 15, 17, 18, 40, 47, 64, 66, 67]

/** All others are bytes, in hexadecimal with colons; a single one has none, so it is a decimal number marked as a byte. */
function dnsmasqValue(code: number, data: Buffer): string {
  if (TEXTS.includes(code)) return `"${data.toString('latin1')}"`
  if (ADDRESSES.includes(code))
    return Array.from({ length: data.length / 4 }, (_, index) =>
      formatIp(data.readUInt32BE(index * 4))
    ).join()
  return data.length === 1 ? `${data[0]}b` : data.toString('hex').replace(/..(?!$)/g, '$&:')
}
