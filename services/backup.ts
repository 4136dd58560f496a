// What a backup holds, hot from a running Seedling: the database as it was at one moment, its keys, its configuration, and, if wanted, the images.

import { createReadStream, existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Facts } from './store/facts.ts'
import type { Store } from './store/open.ts'
import { keyFile, stamp } from './store/files.ts'
import { writeBackup, type Entry } from './backup-file.ts'
import { decodeManifest } from '../src/wire/manifest.ts'

/** Pages copied at once: a step blocks the process for less than a millisecond, and machines are answered in between. */
const PAGES = 64
export const MANIFEST = 'backup.json'
export const CONFIG = 'seedling.json'

export type BackupManifest = {
  madeAt: number
  schema: number
  images: { name: string; digest: string }[]
  withImages: boolean
}

export type Backups = {
  /** The backup's bytes. Everything that was committed before the call is in it. */
  make(passphrase: string, withImages: boolean): AsyncGenerator<Buffer>
  /** When one was last made whole in this run, ms; null: none. */
  lastAt(): number | null
}

export function createBackups(deps: {
  store: Store
  facts: Facts
  dataDir: string
  /** The configuration file. */
  configFile: string | null
  now: () => number
}): Backups {
  const { store, facts, dataDir, configFile, now } = deps
  let lastAt: number | null = null
  // What a run that was cut off has left.
  for (const name of leftovers(dataDir)) rmSync(join(dataDir, name), { recursive: true, force: true })

  async function* make(passphrase: string, withImages: boolean): AsyncGenerator<Buffer> {
    const madeAt = now()
    const folder = await mkdtemp(join(dataDir, PREFIX))
    try {
      const copy = join(folder, `${stamp(new Date(madeAt))}.db`)
      await store.db.backup(copy, { progress: () => PAGES })
      const images = facts.images().map(({ name, digest }) => ({ name, digest }))
      const manifest: BackupManifest = {
        madeAt,
        schema: store.db.pragma('user_version', { simple: true }) as number,
        images,
        withImages
      }
      yield* writeBackup(entries(copy, manifest), passphrase)
      lastAt = madeAt
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }

  async function* entries(copy: string, manifest: BackupManifest): AsyncGenerator<Entry> {
    yield text(MANIFEST, JSON.stringify(manifest))
    for (const [name, path] of [
      ['secret.key', keyFile(dataDir)],
      ['api-token', join(dataDir, 'api-token')],
      ...(configFile ? [[CONFIG, configFile]] : [])
    ] as [string, string][])
      if (existsSync(path)) yield text(name, readFileSync(path, 'utf8'))
    yield file('seedling.db', copy)
    if (!manifest.withImages) return
    for (const name of imageFiles(dataDir, manifest)) yield file(name, join(dataDir, name))
  }

  return { make, lastAt: () => lastAt }
}

const PREFIX = 'backup.part-'

function leftovers(dataDir: string): string[] {
  return existsSync(dataDir) ? readdirSync(dataDir).filter((name) => name.startsWith(PREFIX)) : []
}

/** Manifests and chunks of the images, each once, as paths below `dataDir` (services/README.md, "Images"). */
function imageFiles(dataDir: string, { images }: BackupManifest): Set<string> {
  const names = new Set<string>()
  for (const { digest } of images) {
    const manifest = `images/manifests/${digest}`
    names.add(manifest)
    for (const { sha256 } of decodeManifest(readFileSync(join(dataDir, manifest), 'utf8')))
      if (sha256) names.add(`images/chunks/${sha256.slice(0, 2)}/${sha256}`)
  }
  return names
}

function text(name: string, content: string): Entry {
  const bytes = Buffer.from(content)
  return { name, size: bytes.length, content: [bytes] }
}

function file(name: string, path: string): Entry {
  return {
    name,
    size: statSync(path).size,
    content: createReadStream(path, { highWaterMark: 2 ** 18 }) as AsyncIterable<Buffer>
  }
}
