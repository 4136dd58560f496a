// How soon Seedling serves after its start, with 1,000 machines, 10,000 leases and 5 images in its state, beside Kea and dnsmasq with
// the same leases and reservations.
//
//   scripts/bench/start [TIMES [MAIN]]     default 5 and scripts/seedling; MAIN: main.js of a bundle, as the appliance has it. Needs root
//
// Each time the process is killed and started again; the clock begins when it is spawned. A machine that is enrolled sends a DISCOVER
// every 20 ms from another namespace. Seedling's first row is a start after a long absence, where it first looks for other
// DHCP servers on its link; the others come back after a moment.
//
//   first OFFER   until the machine has an OFFER
//   API           until `GET /v1/nodes` of the Unix socket is answered in full
//
// `ratios`: median time of the peer until its first OFFER over ours.

import { once } from 'node:events'
import { createSocket } from 'node:dgram'
import { mkdtempSync, rmSync, mkdirSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { CHUNK_SIZE, chunkFile, manifestFile } from '../../services/images/layout.ts'
import { createApply } from '../../services/store/apply.ts'
import { openStore } from '../../services/store/open.ts'
import type { Image } from '../../src/domain/image.ts'
import { encodeDhcp } from '../../src/wire/dhcp.ts'
import { formatIp, parseIp } from '../../src/wire/address.ts'
import { encodeManifest, sha256Hex } from '../../src/wire/manifest.ts'
import { aLease, aNode, anImage, aPort } from '../../test/support/builders.ts'
import { aMac, aRequest } from '../../test/support/dhcp.ts'
import { startPeer, type PeerName } from '../../test/support/dhcp-peers.ts'
import { addNamespace, connect, type Namespace } from '../../test/support/namespace.ts'

const MACHINES = 1000
const LEASES = 10_000
const IMAGES = 5
/** Of an image: a disk of 5 GiB. */
const CHUNKS = 640
const LEASE_SECONDS = 86_400
const NETWORK = '10.9.0.0/16'
const LINK = { interface: 'eth0', address: '10.9.0.1' }
const FIRST = parseIp('10.9.1.0') as number
const ENROLLED = { start: formatIp(FIRST), end: formatIp(FIRST + MACHINES - 1) }
const ANYBODY = { start: formatIp(FIRST + MACHINES), end: formatIp(FIRST + LEASES + 999) }
const root = join(import.meta.dirname, '../..')
const program = process.argv[3] ? [process.execPath, process.argv[3]] : [join(root, 'scripts/seedling')]

/** Milliseconds from the start until each was there. */
type Start = { offer: number; api?: number }

/** In the machine's namespace: asks until it is answered. */
async function askForOffer(): Promise<void> {
  const socket = createSocket('udp4')
  socket.bind(68)
  await once(socket, 'listening')
  socket.setBroadcast(true)
  const bytes = encodeDhcp(aRequest({ chaddr: aMac(0) }))
  const asking = setInterval(() => socket.send(bytes, 67, '255.255.255.255'), 20)
  process.stdout.write('asking\n')
  await once(socket, 'message')
  process.stdout.write('offer\n')
  clearInterval(asking)
  socket.close()
}

function fill(dataDir: string): void {
  const store = openStore(dataDir)
  const apply = createApply(store)
  const now = Date.now()
  store.commit(() => {
    for (let index = 0; index < LEASES; index++) {
      const ip = formatIp(FIRST + index)
      const mac = aMac(index)
      const id = String(index).padStart(12, '0')
      const kind = index < MACHINES ? 'reserved' : 'discovery'
      const nodeUuid = `6e6f6465-0000-4000-8000-${id}`
      if (kind === 'reserved')
        apply([
          { put: 'node', row: aNode({ uuid: nodeUuid, name: `n${index}`, driverInfo: {} }) },
          {
            put: 'port',
            row: aPort({
              uuid: `706f7274-0000-4000-8000-${id}`,
              nodeUuid,
              address: mac,
              reservedIp: ip
            })
          }
        ])
      apply([{ put: 'lease', row: aLease({ ip, mac, kind, expiresAt: now + LEASE_SECONDS * 1000 }) }])
    }
    for (let index = 0; index < IMAGES; index++)
      apply([{ put: 'image', row: storeImage(join(dataDir, 'images'), index) }])
  })
  store.close()
}

/** An image of many chunks, as the store keeps it. Its chunks are but a few bytes: a start reads none. */
function storeImage(images: string, index: number): Image {
  const write = (file: string, content: string | Buffer) => {
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, content)
  }
  const chunks = Array.from({ length: CHUNKS }, (_, at) => {
    const content = Buffer.from(`chunk ${at} of image ${index}`)
    const sha256 = sha256Hex(content)
    write(chunkFile(images, sha256), content)
    return { offset: at * CHUNK_SIZE, length: CHUNK_SIZE, sha256 }
  })
  const manifest = encodeManifest(chunks)
  const digest = sha256Hex(manifest)
  write(manifestFile(images, digest), manifest)
  const id = `696d6167-0000-4000-8000-${String(index).padStart(12, '0')}`
  return anImage({ id, name: `image-${index}`, digest, size: CHUNKS * CHUNK_SIZE })
}

/** The same leases in the peer's own file. */
function fillPeer(name: PeerName, folder: string): void {
  mkdirSync(folder)
  const until = Math.floor(Date.now() / 1000) + LEASE_SECONDS
  const lines = Array.from({ length: LEASES }, (_, index) => {
    const [ip, mac] = [formatIp(FIRST + index), aMac(index)]
    return name === 'kea'
      ? `${ip},${mac},,${LEASE_SECONDS},${until},1,0,0,,0,,0`
      : `${until} ${mac} ${ip} * *`
  })
  const columns =
    'address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context,pool_id'
  if (name === 'kea') lines.unshift(columns)
  const file = name === 'kea' ? 'kea-leases4.csv' : 'dnsmasq.leases'
  writeFileSync(join(folder, file), lines.join('\n') + '\n')
}

/** Whether the API answered. */
const answers = (socketPath: string) =>
  new Promise<boolean>((resolve) => {
    request({ socketPath, path: '/v1/nodes' }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode === 200))
    })
      .on('error', () => resolve(false))
      .end()
  })

/** A machine that asks; answers how long after `since` it was answered. */
async function aMachine(namespace: Namespace): Promise<(since: number) => Promise<number>> {
  const { stdout } = namespace.spawn(process.execPath, [import.meta.filename, 'machine'])
  await once(stdout as NonNullable<typeof stdout>, 'data')
  const answered = once(stdout as NonNullable<typeof stdout>, 'data').then(() => performance.now())
  return async (since) => Math.round((await answered) - since)
}

async function startOurs(server: Namespace, machine: Namespace, folder: string): Promise<Start> {
  const offered = await aMachine(machine)
  const started = performance.now()
  const [command = '', ...args] = [...program, 'serve', '--config', join(folder, 'seedling.json')]
  const child = server.spawn(command, args)
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (bytes: Buffer) => (said = (said + bytes.toString()).slice(-4000)))
  const ended = once(child, 'close')
  const apiAnswered = async () => {
    while (!(await answers(join(folder, 'api.sock')))) {
      if (child.exitCode !== null) throw new Error(said)
      await sleep(10)
    }
    return Math.round(performance.now() - started)
  }
  const [offer, api] = await Promise.all([offered(started), apiAnswered()])
  child.kill('SIGKILL')
  await ended
  return { offer, api }
}

async function startTheirs(
  name: PeerName,
  server: Namespace,
  machine: Namespace,
  folder: string
): Promise<Start> {
  const offered = await aMachine(machine)
  const started = performance.now()
  const reservations = Array.from({ length: MACHINES }, (_, index) => ({
    mac: aMac(index),
    ip: formatIp(FIRST + index)
  }))
  const subnet = { cidr: NETWORK, pool: ANYBODY, reservations, leaseSeconds: LEASE_SECONDS }
  const peer = await startPeer(name, server, { folder, link: LINK, subnets: [subnet] })
  const offer = await offered(started)
  await peer.stop('SIGKILL')
  return { offer }
}

function ourFolder(folder: string): string {
  mkdirSync(join(folder, 'loaders'), { recursive: true })
  for (const file of ['vmlinuz', 'ramdisk.img', 'loaders/undionly.kpxe'])
    writeFileSync(join(folder, file), file)
  const config = {
    dataDir: 'data',
    network: { ...LINK, subnets: [{ cidr: NETWORK, pool: ENROLLED, discovery: ANYBODY }] },
    api: { socket: 'api.sock' },
    boot: { kernel: 'vmlinuz', ramdisk: 'ramdisk.img', loaders: 'loaders' },
    bmc: { pollSeconds: 0 }
  }
  writeFileSync(join(folder, 'seedling.json'), JSON.stringify(config))
  fill(join(folder, 'data'))
  return folder
}

const median = (all: number[]) => all.toSorted((a, b) => a - b)[all.length >> 1] as number

async function measure(times: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-start-'))
  const [server, machine] = [await addNamespace('server'), await addNamespace('machine')]
  try {
    await connect([server, 'eth0'], [machine, 'eth0'])
    await server.run('ip', 'address', 'add', `${LINK.address}/16`, 'dev', 'eth0')
    await machine.run('ip', 'address', 'add', '10.9.0.2/16', 'dev', 'eth0')
    await machine.run('ip', 'route', 'add', 'default', 'dev', 'eth0')
    const seedling = ourFolder(join(folder, 'seedling'))
    for (const name of ['kea', 'dnsmasq'] as const) fillPeer(name, join(folder, name))

    console.log('                      first OFFER      API')
    const tell = (name: string, { offer, api }: Start) =>
      console.log(`${name.padEnd(22)}${`${offer} ms`.padStart(11)}${api ? `${api} ms`.padStart(9) : ''}`)
    const starts: Record<'seedling' | PeerName, Start[]> = { seedling: [], kea: [], dnsmasq: [] }
    const long = await startOurs(server, machine, seedling)
    tell('Seedling, after long', long)
    for (let time = 0; time < times; time++) {
      for (const name of ['seedling', 'kea', 'dnsmasq'] as const) {
        const start =
          name === 'seedling'
            ? await startOurs(server, machine, seedling)
            : await startTheirs(name, server, machine, join(folder, name))
        tell(name, start)
        starts[name].push(start)
      }
    }
    const offers = (name: keyof typeof starts) => median(starts[name].map(({ offer }) => offer))
    const ours = {
      firstOfferMilliseconds: offers('seedling'),
      apiMilliseconds: median(starts.seedling.map(({ api = 0 }) => api)),
      afterLong: { firstOfferMilliseconds: long.offer, apiMilliseconds: long.api }
    }
    const names = ['kea', 'dnsmasq'] as const
    const peers = Object.fromEntries(names.map((name) => [name, { firstOfferMilliseconds: offers(name) }]))
    const ratios = Object.fromEntries(names.map((name) => [name, offers(name) / offers('seedling')]))
    console.log(JSON.stringify({ bench: 'start', ours, peers, ratios }))
  } finally {
    for (const namespace of [server, machine]) await namespace.remove()
    rmSync(folder, { recursive: true })
  }
}

if (process.argv[2] === 'machine') await askForOffer()
else await measure(Number(process.argv[2] ?? 5))
