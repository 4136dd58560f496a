// A machine's real firmware at the far end: QEMU's serial port, through ipmi_sim's serial over LAN, our session, the API's
// WebSocket and the command line in a terminal. What is typed there changes what the firmware does.

import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import pino from 'pino'
import t, { type Test } from 'tap'
import { startApi } from '../../services/api/server.ts'
import { startBmcs } from '../../services/bmc/bmcs.ts'
import { bmcAccess } from '../../src/domain/bmc-access.ts'
import { aNode } from '../support/builders.ts'
import { someDeps } from '../services/api/api-under-test.ts'
import { startIpmiSim } from '../services/bmc/ipmi-sim.ts'

const MAIN = join(import.meta.dirname, '../../services/main.ts')
const CTRL_B = '\x02'

async function until(what: string, done: () => boolean, seconds = 60): Promise<void> {
  const end = performance.now() + seconds * 1000
  while (!done()) {
    if (performance.now() > end) throw new Error(`not so: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

async function freeTcpPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}

/**
 * A machine without a disk and with a network card whose cable leads nowhere: its firmware comes to iPXE, and waits. It begins
 * when told "cont".
 */
function startMachine(t: Test, serial: number): ChildProcess {
  const child = spawn('qemu-system-x86_64', [
    ...['-S', '-monitor', 'stdio'],
    ...['-nodefaults', '-no-user-config', '-display', 'none'],
    ...['-machine', 'q35,graphics=off', '-accel', 'tcg,thread=single,tb-size=64', '-m', '128'],
    ...['-serial', `tcp:127.0.0.1:${serial},server=on,wait=off`],
    ...['-netdev', 'hubport,id=lan0,hubid=0', '-device', 'virtio-net-pci,netdev=lan0,bootindex=1']
  ])
  t.teardown(async () => {
    const ended = once(child, 'close')
    if (child.kill('SIGKILL')) await ended
  })
  return child
}

/** Seedling's API, with one node whose BMC is ipmi_sim. */
async function room(t: Test, serial: number) {
  const sim = await startIpmiSim(t, ['true "admin" "secret123" admin 10'], { serial })
  const bench = someDeps()
  const bmcs = startBmcs({
    now: () => performance.now(),
    random: randomBytes,
    log: pino({ level: 'silent' })
  })
  bench.around.openConsole = async (node, ...rest) => bmcs.console(bmcAccess(node), ...rest)
  const driverInfo = {
    ipmi_address: '127.0.0.1',
    ipmi_port: sim.port,
    ipmi_username: 'admin',
    ipmi_password: 'secret123'
  }
  bench.change([{ put: 'node', row: aNode({ name: 'ctl-1', driverInfo }) }])
  const api = await startApi(bench.deps)
  t.teardown(async () => {
    await api.close()
    await bench.consoles.close()
    await bmcs.close()
    bench.remove()
  })
  return bench
}

/** "seedling ARGS" in a terminal. */
function terminal(t: Test, socket: string, ...args: string[]) {
  const command = [process.execPath, MAIN, ...args].map((word) => `'${word}'`).join(' ')
  const child = spawn('script', ['-qec', command, '/dev/null'], {
    env: { ...process.env, SEEDLING_SOCKET: socket }
  })
  const seen = { text: '', code: undefined as number | null | undefined }
  child.stdout.on('data', (part: Buffer) => (seen.text += part.toString()))
  child.on('close', (code) => (seen.code = code))
  t.teardown(() => void child.kill())
  return { seen, type: (text: string) => void child.stdin.write(text) }
}

/**
 * Types a line to a firmware's shell, and waits for each few characters to come back: the BIOS keeps 15 keys at the most, and
 * what comes beyond them is lost.
 */
async function typeLine({ seen, type }: ReturnType<typeof terminal>, line: string): Promise<void> {
  for (const part of line.match(/.{1,8}/g) ?? []) {
    const before = seen.text.length
    type(part)
    await until(`the shell shows "${part}"`, () => seen.text.slice(before).includes(part))
  }
  type('\r')
}

t.test('a QEMU machine through ipmi_sim, both ways, at two terminals', async (t) => {
  const serial = await freeTcpPort()
  const machine = startMachine(t, serial)
  await until('QEMU is there', () => machine.stdout?.readableLength !== 0)
  const { deps } = await room(t, serial)
  const { socket } = deps.config.api
  const first = terminal(t, socket, 'console', 'ctl-1')
  await until('the console is open', () => first.seen.text.includes('~? helps'))
  machine.stdin?.write('cont\n')
  await until('the firmware speaks', () => first.seen.text.includes('SeaBIOS'))
  await until('iPXE asks', () => first.seen.text.includes('Ctrl-B'))
  const asking = setInterval(() => first.type(CTRL_B), 200)
  await until('the shell is there', () => first.seen.text.includes('iPXE>')).finally(() =>
    clearInterval(asking)
  )
  await typeLine(first, 'echo ${platform}-${buildarch}')
  await until('the shell answers what was not typed', () => first.seen.text.includes('pcbios-i386'))
  const second = terminal(t, socket, 'console', 'ctl-1', '--read-only')
  await until('the second sees the last words', () => second.seen.text.includes('pcbios-i386'))
  await typeLine(first, 'echo ${product}')
  await until('both see what comes now', () =>
    [first, second].every(({ seen }) => seen.text.includes('Standard PC'))
  )
  first.type('\r~.')
  second.type('\r~.')
  await until('both have left', () => first.seen.code === 0 && second.seen.code === 0)
})
