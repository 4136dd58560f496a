// Runs serve.ts in a namespace and reads its log.

import { createInterface } from 'node:readline'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Lease } from '../../../src/domain/subnet.ts'
import { aSubnet } from '../../support/builders.ts'
import type { Namespace } from '../../support/namespace.ts'
import type { Serve } from './serve.ts'

export type LogLine = { msg: string } & Record<string, unknown>

export type Serving = {
  /** What it has logged so far. */
  log: LogLine[]
  /** Waits for a line with these values; rejects after five seconds, or so many. */
  logged(values: Record<string, unknown>, seconds?: number): Promise<LogLine>
  /** The leases as they stand. */
  leases(): Promise<Lease[]>
  /** Of the program that `wrap` starts, if that hands over to it without a process of its own. */
  pid: number
  /** Ends it in peace. */
  stop(): Promise<Ended>
  /** Ends it at once. Resolves when it is gone. */
  kill(): Promise<void>
}

/** `node`: arguments of node itself; `wrap`: a program that starts it. */
export type ServeHow = { node?: string[]; wrap?: string[] }

export type Ended = {
  received: number
  malformed: number
  answered: number
  leases: Lease[]
  ticks: string[]
}

const DHCP: Serve['dhcp'] = { mode: 'server', exclusive: false, tolerate: [], probeConflicts: false }

/** Its state goes with it, unless `dataDir` is given. Resolves when it listens; rejects with what it wrote to stderr when it does not come so far. */
export async function serveIn(
  namespace: Namespace,
  given: Partial<Serve> & Pick<Serve, 'link'>,
  { node = [], wrap = [] }: ServeHow = {}
): Promise<Serving> {
  const folder = mkdtempSync(join(tmpdir(), 'seedling-dhcp-'))
  const serve: Serve = {
    dataDir: join(folder, 'data'),
    subnets: [aSubnet()],
    dhcp: DHCP,
    machines: [],
    ...given
  }
  const script = join(import.meta.dirname, 'serve.ts')
  const file = join(folder, 'serve.json')
  writeFileSync(file, JSON.stringify(serve))
  const [command, ...args] = [...wrap, process.execPath, ...node, script, file]
  const child = namespace.spawn(command as string, args)
  const log: LogLine[] = []
  let stderr = ''
  let waiting: (() => void)[] = []
  const look = () => {
    for (const again of waiting.splice(0)) again()
  }
  child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
    log.push(JSON.parse(line) as LogLine)
    look()
  })
  let ended = false
  const exit = new Promise<void>((resolve) => {
    child.once('close', () => {
      ended = true
      rmSync(folder, { recursive: true })
      look()
      resolve()
    })
  })
  const matches = (line: LogLine, values: Record<string, unknown>) =>
    Object.entries(values).every(([key, value]) => line[key] === value)

  let leasesAsked = 0

  async function logged(values: Record<string, unknown>, seconds = 30, count = 1): Promise<LogLine> {
    const until = Date.now() + seconds * 1000
    for (;;) {
      const found = log.filter((line) => matches(line, values))[count - 1]
      if (found) return found
      if (ended) throw new Error(stderr)
      if (Date.now() > until) throw new Error(`not logged in ${seconds} s: ${JSON.stringify(values)}`)
      await new Promise<void>((resolve) => {
        waiting.push(resolve)
        setTimeout(resolve, 200)
      })
      waiting = []
    }
  }

  await logged({ msg: 'listening' }, 30)
  return {
    log,
    logged,
    async leases() {
      const asked = ++leasesAsked
      child.kill('SIGUSR2')
      return (await logged({ msg: 'leases' }, 30, asked))['leases'] as Lease[]
    },
    pid: child.pid as number,
    async kill() {
      child.kill('SIGKILL')
      await exit
    },
    async stop() {
      if (!ended) child.kill('SIGTERM')
      await exit
      const last = log.at(-1) as unknown as { counters: Ended; leases: Lease[]; ticks: string[] }
      return { ...last.counters, leases: last.leases, ticks: last.ticks }
    }
  }
}
