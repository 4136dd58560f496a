// Opens the database: one file, one process, every commit on disk before anybody is told of it.

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { AppError } from '../../src/domain/error.ts'
import { MIGRATIONS } from './migrations.ts'
import { loadSealer, type Sealer } from './secrets.ts'

export type Store = {
  db: Database.Database
  sealer: Sealer
  /** Runs `work` as one transaction; on return everything it wrote is on disk. Must not await. */
  commit<T>(work: () => T): T
  /** Grows with every change to any row but leases, events and the clock: what was read at one version holds while it is the same. */
  version(): number
  changed(): void
  close(): void
}

/**
 * Opens (or makes) the state in `dataDir`. AppError `state-locked` when another process has it, `schema-newer` when a newer
 * Seedling wrote it.
 */
export function openStore(dataDir: string): Store {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  const file = join(dataDir, 'seedling.db')
  const db = new Database(file, { timeout: 2000 })
  try {
    // Exclusive: a second Seedling on the same state is refused here, and the lock dies with the process.
    db.pragma('locking_mode = EXCLUSIVE')
    db.pragma('journal_mode = WAL')
    // better-sqlite3 is built with NORMAL for WAL, which loses acknowledged commits in a power cut; so ask and make sure.
    db.pragma('synchronous = FULL')
    db.pragma('foreign_keys = ON')
    migrate(db, file)
  } catch (error) {
    db.close()
    if ((error as { code?: string }).code === 'SQLITE_BUSY')
      throw new AppError(
        'state-locked',
        `${file} is in use by another Seedling; stop that one first, or give this one its own dataDir`
      )
    throw error
  }
  const synchronous = db.pragma('synchronous', { simple: true })
  if (synchronous !== 2)
    throw new Error(`SQLite runs with synchronous=${String(synchronous)}; FULL (2) is required`)
  let version = 0
  const changed = () => void version++
  const transaction = db.transaction((work: () => unknown) => work())
  const commit = (work: () => unknown): unknown => {
    try {
      return transaction.immediate(work)
    } catch (error) {
      // What was read within it never was.
      changed()
      throw error
    }
  }
  return {
    db,
    sealer: loadSealer(join(dataDir, 'secret.key')),
    commit: <T>(work: () => T) => commit(work) as T,
    version: () => version,
    changed,
    close: () => db.close()
  }
}

function migrate(db: Database.Database, file: string): void {
  // The write lock first: two processes that start together must not both migrate.
  db.transaction(() => {
    const version = db.pragma('user_version', { simple: true }) as number
    if (version > MIGRATIONS.length)
      throw new AppError(
        'schema-newer',
        `${file} was written by a newer Seedling (schema ${version}, this one knows ${MIGRATIONS.length}); ` +
          'run that version, or restore the backup made before the upgrade'
      )
    for (const [index, sql] of MIGRATIONS.entries()) {
      if (index < version) continue
      db.exec(sql)
      db.pragma(`user_version = ${index + 1}`)
    }
  }).immediate()
}
