// An image store on a folder of its own, and what lies in it.

import { createReadStream, readdirSync } from 'node:fs'
import { join } from 'node:path'
import pino from 'pino'
import { startImages, type AddOptions, type StoreLimits } from '../../../services/images/images.ts'
import { createApply } from '../../../services/store/apply.ts'
import { createFacts } from '../../../services/store/facts.ts'
import { openStore } from '../../../services/store/open.ts'

export function begin(dataDir: string, limits: Partial<StoreLimits> = {}) {
  const store = openStore(dataDir)
  const facts = createFacts(store)
  const apply = createApply(store)
  const log = pino({ enabled: false })
  const images = startImages({ config: { dataDir }, store, facts, apply, log, now: Date.now, limits })
  return {
    images,
    facts,
    commit: (changes: Parameters<typeof apply>[0]) => store.commit(() => apply(changes)),
    add: (name: string, file: string, options: AddOptions = {}) =>
      images.add(name, createReadStream(file), options),
    async end() {
      await images.close()
      store.close()
    }
  }
}

/** Every file below the image folder, with its bytes on disk. */
export function files(dataDir: string, under = ''): string[] {
  const folder = join(dataDir, 'images', under)
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort()
}
