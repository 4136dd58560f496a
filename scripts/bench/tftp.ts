// TFTP against tftpd-hpa, dnsmasq and atftpd, all up at the same time in one namespace, asked in turn from another over a virtual cable, so that
// they meet the same noise; the median of each counts. Ours is the service with its store, not the bare transfer.
//
//   one       one client, 64 MiB: curl (window 1, blocks of 512 and 1468), atftp (1468, windows of 8 and 64)
//   many      64 clients at once, 4 MiB each: curl, 1468, window 1; all together
//   loss      one client, 512 KiB, every hundredth datagram lost each way: curl, 1468, window 1
//
// dnsmasq and tftpd-hpa know no windows. Rates in MB/s (10⁶ bytes). Last line: one JSON object.
//
//   scripts/bench/tftp [RUNS]       default 3; needs root

import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { content } from '../../test/services/tftp/content.ts'
import { serveApart } from '../../test/services/tftp/serving.ts'
import { addNamespace, connect } from '../../test/support/namespace.ts'
import { peerProgram } from './peers.ts'

const SERVER = '192.0.2.1'
const CLIENTS = 64
const LARGE = 64 * 2 ** 20
const SMALL = 4 * 2 ** 20
const LOSSY = 512 * 1024
const runs = Number(process.argv[2] ?? 3)

const folder = mkdtempSync(join(tmpdir(), 'seedling-bench-'))
const root = join(folder, 'root')
const loaders = { 'large.efi': LARGE, 'small.efi': SMALL, 'lossy.efi': LOSSY }
mkdirSync(root)
for (const path of [folder, root]) chmodSync(path, 0o755)
for (const [name, size] of Object.entries(loaders)) writeFileSync(join(root, name), content(size))

const clients = Array.from({ length: CLIENTS }, (_, index) => `192.0.2.${100 + index}`)
const [host, room] = [await addNamespace('host'), await addNamespace('room')]
const median = (numbers: number[]) =>
  numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] as number

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await work()
  return (performance.now() - start) / 1000
}

try {
  await connect([host, 'lan'], [room, 'eth0'])
  await host.run('ip', 'address', 'add', `${SERVER}/24`, 'dev', 'lan')
  for (const address of clients) await room.run('ip', 'address', 'add', `${address}/24`, 'dev', 'eth0')

  const wrap = ['ip', 'netns', 'exec', host.name]
  const ours = await serveApart({ address: SERVER, port: 6901, loaders, clients }, wrap)
  const hpa = peerProgram('tftpd-hpa', 'usr/sbin/in.tftpd')
  host.spawn(hpa, ['-L', '-a', `${SERVER}:6902`, '-s', root])
  const dnsmasq = [
    '--no-daemon',
    '--conf-file=/dev/null',
    '--port=0',
    '--enable-tftp',
    '--user=root',
    '--tftp-max=1000'
  ]
  host.spawn(peerProgram('dnsmasq-base', 'usr/sbin/dnsmasq'), [
    ...dnsmasq,
    `--tftp-root=${root}`,
    `--listen-address=${SERVER}`,
    `--pid-file=${folder}/dnsmasq.pid`
  ])
  const atftpd = [
    '--daemon',
    '--no-fork',
    '--user',
    'root.root',
    '--bind-address',
    SERVER,
    '--port',
    '6903',
    '--maxthread',
    '200'
  ]
  host.spawn(peerProgram('atftpd', 'usr/sbin/atftpd'), [...atftpd, root])
  await sleep(1500)
  const ports = { ours: ours.port, tftpd: 6902, dnsmasq: 69, atftpd: 6903 }
  type Server = keyof typeof ports

  const curl = (server: Server, file: string, block: number, more: string[] = []) => [
    ...['curl', '-sS', '--max-time', '120', '-o', '/dev/null', '--tftp-blksize', String(block)],
    ...[...more, `tftp://${SERVER}:${ports[server]}/${file}`]
  ]
  const atftp = (server: Server, file: string, block: number, window: number) => [
    ...['atftp', '--option', `blksize ${block}`, '--option', `windowsize ${window}`],
    ...['-g', '-r', file, '-l', '/dev/null', SERVER, String(ports[server])]
  ]
  const inRoom = (command: string[]) => room.run(command[0] as string, ...command.slice(1))
  const all = (server: Server) =>
    room.run(
      'sh',
      '-c',
      `${clients.map((address) => `${curl(server, 'small.efi', 1468, ['--interface', address]).join(' ')} & p="$p $!"`).join('\n')}
       for one in $p; do wait $one || exit 1; done`
    )
  const lossy = async (work: () => Promise<unknown>) => {
    const rules = `table ip lossy {
      chain input {
        type filter hook input priority 0
        meta l4proto udp numgen inc mod 100 == 50 drop
      }
    }`
    for (const namespace of [host, room]) await namespace.run('nft', rules)
    try {
      await work()
    } finally {
      for (const namespace of [host, room]) await namespace.run('nft', 'delete table ip lossy')
    }
  }

  type Case = { bytes: number; servers: Server[]; work: (server: Server) => Promise<unknown> }
  const everybody: Server[] = ['ours', 'tftpd', 'dnsmasq', 'atftpd']
  const windows: Server[] = ['ours', 'atftpd']
  const one = (block: number) => (server: Server) => inRoom(curl(server, 'large.efi', block))
  const windowed = (window: number) => (server: Server) => inRoom(atftp(server, 'large.efi', 1468, window))
  const cases: Record<string, Case> = {
    'one, 512, window 1': { bytes: LARGE, servers: everybody, work: one(512) },
    'one, 1468, window 1': { bytes: LARGE, servers: everybody, work: one(1468) },
    'one, 1468, window 8': { bytes: LARGE, servers: windows, work: windowed(8) },
    'one, 1468, window 64': { bytes: LARGE, servers: windows, work: windowed(64) },
    'many, 1468, window 1': { bytes: SMALL * CLIENTS, servers: everybody, work: all },
    'loss, 1468, window 1': {
      bytes: LOSSY,
      servers: everybody,
      work: (server) => lossy(() => inRoom(curl(server, 'lossy.efi', 1468)))
    }
  }
  const rates: Record<string, Partial<Record<Server, number>>> = {}
  for (const [name, { bytes, servers, work }] of Object.entries(cases)) {
    const found: Record<string, number[]> = {}
    for (let run = 1; run <= runs; run++) {
      console.log(`${name}, run ${run} of ${runs}`)
      for (const server of servers) {
        const took = await seconds(() => work(server)).catch((error: Error) => {
          console.log(`  ${server}: ${error.message.trim().split('\n').pop()}`)
          return Infinity
        })
        ;(found[server] ??= []).push(bytes / 1e6 / took)
      }
    }
    rates[name] = Object.fromEntries(servers.map((server) => [server, median(found[server] as number[])]))
  }
  const { rss, loopP99 } = await ours.stop()

  const rate = (name: string, server: Server) => rates[name]?.[server] ?? NaN
  const fixed = (number: number | undefined) => (number === undefined ? '-' : number.toFixed(2)).padStart(10)
  console.log(`\nMB/s, median of ${runs}        ${everybody.map((server) => server.padStart(10)).join('')}`)
  for (const [name, found] of Object.entries(rates))
    console.log(`${name.padEnd(30)}${everybody.map((server) => fixed(found[server])).join('')}`)
  console.log(`ours: ${(rss / 2 ** 20).toFixed(0)} MiB, event loop p99 ${loopP99.toFixed(1)} ms`)
  const ratio = (ours: number, theirs: number) => Number((ours / theirs).toFixed(3))
  const against = (name: string, server: Server) => ratio(rate(name, 'ours'), rate(name, server))
  console.log(
    JSON.stringify({
      bench: 'tftp',
      ours: {
        megabytesPerSecond: Object.fromEntries(Object.entries(rates).map(([name, { ours }]) => [name, ours])),
        rss,
        loopP99
      },
      peers: { megabytesPerSecond: rates },
      ratios: {
        tftpd_w1: against('one, 1468, window 1', 'tftpd'),
        tftpd_w1_512: against('one, 512, window 1', 'tftpd'),
        dnsmasq_w1: against('one, 1468, window 1', 'dnsmasq'),
        atftpd_w8: against('one, 1468, window 8', 'atftpd'),
        atftpd_w64: against('one, 1468, window 64', 'atftpd'),
        tftpd_w64: ratio(rate('one, 1468, window 64', 'ours'), rate('one, 1468, window 1', 'tftpd')),
        tftpd_64clients: against('many, 1468, window 1', 'tftpd'),
        dnsmasq_64clients: against('many, 1468, window 1', 'dnsmasq'),
        tftpd_loss: against('loss, 1468, window 1', 'tftpd'),
        dnsmasq_loss: against('loss, 1468, window 1', 'dnsmasq'),
        atftpd_loss: against('loss, 1468, window 1', 'atftpd')
      }
    })
  )
} finally {
  await Promise.all([host, room].map((namespace) => namespace.remove()))
  rmSync(folder, { recursive: true, force: true })
}
