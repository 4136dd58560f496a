// What a power cut can leave of the database: its log of writes ends anywhere, with rubbish behind the end or without. It opens with all that was
// committed up to there, and with no half of anything; of a damaged page nothing is served.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createApply } from '../../services/store/apply.ts'
import { createFacts } from '../../services/store/facts.ts'
import { databaseFile, keyFile } from '../../services/store/files.ts'
import { openStore } from '../../services/store/open.ts'
import { AppError } from '../../src/domain/error.ts'
import { aLease } from '../support/builders.ts'
import { seededRandom } from '../support/mutate.ts'

const COMMITS = 60
const PAGE = 4096
/** What a disk writes whole. */
const SECTOR = 512
const RUBBISH = Buffer.alloc(3 * PAGE, 0xa5)

const CLOCK = { id: 1, wallTime: 0, synchronised: true, uptime: 0, bootId: 'boot' } as const
const ip = (index: number) => `192.0.2.${index + 1}`
const macOf = (index: number) => `52:54:00:00:00:${index.toString(16).padStart(2, '0')}`

/** A state as it is on disk after so many commits of a lease and its count each, `first` of them in the database itself. */
function aState(t: Test, first: number) {
  const dataDir = t.testdir({})
  const commit = (from: number, until: number) => {
    const store = openStore(dataDir)
    const apply = createApply(store)
    for (let index = from; index < until; index++)
      store.commit(() =>
        apply([
          { put: 'lease', row: aLease({ ip: ip(index), mac: macOf(index) }) },
          { put: 'clock', row: { ...CLOCK, leaseTime: index } }
        ])
      )
    return store
  }
  commit(0, first).close()
  const store = commit(first, COMMITS)
  const file = databaseFile(dataDir)
  const [database, log] = [readFileSync(file), readFileSync(`${file}-wal`)]
  store.close()
  return { database, log, key: readFileSync(keyFile(dataDir)) }
}

/** How many commits are there, and that they are whole; null: it is refused as damaged. */
function opened(dataDir: string): number | null {
  let store
  try {
    store = openStore(dataDir)
  } catch (error) {
    if (error instanceof AppError && error.code === 'state-damaged') return null
    throw error
  }
  const facts = createFacts(store)
  const leases = new Set(facts.leases().map((lease) => lease.ip))
  const clock = facts.clockMark()?.leaseTime ?? NaN
  store.close()
  const all = [...leases].every((one) => Array.from({ length: leases.size }, (_, n) => ip(n)).includes(one))
  return all && clock === leases.size - 1 ? leases.size : NaN
}

function lay(t: Test, state: ReturnType<typeof aState>, database: Buffer, log: Buffer): string {
  const dataDir = join(t.testdirName, 'again')
  rmSync(dataDir, { recursive: true, force: true })
  mkdirSync(dataDir)
  writeFileSync(keyFile(dataDir), state.key)
  writeFileSync(databaseFile(dataDir), database)
  if (log.length > 0) writeFileSync(`${databaseFile(dataDir)}-wal`, log)
  return dataDir
}

t.test('the log ends anywhere', { timeout: 100_000 }, async (t) => {
  const FIRST = 20
  const state = aState(t, FIRST)
  t.equal(opened(lay(t, state, state.database, state.log)), COMMITS, 'whole')
  let before = FIRST
  const wrong: string[] = []
  for (let end = 0; end < state.log.length + SECTOR; end += SECTOR) {
    const kept = state.log.subarray(0, end)
    const torn = Buffer.concat([kept, RUBBISH])
    for (const [how, log] of Object.entries({ 'cut off': kept, 'then rubbish': torn })) {
      const found = opened(lay(t, state, state.database, log))
      if (found === null || !(found >= before && found <= COMMITS)) wrong.push(`${end} ${how}: ${found}`)
      else if (how === 'then rubbish') before = found
    }
  }
  t.same(wrong, [])
  t.equal(before, COMMITS, 'each commit was there from some length on')
})

t.test('pages are overwritten', async (t) => {
  const state = aState(t, COMMITS)
  const random = seededRandom(3)
  const wrong: string[] = []
  let refused = 0
  for (let trial = 0; trial < 64; trial++) {
    const database = Buffer.from(state.database)
    const pages = Array.from({ length: 1 + trial }, () => Math.floor(random() * (database.length / PAGE)))
    for (const page of pages)
      for (let at = page * PAGE; at < (page + 1) * PAGE; at++) database[at] = Math.floor(random() * 256)
    const found = opened(lay(t, state, database, Buffer.alloc(0)))
    if (found === null) refused++
    else if (found !== COMMITS) wrong.push(`pages ${pages.join()}: ${found}`)
  }
  t.same(wrong, [], 'nothing is served that is not so')
  t.ok(refused > 32, `${refused} of 64 refused`)
})
