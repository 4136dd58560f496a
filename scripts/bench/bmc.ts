// Power status of many BMCs: ours (log-in, status, log-out) against
//
//   ipmipower   FreeIPMI's, one process for all of them, the anchor
//   ipmitool    a process for each BMC, 10 at once
//
// on OpenIPMI's ipmi_sim, a process for each BMC, cipher suite 3 for all three; then the same at 20 % loss each way on
// our reference BMCs, suite 17; then 1,000 of these of which 50 are dead. The three clients take turns, so that they meet
// the same noise; the median of each counts. Ours is timed within a process that has run before, as the service has; its
// first round is told apart. Last line: one JSON object.
//
//   scripts/bench/bmc [ROUNDS]       default 5

import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { promisify } from 'node:util'
import pino from 'pino'
import { startBmcs } from '../../services/bmc/bmcs.ts'
import type { BmcAccess } from '../../src/domain/bmc.ts'
import { startIpmiSim } from '../../test/services/bmc/ipmi-sim.ts'

const run = promisify(execFile)
const rounds = Number(process.argv[2] ?? 5)
const SUITE = 3
const LOSSY = 40
const MANY = 1000
const DEAD = 50

type Cost = { seconds: number; cpuSeconds: number; ok: number }

const teardowns: (() => unknown)[] = []
const later = { teardown: (work: () => unknown) => void teardowns.push(work) }

function access(address: string, cipherSuites: number[]): BmcAccess {
  return {
    ...{ driver: 'ipmi', address, port: 623, username: 'admin', password: 'secret123', protocol: '2.0' },
    ...{ cipherSuites, kg: '', privilege: 'administrator', loginQuirk: null }
  }
}

/** Asks all at once; resolves when the last is known, logged out included. `known`: when all but the dead were. */
async function ours(
  addresses: string[],
  suites: number[],
  operation = 20_000
): Promise<Cost & { known: number; median: number }> {
  const bmcs = startBmcs({
    now: () => performance.now(),
    random: randomBytes,
    log: pino({ enabled: false }),
    operation,
    // Logged out as soon as the answer is there, as the others do.
    idle: 0
  })
  const cpu = process.cpuUsage()
  const start = performance.now()
  const took: number[] = []
  await Promise.all(
    addresses.map(async (address) => {
      await bmcs
        .bmc(address, access(address, suites))
        .powerState()
        .then(
          () => took.push((performance.now() - start) / 1000),
          () => undefined
        )
    })
  )
  await bmcs.close()
  const { user, system } = process.cpuUsage(cpu)
  took.sort((a, b) => a - b)
  return {
    seconds: (performance.now() - start) / 1000,
    cpuSeconds: (user + system) / 1e6,
    ok: took.length,
    known: took.at(-1) ?? 0,
    median: took[took.length >> 1] ?? 0
  }
}

/** A shell command's wall and CPU time, its children's included; `count` counts its good answers. */
async function timed(command: string, count: (stdout: string) => number): Promise<Cost> {
  const script = `TIMEFORMAT='%R %U %S'; time { ${command} || true; } 2>/dev/null`
  const { stdout, stderr } = await run('bash', ['-c', script], {
    env: { ...process.env, IPMI_PASSWORD: 'secret123' }
  })
  const [real = 0, user = 0, system = 0] = (stderr.trim().split('\n').at(-1) ?? '').split(' ').map(Number)
  return { seconds: real, cpuSeconds: user + system, ok: count(stdout) }
}

const lines = (pattern: RegExp) => (stdout: string) =>
  stdout.split('\n').filter((line) => pattern.test(line)).length

function ipmipower(addresses: string[], suite: number): Promise<Cost> {
  const login = `-D LAN_2_0 -u admin -p secret123 -l ADMIN -I ${suite} -W opensesspriv`
  return timed(`ipmipower ${login} -h ${addresses.join(',')} --stat`, lines(/: (on|off)$/))
}

function ipmitool(addresses: string[], suite: number): Promise<Cost> {
  const one = `ipmitool -I lanplus -U admin -E -C ${suite} -H {} chassis power status`
  return timed(`echo ${addresses.join(' ')} | tr ' ' '\\n' | xargs -P 10 -I {} ${one}`, lines(/Power is/))
}

async function farm(first: number, count: number, loss: number, silent: number): Promise<ChildProcess> {
  const file = new URL('bmc-farm.ts', import.meta.url).pathname
  const child = spawn(process.execPath, [file, ...[first, count, loss, silent].map(String)], {
    stdio: ['pipe', 'pipe', 'inherit']
  })
  later.teardown(() => child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  return child
}

function median(values: number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0
}

function middle(costs: Cost[]): Cost {
  return {
    seconds: median(costs.map(({ seconds }) => seconds)),
    cpuSeconds: median(costs.map(({ cpuSeconds }) => cpuSeconds)),
    ok: Math.min(...costs.map(({ ok }) => ok))
  }
}

function tell(name: string, { seconds, cpuSeconds, ok }: Cost, count: number): void {
  const each = ((cpuSeconds / count) * 1000).toFixed(2)
  console.log(`  ${name.padEnd(10)} ${seconds.toFixed(3)} s, ${each} ms of CPU each, ${ok}/${count} answered`)
}

async function bench(): Promise<void> {
  const addresses = Array.from({ length: 100 }, (_, at) => `127.68.0.${at + 1}`)
  const users = ['true "admin" "secret123" admin 10']
  await Promise.all(
    addresses.map((address) => startIpmiSim(later, users, { address, port: 623, machine: false }))
  )
  const result = {
    ours: {} as Record<string, unknown>,
    peers: { ipmipower: {}, ipmitool: {} } as Record<string, Record<string, unknown>>
  }
  let ratios = {}
  for (const count of [1, 10, 100]) {
    const some = addresses.slice(0, count)
    const first = await ours(some, [SUITE])
    const costs = { ours: [] as Cost[], ipmipower: [] as Cost[], ipmitool: [] as Cost[] }
    for (let round = 0; round < rounds; round++) {
      costs.ours.push(await ours(some, [SUITE]))
      costs.ipmipower.push(await ipmipower(some, SUITE))
      if (round < 2) costs.ipmitool.push(await ipmitool(some, SUITE))
    }
    const [us, power, tool] = [middle(costs.ours), middle(costs.ipmipower), middle(costs.ipmitool)]
    console.log(`${count} BMCs (ours at first: ${first.seconds.toFixed(3)} s)`)
    tell('ours', us, count)
    tell('ipmipower', power, count)
    tell('ipmitool', tool, count)
    result.ours[`bmcs${count}`] = us
    result.peers['ipmipower']![`bmcs${count}`] = power
    result.peers['ipmitool']![`bmcs${count}`] = tool
    ratios = {
      ipmipower: power.seconds / us.seconds,
      ipmitool: tool.seconds / us.seconds,
      cpu_ipmipower: power.cpuSeconds / us.cpuSeconds
    }
  }
  for (const stop of teardowns.splice(0)) await stop()

  await farm(0, LOSSY, 0.2, 0)
  const lossy = Array.from({ length: LOSSY }, (_, at) => `127.69.0.${at}`)
  const us = await ours(lossy, [17, 3], 60_000)
  const power = await ipmipower(lossy, 17)
  console.log(`${LOSSY} BMCs at 20 % loss each way (ours: median ${us.median.toFixed(2)} s)`)
  tell('ours', us, LOSSY)
  tell('ipmipower', power, LOSSY)
  tell('ipmitool', await ipmitool(lossy, 17), LOSSY)
  for (const stop of teardowns.splice(0)) await stop()

  await farm(0, MANY / 2, 0, DEAD / 2)
  await farm(MANY / 2, MANY / 2, 0, DEAD / 2)
  const many = Array.from({ length: MANY }, (_, at) => `127.69.${at >> 8}.${at & 0xff}`)
  const all = await ours(many, [17, 3])
  console.log(`${MANY} BMCs, ${DEAD} of them dead: ${all.ok} known after ${all.known.toFixed(2)} s`)
  result.ours['lossy'] = us
  result.ours['many'] = all
  result.peers['ipmipower']!['lossy'] = power
  console.log(JSON.stringify({ bench: 'bmc', ...result, ratios }))
}

try {
  await bench()
} finally {
  for (const stop of teardowns.splice(0)) await stop()
}
