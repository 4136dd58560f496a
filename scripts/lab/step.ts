// A long command, told to a person: what it does, that it is still at it, and where its log is when it fails.
import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const began = Date.now()
const heartbeatMs = 10_000

/** Prints a line with the time since this program began. */
export function say(line: string): void {
  const seconds = Math.round((Date.now() - began) / 1000)
  console.log(
    `[${String(Math.floor(seconds / 60)).padStart(2)}:${String(seconds % 60).padStart(2, '0')}] ${line}`
  )
}

/**
 * Runs a command to its end, its output in `LOGS/NAME.log`.
 * @throws Error with the end of the log and its path
 */
export async function step(
  logs: string,
  name: string,
  what: string,
  command: readonly string[]
): Promise<void> {
  mkdirSync(logs, { recursive: true })
  const file = join(logs, `${name}.log`)
  const log = openSync(file, 'w')
  const [program, ...args] = command
  const start = Date.now()
  const took = () => `${Math.round((Date.now() - start) / 1000)} s`
  const lines = () => readFileSync(file, 'utf8').trimEnd().split('\n')
  const heartbeat = setInterval(
    () => say(`${what} … ${took()}  ${lines().at(-1)?.slice(0, 70)}`),
    heartbeatMs
  )
  const code = await new Promise<number | string>((resolve) => {
    const child = spawn(program!, args, { stdio: ['ignore', log, log] })
    child.on('error', (error) => resolve(error.message))
    child.on('close', (code, signal) => resolve(code ?? signal ?? 'no exit code'))
  })
  clearInterval(heartbeat)
  closeSync(log)
  if (code !== 0) {
    const end = readFileSync(file, 'utf8').trimEnd().split('\n').slice(-15)
    throw new Error(
      `${what} failed (${code}). The end of ${file}:\n${end.map((line) => `    ${line}`).join('\n')}`
    )
  }
  say(`${what}: ${took()}`)
}
