// Runs a TypeScript file in a namespace, as a process of its own, and reads the JSON lines that it writes. The file gets one argument,
// JSON; writes a line with the message `listening` when it has begun; and ends on SIGTERM.

import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Namespace } from './namespace.ts'

export type LogLine = { msg: string } & Record<string, unknown>

export type Script = {
  /** What it has written so far. */
  log: LogLine[]
  /** Waits until the latest line of this message has these values; rejects after `seconds`, 10 unless told otherwise. */
  says(msg: string, values?: Record<string, unknown>, seconds?: number): Promise<LogLine>
  /** Writes a line to its stdin. */
  tell(line: string): void
  /** Ends it in peace. */
  stop(): Promise<void>
}

/** `node`: arguments of node itself; `wrap`: a program that starts it. */
export type ScriptHow = { node?: string[]; wrap?: string[] }

/** Resolves when it listens; rejects with what it wrote to stderr when it does not come so far. */
export async function startScript(
  namespace: Namespace,
  file: string,
  argument: unknown,
  { node = [], wrap = [] }: ScriptHow = {}
): Promise<Script> {
  const [command, ...args] = [...wrap, process.execPath, ...node, file, JSON.stringify(argument)]
  const child = namespace.spawn(command as string, args)
  const log: LogLine[] = []
  let stderr = ''
  let ended = false
  child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
  lines.on('line', (line) => log.push(JSON.parse(line) as LogLine))
  const exit = once(child, 'close').then(() => {
    ended = true
    lines.close()
  })

  async function says(msg: string, values: Record<string, unknown> = {}, seconds = 10): Promise<LogLine> {
    const until = performance.now() + seconds * 1000
    for (;;) {
      const last = log.findLast((line) => line.msg === msg)
      if (last && Object.entries(values).every(([key, value]) => last[key] === value)) return last
      if (ended) throw new Error(`it ended: ${stderr}`)
      if (performance.now() > until)
        throw new Error(
          `not within ${seconds} s: ${msg} ${JSON.stringify(values)}, but ${JSON.stringify(last)}`
        )
      await sleep(20)
    }
  }

  await says('listening', {}, 30)
  return {
    log,
    says,
    tell: (line) => void child.stdin?.write(line + '\n'),
    async stop() {
      if (!ended) child.kill('SIGTERM')
      await exit
    }
  }
}
