// The change of a schema, ended at any moment: nothing is lost, and the next start makes it whole.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import Database from 'better-sqlite3'
import t from 'tap'
import { databaseFile, keyFile } from '../../services/store/files.ts'
import { MIGRATIONS } from '../../services/store/migrations.ts'
import { openStore } from '../../services/store/open.ts'

const FILE = join(import.meta.dirname, 'open-state.ts')
const ROWS = 8000

t.setTimeout(300_000)

/** A state as the Seedling of that schema left it, with many leases and events. */
function anOldState(dataDir: string, schema: number): void {
  mkdirSync(dataDir)
  writeFileSync(keyFile(dataDir), `${'ab'.repeat(32)}\n`)
  const db = new Database(databaseFile(dataDir))
  db.pragma('journal_mode = WAL')
  for (const sql of MIGRATIONS.slice(0, schema)) db.exec(sql)
  db.pragma(`user_version = ${schema}`)
  const columns = (db.pragma('table_info(lease)') as { name: string }[]).map(({ name }) => name)
  const known: Record<string, unknown> = {
    state: 'bound',
    kind: 'reserved',
    expires_at: 2_000_000_000_000,
    declines: 0,
    updated_at: 1
  }
  const added = columns.filter((name) => name === 'mac' || name === 'ip' || name in known)
  const lease = db.prepare(
    `INSERT INTO lease (${added.join()}) VALUES (${added.map((name) => `@${name}`).join()})`
  )
  const event = db.prepare(
    `INSERT INTO event (at, last_at, repeats, kind, subject, node_uuid, order_id, detail) VALUES (?, 1, 1, 'image-removed', 'x', NULL, NULL, '{}')`
  )
  db.transaction(() => {
    for (let n = 0; n < ROWS; n++) {
      const hex = n
        .toString(16)
        .padStart(6, '0')
        .replace(/..(?!$)/g, '$&:')
      lease.run({ ...known, mac: `52:54:00:${hex}`, ip: `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}` })
      event.run(n)
    }
  })()
  db.close()
}

function count(dataDir: string): { schema: unknown; leases: unknown; events: unknown; sound: unknown } {
  const db = new Database(databaseFile(dataDir))
  try {
    return {
      schema: db.pragma('user_version', { simple: true }),
      leases: db.prepare('SELECT count(DISTINCT mac) FROM lease').pluck().get(),
      events: db.prepare('SELECT count(*) FROM event').pluck().get(),
      sound: db.pragma('integrity_check', { simple: true })
    }
  } finally {
    db.close()
  }
}

/** Opens it in a process of its own, which is killed so many milliseconds after it began (null: not at all); how long it took. */
async function open(dataDir: string, killAfter: number | null): Promise<number> {
  const child = spawn(process.execPath, [FILE, dataDir], { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(child, 'close')
  await once(child.stdout, 'data')
  const from = performance.now()
  if (killAfter !== null) {
    await sleep(killAfter)
    child.kill('SIGKILL')
  }
  await ended
  return performance.now() - from
}

for (const [schema, kills] of [
  [1, 20],
  [MIGRATIONS.length - 1, 6]
] as const)
  t.test(`from schema ${schema}, killed ${kills} times on the way`, async (t) => {
    const root = t.testdir()
    const old = join(root, 'old')
    anOldState(old, schema)
    const dataDir = join(root, 'data')
    const afresh = () => {
      rmSync(dataDir, { recursive: true, force: true })
      cpSync(old, dataDir, { recursive: true })
    }
    afresh()
    const whole = await open(dataDir, null)
    const done = { schema: MIGRATIONS.length, leases: ROWS, events: ROWS, sound: 'ok' }
    t.same(count(dataDir), done)
    let midway = 0
    for (let kill = 0; kill < kills; kill++) {
      afresh()
      await open(dataDir, (whole * kill) / kills)
      const left = count(dataDir)
      if (left.schema === schema) midway++
      if (left.schema !== schema && left.schema !== MIGRATIONS.length) t.fail(`schema ${String(left.schema)}`)
      if (left.leases !== ROWS || left.events !== ROWS || left.sound !== 'ok') t.fail(JSON.stringify(left))
      openStore(dataDir).close()
      if (kill % 5 === 0) t.same(count(dataDir), done)
    }
    t.ok(midway > kills / 4, `${midway} of them before it was done`)
  })
