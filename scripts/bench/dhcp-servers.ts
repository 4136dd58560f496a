// The servers of the DHCP bench: Seedling as `seedling serve` runs it, Kea and dnsmasq, each alone in a namespace, with the same
// address plan, pinned alike, logging what they log by default into a file.

import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { request, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { formatIp, type Ip, type Mac } from '../../src/wire/address.ts'
import { startPeer, type PeerSubnet } from '../../test/support/dhcp-peers.ts'
import type { Namespace } from '../../test/support/namespace.ts'

const root = join(import.meta.dirname, '../..')

export type ServerName = 'seedling' | 'kea' | 'dnsmasq'

export type Server = { pid: number; stop(): Promise<void> }

export type Place = {
  namespace: Namespace
  link: { interface: string; address: Ip }
  /** The command that runs the server in its place, so that it is pinned; may be empty. */
  under: readonly string[]
}

/** Two networks of 65,534 addresses: the link's, and one behind a relay. Each has a pool for anybody and, above it, one for enrolled machines. */
const NETWORKS = ['10.20', '10.21'].map((network) => ({
  cidr: `${network}.0.0/16`,
  anybody: { start: `${network}.0.2`, end: `${network}.239.255` },
  enrolled: { start: `${network}.240.0`, end: `${network}.254.255` }
}))
const LEASE_SECONDS = 3600

/** MAC of the first enrolled machine; the others count up from it. */
export const ENROLLED: Mac = '52:54:00:00:00:00'

const mac = (index: number): Mac => `525400${index.toString(16).padStart(6, '0')}`.replace(/..(?!$)/g, '$&:')

/** Starts a server with nothing leased in `folder`, which must be new, and the first `enrolled` machines known to it. */
export async function startServer(
  name: ServerName,
  { namespace, link, under }: Place,
  folder: string,
  enrolled: number
): Promise<Server> {
  if (name === 'seedling') return startSeedling({ namespace, link, under }, folder, enrolled)
  const first = 0x0a14f000 // 10.20.240.0
  const subnets: PeerSubnet[] = NETWORKS.map(({ cidr, anybody }) => ({
    cidr,
    pool: anybody,
    leaseSeconds: LEASE_SECONDS
  }))
  subnets[0]!.reservations = Array.from({ length: enrolled }, (_, index) => ({
    mac: mac(index),
    ip: formatIp(first + index)
  }))
  return startPeer(name, namespace, { folder, link, under, subnets })
}

async function startSeedling(
  { namespace, link, under }: Place,
  folder: string,
  enrolled: number
): Promise<Server> {
  mkdirSync(join(folder, 'loaders'), { recursive: true })
  for (const file of ['vmlinuz', 'ramdisk.img', 'loaders/undionly.kpxe'])
    writeFileSync(join(folder, file), file)
  const config = join(folder, 'seedling.json')
  writeFileSync(config, JSON.stringify(seedlingConfig(link, enrolled > 0)))
  const log = join(folder, 'seedling.log')
  const output = openSync(log, 'a')
  const command = [...under, join(root, 'scripts/seedling'), 'serve', '--config', config]
  const child = spawn('ip', ['netns', 'exec', namespace.name, ...command], {
    stdio: ['ignore', output, output]
  })
  closeSync(output)
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  for (let waited = 0; !/"msg":"serving"/.test(readFileSync(log, 'utf8')); waited += 20) {
    if (child.exitCode !== null || waited > 20_000)
      throw new Error(`Seedling did not come up:\n${readFileSync(log, 'utf8')}`)
    await sleep(20)
  }
  await enrol(join(folder, 'api.sock'), enrolled)
  return {
    pid: child.pid!,
    async stop() {
      child.kill('SIGTERM')
      await ended
    }
  }
}

/** Who is enrolled is served without limit; strangers too where they are the clients that are counted, else as by default. */
function seedlingConfig(link: Place['link'], someEnrolled: boolean): object {
  return {
    dataDir: 'data',
    network: {
      ...link,
      dhcp: { probeConflicts: false, exclusive: false },
      subnets: NETWORKS.map(({ cidr, anybody, enrolled }) => ({
        cidr,
        pool: enrolled,
        leaseSeconds: LEASE_SECONDS,
        discovery: {
          ...anybody,
          leaseSeconds: LEASE_SECONDS,
          ...(someEnrolled ? {} : { perSecond: 1_000_000 })
        }
      }))
    },
    api: { socket: 'api.sock' },
    boot: { kernel: 'vmlinuz', ramdisk: 'ramdisk.img', loaders: 'loaders' },
    // Nothing but DHCP: no BMC is there to be asked.
    bmc: { pollSeconds: 0 }
  }
}

async function enrol(socketPath: string, count: number): Promise<void> {
  if (count === 0) return
  const nodes = Array.from({ length: count }, (_, index) => ({
    name: `node-${index}`,
    pm_type: 'ipmi',
    pm_addr: formatIp(0xc6120000 + index), // 198.18.0.0
    pm_user: 'admin',
    pm_password: 'secret',
    ports: [{ address: mac(index) }]
  }))
  const call = request({
    socketPath,
    method: 'POST',
    path: '/v1/inventory',
    headers: { 'content-type': 'application/json' }
  })
  call.end(JSON.stringify({ nodes }))
  const response = await new Promise<IncomingMessage>((resolve, reject) =>
    call.once('response', resolve).once('error', reject)
  )
  const answer = await text(response)
  if (response.statusCode !== 200) throw new Error(`enrolment: ${response.statusCode} ${answer}`)
}
