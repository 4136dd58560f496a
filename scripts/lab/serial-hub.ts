// Joins each machine's serial port to all who use it: its BMC, for serial over LAN, and people at "rack console". QEMU takes
// one connection, and only while the machine is on. Runs in the BMCs' namespace, with the path of the rack's plan; says
// "ready" when all may connect.
import { once } from 'node:events'
import { readFileSync, rmSync } from 'node:fs'
import { createConnection, createServer, type Socket } from 'node:net'
import { serialPort, type MachinePlan, type RackPlan } from './plan.ts'

const rack = JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as RackPlan
/** While the machine is off; what it says before we are there is only in its log. */
const retryMs = 20
/** Whoever takes nothing is let go when so much waits for it. */
const mostWaiting = 1024 * 1024

await Promise.all(rack.machines.map(joinSerial))
console.log('ready')

async function joinSerial({ serialSocket, consoleSocket, bmc }: MachinePlan): Promise<void> {
  const users = new Set<Socket>()
  let serial: Socket | undefined

  const add = (user: Socket): void => {
    users.add(user)
    user.on('data', (typed: Buffer) => serial?.write(typed))
    user.on('error', () => {})
    user.on('close', () => users.delete(user))
  }
  rmSync(consoleSocket, { force: true })
  connectSerial()
  await once(createServer(add).listen(consoleSocket), 'listening')
  await once(createServer(add).listen(serialPort, bmc.address), 'listening')

  function connectSerial(): void {
    const connection = createConnection(serialSocket)
    connection.on('connect', () => (serial = connection))
    connection.on('data', (said: Buffer) => {
      for (const user of users) {
        user.write(said)
        if (user.writableLength > mostWaiting) user.destroy()
      }
    })
    connection.on('error', () => {})
    connection.on('close', () => {
      serial = undefined
      setTimeout(connectSerial, retryMs)
    })
  }
}
