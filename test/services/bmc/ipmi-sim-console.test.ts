// Serial over LAN against a BMC that others wrote, and beside a client that others wrote; the machine is a TCP socket.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import t from 'tap'
import type { BmcAccess } from '../../../src/domain/bmc.ts'
import { SESSION_TIMING } from '../../../src/decide/bmc-session-state.ts'
import type { AppError } from '../../../src/domain/error.ts'
import { startIpmiSim } from './ipmi-sim.ts'
import { failureOf, started } from './started.ts'

async function until(what: string, done: () => boolean): Promise<void> {
  const end = performance.now() + 30_000
  while (!done()) {
    if (performance.now() > end) throw new Error(`not so: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

t.test('ipmi_sim', async (t) => {
  const machine = { typed: '', socket: null as Socket | null }
  const server = createServer((socket) => {
    machine.socket = socket
    socket.on('data', (typed: Buffer) => (machine.typed += typed.toString()))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    machine.socket?.destroy()
    server.close()
  })
  const serial = (server.address() as AddressInfo).port
  const sim = await startIpmiSim(t, ['true "admin" "secret123" admin 10'], { serial })
  const access: BmcAccess = {
    driver: 'ipmi',
    address: '127.0.0.1',
    port: sim.port,
    username: 'admin',
    password: 'secret123',
    protocol: '2.0',
    cipherSuites: [17, 3],
    kg: '',
    privilege: 'highest',
    loginQuirk: null
  }
  const bmcs = started(t, { timing: SESSION_TIMING, operation: 20_000 })
  const sit = async (steal: boolean) => {
    const seat = { heard: '', lost: null as AppError | null }
    const line = await bmcs.console(
      access,
      { steal, spare: false },
      {
        heard: (characters) => void (seat.heard += characters.toString()),
        news: () => {},
        lost: (error) => void (seat.lost = error)
      }
    )
    t.teardown(() => line.close())
    return Object.assign(seat, { line })
  }

  await t.test('both ways, more than fits a packet', async (t) => {
    const seat = await sit(false)
    const text = Array.from({ length: 500 }, (_, line) => `[${line}] a line of the machine's\r\n`).join('')
    machine.socket?.write(text)
    await until('all is heard', () => seat.heard.length >= text.length)
    t.equal(seat.heard, text)
    const typed = Array.from({ length: 50 }, (_, line) => `typed ${line}\r`).join('')
    seat.line.write(Buffer.from(typed))
    await until('all is typed', () => machine.typed.length >= typed.length)
    t.equal(machine.typed, typed)
    await seat.line.close()
    const again = await sit(false)
    machine.socket?.write('again')
    await until('closed, it can be opened again', () => again.heard === 'again')
    await again.line.close()
  })

  await t.test('it forgets a session 30 s after the last command, however much is said in it', async (t) => {
    const seat = await sit(false)
    let said = ''
    for (let second = 0; second < 38; second++) {
      machine.socket?.write(`${second}\n`)
      said += `${second}\n`
      await new Promise((resolve) => setTimeout(resolve, 1000))
    }
    await until('the last is heard', () => seat.heard.endsWith('37\n'))
    t.equal(seat.heard, said)
    t.equal(seat.lost, null)
    await seat.line.close()
  })

  await t.test('ipmitool has it: refused, and taken over when asked', async (t) => {
    const target = `-I lanplus -C 3 -H 127.0.0.1 -p ${sim.port} -U admin -P secret123`
    const tool = spawn('script', ['-qec', `ipmitool ${target} sol activate`, '/dev/null'])
    t.teardown(() => void tool.kill())
    let seen = ''
    tool.stdout.on('data', (part: Buffer) => (seen += part.toString()))
    await until('ipmitool has it', () => seen.includes('SOL Session operational'))
    machine.socket?.write('to ipmitool')
    await until('it hears', () => seen.includes('to ipmitool'))
    t.match(await failureOf(sit(false), access), {
      code: 'bmc-busy',
      detail: { reason: 'console-taken' }
    })
    const seat = await sit(true)
    machine.socket?.write('to us')
    await until('we hear', () => seat.heard === 'to us')
    t.notMatch(seen, /to us/)
    await seat.line.close()
  })
})
