// Seedling on the rack: its configuration, its process in the seed's namespace, its command line and its API.
import { spawn } from 'node:child_process'
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { startAppliance } from './appliance.ts'
import { root, until } from './lab.ts'
import { bootMode, cpuArch } from './plan.ts'
import type { RackPlan } from './plan.ts'
import { inNamespace, recordedPid, startDetached, stopRecorded } from './process.ts'

const program = join(root, 'scripts/seedling')
const imageDir = join(root, '.cache/image')

/** What `seedling serve` is given on this rack. */
export function seedConfig(rack: RackPlan): object {
  const { lan, management, dataDir, apiPort, apiSocket } = rack.seed
  return {
    dataDir,
    network: {
      interface: lan.link,
      address: lan.address,
      subnets: [
        {
          cidr: `192.0.2.0/${lan.prefix}`,
          pool: { start: '192.0.2.100', end: '192.0.2.199' },
          gateway: lan.address,
          dns: [],
          leaseSeconds: 3600,
          ...(rack.options.mtu === 1500 ? {} : { mtu: rack.options.mtu })
        }
      ]
    },
    http: { port: 80 },
    api: { address: management.address, port: apiPort, socket: apiSocket },
    boot: {
      kernel: join(imageDir, 'ramdisk/vmlinuz'),
      ramdisk: join(imageDir, 'ramdisk/ramdisk.img'),
      ...(rack.machines.some(({ firmware }) => cpuArch(firmware) === 'aarch64')
        ? {
            aarch64: {
              kernel: join(imageDir, 'ramdisk-arm64/vmlinuz'),
              ramdisk: join(imageDir, 'ramdisk-arm64/ramdisk.img')
            }
          }
        : {}),
      loaders: [join(imageDir, 'ipxe'), join(imageDir, 'shim')],
      console: ['tty0', 'ttyS0,115200']
    },
    log: { level: 'info' }
  }
}

/** Starts Seedling, in its appliance if the rack has one, unless it runs, and waits until its API answers. @throws Error naming the log when it does not */
export async function startSeed(rack: RackPlan, config?: object): Promise<void> {
  if (seedPid(rack) !== undefined) return
  if (rack.appliance) return startAppliance(rack, rack.appliance, config)
  writeFileSync(rack.seed.config, JSON.stringify(config ?? seedConfig(rack), null, 2))
  startDetached(inNamespace(rack.seed.namespace, [program, 'serve', '--config', rack.seed.config]), rack.seed)
  await until(
    async () => {
      if (seedPid(rack) === undefined) throw new Error('Seedling ended')
      return api(rack, 'GET', '/v1/nodes').catch(() => undefined)
    },
    'Seedling does not answer',
    { patienceMs: 30_000 }
  ).catch((error: Error) => {
    // A test's rack is gone by the time somebody wants to read the log.
    const last = readFileSync(rack.seed.log, 'utf8').trimEnd().split('\n').slice(-5)
    throw new Error([`${error.message}; the end of ${rack.seed.log}:`, ...last].join('\n'))
  })
}

/** Ends Seedling: SIGTERM for a clean stop, SIGKILL for a crash. */
export const stopSeed = (rack: RackPlan, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> =>
  stopRecorded(rack.seed.pidFile, { signal })

export const seedPid = (rack: RackPlan): number | undefined => recordedPid(rack.seed.pidFile)

/** One call of Seedling's API over its Unix socket; undefined when the answer is empty. @throws Error with status and answer when it is not 2xx */
export async function api<T = unknown>(
  rack: RackPlan,
  method: string,
  path: string,
  body?: object
): Promise<T> {
  return new Promise((resolve, reject) => {
    const call = request(
      {
        socketPath: rack.seed.apiSocket,
        method,
        path,
        headers: body ? { 'content-type': 'application/json' } : {}
      },
      (response) => {
        const { statusCode = 0 } = response
        text(response).then(
          (answer) =>
            statusCode < 300
              ? resolve((answer === '' ? undefined : JSON.parse(answer)) as T)
              : reject(new Error(`${method} ${path}: ${statusCode} ${answer}`)),
          reject
        )
      }
    )
    call.on('error', reject)
    call.end(body && JSON.stringify(body))
  })
}

/**
 * Runs `seedling ARGS` against the rack's API and answers its output.
 * @throws Error with what it said on stderr when it fails
 */
export async function seedling(rack: RackPlan, ...args: string[]): Promise<string> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: forRack(rack) })
  let output = ''
  let complaint = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaint += text))
  const code = await new Promise((resolve) => child.on('close', resolve))
  if (code !== 0)
    throw new Error(`seedling ${args.join(' ')}: ${complaint.trim() || output.trim() || `exit code ${code}`}`)
  return output
}

/** The same with our own terminal; answers the exit code. */
export function seedlingHere(rack: RackPlan, args: readonly string[]): Promise<number> {
  const child = spawn(program, args, { stdio: 'inherit', env: forRack(rack) })
  return new Promise((resolve) => child.on('close', (code) => resolve(code ?? 1)))
}

/** Every line that `seedling event follow` prints, until the function answered is called. */
export function followEvents(rack: RackPlan, onLine: (line: string) => void): () => void {
  const child = spawn(program, ['event', 'follow'], {
    stdio: ['ignore', 'pipe', 'ignore'],
    env: forRack(rack)
  })
  createInterface({ input: child.stdout }).on('line', onLine)
  return () => child.kill()
}

const forRack = (rack: RackPlan): NodeJS.ProcessEnv => ({
  ...process.env,
  SEEDLING_SOCKET: rack.seed.apiSocket
})

/** Writes the inventory file an operator would write: one entry per machine, with its BMC. */
export function writeInventory(rack: RackPlan): void {
  const nodes = rack.machines.map(({ name, mac, firmware, memoryMiB, diskGiB, bmc }) => ({
    name,
    pm_type: 'ipmi',
    pm_addr: bmc.address,
    pm_port: bmc.port,
    pm_user: bmc.username,
    pm_password: bmc.password,
    ports: [{ address: mac }],
    cpu: 1,
    memory: memoryMiB,
    disk: diskGiB,
    arch: cpuArch(firmware),
    capabilities: `boot_mode:${bootMode(firmware)}`
  }))
  writeFileSync(rack.inventory, `${JSON.stringify({ nodes }, null, 2)}\n`)
  // It holds the BMCs' passwords.
  chmodSync(rack.inventory, 0o600)
}
