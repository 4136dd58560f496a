// The rack daemon: owns the machines and their BMCs for as long as the rack is up. Started by `rack up` with the path
// of the rack's plan; ends on SIGTERM, and everything it started with it.
//
// Its Unix socket takes one line and answers one line, then closes:
//   chassis MACHINE HEX   an IPMI chassis request → the reply (bmc-chassis.c asks this)
//   status                → a JSON list of MachineStatus
//   link MACHINE on|off   the network card sees a link, or none → "done", or why not
import { readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { startBmc } from './bmc.ts'
import { createMachine } from './machine.ts'
import type { RackPlan } from './plan.ts'

const rack = JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as RackPlan
const log = (message: string) => console.log(`${new Date().toISOString()} ${message}`)

const machines = new Map(rack.machines.map((plan) => [plan.name, createMachine(plan, rack, log)] as const))

const server = createServer((connection) => {
  // Whoever asked may be gone before the answer.
  connection.on('error', () => {})
  createInterface({ input: connection }).once('line', async (line) =>
    connection.end(`${await answer(line)}\n`)
  )
})

async function answer(line: string): Promise<string> {
  const [word, name = '', hex = ''] = line.split(' ')
  if (word === 'status') return JSON.stringify([...machines.values()].map((machine) => machine.status()))
  const machine = machines.get(name)
  if (word === 'chassis' && machine)
    return Buffer.from(machine.chassis([...Buffer.from(hex, 'hex')])).toString('hex')
  if (word === 'link' && machine)
    return machine.setLink(hex === 'on').then(
      () => 'done',
      (error: Error) => error.message
    )
  log(`a request that makes no sense: ${JSON.stringify(line)}`)
  return ''
}

rmSync(rack.daemon.socket, { force: true })
server.listen(rack.daemon.socket, () => {
  const bmcs = rack.machines.map((plan) => startBmc(rack, plan, log))
  log(`rack ${rack.name} is up: ${[...machines.keys()].join(', ')}`)
  process.once('SIGTERM', async () => {
    server.close()
    await Promise.all([...bmcs, ...machines.values()].map((part) => part.close()))
    log('rack is down')
    process.exit(0)
  })
})
