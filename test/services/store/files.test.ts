import { existsSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import t, { type Test } from 'tap'
import { copiedSchemas, rollBack } from '../../../services/store/files.ts'
import { MIGRATIONS } from '../../../services/store/migrations.ts'
import { openStore } from '../../../services/store/open.ts'

/** A state as a Seedling of that schema left it, with one node. */
function older(t: Test, schema: number): string {
  const dataDir = t.testdir({})
  const db = new Database(join(dataDir, 'seedling.db'))
  for (const sql of MIGRATIONS.slice(0, schema)) db.exec(sql)
  db.pragma(`user_version = ${schema}`)
  db.prepare(
    `INSERT INTO node (uuid, name, driver, driver_info, properties, extra, instance_info, state, maintenance, created_at)
     VALUES ('6e6f6465-0000-4000-8000-000000000001', 'ctl-1', 'ipmi', '{}', '{}', '{}', '{}', 'available', 0, 1)`
  ).run()
  db.close()
  return dataDir
}

const schemaOf = (dataDir: string): unknown => {
  const db = new Database(join(dataDir, 'seedling.db'), { readonly: true })
  const version = db.pragma('user_version', { simple: true })
  db.close()
  return version
}

t.test('every schema there was becomes the one of now, with a copy to go back to', async (t) => {
  for (let schema = 1; schema < MIGRATIONS.length; schema++) {
    const dataDir = older(t, schema)
    const store = openStore(dataDir)
    t.match(store.db.prepare('SELECT name, power_ons FROM node').get(), { name: 'ctl-1', power_ons: '[]' })
    store.close()
    t.same(copiedSchemas(dataDir), [schema])
    const back = rollBack(dataDir, schema, new Date())
    t.equal(back.schema, schema)
    t.equal(schemaOf(dataDir), schema, 'the older Seedling can read it')
    t.ok(existsSync(back.kept), 'the newer one is kept')
  }
})

t.test('an older Seedling refuses a newer state, and says how to go back', async (t) => {
  const dataDir = t.testdir({})
  openStore(dataDir).close()
  const db = new Database(join(dataDir, 'seedling.db'))
  db.pragma('user_version = 999')
  db.close()
  t.throws(() => openStore(dataDir), { code: 'schema-newer', message: /rollback/ })
  t.throws(() => rollBack(dataDir, 3, new Date()), { code: 'not-found' })
})

t.test('a state that is in use is not rolled back', async (t) => {
  const dataDir = older(t, 1)
  const store = openStore(dataDir)
  t.throws(() => rollBack(dataDir, 1, new Date()), { code: 'state-locked' })
  t.throws(() => openStore(dataDir), { code: 'state-locked' }, 'nor opened twice')
  store.close()
})

t.test('damage is found, nothing is served, and nothing is begun anew', async (t) => {
  const damages: Record<string, (file: string) => void> = {
    'a page is overwritten': (file) => {
      const bytes = readFileSync(file)
      bytes.fill(0xff, 4096 * 2, 4096 * 3)
      writeFileSync(file, bytes)
    },
    'the head is overwritten': (file) => {
      const bytes = readFileSync(file)
      bytes.fill(0, 0, 100)
      writeFileSync(file, bytes)
    },
    'it is cut short': (file) => truncateSync(file, 4096 * 3),
    'it is missing': (file) => rmSync(file)
  }
  for (const [how, damage] of Object.entries(damages)) {
    const dataDir = t.testdir({})
    openStore(dataDir).close()
    damage(join(dataDir, 'seedling.db'))
    t.throws(() => openStore(dataDir), { code: 'state-damaged', message: /seedling restore/ }, how)
    t.throws(() => openStore(dataDir), { code: 'state-damaged' }, `${how}, the second time`)
  }
})
