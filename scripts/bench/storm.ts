// A boot storm: power comes back, and a whole room boots at once. `seedling serve` in one namespace, all machines in another
// (test/support/fake-machines.ts), a virtual cable between them; real loader, kernel and ramdisk, every byte compared. Each machine has an open
// deployment and goes DHCP → loader by TFTP → script → kernel → ramdisk, with its firmware's patience.
//
//   stage        time in that stage: median, p99 and the longest; ramdisk and kernel include what the queue takes, "total" is from power-on to
//                the ramdisk in memory
//   again        packets that machines had to send again, and times that one was told to wait and ask again
//   RSS          Seedling's resident memory at its highest (VmHWM)
//   loop         Seedling's answers meanwhile: time of a metadata-sized request of an operator (GET /v1/dhcp/status), asked every 50 ms
//
//   scripts/bench/storm [MACHINES]      default 500; needs root, and builds ramdisk and loaders if they are not there

import { spawn, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { createApply } from '../../services/store/apply.ts'
import { openStore } from '../../services/store/open.ts'
import { formatIp, parseIp } from '../../src/wire/address.ts'
import { residentMemory } from '../../test/support/dhcp-peers.ts'
import { STAGES, type Booted } from '../../test/support/fake-machines.ts'
import { addNamespace, connect } from '../../test/support/namespace.ts'
import { enrolRoom } from '../../test/support/room.ts'
import { percentile } from './dhcp-load.ts'

const root = join(import.meta.dirname, '../..')
const machines = Number(process.argv[2] ?? 500)
const SERVER = '10.20.0.1'
const MIB = 2 ** 20

for (const program of ['image/ramdisk/build', 'image/ipxe/fetch']) {
  const { status, stderr } = spawnSync(join(root, program), { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${program} failed: ${stderr}`)
}
const folder = mkdtempSync(join(tmpdir(), 'seedling-storm-'))
const files = {
  kernel: join(root, '.cache/image/ramdisk/vmlinuz'),
  ramdisk: join(root, '.cache/image/ramdisk/ramdisk.img'),
  loader: join(root, '.cache/image/ipxe/snponly.efi')
}
const first = parseIp('10.20.1.0') ?? 0
const addresses = Array.from({ length: machines }, (_, index) => formatIp(first + index))

const dataDir = join(folder, 'data')
mkdirSync(dataDir)
const store = openStore(dataDir)
const macs = enrolRoom(store, createApply(store), addresses)
store.close()
const loaders = join(folder, 'loaders')
cpSync(join(root, '.cache/image/ipxe'), loaders, { recursive: true })
const config = join(folder, 'seedling.json')
writeFileSync(
  config,
  JSON.stringify({
    dataDir,
    network: {
      ...{ interface: 'lan', address: SERVER },
      subnets: [{ cidr: '10.20.0.0/16', pool: { start: '10.20.1.0', end: '10.20.100.255' } }],
      // One host with one MAC has all the machines' addresses: it would be taken for somebody who uses them.
      dhcp: { exclusive: false, probeConflicts: false }
    },
    api: { socket: join(folder, 'api.sock') },
    boot: { kernel: files.kernel, ramdisk: files.ramdisk, loaders },
    bmc: { pollSeconds: 0 }
  })
)

const [host, room] = [await addNamespace('host'), await addNamespace('room')]

/** Milliseconds until the operator's question is answered. */
const answerTime = () =>
  new Promise<number>((resolve, reject) => {
    const began = performance.now()
    request({ socketPath: join(folder, 'api.sock'), path: '/v1/dhcp/status' }, (response) => {
      response.resume().on('end', () => resolve(performance.now() - began))
    })
      .on('error', reject)
      .end()
  })

async function serve() {
  const log = join(folder, 'seedling.log')
  const command = `exec ${root}/scripts/seedling serve --config ${config} > ${log} 2>&1`
  const child = spawn('ip', ['netns', 'exec', host.name, 'sh', '-c', command], { stdio: 'ignore' })
  for (let waited = 0; ; waited += 50) {
    if (await answerTime().catch(() => null)) return child
    if (child.exitCode !== null || waited > 30_000) throw new Error(readFileSync(log, 'utf8'))
    await sleep(50)
  }
}

try {
  await connect([host, 'lan'], [room, 'eth0'])
  await host.run('ip', 'address', 'add', `${SERVER}/16`, 'dev', 'lan')
  await room.run('ip', 'address', 'add', '10.20.255.254/16', 'dev', 'eth0')
  await room.run('ip', 'route', 'add', 'default', 'dev', 'eth0')
  const batch = join(folder, 'addresses')
  writeFileSync(batch, addresses.map((ip) => `address add ${ip}/16 dev eth0\n`).join(''))
  await room.run('ip', '-batch', batch)
  const server = await serve()
  const pid = server.pid as number
  const idle = residentMemory(pid).now

  const answers: number[] = []
  let over = false
  const asking = (async () => {
    for (; !over; await sleep(50)) answers.push(await answerTime())
  })()
  const program = join(import.meta.dirname, 'storm-machines.ts')
  const child = room.spawn(process.execPath, [program])
  child.stderr?.pipe(process.stderr)
  child.stdin?.end(JSON.stringify({ macs, files }))
  const booted = JSON.parse(await text(child.stdout as NodeJS.ReadableStream)) as Booted[]
  over = true
  await asking
  const peak = residentMemory(pid).peak
  server.kill('SIGTERM')

  const came = booted.filter(({ failure }) => failure === null)
  const bytes = statSync(files.kernel).size + statSync(files.ramdisk).size
  const seconds = Math.max(...booted.map(({ total }) => total)) / 1000
  const again = booted.reduce((sum, one) => sum + one.again, 0)
  const row = (name: string, times: number[]) =>
    `${name.padEnd(10)}${[0.5, 0.99, 1].map((share) => (percentile(times, share) / 1000).toFixed(2).padStart(10)).join('')}`
  console.log(`${machines} machines, kernel and ramdisk ${(bytes / MIB).toFixed(1)} MiB each\n`)
  console.log('stage            p50 s     p99 s     max s')
  for (const stage of STAGES)
    console.log(
      row(
        stage,
        booted.flatMap(({ stages }) => stages[stage] ?? [])
      )
    )
  console.log(row('total', came.map(({ total }) => total))) // prettier-ignore
  const rate = (came.length * bytes) / seconds / 1e6
  console.log(
    `\n${machines - came.length} lost, ${again} times again, ${rate.toFixed(0)} MB/s in sum, RSS ${(idle / 1024).toFixed(0)} MiB before, ` +
      `${(peak / 1024).toFixed(0)} MiB at most; API answers p50 ${percentile(answers, 0.5).toFixed(1)} ms, p99 ${percentile(answers, 0.99).toFixed(1)} ms`
  )
  const failures = new Map<string, number>()
  for (const { failure } of booted) if (failure) failures.set(failure, (failures.get(failure) ?? 0) + 1)
  for (const [failure, count] of failures) console.log(`${count} × ${failure}`)
  const rounded = (number: number) => Number(number.toPrecision(4))
  const stages = Object.fromEntries(
    STAGES.map((stage) => {
      const times = booted.flatMap(({ stages }) => stages[stage] ?? [])
      return [stage, { p50: rounded(percentile(times, 0.5)), p99: rounded(percentile(times, 0.99)) }]
    })
  )
  const ours = {
    ...{ machines, lost: machines - came.length, again, seconds: rounded(seconds) },
    ...{ megabytesPerSecond: rounded(rate), residentMiB: rounded(peak / 1024), milliseconds: stages },
    apiP99Milliseconds: rounded(percentile(answers, 0.99))
  }
  console.log(JSON.stringify({ bench: 'storm', ours, peers: {}, ratios: {} }))
} finally {
  await Promise.all([host.remove(), room.remove()])
  rmSync(folder, { recursive: true, force: true })
}
