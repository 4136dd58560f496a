// One import in a process of its own, to be killed, starved or measured: `import-child.ts FOLDER NAME FILE [RESERVE]`. A FILE of
// `noise:MIB` is a disk made on the fly. Prints one JSON line per progress and one at the end.

import { createReadStream } from 'node:fs'
import { Readable } from 'node:stream'
import pino from 'pino'
import { AppError } from '../../../src/domain/error.ts'
import { startImages } from '../../../services/images/images.ts'
import { createApply } from '../../../services/store/apply.ts'
import { createFacts } from '../../../services/store/facts.ts'
import { openStore } from '../../../services/store/open.ts'
import { gptHead, MIB, noise } from './disks.ts'

const [dataDir, name, file, reserve] = process.argv.slice(2) as [string, string, string, string | undefined]

function* disk(mebibytes: number): Generator<Buffer> {
  const piece = noise(MIB, 7)
  gptHead(mebibytes * MIB).copy(piece)
  for (let index = 0; index < mebibytes; index++) {
    piece.writeUInt32LE(index, 65536)
    yield Buffer.from(piece)
  }
}

const store = openStore(dataDir)
const images = startImages({
  config: { dataDir },
  store,
  facts: createFacts(store),
  apply: createApply(store),
  log: pino({ enabled: false }),
  now: Date.now,
  limits: { reserveBytes: Number(reserve ?? 0) }
})
const say = (line: object) => process.stdout.write(JSON.stringify(line) + '\n')
const stream = file.startsWith('noise:')
  ? Readable.from(disk(Number(file.slice(6))), { objectMode: false, highWaterMark: MIB })
  : createReadStream(file)
try {
  const image = await images.add(name, stream, { onProgress: say })
  say({ added: image.digest })
} catch (error) {
  if (!(error instanceof AppError)) throw error
  say({ code: error.code, message: error.message })
}
await images.close()
store.close()
say({ maxRssMiB: Math.round(process.resourceUsage().maxRSS / 1024) })
