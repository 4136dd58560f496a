// The machine-facing HTTP service in a process of its own (serve.ts), for tests and benches.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Serve } from './serve.ts'

export type Paths = { kernel: string; ramdisk: string; chunks: string[] }
type Line = { msg: string; paths?: Paths; rss?: number; loopP99?: number }

/** `wrap`: the program that starts it, in a namespace for instance. */
export async function serveBootApart(
  serve: Serve,
  wrap: string[] = []
): Promise<{ paths: Paths; stop(): Promise<Required<Line>> }> {
  const [command, ...args] = [
    ...wrap,
    process.execPath,
    join(import.meta.dirname, 'serve.ts'),
    JSON.stringify(serve)
  ]
  const child = spawn(command as string, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines: Line[] = []
  const log = createInterface({ input: child.stdout })
  log.on('line', (line) => lines.push(JSON.parse(line) as Line))
  await Promise.race([
    once(log, 'line'),
    once(child, 'close').then(([code]) => {
      throw new Error(`the HTTP service ended: ${code}`)
    })
  ])
  return {
    paths: lines[0]?.paths as Paths,
    async stop() {
      child.stdin.end()
      await once(child, 'close')
      return lines.find(({ msg }) => msg === 'closed') as Required<Line>
    }
  }
}
