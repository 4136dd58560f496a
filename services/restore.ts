// `seedling restore`, `seedling rollback`, `seedling unfence`, and `seedling backup --config`: what is done with the state while no Seedling runs on it.
// What changes it happens beside it and takes its place at the end, so a backup that turns out to be no good changes nothing.

import {
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync
} from 'node:fs'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { parseArgs } from 'node:util'
import Database from 'better-sqlite3'
import { restoredChanges } from '../src/decide/restored.ts'
import { nextEpoch } from '../src/decide/succession.ts'
import { AppError } from '../src/domain/error.ts'
import type { Standing } from '../src/domain/standing.ts'
import { CONFIG, createBackups, MANIFEST, type BackupManifest } from './backup.ts'
import { readBackup } from './backup-file.ts'
import { loadConfig } from './config.ts'
import { backupSentence, writeBackupFile } from './cli/backup.ts'
import { CliError } from './cli/client.ts'
import { passphrase } from './cli/passphrase.ts'
import { createApply } from './store/apply.ts'
import { createFacts } from './store/facts.ts'
import {
  checkDatabase,
  checkUnused,
  databaseFile,
  giveToOwner,
  restoreMark,
  rollBack,
  stamp,
  syncFile
} from './store/files.ts'
import { MIGRATIONS } from './store/migrations.ts'
import { openStore } from './store/open.ts'

const USAGE = `usage: seedling restore BACKUP --config FILE [--passphrase-file FILE] [--replace] [--up-to-date]
       seedling backup BACKUP --config FILE [--passphrase-file FILE] [--images] [--force]
       seedling rollback --config FILE
       seedling unfence --config FILE [--up-to-date]`

/** Nothing else is ever written, whatever a backup names. */
const PLAIN = ['seedling.db', 'secret.key', 'api-token']
const IMAGE_FILE = /^images\/(manifests\/[0-9a-f]{64}|chunks\/([0-9a-f]{2})\/\2[0-9a-f]{62})$/

export type Restored = {
  madeAt: number
  upToDate: boolean
  cancelled: number
  /** Images that the state knows and this folder does not have, by name. */
  missingImages: string[]
  /** Where what was there before is now. */
  kept: string | null
}

/**
 * Restores into `dataDir`. `replace`: what is there is set aside in a folder beside it. Unless `upToDate`, the state is taken for old: open orders are
 * cancelled and all machines put into maintenance, since what was installed since the backup is not in it. AppError `bad-backup`, `state-locked`,
 * `wrong-state`, `schema-newer`.
 */
export async function restore(
  backup: string,
  {
    dataDir,
    passphrase,
    replace,
    upToDate,
    now
  }: {
    dataDir: string
    passphrase: string
    replace: boolean
    upToDate: boolean
    now: Date
  }
): Promise<Restored> {
  const used = existsSync(databaseFile(dataDir))
  if (used) checkUnused(databaseFile(dataDir))
  if (used && !replace)
    throw new AppError(
      'wrong-state',
      `${dataDir} holds a state already; --replace sets it aside (nothing is deleted) and puts the backup in its place`
    )
  if (!existsSync(backup)) throw new AppError('bad-backup', `there is no file ${backup}`)
  mkdirSync(dirname(dataDir), { recursive: true })
  const part = `${dataDir}.restore.part`
  rmSync(part, { recursive: true, force: true })
  mkdirSync(part, { mode: 0o700 })
  try {
    const { manifest, config } = await unpack(backup, passphrase, part)
    if (manifest.schema > MIGRATIONS.length)
      throw new AppError(
        'schema-newer',
        `${backup} was made by a newer Seedling (schema ${manifest.schema}, this one knows ${MIGRATIONS.length}); restore it with that version`
      )
    const file = databaseFile(part)
    const db = new Database(file, { readonly: true })
    checkDatabase(db, file)
    db.close()
    const cancelled = settle(part, manifest.madeAt, upToDate, now)
    syncFile(part)
    const kept = takePlace(dataDir, part, used, now)
    const missingImages = manifest.images
      .filter(({ digest }) => !existsSync(join(dataDir, 'images', 'manifests', digest)))
      .map(({ name }) => name)
    // This host has a configuration of its own, whose link may be another: theirs is for whoever wants to compare.
    if (config !== null) writeFileSync(join(dataDir, 'restored-seedling.json'), config, { mode: 0o600 })
    return { madeAt: manifest.madeAt, upToDate, cancelled, missingImages, kept }
  } catch (error) {
    rmSync(part, { recursive: true, force: true })
    throw error
  }
}

async function unpack(
  backup: string,
  secret: string,
  part: string
): Promise<{ manifest: BackupManifest; config: string | null }> {
  let manifest: BackupManifest | null = null
  let config: string | null = null
  for await (const { name, content } of readBackup(
    createReadStream(backup, { highWaterMark: 2 ** 20 }) as AsyncIterable<Buffer>,
    secret
  )) {
    if (name === MANIFEST) manifest = JSON.parse(await textOf(content)) as BackupManifest
    else if (name === CONFIG) config = await textOf(content)
    else if (PLAIN.includes(name) || IMAGE_FILE.test(name)) {
      const path = join(part, name)
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
      await pipeline(content, createWriteStream(path, { mode: 0o600, flush: true }))
    } else
      throw new AppError(
        'bad-backup',
        `the backup cannot be used: it holds ${JSON.stringify(name)}, which this Seedling does not know`
      )
  }
  if (!manifest || PLAIN.slice(0, 2).some((name) => !existsSync(join(part, name))))
    throw new AppError('bad-backup', 'the backup cannot be used: the state is not in it')
  return { manifest, config }
}

async function textOf(content: AsyncIterable<Buffer> | Iterable<Buffer>): Promise<string> {
  const parts: Buffer[] = []
  for await (const part of content) parts.push(part)
  return Buffer.concat(parts).toString('utf8')
}

/** What must be so before this state drives machines, from now on the latest of its kind. Answers how many orders were cancelled. */
function settle(dataDir: string, madeAt: number, upToDate: boolean, now: Date): number {
  const store = openStore(dataDir)
  try {
    const facts = createFacts(store)
    const apply = createApply(store)
    const { changes, cancelled } = restoredChanges(
      { nodes: facts.nodes(), orders: facts.openOrders() },
      { madeAt, upToDate },
      now.getTime()
    )
    const before = facts.standing()
    const row: Standing = { ...before, epoch: nextEpoch(before.epoch, now.getTime()), fenced: null }
    store.commit(() => apply([...changes, { put: 'standing', row }]))
    return cancelled
  } finally {
    store.close()
  }
}

/** Images stay: they are named by their hash, so what is there is right for either state. */
function takePlace(dataDir: string, part: string, used: boolean, now: Date): string | null {
  const kept = used ? `${dataDir}.before-${stamp(now)}` : null
  if (kept) mkdirSync(kept, { mode: 0o700 })
  mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  writeFileSync(restoreMark(dataDir), '', { flush: true })
  syncFile(dataDir)
  for (const name of readdirSync(dataDir))
    if (kept && name !== 'images' && join(dataDir, name) !== restoreMark(dataDir))
      renameSync(join(dataDir, name), join(kept, name))
  moveInto(part, dataDir)
  syncFile(dataDir)
  rmSync(restoreMark(dataDir))
  syncFile(dataDir)
  rmSync(part, { recursive: true })
  giveToOwner(dataDir)
  return kept
}

function moveInto(from: string, to: string): void {
  for (const name of readdirSync(from)) {
    const [source, target] = [join(from, name), join(to, name)]
    if (existsSync(target) && statSync(source).isDirectory()) moveInto(source, target)
    else renameSync(source, target)
  }
}

/** `seedling restore …`; resolves with the exit code. */
export async function restoreCommand(args: string[]): Promise<number> {
  const { values, positionals } = parse(args, true)
  const [backup] = positionals
  if (!backup || !values.config) throw new AppError('bad-config', USAGE)
  const { dataDir } = loadConfig(values.config)
  const done = await restore(backup, {
    dataDir,
    passphrase: await passphrase(values['passphrase-file'], false).catch(asAppError),
    replace: values.replace === true,
    upToDate: values['up-to-date'] === true,
    now: new Date()
  })
  const say = (text: string) => process.stdout.write(`${text}\n`)
  say(`${dataDir} is as it was at ${new Date(done.madeAt).toISOString()}`)
  if (done.kept) say(`what was there before is in ${done.kept}`)
  if (!done.upToDate)
    say(
      `All machines are in maintenance, and ${done.cancelled} open orders were cancelled: what was installed since then is not known here. Look at each, then: seedling node set NODE --maintenance false. ` +
        'If nothing has happened since the backup, restore again with --up-to-date'
    )
  if (done.missingImages.length > 0)
    say(
      `images to be added again, under the same names: ${done.missingImages.join(', ')} (seedling image add NAME FILE)`
    )
  return 0
}

/**
 * `seedling backup … --config FILE`: the state of a Seedling that has stopped, so nothing can be acknowledged that is not in it. Resolves with the exit
 * code.
 */
export async function stoppedBackupCommand(args: string[]): Promise<number> {
  const { values, positionals } = parse(args, true)
  const [backup] = positionals
  if (!backup || !values.config) throw new AppError('bad-config', USAGE)
  const { dataDir } = loadConfig(values.config)
  if (!existsSync(databaseFile(dataDir)))
    throw new AppError('bad-config', `${dataDir} holds no state: is this its configuration?`)
  checkUnused(databaseFile(dataDir))
  const options = { passphraseFile: values['passphrase-file'], force: values.force === true }
  const store = openStore(dataDir)
  try {
    const backups = createBackups({
      ...{ store, facts: createFacts(store), dataDir, configFile: values.config },
      now: () => Date.now()
    })
    const bytes = await writeBackupFile(backup, options, async (secret) =>
      Readable.from(backups.make(secret, values.images === true), { objectMode: false })
    ).catch(asAppError)
    process.stdout.write(`${backupSentence(backup, bytes)}\n`)
    return 0
  } finally {
    store.close()
    giveToOwner(dataDir)
  }
}

/** What the operator can mend, from the code that client and appliance share. */
function asAppError(error: unknown): never {
  throw error instanceof CliError ? new AppError('bad-request', error.message) : error
}

/** `seedling rollback …`; resolves with the exit code. */
export async function rollbackCommand(args: string[]): Promise<number> {
  const { values } = parse(args, false)
  if (!values.config) throw new AppError('bad-config', USAGE)
  const { dataDir } = loadConfig(values.config)
  const { schema, kept } = rollBack(dataDir, MIGRATIONS.length, new Date())
  giveToOwner(dataDir)
  process.stdout.write(
    `the state is that of before the upgrade (schema ${schema}); the one of after it is ${kept}\n`
  )
  return 0
}

/** `seedling unfence …`: the way back for a state that goes on elsewhere; resolves with the exit code. */
export async function unfenceCommand(args: string[]): Promise<number> {
  const { values } = parse(args, false)
  if (!values.config) throw new AppError('bad-config', USAGE)
  const { dataDir } = loadConfig(values.config)
  const store = openStore(dataDir)
  const { fenced } = createFacts(store).standing()
  store.close()
  if (!fenced) throw new AppError('wrong-state', `${dataDir} is not fenced: "seedling serve" serves it`)
  const cancelled = settle(dataDir, fenced.at, values['up-to-date'] === true, new Date())
  giveToOwner(dataDir)
  process.stdout.write(
    `${dataDir} is the latest state again; the Seedling at ${fenced.address} ends when it meets this one\n` +
      (values['up-to-date'] === true
        ? ''
        : `All machines are in maintenance, and ${cancelled} open orders were cancelled.\n`)
  )
  return 0
}

function parse(args: string[], positionals: boolean) {
  try {
    return parseArgs({
      args,
      allowPositionals: positionals,
      options: {
        config: { type: 'string' },
        'passphrase-file': { type: 'string' },
        images: { type: 'boolean' },
        force: { type: 'boolean' },
        replace: { type: 'boolean' },
        'up-to-date': { type: 'boolean' }
      }
    })
  } catch (error) {
    throw new AppError('bad-config', `${(error as Error).message}\n${USAGE}`)
  }
}
