// Real Seedlings for tests: `seedling serve` as a process in a namespace, on a folder with nothing in it but a configuration.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { createApply, type Apply } from '../../services/store/apply.ts'
import { openStore } from '../../services/store/open.ts'
import { addNamespace, connect, run, type Namespace } from './namespace.ts'

const MAIN = join(import.meta.dirname, '../../services/main.ts')

/** A folder that holds a configuration; `data` in it is the state. */
export function aFolder(root: string, name: string, address: string): string {
  const folder = join(root, name)
  mkdirSync(join(folder, 'loaders'), { recursive: true })
  for (const file of ['vmlinuz', 'ramdisk.img', 'loaders/undionly.kpxe'])
    writeFileSync(join(folder, file), file)
  const subnets = [{ cidr: '192.0.2.0/24', pool: { start: '192.0.2.100', end: '192.0.2.199' } }]
  const config = {
    dataDir: 'data',
    network: { interface: 'eth0', address, subnets },
    api: { socket: 'api.sock' },
    boot: { kernel: 'vmlinuz', ramdisk: 'ramdisk.img', loaders: 'loaders' },
    bmc: { pollSeconds: 0 }
  }
  writeFileSync(join(folder, 'seedling.json'), JSON.stringify(config))
  return folder
}

/** Seedling's host, a room at the other end of its cable (`mac`: the room's), and a folder for it; all gone after the test. */
export async function aHostAndRoom(t: Pick<Test, 'teardown'>, mac?: string) {
  const root = mkdtempSync(join(tmpdir(), 'served-'))
  const [host, room] = [await addNamespace('host'), await addNamespace('room')]
  t.teardown(async () => {
    for (const namespace of [host, room]) await namespace.remove()
    rmSync(root, { recursive: true })
  })
  await connect([host, 'eth0'], [room, 'eth0'], mac)
  await host.run('ip', 'address', 'add', '192.0.2.1/24', 'dev', 'eth0')
  return { root, host, room, folder: aFolder(root, 'seedling', '192.0.2.1') }
}

/** Puts rows into the state in a folder, while nobody runs on it. */
export function fill(folder: string, changes: Parameters<Apply>[0]): void {
  const store = openStore(dataOf(folder))
  store.commit(() => createApply(store)(changes))
  store.close()
}

export type Served = {
  serves(): Promise<void>
  ended: Promise<{ code: number | null; said: string }>
  /** Only told to end, unless killed. */
  stop(signal?: NodeJS.Signals): void
}

/** `wrap`: a program that starts it. */
export function serve(
  t: Test,
  host: Namespace,
  folder: string,
  env: Record<string, string> = {},
  wrap: string[] = []
): Served {
  const [command, ...args] = [
    ...wrap,
    process.execPath,
    MAIN,
    'serve',
    '--config',
    join(folder, 'seedling.json')
  ]
  const child = host.spawn(command as string, args, env)
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (bytes: Buffer) => (said += bytes.toString()))
  let over = false
  const ended = new Promise<{ code: number | null; said: string }>((resolve) =>
    child.once('close', (code) => {
      over = true
      resolve({ code, said })
    })
  )
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  return {
    ended,
    async serves() {
      while (!said.includes('"msg":"serving"')) {
        if (over) throw new Error(said)
        await sleep(20)
      }
    },
    stop: (signal = 'SIGTERM') => void child.kill(signal)
  }
}

/** The command line of one that need not run. Resolves with what it writes; rejects when it fails. */
export const seedling = (folder: string, ...args: string[]) =>
  run(process.execPath, MAIN, ...args, '--config', join(folder, 'seedling.json'))
/** The same, asking one that runs. */
export const ask = (folder: string, ...args: string[]) =>
  run(process.execPath, MAIN, ...args, '--socket', join(folder, 'api.sock'))
export const dataOf = (folder: string) => join(folder, 'data')
