// Imports that are killed, run out of disk, lack their tool, or are large: each in a process of its own.

import t from 'tap'
import { spawn } from 'node:child_process'
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { gptHead, jailed, MIB, noise, qemuImg, soon, writeDisk } from '../services/images/disks.ts'
import { begin, files } from '../services/images/store.ts'

const CHILD = join(import.meta.dirname, '../services/images/import-child.ts')

const samples = t.testdir()
const raw = join(samples, 'disk.raw')
writeDisk(raw)
const qcow2 = join(samples, 'disk.qcow2')
qemuImg('convert', '-f', 'raw', '-O', 'qcow2', raw, qcow2)

/** Runs an import in a process of its own; `onLine` sees each line it prints. */
function child(
  args: string[],
  onLine: (line: Record<string, unknown>, kill: () => void) => void = () => {},
  prefix: string[] = []
): Promise<Record<string, unknown>> {
  const [program, ...rest] = [...prefix, process.execPath, CHILD, ...args] as [string, ...string[]]
  const started = spawn(program, rest, { stdio: ['ignore', 'pipe', 'inherit'] })
  const result: Record<string, unknown> = {}
  createInterface(started.stdout).on('line', (text) => {
    const line = JSON.parse(text) as Record<string, unknown>
    Object.assign(result, line)
    onLine(line, () => started.kill('SIGKILL'))
  })
  return new Promise((resolve) => started.on('close', () => resolve(result)))
}

for (const [stage, file] of [
  ['receiving', 'noise:48'],
  ['converting', join(samples, 'big.qcow2')],
  ['storing', 'noise:48']
] as const)
  t.test(`killed while ${stage}, the next start finds nothing half-done`, async (t) => {
    const dataDir = t.testdir()
    if (stage === 'converting') {
      const big = join(samples, 'big.raw')
      const disk = noise(96 * MIB, 11)
      gptHead(disk.length).copy(disk)
      writeFileSync(big, disk)
      qemuImg('convert', '-f', 'raw', '-O', 'qcow2', big, file)
      rmSync(big)
    }
    let killed = false
    const result = await child([dataDir, 'web', file], (line, kill) => {
      if (line['stage'] === stage && (stage !== 'storing' || Number(line['done']) > 24 * MIB)) {
        killed = true
        kill()
      }
    })
    t.ok(killed && result['added'] === undefined, 'it was killed in time')
    t.ok(files(dataDir).length > 0, 'and left something')
    t.ok(await soon(() => jailed(dataDir).length === 0), 'its converter died with it')
    const at = begin(dataDir)
    t.same(readdirSync(join(dataDir, 'images/upload')), [])
    t.same(at.facts.images(), [])
    await at.end()
    t.same(files(dataDir), [])
    t.match(await child([dataDir, 'web', 'noise:48']), { added: /^[0-9a-f]{64}$/ }, 'and it can be added')
  })

t.test('a full disk is told as that, at every stage, and cleared again', async (t) => {
  // A tmpfs of 64 MiB in a mount namespace of its own.
  const small = (dataDir: string, file: string, reserve = 0) =>
    child([dataDir, 'web', file, String(reserve)], undefined, [
      'unshare',
      '--user',
      '--map-root-user',
      '--mount',
      'sh',
      '-c',
      'mount -t tmpfs -o size=64m small "$1" && shift && "$@" && find "$3/images" -type f >&2',
      'small',
      dataDir
    ])
  const folder = t.testdir()
  const zeros = join(folder, 'same.raw')
  const disk = Buffer.alloc(96 * MIB, 'the same again and again\n')
  gptHead(disk.length).copy(disk)
  writeFileSync(zeros, disk)
  const folded = join(folder, 'folded.qcow2')
  qemuImg('convert', '-c', '-f', 'raw', '-O', 'qcow2', zeros, folded)
  const cases: Record<string, [file: string, reserve: number]> = {
    'while receiving': ['noise:96', 0],
    'while converting': [folded, 0],
    'while storing': ['noise:40', 0],
    'by what is kept for the database': ['noise:40', 30 * MIB]
  }
  for (const [sentence, [file, reserve]] of Object.entries(cases)) {
    const dataDir = join(folder, 'data')
    mkdirSync(dataDir, { recursive: true })
    const result = await small(dataDir, file, reserve)
    t.match(result, { code: 'storage-full', message: /free/ }, sentence)
  }
})

t.test('a host without qemu-img says so, and still takes raw disks', async (t) => {
  const without = (file: string, dataDir: string) =>
    child([dataDir, 'web', file], undefined, [
      'unshare',
      '--user',
      '--map-root-user',
      '--mount',
      'sh',
      '-c',
      'mount --bind /dev/null "$(command -v qemu-img)" && exec "$@"',
      'without'
    ])
  t.match(await without(qcow2, t.testdir()), {
    code: 'image-refused',
    message: /install the package qemu-utils, or upload the disk as raw/
  })
  t.match(await without(raw, t.testdir()), { added: /^[0-9a-f]{64}$/ })
})

t.test('memory does not grow with the image', async (t) => {
  const folder = t.testdir({ a: {}, b: {} })
  const of = async (name: string, mebibytes: number) =>
    Number((await child([join(folder, name), 'web', `noise:${mebibytes}`]))['maxRssMiB'])
  const little = await of('a', 96)
  const much = await of('b', 384)
  t.ok(much < little + 160, `96 MiB: ${little} MiB resident, 384 MiB: ${much} MiB`)
})
