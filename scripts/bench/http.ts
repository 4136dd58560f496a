// HTTP against nginx with sendfile, both up at the same time in one namespace, asked in turn by curl from another over a virtual cable, so that they
// meet the same noise; the median of each counts. Ours is the service with its store and its gate. Before the first run both are asked for 2000 times
// one byte, as a server that has been up for a while has been.
//
//   hot       32 MiB: a chunk; one client eight times in a row, and 64 at once
//   cold      1 GiB: a ramdisk too large for memory, sent from its file (the system's cache has it, for both)
//   cold, 64  64 clients at once, each its own 16 MiB of that file
//
// Rates in MB/s (10⁶ bytes). Last line: one JSON object.
//
//   scripts/bench/http [RUNS]       default 9; needs root

import { createHash } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeFileSync,
  writeSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { serveBootApart } from '../../test/services/boot/serving.ts'
import { content } from '../../test/services/tftp/content.ts'
import { addNamespace, connect } from '../../test/support/namespace.ts'
import { peerProgram } from './peers.ts'

const SERVER = '192.0.2.1'
const CLIENTS = 64
const MIB = 2 ** 20
const HOT = 32 * MIB
const COLD = 1024 * MIB
const SHARE = 16 * MIB
const IN_A_ROW = 8
const runs = Number(process.argv[2] ?? 9)

const folder = mkdtempSync(join(tmpdir(), 'seedling-bench-'))
const root = join(folder, 'root')
mkdirSync(root)
for (const path of [folder, root]) chmodSync(path, 0o755)
const hot = content(HOT)
writeFileSync(join(root, 'hot'), hot)
writeFileSync(join(root, 'kernel'), content(8 * MIB))
const large = openSync(join(root, 'cold'), 'w')
for (let at = 0; at < COLD; at += HOT) writeSync(large, hot)
closeSync(large)

const clients = Array.from({ length: CLIENTS }, (_, index) => `192.0.2.${100 + index}`)
const [host, room] = [await addNamespace('host'), await addNamespace('room')]
const median = (numbers: number[]) =>
  numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] as number

/** Our service in the namespace `host`. */
function serveOurs(port: number) {
  const chunk = { path: join(root, 'hot'), sha256: createHash('sha256').update(hot).digest('hex') }
  const [kernel, ramdisk] = [join(root, 'kernel'), join(root, 'cold')]
  const serve = { address: SERVER, port, kernel, ramdisk, chunks: [chunk], clients }
  return serveBootApart(serve, ['ip', 'netns', 'exec', host.name])
}

try {
  await connect([host, 'lan'], [room, 'eth0'])
  await host.run('ip', 'address', 'add', `${SERVER}/24`, 'dev', 'lan')
  for (const address of clients) await room.run('ip', 'address', 'add', `${address}/24`, 'dev', 'eth0')
  const ours = await serveOurs(8001)
  writeFileSync(
    join(folder, 'nginx.conf'),
    `daemon off; user root; worker_processes auto; pid ${folder}/nginx.pid; error_log stderr;
     events { worker_connections 1024; }
     http { access_log off; sendfile on; tcp_nopush on; client_body_temp_path ${folder}/a; proxy_temp_path ${folder}/b;
       fastcgi_temp_path ${folder}/c; uwsgi_temp_path ${folder}/d; scgi_temp_path ${folder}/e;
       server { listen ${SERVER}:8002; root ${root}; } }`
  )
  host.spawn(peerProgram('nginx', 'usr/sbin/nginx'), ['-c', join(folder, 'nginx.conf'), '-e', 'stderr'])
  await sleep(1000)

  const url = {
    ours: {
      hot: `http://${SERVER}:8001${ours.paths.chunks[0]}`,
      cold: `http://${SERVER}:8001${ours.paths.ramdisk}`
    },
    nginx: { hot: `http://${SERVER}:8002/hot`, cold: `http://${SERVER}:8002/cold` }
  }
  type Server = keyof typeof url
  const servers: Server[] = ['ours', 'nginx']
  const curl = 'curl -fsS --max-time 120 -o /dev/null'
  const atOnce = (command: (index: number) => string) =>
    `p=; ${clients.map((_, index) => `${command(index)} & p="$p $!"`).join('\n')}
     for one in $p; do wait $one || exit 1; done`
  const cases: Record<string, { bytes: number; script: (server: Server) => string }> = {
    'hot, one': {
      bytes: HOT * IN_A_ROW,
      script: (server) => `curl -fsS ${`-o /dev/null ${url[server].hot} `.repeat(IN_A_ROW)}`
    },
    'hot, 64': {
      bytes: HOT * CLIENTS,
      script: (server) => atOnce((index) => `${curl} --interface ${clients[index]} ${url[server].hot}`)
    },
    'cold, one': { bytes: COLD, script: (server) => `${curl} ${url[server].cold}` },
    'cold, 64': {
      bytes: SHARE * CLIENTS,
      script: (server) =>
        atOnce((index) => {
          const start = (index * SHARE) % COLD
          return `${curl} --interface ${clients[index]} -r ${start}-${start + SHARE - 1} ${url[server].cold}`
        })
    }
  }
  for (const server of servers)
    await room.run('sh', '-c', `curl -fsS -r 0-0 -o /dev/null '${url[server].hot}?[1-2000]'`)
  const rates: Record<string, Record<Server, number>> = {}
  for (const [name, { bytes, script }] of Object.entries(cases)) {
    const found: Record<Server, number[]> = { ours: [], nginx: [] }
    for (let run = 1; run <= runs; run++) {
      console.log(`${name}, run ${run} of ${runs}`)
      for (const server of servers) {
        const start = performance.now()
        await room.run('sh', '-c', script(server))
        found[server].push(bytes / 1e3 / (performance.now() - start))
      }
    }
    rates[name] = { ours: median(found.ours), nginx: median(found.nginx) }
  }
  const { rss, loopP99 } = await ours.stop()

  const fixed = (number: number) => number.toFixed(0).padStart(9)
  const ratio = (name: string) =>
    Number(((rates[name]?.ours ?? NaN) / (rates[name]?.nginx ?? NaN)).toFixed(3))
  console.log(`\nMB/s, median of ${runs}      ours    nginx    ratio`)
  for (const [name, { ours, nginx }] of Object.entries(rates))
    console.log(`${name.padEnd(18)}${fixed(ours)}${fixed(nginx)}${ratio(name).toFixed(2).padStart(9)}`)
  console.log(`ours: ${(rss / MIB).toFixed(0)} MiB, event loop p99 ${loopP99.toFixed(1)} ms`)
  const each = (server: Server) =>
    Object.fromEntries(Object.entries(rates).map(([name, found]) => [name, Number(found[server].toFixed(1))]))
  console.log(
    JSON.stringify({
      bench: 'http',
      ours: { megabytesPerSecond: each('ours'), rss, loopDelayP99Milliseconds: loopP99 },
      peers: { nginx: { megabytesPerSecond: each('nginx') } },
      ratios: {
        nginx: ratio('hot, one'),
        nginx_64clients: ratio('hot, 64'),
        nginx_cold: ratio('cold, one'),
        nginx_cold_64clients: ratio('cold, 64')
      }
    })
  )
} finally {
  await Promise.all([host, room].map((namespace) => namespace.remove()))
  rmSync(folder, { recursive: true, force: true })
}
