// "seedling console" as a person has it: the real command in a terminal (script, of util-linux), a real API, real WebSockets;
// only the machine is a string.

import { spawn } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'
import { AppError } from '../../../src/domain/error.ts'
import type { ConsoleListener, ConsoleOptions } from '../../../src/domain/console.ts'
import { aNode, anOrder } from '../../support/builders.ts'
import { bench } from './bench.ts'

const MAIN = join(import.meta.dirname, '../../../services/main.ts')

async function until(what: string, done: () => boolean): Promise<void> {
  const end = performance.now() + 30_000
  while (!done()) {
    if (performance.now() > end) throw new Error(`not so: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** The bench with a node whose console answers what is typed in capitals. */
async function room(t: Parameters<typeof bench>[0]) {
  const b = await bench(t)
  b.change([{ put: 'node', row: aNode({ name: 'ctl-1' }) }])
  const machine = {
    typed: '',
    breaks: 0,
    closed: 0,
    listener: null as ConsoleListener | null,
    options: null as ConsoleOptions | null
  }
  b.around.openConsole = async (_node, options, listener) => {
    Object.assign(machine, { listener, options })
    return {
      write(characters) {
        machine.typed += Buffer.from(characters).toString()
        listener.heard(Buffer.from(Buffer.from(characters).toString().toUpperCase()))
      },
      sendBreak: () => void machine.breaks++,
      close: async () => void machine.closed++
    }
  }
  /** In a terminal. */
  const terminal = (...args: string[]) => {
    const command = [process.execPath, MAIN, ...args].map((word) => `'${word}'`).join(' ')
    const child = spawn('script', ['-qec', command, '/dev/null'], {
      env: { ...process.env, SEEDLING_SOCKET: b.deps.config.api.socket }
    })
    const seen = { text: '', code: undefined as number | null | undefined }
    child.stdout.on('data', (part: Buffer) => (seen.text += part.toString()))
    child.on('close', (code) => (seen.code = code))
    return { seen, type: (text: string) => void child.stdin.write(text) }
  }
  return { ...b, machine, terminal }
}

t.test('typed, answered, broken, helped, left', async (t) => {
  const { machine, terminal } = await room(t)
  const { seen, type } = terminal('console', 'ctl-1')
  await until('it is there', () => machine.listener !== null && seen.text.includes('~? helps'))
  machine.listener?.heard(Buffer.from('login: '))
  await until('the prompt is shown', () => seen.text.includes('login: '))
  type('root\r')
  await until('it is answered', () => seen.text.includes('ROOT\r'))
  t.equal(machine.typed, 'root\r', 'as typed: the terminal is raw')
  type('\x03\x1a')
  await until('interrupt and suspend go to the machine', () => machine.typed === 'root\r\x03\x1a')
  type('\r~?')
  await until('it helps', () => seen.text.includes('send a serial break'))
  type('~B')
  await until('the break is sent', () => machine.breaks === 1)
  machine.listener?.news('unavailable')
  await until('news are shown', () => seen.text.includes('[seedling: the machine is off'))
  type('~.')
  await until('it ends', () => seen.code !== undefined)
  t.equal(seen.code, 0)
  t.equal(machine.typed, 'root\r\x03\x1a\r')
  await until('the console is closed', () => machine.closed === 1)
})

t.test('only looked at', async (t) => {
  const { machine, terminal } = await room(t)
  const { seen, type } = terminal('console', 'ctl-1', '--read-only')
  await until('it is there', () => machine.listener !== null && seen.text.includes('the console of ctl-1'))
  type('rm -rf /\r~B')
  machine.listener?.heard(Buffer.from('words'))
  await until('it is shown', () => seen.text.includes('words'))
  type('\r~.')
  await until('it ends', () => seen.code !== undefined)
  t.same([seen.code, machine.typed, machine.breaks], [0, '', 0])
})

t.test('taken elsewhere, and a server that goes away', async (t) => {
  const { around, machine, terminal, run } = await room(t)
  const open = around.openConsole
  around.openConsole = async (node, options, listener) => {
    if (!options.steal) throw new AppError('bmc-busy', 'BMC x: active in another session; --steal takes it')
    return open(node, options, listener)
  }
  t.match(await run('console', 'ctl-1'), { code: 1, err: /active in another session/ })
  t.match(await run('console', 'nobody'), { code: 1, err: /Node nobody could not be found/ })
  const { seen } = terminal('console', 'ctl-1', '--steal')
  await until('it is there', () => machine.listener !== null)
  machine.listener?.lost(new AppError('bmc-auth', 'the password was changed'))
  await until('it ends', () => seen.code !== undefined)
  t.equal(seen.code, 1)
  t.match(seen.text, /seedling: the password was changed/)
})

t.test('recordings', async (t) => {
  const { change, recordings, run } = await room(t)
  const order = anOrder({ attempt: 2, state: 'failed' })
  t.match(await run('console', 'ctl-1', '--recording'), { code: 1, err: /nothing is recorded of ctl-1/ })
  change([{ put: 'order', row: order }])
  for (const attempt of [1, 2]) {
    const recording = recordings.open(`${order.id}.${attempt}`)
    recording.append(Buffer.from(`panic ${attempt}\r\n`))
    await recording.close()
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  t.match(await run('console', 'ctl-1', '--recordings'), {
    code: 0,
    out: /RECORDING[\s\S]*\.1 +deploy +1 [\s\S]*\.2 +deploy +2 /
  })
  t.same(await run('console', 'ctl-1', '--recording'), { code: 0, out: 'panic 2\r\n', err: '' })
  t.match(await run('console', 'ctl-1', '--recording', `${order.id}.1`), { code: 0, out: 'panic 1\r\n' })
  t.match(await run('console', 'ctl-1', '--recording', 'x'), { code: 1, err: /has no recording "x"/ })
})
