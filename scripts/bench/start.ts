// How soon Seedling serves after its start, with 1,000 machines and 10,000 leases in its state.
//
//   scripts/bench/start [TIMES [MAIN]]     default 5 and services/main.ts, or main.js of a bundle; needs root and iproute2
//
// Each time the process is killed and started again; the clock begins when it is spawned. A machine that is enrolled sends a DISCOVER
// every 20 ms from another namespace. The first row is a start after a long absence, where Seedling first looks for other
// DHCP servers on its link; the others come back after a moment.
//
//   first OFFER   until the machine has an OFFER
//   API           until `GET /v1/nodes` of the Unix socket is answered in full

import { once } from 'node:events'
import { createSocket } from 'node:dgram'
import { mkdtempSync, rmSync, mkdirSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createApply } from '../../services/store/apply.ts'
import { openStore } from '../../services/store/open.ts'
import { encodeDhcp } from '../../src/wire/dhcp.ts'
import { formatIp, parseIp } from '../../src/wire/address.ts'
import { aLease, aNode, aPort } from '../../test/support/builders.ts'
import { aMac, aRequest } from '../../test/support/dhcp.ts'
import { addNamespace, connect } from '../../test/support/namespace.ts'

const MACHINES = 1000
const LEASES = 10_000
const FIRST = parseIp('10.9.1.0') as number
const SERVER = '10.9.0.1'
const main = process.argv[3] ?? join(import.meta.dirname, '../../services/main.ts')

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
      apply([{ put: 'lease', row: aLease({ ip, mac, kind, expiresAt: now + 86_400_000 }) }])
    }
  })
  store.close()
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

async function measure(times: number): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'bench-start-'))
  const [server, machine] = [await addNamespace('server'), await addNamespace('machine')]
  try {
    await connect([server, 'eth0'], [machine, 'eth0'])
    await server.run('ip', 'address', 'add', `${SERVER}/16`, 'dev', 'eth0')
    await machine.run('ip', 'address', 'add', '10.9.0.2/16', 'dev', 'eth0')
    await machine.run('ip', 'route', 'add', 'default', 'dev', 'eth0')
    mkdirSync(join(root, 'loaders'))
    for (const file of ['vmlinuz', 'ramdisk.img', 'loaders/undionly.kpxe'])
      writeFileSync(join(root, file), file)
    const subnet = {
      cidr: '10.9.0.0/16',
      pool: { start: '10.9.1.0', end: formatIp(FIRST + MACHINES - 1) },
      discovery: { start: formatIp(FIRST + MACHINES), end: formatIp(FIRST + LEASES + 999) }
    }
    const config = {
      dataDir: 'data',
      network: { interface: 'eth0', address: SERVER, subnets: [subnet] },
      api: { socket: 'api.sock' },
      boot: { kernel: 'vmlinuz', ramdisk: 'ramdisk.img', loaders: 'loaders' },
      bmc: { pollSeconds: 0 }
    }
    writeFileSync(join(root, 'seedling.json'), JSON.stringify(config))
    fill(join(root, 'data'))
    for (let time = 0; time <= times; time++) {
      const client = machine.spawn(process.execPath, [import.meta.filename, 'machine'])
      await once(client.stdout as NonNullable<typeof client.stdout>, 'data')
      const started = performance.now()
      const since = () => Math.round(performance.now() - started)
      const child = server.spawn(process.execPath, [main, 'serve', '--config', join(root, 'seedling.json')])
      let said = ''
      for (const stream of [child.stdout, child.stderr])
        stream?.on('data', (bytes: Buffer) => (said = (said + bytes.toString()).slice(-4000)))
      const ended = once(child, 'close')
      const offer = once(client.stdout as NonNullable<typeof client.stdout>, 'data').then(since)
      const api = (async () => {
        while (!(await answers(join(root, 'api.sock')))) {
          if (child.exitCode !== null) throw new Error(said)
          await sleep(10)
        }
        return since()
      })()
      const [offerAt, apiAt] = await Promise.all([offer, api])
      console.log(`${time === 0 ? 'after long' : 'again     '}  first OFFER ${offerAt} ms  API ${apiAt} ms`)
      child.kill('SIGKILL')
      await ended
    }
  } finally {
    for (const namespace of [server, machine]) await namespace.remove()
    rmSync(root, { recursive: true })
  }
}

if (process.argv[2] === 'machine') await askForOffer()
else await measure(Number(process.argv[2] ?? 5))
