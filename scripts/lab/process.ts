// Processes of the host: run one to its end, start one that outlives us, and know a recorded one again. A pid alone is
// not an identity (pids are reused), so a record also holds the start time, and a stranger is never signalled.
import { spawn, spawnSync } from 'node:child_process'
import { closeSync, openSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

/** Runs a command to its end and answers its output. @throws Error with the command and what it said on stderr */
export function run(
  command: readonly string[],
  options: { env?: NodeJS.ProcessEnv; cwd?: string } = {}
): string {
  const [program, ...args] = command
  const { status, stdout, stderr, error, signal } = spawnSync(program!, args, {
    encoding: 'utf8',
    ...options
  })
  if (error) throw new Error(`${command.join(' ')}: ${error.message}`)
  if (status !== 0)
    throw new Error(`${command.join(' ')}: ${(stderr || stdout).trim() || `ended with ${signal ?? status}`}`)
  return stdout
}

/** The same command inside a network namespace. */
export const inNamespace = (namespace: string, command: readonly string[]): string[] => [
  'ip',
  'netns',
  'exec',
  namespace,
  ...command
]

/** Starts a process that goes on after we end, its output added to `log`, and records it in `pidFile`. */
export function startDetached(command: readonly string[], files: { log: string; pidFile: string }): number {
  const [program, ...args] = command
  const log = openSync(files.log, 'a')
  const child = spawn(program!, args, { detached: true, stdio: ['ignore', log, log] })
  closeSync(log)
  if (child.pid === undefined) throw new Error(`${command.join(' ')}: could not be started`)
  child.unref()
  writeFileSync(files.pidFile, `${child.pid} ${startTime(child.pid)}\n`)
  return child.pid
}

/** The pid of a recorded process if that very process still runs. */
export function recordedPid(pidFile: string): number | undefined {
  let record: string
  try {
    record = readFileSync(pidFile, 'utf8')
  } catch {
    return undefined
  }
  const [pid, started] = record.trim().split(' ')
  return startTime(Number(pid)) === started ? Number(pid) : undefined
}

/** Ends a recorded process: SIGTERM (or the signal given), after `patienceMs` SIGKILL. Done when it is gone. */
export async function stopRecorded(
  pidFile: string,
  { signal = 'SIGTERM', patienceMs = 10_000 }: { signal?: NodeJS.Signals; patienceMs?: number } = {}
): Promise<void> {
  const started = Date.now()
  for (let next: NodeJS.Signals | undefined = signal; ;) {
    const pid = recordedPid(pidFile)
    if (pid === undefined) break
    if (next) process.kill(pid, next)
    next = Date.now() - started > patienceMs ? 'SIGKILL' : undefined
    await sleep(20)
  }
  rmSync(pidFile, { force: true })
}

/** Kernel start time of a live process in clock ticks since boot (proc(5), stat field 22); '' when there is none. */
function startTime(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The second field is the program's name in brackets and may itself hold spaces and brackets.
    const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    // Its first thread may be gone before the others, which still hold its files.
    return state === 'Z' && readdirSync(`/proc/${pid}/task`).length === 1 ? '' : fields[18]!
  } catch {
    return ''
  }
}
