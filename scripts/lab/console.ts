// A person at a machine's serial console: its last words, then live, and what is typed goes to the machine.
import { createConnection } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { consoleText } from './lab.ts'
import type { MachinePlan } from './plan.ts'

const lastWords = 4000
const ctrlRightBracket = 0x1d
const retryMs = 500

/** Goes on over power cycles, until Ctrl-] (Ctrl-C where there is no terminal to type on). */
export async function attachConsole(machine: MachinePlan): Promise<void> {
  process.stdout.write(consoleText(machine).slice(-lastWords))
  let typed: (keys: Buffer) => void = () => {}
  if (process.stdin.isTTY) {
    process.stderr.write(`\r\n(${machine.name}'s console; Ctrl-] leaves it)\r\n`)
    process.stdin.setRawMode(true)
    process.stdin.on('data', (keys: Buffer) => {
      if (keys.includes(ctrlRightBracket)) {
        process.stdin.setRawMode(false)
        process.exit(0)
      }
      typed(keys)
    })
  }
  for (;;) {
    const connection = createConnection(machine.consoleSocket)
    typed = (keys) => connection.write(keys)
    connection.pipe(process.stdout, { end: false })
    await new Promise((resolve) => connection.on('error', resolve).on('close', resolve))
    await sleep(retryMs)
  }
}
