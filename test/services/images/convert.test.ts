import t from 'tap'
import { createHash } from 'node:crypto'
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import pino from 'pino'
import { createConverter, type Confinement } from '../../../services/images/convert.ts'
import { gptHead, jailed, MIB, noise, qemuImg, soon, writeDisk } from './disks.ts'

const JAILS: Confinement[] = ['jail, as nobody', 'jail in a user namespace']
const ALL: Confinement[] = [...JAILS, 'limits only']

const samples = t.testdir()
const raw = join(samples, 'disk.raw')
const { size } = writeDisk(raw)
const qcow2 = join(samples, 'disk.qcow2')
qemuImg('convert', '-f', 'raw', '-O', 'qcow2', raw, qcow2)

function conversion(folder: string, image: string, size: number) {
  const stop = new AbortController()
  return {
    stop,
    name: 'web',
    image,
    disk: join(folder, 'disk'),
    root: join(folder, 'root'),
    size,
    reserveBytes: 0,
    signal: stop.signal,
    onProgress: () => {}
  }
}

const quiet = pino({ enabled: false })

for (const confinement of ALL)
  t.test(`converts under "${confinement}", and says that it does`, async (t) => {
    const said: string[] = []
    const log = pino({}, { write: (line: string) => void said.push(line) })
    const work = conversion(t.testdir(), qcow2, size)
    const done: number[] = []
    await createConverter(log, confinement).convert({ ...work, onProgress: (bytes) => done.push(bytes) })
    t.ok(readFileSync(work.disk).equals(readFileSync(raw)))
    t.equal(done.at(-1), size)
    t.match(JSON.parse(said[0] as string), { confinement })
  })

t.test('takes the strongest confinement the host allows', async (t) => {
  const said: string[] = []
  const log = pino({}, { write: (line: string) => void said.push(line) })
  const converter = createConverter(log)
  for (const folder of ['one', 'two']) {
    const path = join(t.testdir({ one: {}, two: {} }), folder)
    await converter.convert(conversion(path, qcow2, size))
  }
  t.equal(said.length, 1, 'found out and told once')
  t.match(JSON.parse(said[0] as string), { confinement: JAILS[process.getuid?.() === 0 ? 0 : 1] })
})

for (const confinement of JAILS)
  t.test(`under "${confinement}" even an image that was not checked reads nothing of the host`, async (t) => {
    const folder = t.testdir({ a: {}, b: {} })
    const canary = join(folder, 'canary')
    const mark = createHash('sha256').update(`canary ${Math.random()}`).digest()
    writeFileSync(canary, Buffer.alloc(MIB, mark))
    chmodSync(canary, 0o644)
    const backing = join(folder, 'backing.qcow2')
    qemuImg('create', '-f', 'qcow2', '-F', 'raw', '-b', canary, backing, '1M')
    const external = join(folder, 'external.qcow2')
    qemuImg('create', '-f', 'qcow2', '-o', `data_file=${canary}.d,data_file_raw=on`, external, '1M')
    writeFileSync(`${canary}.d`, Buffer.alloc(MIB, mark))

    const converter = createConverter(quiet, confinement)
    const one = conversion(join(folder, 'a'), backing, MIB)
    await converter.convert(one)
    t.ok(readFileSync(one.disk).equals(Buffer.alloc(MIB)), 'the backing file is left out')
    const two = conversion(join(folder, 'b'), external, MIB)
    await t.rejects(converter.convert(two), { code: 'image-refused', message: /No such file/ })
    t.ok(readFileSync(two.disk).equals(Buffer.alloc(MIB)))
  })

t.test('while it runs: another user, no privileges, no secrets, limits; and it ends when told', async (t) => {
  const folder = t.testdir({ a: {}, b: {}, c: {} })
  const big = join(folder, 'big.raw')
  const disk = noise(128 * MIB, 3)
  gptHead(disk.length).copy(disk)
  writeFileSync(big, disk)
  const image = join(folder, 'big.qcow2')
  qemuImg('convert', '-f', 'raw', '-O', 'qcow2', big, image)
  process.env['SEEDLING_SECRET'] = 'not for children'
  for (const [index, confinement] of JAILS.entries()) {
    const work = conversion(join(folder, 'ab'.charAt(index)), image, disk.length)
    const result = createConverter(quiet, confinement).convert(work)
    let seen: { status: string; limits: string; environment: string } | undefined
    const stopped = t.rejects(result, { code: 'busy' })
    await soon(() => {
      for (const pid of jailed(folder))
        try {
          const read = (name: string) => readFileSync(`/proc/${pid}/${name}`, 'utf8')
          // The version question of the probe also runs there; the conversion has the disk open.
          if (!read('cmdline').includes('convert')) continue
          seen = { status: read('status'), limits: read('limits'), environment: read('environ') }
          return true
        } catch {
          continue
        }
      return false
    })
    work.stop.abort(Object.assign(new Error('stopping'), { code: 'busy' }))
    await stopped
    t.match(seen?.status, /^CapEff:\t0000000000000000$/m, `${confinement}: no capabilities`)
    t.match(seen?.status, /^CapBnd:\t0000000000000000$/m)
    t.match(seen?.status, /^NoNewPrivs:\t1$/m)
    if (confinement === 'jail, as nobody') t.match(seen?.status, /^Uid:\t65534\t65534\t65534\t65534$/m)
    t.match(seen?.limits, /^Max address space +1073741824 /m)
    t.match(seen?.limits, new RegExp(`^Max file size +${disk.length} `, 'm'))
    t.match(seen?.limits, /^Max cpu time +74 /m)
    t.notMatch(seen?.environment, /SECRET|HOME/)
    t.ok(await soon(() => jailed(folder).length === 0), 'and nothing of it is left running')
  }

  const full = { ...conversion(join(folder, 'c'), image, disk.length), reserveBytes: Infinity }
  await t.rejects(createConverter(quiet).convert(full), { code: 'storage-full' }, 'or when space gets short')
})
