// Backups of a running state, and what comes of them: whole on another folder, refused when anything is wrong with the file, and never a reason to
// install a machine again.

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { createBackups } from '../../services/backup.ts'
import { readBackup, writeBackup, type Entry } from '../../services/backup-file.ts'
import { restore } from '../../services/restore.ts'
import { createApply } from '../../services/store/apply.ts'
import { createFacts } from '../../services/store/facts.ts'
import { openStore } from '../../services/store/open.ts'
import { encodeManifest, sha256Hex } from '../../src/wire/manifest.ts'
import { aLease, aNode, anImage, anOrder, aPort, NOW } from '../support/builders.ts'
import { aFolder } from '../support/served.ts'

const PASSPHRASE = 'correct horse battery'
/** For files that are read often. */
const CHEAP = { N: 2 ** 10, r: 8, p: 1 }

async function collect(parts: AsyncIterable<Buffer>): Promise<Buffer> {
  const all: Buffer[] = []
  for await (const part of parts) all.push(part)
  return Buffer.concat(all)
}

const text = (name: string, content: string): Entry => ({
  name,
  size: Buffer.byteLength(content),
  content: [Buffer.from(content)]
})
const parts = async function* (bytes: Buffer, size = 1000) {
  for (let start = 0; start < bytes.length; start += size) yield bytes.subarray(start, start + size)
}

async function read(bytes: Buffer, passphrase = PASSPHRASE): Promise<Record<string, string>> {
  const found: Record<string, string> = {}
  for await (const { name, content } of readBackup(parts(bytes), passphrase))
    found[name] = createHash('sha256')
      .update(await collect(content as AsyncIterable<Buffer>))
      .digest('hex')
  return found
}

t.test('a backup file gives back what went in, and says nothing without the passphrase', async (t) => {
  const large = Buffer.alloc(3 * 2 ** 20 + 5, 'x')
  const entries: Entry[] = [
    text('small', 'hello'),
    text('empty', ''),
    { name: 'large', size: large.length, content: [large] }
  ]
  const bytes = await collect(writeBackup(entries, PASSPHRASE, CHEAP))
  const hash = (content: Buffer | string) => createHash('sha256').update(content).digest('hex')
  t.same(await read(bytes), { small: hash('hello'), empty: hash(''), large: hash(large) })
  t.notOk(bytes.includes('hello') || bytes.includes('small'), 'neither names nor content can be seen')
  await t.rejects(read(bytes, 'another passphrase'), { code: 'bad-backup', message: /passphrase is wrong/ })
})

t.test('whatever is changed, cut off, added or put in another order is refused', async (t) => {
  const body = Buffer.alloc(2.5 * 2 ** 20, 'y')
  const bytes = await collect(
    writeBackup([{ name: 'body', size: body.length, content: [body] }], PASSPHRASE, CHEAP)
  )
  const second = bytes.indexOf('\n', bytes.indexOf('\n') + 1) + 1
  const record = 20 + 2 ** 20
  const wrong: Record<string, Buffer> = {
    nothing: Buffer.alloc(0),
    'another file': Buffer.from('#!/bin/sh\n'.repeat(20)),
    'cut in a record': bytes.subarray(0, bytes.length - 1),
    'cut between records': bytes.subarray(0, second + record),
    'something at the end': Buffer.concat([bytes, Buffer.from('z')]),
    'two records changed places': Buffer.concat([
      bytes.subarray(0, second),
      bytes.subarray(second + record, second + 2 * record),
      bytes.subarray(second, second + record),
      bytes.subarray(second + 2 * record)
    ])
  }
  for (const at of [3, 30, second + 2, second + 10, second + 500, bytes.length - 3]) {
    const flipped = Buffer.from(bytes)
    flipped[at] = (flipped[at] as number) ^ 1
    wrong[`a bit at ${at}`] = flipped
  }
  for (const [how, file] of Object.entries(wrong)) await t.rejects(read(file), { code: 'bad-backup' }, how)
})

t.test('a changed head is refused, in our words', async (t) => {
  const bytes = await collect(writeBackup([text('small', 'hello')], PASSPHRASE, CHEAP))
  const head = bytes.indexOf('\n', bytes.indexOf('\n') + 1) + 1
  for (let bit = 0; bit < head * 8; bit += 3) {
    const flipped = Buffer.from(bytes)
    flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7))
    await read(flipped).then(
      () => t.fail(`bit ${bit}`),
      (error: { code?: string }) => error.code === 'bad-backup' || t.fail(`bit ${bit}: ${String(error)}`)
    )
  }
})

/** A state with a node, an open order and an image. */
function aState(t: Test) {
  const folder = t.testdir({})
  const dataDir = join(folder, 'data')
  const store = openStore(dataDir)
  const facts = createFacts(store)
  const apply = createApply(store)
  const chunk = Buffer.from('chunk of a disk')
  const manifest = encodeManifest([{ offset: 0, length: chunk.length, sha256: sha256Hex(chunk) }])
  const image = anImage({ digest: sha256Hex(manifest) })
  for (const [name, content] of [
    [`images/manifests/${image.digest}`, manifest],
    [`images/chunks/${sha256Hex(chunk).slice(0, 2)}/${sha256Hex(chunk)}`, chunk]
  ] as const) {
    mkdirSync(dirname(join(dataDir, name)), { recursive: true })
    writeFileSync(join(dataDir, name), content)
  }
  writeFileSync(join(dataDir, 'api-token'), 'f'.repeat(64))
  const order = anOrder({ kind: 'deploy', state: 'open' })
  store.commit(() =>
    apply([
      { put: 'node', row: aNode() },
      { put: 'port', row: aPort() },
      { put: 'image', row: image },
      { put: 'order', row: order }
    ])
  )
  const backups = createBackups({ store, facts, dataDir, configFile: null, now: () => NOW })
  const at = {
    dataDir: join(folder, 'elsewhere'),
    passphrase: PASSPHRASE,
    replace: false,
    upToDate: false,
    now: new Date(NOW + 1000)
  }
  return { folder, dataDir, store, facts, apply, backups, image, order, at }
}

async function backedUp(t: Test, withImages: boolean) {
  const state = aState(t)
  const file = join(state.folder, 'backup')
  writeFileSync(file, await collect(state.backups.make(PASSPHRASE, withImages)))
  state.store.close()
  return { ...state, file }
}

t.test(
  'made under 200 writes a second: sound, and everything committed before it began is in it',
  async (t) => {
    const { store, apply, backups, folder } = aState(t)
    let written = 0
    const write = () => {
      const n = written++
      const row = aLease({
        ip: `10.0.${n >> 8}.${n & 255}`,
        mac: `52:54:00:00:${hex(n >> 8)}:${hex(n & 255)}`
      })
      store.commit(() => apply([{ put: 'lease', row }]))
    }
    const hex = (byte: number) => byte.toString(16).padStart(2, '0')
    while (written < 2000) write()
    const writing = setInterval(write, 5)
    t.teardown(() => clearInterval(writing))
    const file = join(folder, 'backup')
    const before = written
    writeFileSync(file, await collect(backups.make(PASSPHRASE, false)))
    clearInterval(writing)
    t.ok(written > before, `${written - before} more meanwhile`)
    store.close()
    const dataDir = join(folder, 'elsewhere')
    const how = { passphrase: PASSPHRASE, replace: false, upToDate: true, now: new Date(NOW) }
    await restore(file, { dataDir, ...how })
    const restored = openStore(dataDir)
    t.teardown(() => restored.close())
    t.equal(restored.db.pragma('integrity_check', { simple: true }), 'ok')
    const found = new Set(
      createFacts(restored)
        .leases()
        .map(({ ip }) => ip)
    )
    const missing = Array.from({ length: before }, (_, n) => `10.0.${n >> 8}.${n & 255}`).filter(
      (ip) => !found.has(ip)
    )
    t.same(missing, [])
  }
)

t.test('restored elsewhere: passwords can be read, and nothing is installed again', async (t) => {
  const { file, at, image } = await backedUp(t, false)
  t.match(await restore(file, at), { madeAt: NOW, cancelled: 1, missingImages: [image.name], kept: null })
  const store = openStore(at.dataDir)
  t.teardown(() => store.close())
  const facts = createFacts(store)
  const [node] = facts.nodes()
  t.match(node, {
    driverInfo: { ipmi_password: 'secret' },
    maintenance: true,
    maintenanceReason: /restored from the state/
  })
  t.same(facts.openOrders(), [])
  t.equal(readFileSync(join(at.dataDir, 'api-token'), 'utf8'), 'f'.repeat(64))
  t.notOk(existsSync(`${at.dataDir}.restore.part`))
})

t.test('up to date: orders go on, and images come along', async (t) => {
  const { file, at, order } = await backedUp(t, true)
  t.match(await restore(file, { ...at, upToDate: true }), { cancelled: 0, missingImages: [] })
  const store = openStore(at.dataDir)
  t.teardown(() => store.close())
  const facts = createFacts(store)
  t.match(facts.openOrders(), [{ id: order.id, state: 'open' }])
  t.equal(facts.nodes()[0]?.maintenance, false)
  t.equal(readdirSync(join(at.dataDir, 'images/chunks')).length, 1)
})

t.test('a state that is there is set aside only when told so, and never while it is used', async (t) => {
  const { file, at, dataDir } = await backedUp(t, false)
  await t.rejects(restore(file, { ...at, dataDir }), { code: 'wrong-state', message: /--replace/ })
  const running = openStore(dataDir)
  await t.rejects(restore(file, { ...at, dataDir, replace: true }), { code: 'state-locked' })
  running.close()
  const { kept } = await restore(file, { ...at, dataDir, replace: true })
  t.ok(kept && existsSync(join(kept, 'seedling.db')), 'what was there is beside it')
  t.ok(existsSync(join(dataDir, 'images')), 'images stay where they are')
  openStore(dataDir).close()
})

t.test('restored by root, it belongs to whom the folder belongs', async (t) => {
  const { file, at, dataDir } = await backedUp(t, true)
  const service = 65_432
  chownSync(dataDir, service, service)
  await restore(file, { ...at, dataDir, replace: true })
  const all = readdirSync(dataDir, { recursive: true, encoding: 'utf8' })
  t.ok(all.includes('seedling.db') && all.length > 5)
  t.same(
    all.filter((name) => statSync(join(dataDir, name)).uid !== service),
    []
  )
})

t.test('of a Seedling that has stopped: by its configuration, and never while it runs', async (t) => {
  const { folder, store, at, order } = aState(t)
  aFolder(dirname(folder), basename(folder), '192.0.2.1')
  writeFileSync(join(folder, 'passphrase'), `${PASSPHRASE}\n`)
  const file = join(folder, 'backup')
  const backUp = (config: string) => {
    const main = join(import.meta.dirname, '../../services/main.ts')
    const options = ['--config', config, '--images', '--passphrase-file', join(folder, 'passphrase')]
    return spawnSync(process.execPath, [main, 'backup', file, ...options], { encoding: 'utf8' })
  }
  const config = join(folder, 'seedling.json')
  t.match(backUp(config), { status: 1, stderr: /in use by a Seedling; stop that one first/ })
  t.notOk(existsSync(file))
  store.close()
  t.match(backUp(config), { status: 0, stdout: /backup: .*encrypted/ })
  t.match(backUp(config), { status: 1, stderr: /is there already; --force/ })
  await restore(file, { ...at, upToDate: true })
  const restored = openStore(at.dataDir)
  t.teardown(() => restored.close())
  t.match(createFacts(restored).openOrders(), [{ id: order.id, state: 'open' }])
  t.equal(readdirSync(join(at.dataDir, 'images/chunks')).length, 1)

  const other = aFolder(folder, 'other', '192.0.2.1')
  t.match(backUp(join(other, 'seedling.json')), { status: 1, stderr: /holds no state/ })
  t.notOk(existsSync(join(other, 'data')), 'and none is begun')
})

t.test('a backup that is no good changes nothing', async (t) => {
  const { file, at, dataDir } = await backedUp(t, false)
  const before = createHash('sha256')
    .update(readFileSync(join(dataDir, 'seedling.db')))
    .digest('hex')
  const bytes = readFileSync(file)
  writeFileSync(file, bytes.subarray(0, bytes.length - 100))
  await t.rejects(restore(file, { ...at, dataDir, replace: true }), { code: 'bad-backup' })
  await t.rejects(restore(join(at.dataDir, 'none'), at), { code: 'bad-backup', message: /there is no file/ })
  t.equal(
    createHash('sha256')
      .update(readFileSync(join(dataDir, 'seedling.db')))
      .digest('hex'),
    before
  )
  t.notOk(existsSync(`${dataDir}.restore.part`))
  t.notOk(existsSync(at.dataDir))
})

t.test('a restore that was cut off is not taken for a state, and can be done again', async (t) => {
  const { file, at, dataDir } = await backedUp(t, false)
  await restore(file, { ...at, dataDir, replace: true })
  writeFileSync(join(dataDir, 'restore.incomplete'), '')
  rmSync(join(dataDir, 'seedling.db'))
  t.throws(() => openStore(dataDir), { code: 'state-damaged', message: /a restore was cut off/ })
  await restore(file, { ...at, dataDir })
  openStore(dataDir).close()
})

t.test('sealed passwords without their key are told, not replaced by a new key', async (t) => {
  const { dataDir } = await backedUp(t, false)
  rmSync(join(dataDir, 'secret.key'))
  t.throws(() => openStore(dataDir), { code: 'state-damaged', message: /secret\.key is missing/ })
  t.notOk(existsSync(join(dataDir, 'secret.key')))
})

t.test('hot: everything that was committed before is in it, whatever is written meanwhile', async (t) => {
  const { folder, store, apply, backups } = aState(t)
  const node = (number: number) =>
    aNode({
      uuid: `6e6f6465-0000-4000-8000-${String(number).padStart(12, '0')}`,
      name: `n${number}`,
      driverInfo: {}
    })
  const write = (number: number) => store.commit(() => apply([{ put: 'node', row: node(number) }]))
  const first = Array.from({ length: 500 }, (_, index) => ({ put: 'node' as const, row: node(index + 100) }))
  store.commit(() => apply(first))
  let written = 600
  const writing = setInterval(() => {
    for (let times = 0; times < 5; times++) write(written++)
  }, 10)
  const file = join(folder, 'backup')
  writeFileSync(file, await collect(backups.make(PASSPHRASE, false)))
  clearInterval(writing)
  const dataDir = join(folder, 'elsewhere')
  await restore(file, { dataDir, passphrase: PASSPHRASE, replace: false, upToDate: true, now: new Date(NOW) })
  store.close()
  const restored = openStore(dataDir)
  const names = new Set(
    createFacts(restored)
      .nodes()
      .map(({ name }) => name)
  )
  restored.close()
  for (let number = 100; number < 600; number++) if (!names.has(`n${number}`)) t.fail(`n${number} is missing`)
  t.ok(names.size >= 501, `${names.size} nodes, ${written - 600} written meanwhile`)
  t.equal(backups.lastAt(), NOW)
  rmSync(folder, { recursive: true })
})
