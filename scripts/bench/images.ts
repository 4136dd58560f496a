// Import speed: ours (checked, converted in a jail, hashed twice, compressed, synced to disk) against
//
//   convert   qemu-img convert alone, the anchor: the same conversion, nothing checked, hashed or stored
//   tools     qemu-img convert, then sha256sum and zstd -1 on two threads: the same work without chunks, manifest and syncing
//
// on a disk of 1 GiB of which 400 MiB are this machine's programs. The runs take turns, so that they meet the same noise;
// the median of each counts. Last line: one JSON object.
//
//   scripts/bench/images [RUNS]       default 3

import { execFileSync } from 'node:child_process'
import { closeSync, createReadStream, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import pino from 'pino'
import { startImages } from '../../services/images/images.ts'
import { createApply } from '../../services/store/apply.ts'
import { createFacts } from '../../services/store/facts.ts'
import { openStore } from '../../services/store/open.ts'
import { gptHead, MIB } from '../../test/services/images/disks.ts'

const SIZE = 1024 * MIB
const DATA = 400 * MIB
const runs = Number(process.argv[2] ?? 3)
const folder = mkdtempSync(join(tmpdir(), 'seedling-bench-'))

/** A GPT disk with this machine's programs from 2 MiB on. */
function makeDisk(path: string): void {
  const fd = openSync(path, 'w')
  ftruncateSync(fd, SIZE)
  writeSync(fd, gptHead(SIZE), 0, undefined, 0)
  closeSync(fd)
  const script =
    'tar cf - /usr/lib /usr/bin 2>/dev/null | head -c "$1" | dd of="$2" bs=1M seek=2 conv=notrunc status=none'
  execFileSync('sh', ['-c', script, 'disk', String(DATA), path])
}

const tool = (program: string, ...args: string[]) =>
  execFileSync(program, args, { stdio: ['ignore', 'ignore', 'inherit'] })

async function seconds(work: () => Promise<unknown> | unknown): Promise<number> {
  const start = process.hrtime.bigint()
  await work()
  return Number(process.hrtime.bigint() - start) / 1e9
}

type Run = { ours: number; loop: number; convert: number; tools: number; verify: number }

async function measure(file: string, format: 'raw' | 'qcow2'): Promise<Run> {
  const dataDir = mkdtempSync(join(folder, 'data-'))
  const store = openStore(dataDir)
  const images = startImages({
    config: { dataDir },
    store,
    facts: createFacts(store),
    apply: createApply(store),
    log: pino({ enabled: false }),
    now: Date.now
  })
  const delay = monitorEventLoopDelay({ resolution: 2 })
  delay.enable()
  const ours = await seconds(() =>
    images.add('bench', createReadStream(file, { highWaterMark: 256 * 1024 }), { format })
  )
  delay.disable()
  const verify = await seconds(() => images.verify('bench'))
  await images.close()
  store.close()
  rmSync(dataDir, { recursive: true })

  const disk = join(folder, 'converted')
  const convert = await seconds(() => tool('qemu-img', 'convert', '-f', format, '-O', 'raw', file, disk))
  const rest = await seconds(() => {
    tool('sha256sum', disk)
    tool('zstd', '-q', '-1', '-T2', '-f', disk, '-o', `${disk}.zst`)
  })
  rmSync(disk)
  rmSync(`${disk}.zst`)
  return { ours, loop: delay.percentile(99) / 1e6, convert, tools: convert + rest, verify }
}

const median = (numbers: number[]) =>
  numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] as number

try {
  const raw = join(folder, 'disk.raw')
  console.log(`making the disks (${SIZE / MIB} MiB, ${DATA / MIB} MiB of data) ...`)
  makeDisk(raw)
  const kinds: Record<string, { file: string; format: 'raw' | 'qcow2' }> = {
    raw: { file: raw, format: 'raw' }
  }
  for (const [kind, options] of Object.entries({
    qcow2: [],
    'qcow2 zlib': ['-c'],
    'qcow2 zstd': ['-c', '-o', 'compression_type=zstd']
  })) {
    const file = join(folder, `${kind.replace(' ', '-')}.qcow2`)
    tool('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', ...options, raw, file)
    kinds[kind] = { file, format: 'qcow2' }
  }

  const results: Record<string, Run> = {}
  for (const [kind, { file, format }] of Object.entries(kinds)) {
    const all: Run[] = []
    for (let run = 1; run <= runs; run++) {
      console.log(`${kind}, run ${run} of ${runs}`)
      all.push(await measure(file, format))
    }
    const of = (name: keyof Run) => median(all.map((run) => run[name]))
    results[kind] = {
      ours: of('ours'),
      loop: of('loop'),
      convert: of('convert'),
      tools: of('tools'),
      verify: of('verify')
    }
  }

  const fixed = (number: number, digits = 2) => number.toFixed(digits).padStart(9)
  console.log('\nseconds for the whole disk, median        (loop: event-loop delay, p99, in ms)')
  console.log('upload         ours  convert    tools  ours/convert  ours/tools   verify     loop')
  for (const [kind, { ours, convert, tools, verify, loop }] of Object.entries(results))
    console.log(
      `${kind.padEnd(10)}${fixed(ours)}${fixed(convert)}${fixed(tools)}     ${fixed(ours / convert)}   ${fixed(ours / tools)}${fixed(verify)}${fixed(loop, 1)}`
    )
  const each = (value: (run: Run) => number) =>
    Object.fromEntries(Object.entries(results).map(([kind, run]) => [kind, Number(value(run).toFixed(3))]))
  console.log(
    JSON.stringify({
      bench: 'images',
      ours: {
        seconds: each(({ ours }) => ours),
        verifySeconds: each(({ verify }) => verify),
        loopDelayP99Milliseconds: each(({ loop }) => loop)
      },
      peers: { convertSeconds: each(({ convert }) => convert), toolsSeconds: each(({ tools }) => tools) },
      ratios: {
        oursToConvert: each(({ ours, convert }) => ours / convert),
        oursToTools: each(({ ours, tools }) => ours / tools)
      }
    })
  )
} finally {
  rmSync(folder, { recursive: true, force: true })
}
