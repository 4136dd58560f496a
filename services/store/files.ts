// The database as files: where it lies, copies of it that are whole or not there, and whether it is sound.

import {
  closeSync,
  existsSync,
  fsyncSync,
  lchownSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync
} from 'node:fs'
import { dirname, join } from 'node:path'
import Database from 'better-sqlite3'
import { AppError } from '../../src/domain/error.ts'

export const databaseFile = (dataDir: string): string => join(dataDir, 'seedling.db')
export const keyFile = (dataDir: string): string => join(dataDir, 'secret.key')

/** Lies there while a restore puts its files in place: what is there then is neither the one state nor the other. */
export const restoreMark = (dataDir: string): string => join(dataDir, 'restore.incomplete')

/** The copy that is made before a newer Seedling changes a schema. */
const copyFile = (dataDir: string, schema: number): string => `${databaseFile(dataDir)}.schema-${schema}`

/** Makes a compact, consistent copy; it is on disk under its name, or it is not there. Blocks, and needs as much room as the database. */
export function copyDatabase(db: Database.Database, target: string): void {
  const part = `${target}.part`
  rmSync(part, { force: true })
  db.prepare('VACUUM INTO ?').run(part)
  syncFile(part)
  renameSync(part, target)
  syncFile(dirname(target))
}

/** What a power cut leaves of a file, or of a folder's names, is what was synced. */
export function syncFile(path: string): void {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/** AppError `state-damaged` when SQLite finds anything wrong. Reads the whole file. */
export function checkDatabase(db: Database.Database, file: string): void {
  const [first] = db.pragma('integrity_check(1)') as { integrity_check: string }[]
  if (first?.integrity_check !== 'ok') throw damaged(file, first?.integrity_check ?? 'it cannot be read')
}

export function damaged(file: string, why: string): AppError {
  return new AppError(
    'state-damaged',
    `${file} is damaged (${why}). Nothing is served from it and nothing of it was changed. Restore a backup: ` +
      '"seedling restore BACKUP --config FILE --replace" sets the damaged state aside first; or go back to the copy made before the last ' +
      'upgrade: "seedling rollback --config FILE"'
  )
}

/** Before the schema is changed: what the Seedling that wrote it could go on with. */
export function copyBeforeMigration(db: Database.Database, dataDir: string, schema: number): void {
  copyDatabase(db, copyFile(dataDir, schema))
}

/** The schemas of which there is a copy, the newest first. */
export function copiedSchemas(dataDir: string): number[] {
  if (!existsSync(dataDir)) return []
  return readdirSync(dataDir)
    .map((name) => /^seedling\.db\.schema-(\d+)$/.exec(name)?.[1])
    .filter((schema) => schema !== undefined)
    .map(Number)
    .sort((a, b) => b - a)
}

/**
 * Puts the copy of an earlier schema, `most` at most, in the database's place; the database of now is kept beside it. Nobody may have it open.
 * AppError `not-found` when there is no such copy.
 */
export function rollBack(dataDir: string, most: number, now: Date): { schema: number; kept: string } {
  const file = databaseFile(dataDir)
  const schema = copiedSchemas(dataDir).find((one) => one <= most)
  if (schema === undefined)
    throw new AppError(
      'not-found',
      `there is no copy in ${dataDir} that this Seedling can read (schema ${most} or older); copies are made when a newer one first starts`
    )
  checkUnused(file)
  const copy = copyFile(dataDir, schema)
  const checked = new Database(copy, { readonly: true })
  try {
    checkDatabase(checked, copy)
  } finally {
    checked.close()
  }
  const kept = setAside(file, now)
  renameSync(copy, file)
  syncFile(dataDir)
  return { schema, kept }
}

/** AppError `state-locked` when a Seedling has it open. A damaged one counts as unused. */
export function checkUnused(file: string): void {
  if (!existsSync(file)) return
  const db = new Database(file, { timeout: 200 })
  try {
    db.pragma('locking_mode = EXCLUSIVE')
    db.exec('BEGIN EXCLUSIVE; ROLLBACK')
  } catch (error) {
    if ((error as { code?: string }).code === 'SQLITE_BUSY')
      throw new AppError('state-locked', `${file} is in use by a Seedling; stop that one first`)
  } finally {
    db.close()
  }
}

/** For commands that root runs on the state of a service that is not root: what they left in it belongs to whom the folder belongs. */
export function giveToOwner(dataDir: string): void {
  const { uid, gid } = statSync(dataDir)
  if (process.getuid?.() !== 0 || uid === 0) return
  for (const name of readdirSync(dataDir, { recursive: true, encoding: 'utf8' }))
    lchownSync(join(dataDir, name), uid, gid)
}

/** Renames a database with its journal; answers the new name. */
function setAside(file: string, now: Date): string {
  const kept = `${file}.before-${stamp(now)}`
  for (const end of ['', '-wal', '-shm']) if (existsSync(file + end)) renameSync(file + end, kept + end)
  return kept
}

/** For file names: 20261126T181500. */
export const stamp = (at: Date): string => at.toISOString().replace(/[-:]|\..*/g, '')
