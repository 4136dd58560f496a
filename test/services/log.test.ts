import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'

const file = JSON.stringify(resolve(import.meta.dirname, '../../services/log.ts'))

const argumentsFor = (program: string): string[] => [
  '--expose-gc',
  '--input-type=module',
  '-e',
  `import { openLog } from ${file}\nconst { log, lost } = openLog('info')\n${program}`
]

/** Runs a program that logs; its lines. */
function logged(program: string): { lines: Record<string, unknown>[]; status: number | null } {
  const { stdout, status } = spawnSync(process.execPath, argumentsFor(program), { encoding: 'utf8' })
  const lines = stdout.trim().split('\n').filter(Boolean)
  return { lines: lines.map((line) => JSON.parse(line) as Record<string, unknown>), status }
}

t.test('every line is there, whole and in its order', async (t) => {
  const { lines } = logged(`for (let n = 0; n < 1000; n++) log.info({ n }, 'line')`)
  t.same(
    lines.map(({ n }) => n),
    Array.from({ length: 1000 }, (_, n) => n)
  )
  t.match(lines[0], { level: 30, msg: 'line', time: /^\d{4}-\d\d-\d\dT/ })
})

t.test('what was said before the end is said, however it comes', async (t) => {
  const ends: Record<string, { program: string; status: number }> = {
    'an exit': { program: `log.fatal('last words'); process.exit(3)`, status: 3 },
    'an error of our own': { program: `log.info('last words'); throw new Error('bug')`, status: 1 },
    'a promise that nobody waits for': {
      program: `log.info('last words'); Promise.reject(new Error('bug'))`,
      status: 1
    }
  }
  for (const [name, { program, status }] of Object.entries(ends)) {
    const end = logged(program)
    t.match(end.lines, [{ msg: 'last words' }], name)
    t.equal(end.status, status, `${name}: exit code`)
  }
})

t.test('a line that is alone does not wait for others', async (t) => {
  const { lines } = logged(`log.info('alone'); setTimeout(() => process.kill(process.pid, 'SIGKILL'), 1000)`)
  t.match(lines, [{ msg: 'alone' }])
})

t.test('nobody reads: nothing waits, memory is bounded, and what is lost is counted', async (t) => {
  const LINES = 100_000
  const program = `
    import { setTimeout as sleep } from 'node:timers/promises'
    const used = () => { gc(); const { heapUsed, external } = process.memoryUsage(); return heapUsed + external }
    const before = used()
    const text = 'x'.repeat(1000)
    let turns = 0
    for (let n = 0; n < ${LINES}; n++) {
      log.info({ n, text })
      if (n % 1000 === 0) { turns++; await sleep(1) }
    }
    process.send({ turns, bytes: used() - before, lost: lost() })
    process.once('message', async () => {
      while (lost().untold > 0) await sleep(20)
      log.info('read again')
    })`
  const child = spawn(process.execPath, argumentsFor(program), {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc']
  })
  const closed = once(child, 'close')
  const [{ turns, bytes, lost }] = (await once(child, 'message')) as [
    { turns: number; bytes: number; lost: { all: number; untold: number } }
  ]
  t.equal(turns, LINES / 1000, 'it went on')
  t.ok(bytes < 16 * 2 ** 20, `${(bytes / 2 ** 20).toFixed(1)} MiB more`)
  t.ok(lost.all > LINES / 2 && lost.untold > LINES / 2, `${lost.all} lines lost`)

  const lines: Record<string, unknown>[] = []
  createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) =>
    lines.push(JSON.parse(line) as Record<string, unknown>)
  )
  child.send('go on')
  while (!lines.some(({ msg }) => msg === 'read again')) await sleep(50)
  await closed
  const told = lines.filter(({ msg }) => /lines were lost here/.test(String(msg)))
  const sum = told.reduce((sum, line) => sum + Number(line['lines']), 0)
  t.ok(sum >= lost.all, 'and told of')
  t.equal(
    lines.filter(({ text }) => text !== undefined).length + sum,
    LINES,
    'every line is there or counted'
  )
})

t.test(
  'a log file on a full file system: the service goes on, ends when told to, and writes again when there is room',
  async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'log-'))
    const root = (command: string, ...args: string[]) => spawnSync(command, args, { encoding: 'utf8' })
    t.equal(root('mount', '-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', folder).stderr, '')
    t.teardown(() => {
      root('umount', folder)
      rmdirSync(folder)
    })
    const flood = `
    import { setTimeout as sleep } from 'node:timers/promises'
    const text = 'x'.repeat(1000)
    for (let n = 0; n < 10_000; n++) {
      log.info({ n, text })
      if (n % 100 === 0) await sleep(1)
    }
    await sleep(200)`
    const into = (program: string) => {
      const command = [
        '-c',
        `exec "$0" "$@" >> ${folder}/log`,
        process.execPath,
        ...argumentsFor(flood + program)
      ]
      return spawnSync('sh', command, { encoding: 'utf8', timeout: 20_000 })
    }
    t.match(into(`\nprocess.exit(3)`), { status: 3, stderr: '' }, 'ends')
    // As logrotate(8) makes room.
    const { status, stderr } = into(`
    import { truncateSync } from 'node:fs'
    const full = lost().all
    while (lost().untold > 0) { truncateSync('${folder}/log'); await sleep(150) }
    process.stderr.write(JSON.stringify(full))
    process.kill(process.pid, 'SIGKILL')`)
    t.equal(status, null)
    t.ok(Number(stderr) > 1000, `${stderr} lines were lost, and told of`)
  }
)
