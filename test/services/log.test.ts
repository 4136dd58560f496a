import { spawnSync } from 'node:child_process'
import { resolve } from 'node:path'
import t from 'tap'

const file = JSON.stringify(resolve(import.meta.dirname, '../../services/log.ts'))

/** Runs a program that logs; its lines. */
function logged(program: string): { lines: Record<string, unknown>[]; status: number | null } {
  const source = `import { openLog } from ${file}\nconst log = openLog('info')\n${program}`
  const { stdout, status } = spawnSync(process.execPath, ['--input-type=module', '-e', source], {
    encoding: 'utf8'
  })
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
