// The rack daemon: owns the machines and their BMCs for as long as the rack is up. Started by `rack up` with the path
// of the rack's plan; ends on SIGTERM, and everything it started with it.
//
// Its Unix socket takes one line and answers one line, then closes:
//   chassis MACHINE HEX   an IPMI chassis request → the reply (bmc-chassis.c asks this)
//   status                → a JSON list of MachineStatus
//   fault MACHINE JSON    what is to go wrong from now on (Faults) → ok
import { spawn } from 'node:child_process'
import { once } from 'node:events'
//   link MACHINE on|off   the network card sees a link, or none → "done", or why not
import { readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { startBmc } from './bmc.ts'
import { noFaults, type Faults } from './faults.ts'
import { createMachine } from './machine.ts'
import type { RackPlan } from './plan.ts'
import { inNamespace } from './process.ts'

const planFile = process.argv[2]!
const rack = JSON.parse(readFileSync(planFile, 'utf8')) as RackPlan
const log = (message: string) => console.log(`${new Date().toISOString()} ${message}`)

const machines = new Map(rack.machines.map((plan) => [plan.name, createMachine(plan, rack, log)] as const))

const bmcs = new Map<string, ReturnType<typeof startBmc>>()

const server = createServer((connection) => {
  // Whoever asked may be gone before the answer.
  connection.on('error', () => {})
  createInterface({ input: connection }).once('line', async (line) =>
    connection.end(`${await answer(line)}\n`)
  )
})

async function answer(line: string): Promise<string> {
  const [word, name = '', rest = ''] = line.split(' ')
  if (word === 'status') return JSON.stringify([...machines.values()].map((machine) => machine.status()))
  const machine = machines.get(name)
  if (word === 'fault' && machine) {
    const faults: Faults = { ...noFaults, ...(JSON.parse(rest) as Partial<Faults>) }
    log(`${name}: faults ${JSON.stringify(faults)}`)
    machine.setFaults(faults)
    if (faults.silentMs > 0) bmcs.get(name)?.silence(faults.silentMs)
    return 'ok'
  }
  if (word === 'chassis' && machine)
    return Buffer.from(machine.chassis([...Buffer.from(rest, 'hex')])).toString('hex')
  if (word === 'link' && machine)
    return machine.setLink(rest === 'on').then(
      () => 'done',
      (error: Error) => error.message
    )
  log(`a request that makes no sense: ${JSON.stringify(line)}`)
  return ''
}

const [hubProgram, ...hubArguments] = inNamespace(rack.bmcs.namespace, [
  process.execPath,
  join(import.meta.dirname, 'serial-hub.ts'),
  planFile
])
const serialHub = spawn(hubProgram!, hubArguments, { stdio: ['ignore', 'pipe', 'inherit'] })
serialHub.on('exit', (code) => log(`the serial hub ended: ${code}`))
// First of all: the BMCs look for their serial ports when they start.
await once(serialHub.stdout, 'data')

rmSync(rack.daemon.socket, { force: true })
server.listen(rack.daemon.socket, () => {
  for (const plan of rack.machines) bmcs.set(plan.name, startBmc(rack, plan, log))
  log(`rack ${rack.name} is up: ${[...machines.keys()].join(', ')}`)
  process.once('SIGTERM', async () => {
    server.close()
    serialHub.kill()
    await Promise.all([...bmcs.values(), ...machines.values()].map((part) => part.close()))
    log('rack is down')
    process.exit(0)
  })
})
