// Opens the database: one file, one process, every commit on disk before anybody is told of it.

import { existsSync, mkdirSync } from 'node:fs'
import Database from 'better-sqlite3'
import { AppError } from '../../src/domain/error.ts'
import { checkDatabase, copyBeforeMigration, damaged, databaseFile, keyFile, restoreMark } from './files.ts'
import { MIGRATIONS } from './migrations.ts'
import { loadSealer, type Sealer } from './secrets.ts'

export type Store = {
  db: Database.Database
  sealer: Sealer
  /** Runs `work` as one transaction; on return everything it wrote is on disk. Must not await. */
  commit<T>(work: () => T): T
  /** The same for what is only told to people: on a full disk it is left out, since nobody waits for it. */
  note(work: () => void): void
  /** Grows with every change to any row but leases, events and the clock: what was read at one version holds while it is the same. */
  version(): number
  changed(): void
  close(): void
}

/** The disk is full: nothing was changed, and it may be tried again. */
export const isFull = (error: unknown): boolean => (error as { code?: string }).code === 'SQLITE_FULL'

/** The disk failed: what is on it of the last commit is not known, and to sync again proves nothing, since the kernel tells of an error once. */
const isBroken = (error: unknown): boolean =>
  (error as { code?: string }).code?.startsWith('SQLITE_IOERR') === true

const SEALED = `SELECT 1 FROM node WHERE driver_info LIKE '%"sealed:%' LIMIT 1`

/** What SQLite says of a file that is no database, or no longer one. */
const DAMAGE = ['SQLITE_CORRUPT', 'SQLITE_NOTADB']

function openFile(file: string): Database.Database {
  try {
    return new Database(file, { timeout: 2000 })
  } catch (error) {
    if ((error as { code?: string }).code !== 'SQLITE_CANTOPEN') throw error
    throw new AppError(
      'bad-config',
      `${file} cannot be opened: all of its folder must belong to the user who runs Seedling (uid ${process.getuid?.()})`
    )
  }
}

/**
 * Opens (or makes) the state in `dataDir`. AppError `state-locked` when another process has it, `schema-newer` when a newer
 * Seedling wrote it, `state-damaged` when it is not sound: then nothing is served, and never is it begun anew by itself. `onBroken` is called when
 * the disk fails later, in a commit that rejects: nothing may be answered from then on.
 */
export function openStore(dataDir: string, onBroken: (error: Error) => void = () => {}): Store {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  const file = databaseFile(dataDir)
  if (existsSync(restoreMark(dataDir)))
    throw damaged(file, 'a restore was cut off; run it again, what was there before is beside the folder')
  if (!existsSync(file) && existsSync(keyFile(dataDir)))
    throw damaged(file, 'it is missing, although this folder was used before')
  const db = openFile(file)
  try {
    // Exclusive: a second Seedling on the same state is refused here, and the lock dies with the process.
    db.pragma('locking_mode = EXCLUSIVE')
    db.pragma('journal_mode = WAL')
    // better-sqlite3 is built with NORMAL for WAL, which loses acknowledged commits in a power cut; so ask and make sure.
    db.pragma('synchronous = FULL')
    db.pragma('foreign_keys = ON')
    checkDatabase(db, file)
    migrate(db, dataDir, file)
    if (!existsSync(keyFile(dataDir)) && db.prepare(SEALED).get() !== undefined)
      throw damaged(file, `its passwords are sealed, and their key ${keyFile(dataDir)} is missing`)
  } catch (error) {
    db.close()
    const { code, message } = error as { code?: string; message: string }
    if (code && DAMAGE.some((one) => code.startsWith(one))) throw damaged(file, message)
    if (code === 'SQLITE_BUSY')
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
      if (isBroken(error)) onBroken(error as Error)
      throw error
    }
  }
  return {
    db,
    sealer: loadSealer(keyFile(dataDir)),
    commit: <T>(work: () => T) => commit(work) as T,
    note(work) {
      try {
        commit(work)
      } catch (error) {
        if (!isFull(error)) throw error
      }
    },
    version: () => version,
    changed,
    close: () => db.close()
  }
}

function migrate(db: Database.Database, dataDir: string, file: string): void {
  const before = db.pragma('user_version', { simple: true }) as number
  if (before > 0 && before < MIGRATIONS.length) copyBeforeMigration(db, dataDir, before)
  // The write lock first: two processes that start together must not both migrate.
  db.transaction(() => {
    const version = db.pragma('user_version', { simple: true }) as number
    if (version > MIGRATIONS.length)
      throw new AppError(
        'schema-newer',
        `${file} was written by a newer Seedling (schema ${version}, this one knows ${MIGRATIONS.length}); ` +
          'run that version, or go back to the copy made before the upgrade: "seedling rollback --config FILE"'
      )
    for (const [index, sql] of MIGRATIONS.entries()) {
      if (index < version) continue
      db.exec(sql)
      db.pragma(`user_version = ${index + 1}`)
    }
  }).immediate()
}
