// DHCP side by side: Seedling, Kea and dnsmasq answer Debian's perfdhcp in the same run, each in a pair of network
// namespaces of its own joined by a cable, with the same address plan (two /16, 61,438 addresses for anybody in each).
//
//   scripts/bench/dhcp [quick | flood] [SERVER …]       about 13 minutes, quick 2, the flood alone 5; default all of seedling, kea, dnsmasq
//
// To see past what else the machine does meanwhile: chrt -r 1 scripts/bench/dhcp.
//
// What is measured, and how:
//
//   exchanges/s   whole exchanges (DISCOVER, OFFER, REQUEST, ACK) a second at no more than 1 % loss: the best rate found by doubling
//                 or halving from 1,000/s until one rate held and one did not, and then trying between the two. Every try is
//                 a fresh server with no leases, warmed up by 300 clients, then asked by new clients for some seconds. An exchange
//                 is lost unless its ACK is there 0.2 s after the last DISCOVER, so that a growing queue is no throughput;
//                 answers that the sender itself had no room for are not held against a server. ≥: the sender could do no more.
//   p50, p99      REQUEST to ACK at 1,000 exchanges/s, of those that were answered
//   CPU µs        CPU time of the server, all its threads, for each exchange at 1,000/s
//   MiB           resident memory at its highest in all tries (VmHWM)
//   avalanche     1,000 clients that all ask at once: time until the last has its lease; the median
//   flood         an enrolled client's DISCOVER to ACK, p99, at 100/s, alone and while forged DISCOVERs from 10,000 MACs
//                 come, each twice a second; what is not answered counts as 1 s. Where the sender sends
//                 all it can, its own half of the machine is full before any server is, and exchanges are lost there. Strangers may get an
//                 address from each server, from Seedling 20 in a second, as by default
//   syncs         fsync and fdatasync calls for each ACK at 100 exchanges/s, counted by strace
//
// direct:   broadcast by the client, answered by broadcast.    relayed:   unicast from a relay (giaddr), answered to it.
// enrolled: direct, by 1,000 machines known to Seedling before, each with its reserved address.
//
// Fairness: the servers take turns, in another order each round. Server and sender are pinned with taskset to different halves
// of the CPUs, all servers to the same. All write the log they write by default to a file: each says a line or two for every
// exchange. None looks whether an address is in use before it offers it. Kea runs with the thread setting that its version has
// by default, dnsmasq without DNS. Not alike is what an ACK means: Seedling's leaves after its lease is synced to disk; Kea
// writes the lease to its memfile and does not sync; dnsmasq writes its whole lease file anew and syncs it.

import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { cpuSeconds, residentMemory } from '../../test/support/dhcp-peers.ts'
import { addNamespace, connect, run } from '../../test/support/namespace.ts'
import {
  exchangeTimes,
  percentile,
  perfdhcp,
  prepareClients,
  type Clients,
  type Outcome,
  type Shape
} from './dhcp-load.ts'
import { ENROLLED, startServer, type Place, type Server, type ServerName } from './dhcp-servers.ts'

const SERVERS: readonly ServerName[] = ['seedling', 'kea', 'dnsmasq']
const words = process.argv.slice(2)
const quick = words.includes('quick')
const named = SERVERS.filter((name) => words.includes(name))
const servers = named.length > 0 ? named : SERVERS

/** Times in seconds. */
const full = { rounds: 8, warmup: 3, probe: 4, avalanches: 3, alone: 30, flood: 60 }
const plan = quick
  ? { rounds: 4, warmup: 1, probe: 2, avalanches: 1, alone: 3, flood: 4 }
  : words.includes('flood')
    ? { ...full, rounds: 0, avalanches: 0 }
    : full

/** Forged packets a second. */
const FORGED_A_SECOND = 20_000

const FIRST_RATE = 1000
const LOSS = 0.01
/** A rate that held and one that did not, this close to each other, are close enough. */
const CLOSE = 1.06
const CROWD = 1000

const cpus = availableParallelism()
const half = Math.max(1, Math.floor(cpus / 2))
const pinned = (first: number, last: number) => (cpus > 1 ? ['taskset', '-c', `${first}-${last}`] : [])

type Rig = { name: ServerName; place: Place; clients: Clients; remove(): Promise<void> }

async function addRig(name: ServerName): Promise<Rig> {
  const [server, clients] = [await addNamespace('server'), await addNamespace('clients')]
  await connect([server, 'lan0'], [clients, 'lan0'])
  const ip = (where: typeof server, words: string) => where.run('ip', ...words.split(' '))
  await ip(server, 'address add 10.20.0.1/16 dev lan0')
  await ip(server, 'route add 10.21.0.0/16 dev lan0')
  await ip(clients, 'address add 10.20.255.254/16 dev lan0')
  await ip(clients, 'address add 10.21.255.254/16 dev lan0')
  await ip(clients, 'route add default dev lan0')
  const rig: Rig = {
    name,
    place: {
      namespace: server,
      link: { interface: 'lan0', address: '10.20.0.1' },
      under: pinned(0, half - 1)
    },
    clients: {
      namespace: clients,
      link: 'lan0',
      address: '10.20.255.254',
      relay: '10.21.255.254',
      server: '10.20.0.1',
      folder: join(folder, name),
      under: pinned(half, cpus - 1)
    },
    async remove() {
      await server.remove()
      await clients.remove()
    }
  }
  mkdirSync(rig.clients.folder)
  await prepareClients(rig.clients)
  return rig
}

let started = 0

/** Runs `work` on a fresh server that is warm, and ends the server. */
async function served<T>(
  rig: Rig,
  enrolled: boolean,
  shape: Shape,
  work: (server: Server) => Promise<T>
): Promise<T> {
  const place = join(rig.clients.folder, `server-${started++}`)
  const server = await startServer(rig.name, rig.place, place, enrolled ? CROWD : 0)
  try {
    const base = enrolled ? ENROLLED : '00:0c:02:00:00:00'
    await perfdhcp(rig.clients, { shape, base, clients: 300, rate: 1000, seconds: plan.warmup })
    await idle(server.pid)
    return await work(server)
  } finally {
    await server.stop()
    rmSync(place, { recursive: true })
  }
}

/** Waits until a server has worked off what was asked of it, so that nothing of that counts later; 10 s at most. */
async function idle(pid: number): Promise<void> {
  for (let waited = 0, used = NaN; waited < 10_000 && cpuSeconds(pid) !== used; waited += 300) {
    used = cpuSeconds(pid)
    await sleep(300)
  }
}

// Exchanges a second

type Row = {
  rig: Rig
  shape: Shape
  enrolled: boolean
  /** Rates: the highest that held, the lowest that did not. */
  held: number
  failed: number
  /** Exchanges a second, at the rate that held. */
  best: number
  /** Whether it was the sender that could not do more than the best. */
  senderBound: boolean
  at1000: { p50: number; p99: number; loss: number; cpu: number }
  peakMiB: number
}

const nothingYet = { held: 0, failed: Infinity, best: 0, senderBound: false, peakMiB: 0 }
const newRow = (rig: Rig, shape: Shape, enrolled = false): Row => ({
  ...{ rig, shape, enrolled, ...nothingYet },
  at1000: { p50: NaN, p99: NaN, loss: NaN, cpu: NaN }
})

const rowName = ({ rig, shape, enrolled }: Row) => `${rig.name} ${enrolled ? 'enrolled' : shape}`

/** The rate to try next; undefined when the row is known well enough. */
function nextRate({ held, failed }: Row): number | undefined {
  if (held === 0) return failed === Infinity ? FIRST_RATE : failed > 10 ? Math.round(failed / 2) : undefined
  if (failed === Infinity) return held * 2
  return failed / held > CLOSE ? Math.round(Math.sqrt(held * failed)) : undefined
}

async function probe(row: Row): Promise<void> {
  const rate = nextRate(row)
  if (rate === undefined) return
  const { rig, shape, enrolled } = row
  const { outcome, cpu } = await served(rig, enrolled, shape, async ({ pid }) => {
    const load = enrolled
      ? { base: ENROLLED, clients: CROWD }
      : { base: '00:0c:01:00:00:00', clients: 60_000 }
    const before = cpuSeconds(pid)
    const outcome = await perfdhcp(rig.clients, { shape, ...load, rate, seconds: plan.probe })
    row.peakMiB = Math.max(row.peakMiB, residentMemory(pid).peak / 1024)
    return { outcome, cpu: cpuSeconds(pid) - before }
  })
  const lost = outcome.discovers - outcome.acks.length
  const loss = Math.max(0, lost - outcome.overrun) / outcome.discovers
  const exchanges = outcome.acks.length / plan.probe
  if (rate === FIRST_RATE) {
    const times = outcome.acks.map(({ sent, received }) => (received - sent) * 1000)
    const microseconds = (cpu / outcome.acks.length) * 1e6
    row.at1000 = { p50: percentile(times, 0.5), p99: percentile(times, 0.99), loss, cpu: microseconds }
  }
  const senderBound = lost > LOSS * outcome.discovers || outcome.discovers < 0.95 * rate * plan.probe
  if (loss <= LOSS) {
    row.held = rate
    if (exchanges > row.best) Object.assign(row, { best: exchanges, senderBound })
  } else row.failed = rate
  console.log(
    `${rowName(row)}: ${rate}/s → ${Math.round(exchanges)}/s, ${(loss * 100).toFixed(1)} % lost${outcome.overrun > 0 ? `, ${outcome.overrun} at the sender` : ''}`
  )
}

// The other measures

const median = (numbers: readonly number[]) => percentile(numbers, 0.5)

/** Seconds until the last of the crowd has its lease. Those that have none after half a minute have it then. */
async function avalanche(rig: Rig): Promise<number> {
  const limitSeconds = 30
  const load = { shape: 'direct', base: '00:0c:01:00:00:00', clients: CROWD } as const
  const outcome = await served(rig, false, 'direct', () =>
    perfdhcp(rig.clients, { ...load, avalanche: true, limitSeconds })
  )
  const start = Math.min(...outcome.offers.map(({ sent }) => sent))
  const seconds =
    outcome.acks.length < CROWD
      ? limitSeconds
      : Math.max(...outcome.acks.map(({ received }) => received)) - start
  console.log(`${rig.name}: avalanche ${seconds.toFixed(2)} s, ${outcome.acks.length} leases`)
  return seconds
}

type Flood = {
  /** ms */
  alone: number
  flooded: number
  answered: { alone: number; flooded: number }
  forgedPerSecond: number
  grewMiB: number
}

async function flood(rig: Rig): Promise<Flood> {
  const enrolled = (seconds: number) =>
    perfdhcp(rig.clients, { shape: 'direct', base: ENROLLED, clients: CROWD, rate: 100, seconds })
  return served(rig, true, 'direct', async ({ pid }) => {
    const alone = await enrolled(plan.alone)
    const before = residentMemory(pid).now
    // Ordinary scheduling at lowest priority, so that the clients are not held up by the sender that they share a CPU with.
    const { under, namespace } = rig.clients
    const program = join(import.meta.dirname, 'dhcp-flood.ts')
    const command = [
      ...under,
      'chrt',
      '-o',
      '0',
      'nice',
      '-n',
      '19',
      process.execPath,
      program,
      String(plan.flood + 1),
      String(FORGED_A_SECOND)
    ]
    const sender = spawn('ip', ['netns', 'exec', namespace.name, ...command], {
      stdio: ['ignore', 'pipe', 'inherit']
    })
    const sent = text(sender.stdout)
    await sleep(1000)
    const flooded = await enrolled(plan.flood)
    const grewMiB = (residentMemory(pid).peak - before) / 1024
    const forgedPerSecond = Number(await sent) / (plan.flood + 1)
    const p99 = (outcome: Outcome) =>
      percentile(
        exchangeTimes(outcome).map((seconds) => Math.min(seconds, 1) * 1000),
        0.99
      )
    const answered = ({ acks, discovers }: Outcome) => acks.length / discovers
    const result = {
      alone: p99(alone),
      flooded: p99(flooded),
      answered: { alone: answered(alone), flooded: answered(flooded) },
      forgedPerSecond,
      grewMiB
    }
    console.log(`${rig.name}: flood`, JSON.stringify(result))
    return result
  })
}

/** fsync and fdatasync for each ACK. */
async function syncsPerAck(rig: Rig): Promise<number> {
  return served(rig, false, 'direct', async ({ pid }) => {
    const tracer = spawn('strace', ['-f', '-c', '-e', 'trace=fsync,fdatasync', '-p', String(pid)], {
      stdio: ['ignore', 'ignore', 'pipe']
    })
    const counted = text(tracer.stderr)
    await sleep(500)
    const load = { shape: 'direct', base: '00:0c:01:00:00:00', clients: CROWD } as const
    const { acks } = await perfdhcp(rig.clients, { ...load, rate: 100, seconds: 2 })
    tracer.kill('SIGINT')
    const calls = [...(await counted).matchAll(/^ *[\d.]+ +[\d.]+ +\d+ +(\d+).* (?:fsync|fdatasync)$/gm)]
    return calls.reduce((sum, [, count]) => sum + Number(count), 0) / acks.length
  })
}

// The run

const folder = mkdtempSync(join(tmpdir(), 'seedling-bench-'))
const rigs: Rig[] = []

async function cleanUp(): Promise<void> {
  for (const rig of rigs.splice(0)) await rig.remove()
  rmSync(folder, { recursive: true, force: true })
}
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => void cleanUp().then(() => process.exit(1)))

async function measure() {
  for (const name of servers) rigs.push(await addRig(name))
  const rows = [
    ...rigs.flatMap((rig) => [newRow(rig, 'direct'), newRow(rig, 'relayed')]),
    ...rigs.filter(({ name }) => name === 'seedling').map((rig) => newRow(rig, 'direct', true))
  ]
  for (let round = 0; round < plan.rounds; round++)
    for (let index = 0; index < rows.length; index++) await probe(rows[(index + round) % rows.length]!)

  const other = rigs.map((rig) => ({
    rig,
    rows: rows.filter((row) => row.rig === rig),
    avalanches: [] as number[],
    flood: null as Flood | null,
    syncs: NaN
  }))
  for (let count = 0; count < plan.avalanches; count++)
    for (const one of other) one.avalanches.push(await avalanche(one.rig))
  for (const one of other) one.flood = await flood(one.rig)
  for (const one of other) one.syncs = await syncsPerAck(one.rig)
  return other
}

type Measured = Awaited<ReturnType<typeof measure>>[number]

function printTable(all: readonly Measured[]): void {
  const cell = (number: number, digits = 0) => number.toFixed(digits).padStart(11)
  console.log(
    '\n                    exchanges/s     p50 ms     p99 ms     lost %     CPU µs        MiB    (p50 to CPU: at 1,000/s)'
  )
  for (const row of all.flatMap(({ rows }) => rows)) {
    const { p50, p99, loss, cpu } = row.at1000
    const best = `${row.senderBound ? '≥ ' : ''}${Math.round(row.best)}`.padStart(11)
    console.log(
      `${rowName(row).padEnd(20)}${best}${cell(p50, 1)}${cell(p99, 1)}${cell(loss * 100, 1)}${cell(cpu)}${cell(row.peakMiB, 1)}`
    )
  }
  console.log(
    '\n                    avalanche s  syncs/ACK  p99 alone  p99 flood  answered %   forged/s   grew MiB'
  )
  for (const { rig, avalanches, syncs, flood } of all)
    console.log(
      `${rig.name.padEnd(20)}${cell(median(avalanches), 2)}${cell(syncs, 2)}` +
        (flood
          ? `${cell(flood.alone, 1)}${cell(flood.flooded, 1)}${cell(flood.answered.flooded * 100, 1)}${cell(flood.forgedPerSecond)}${cell(flood.grewMiB, 1)}`
          : '')
    )
  console.log()
}

const rounded = (number: number) => (Number.isFinite(number) ? Number(number.toPrecision(4)) : null)

function figures({ rows, avalanches, flood, syncs }: Measured) {
  const each = (value: (row: Row) => number) =>
    Object.fromEntries(rows.map((row) => [row.enrolled ? 'enrolled' : row.shape, rounded(value(row))]))
  return {
    exchangesPerSecond: each((row) => row.best),
    p50Milliseconds: each((row) => row.at1000.p50),
    p99Milliseconds: each((row) => row.at1000.p99),
    lossAt1000: each((row) => row.at1000.loss),
    cpuMicroseconds: each((row) => row.at1000.cpu),
    residentMiB: each((row) => row.peakMiB),
    avalancheSeconds: rounded(median(avalanches)),
    syncsPerAck: rounded(syncs),
    flood: flood && {
      p99AloneMilliseconds: rounded(flood.alone),
      p99Milliseconds: rounded(flood.flooded),
      answered: rounded(flood.answered.flooded),
      forgedPerSecond: rounded(flood.forgedPerSecond),
      grewMiB: rounded(flood.grewMiB)
    }
  }
}

function ratios(all: readonly Measured[]) {
  const best = (name: ServerName, shape: Shape) =>
    all.find(({ rig }) => rig.name === name)?.rows.find((row) => row.shape === shape && !row.enrolled)
      ?.best ?? NaN
  const over = (peer: ServerName, shape: Shape) => rounded(best('seedling', shape) / best(peer, shape))
  const took = (name: ServerName) => median(all.find(({ rig }) => rig.name === name)?.avalanches ?? [])
  const ours = all.find(({ rig }) => rig.name === 'seedling')?.flood
  return {
    kea: over('kea', 'direct'),
    dnsmasq: over('dnsmasq', 'direct'),
    kea_relayed: over('kea', 'relayed'),
    dnsmasq_relayed: over('dnsmasq', 'relayed'),
    avalanche_kea: rounded(took('kea') / took('seedling')),
    avalanche_dnsmasq: rounded(took('dnsmasq') / took('seedling')),
    flood_p99: rounded(ours ? ours.flooded / ours.alone : NaN)
  }
}

try {
  const versions = [
    `Kea ${(await run('kea-dhcp4', '-v')).trim()}`,
    (await run('dnsmasq', '--version')).split('  ')[0]
  ]
  console.log(
    `${versions.join(', ')}; ${cpus} CPUs: ${cpus > 1 ? `servers on 0-${half - 1}, senders on ${half}-${cpus - 1}` : 'not pinned'}`
  )
  const all = await measure()
  printTable(all)
  const one = (name: ServerName) => {
    const measured = all.find(({ rig }) => rig.name === name)
    return measured ? figures(measured) : null
  }
  const peers = { kea: one('kea'), dnsmasq: one('dnsmasq') }
  console.log(JSON.stringify({ bench: 'dhcp', ours: one('seedling'), peers, ratios: ratios(all) }))
} finally {
  await cleanUp()
}
