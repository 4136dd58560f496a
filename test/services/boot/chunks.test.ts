import { randomBytes } from 'node:crypto'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import t, { type Test } from 'tap'
import { createChunks, type Chunks } from '../../../services/boot/chunks.ts'
import { imagePath } from '../../../services/boot/files.ts'
import { sha256 } from '../../support/machine-facing.ts'

const KIB = 1024

/** Chunks of these sizes in a folder; their names. */
function stored(t: Test, sizes: number[]) {
  const dataDir = t.testdir({})
  const all = sizes.map((size) => {
    const bytes = randomBytes(size)
    const name = sha256(bytes)
    const path = imagePath(dataDir, 'chunks', name)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, bytes)
    return { bytes, name, path }
  })
  return { dataDir, all }
}

type Taken = NonNullable<Awaited<ReturnType<Chunks['take']>>>
const inMemory = ({ content }: Taken): boolean => 'bytes' in content
const bytesOf = async ({ content }: Taken): Promise<Buffer> => {
  if ('bytes' in content) return Buffer.from(content.bytes)
  const bytes = Buffer.alloc(content.size)
  await content.handle.read(bytes, 0, content.size, 0)
  return bytes
}

t.test('a chunk that was sent is sent from memory next time', async (t) => {
  const { dataDir, all } = stored(t, [100 * KIB])
  const chunks = createChunks(dataDir)
  const [{ bytes, name, path }] = all as [(typeof all)[number]]
  const first = (await chunks.take(name)) as Taken
  t.ok((await bytesOf(first)).equals(bytes))
  first.done()
  rmSync(path)
  const again = (await chunks.take(name)) as Taken
  t.ok((await bytesOf(again)).equals(bytes), 'even when its file is gone')
  again.done()
  t.equal(chunks.held(), 100 * KIB)
})

t.test('many who ask at once share one copy', async (t) => {
  const { dataDir, all } = stored(t, [100 * KIB])
  const chunks = createChunks(dataDir)
  const taken = (await Promise.all(all.concat(all, all, all).map(({ name }) => chunks.take(name)))) as Taken[]
  t.ok(taken.every((one) => inMemory(one)))
  t.equal(new Set(taken.map(({ content }) => ('bytes' in content ? content.bytes : null))).size, 1)
  for (const one of taken) one.done()
})

t.test('memory is bounded: what was used longest ago goes, what is being sent stays', async (t) => {
  const { dataDir, all } = stored(
    t,
    Array.from({ length: 6 }, () => 100 * KIB)
  )
  const chunks = createChunks(dataDir, 300 * KIB)
  const taken: Taken[] = []
  for (const { name } of all.slice(0, 3)) taken.push((await chunks.take(name)) as Taken)
  t.equal(chunks.held(), 300 * KIB)
  const fourth = (await chunks.take(all[3]?.name ?? '')) as Taken
  t.equal(inMemory(fourth), false, 'all is being sent: this one comes from its file')
  t.ok((await bytesOf(fourth)).equals(all[3]?.bytes as Buffer))
  fourth.done()
  t.equal(chunks.held(), 300 * KIB)
  // The second and third are free now; the first is still on its way.
  for (const one of taken.slice(1)) one.done()
  for (const { name } of all.slice(4)) ((await chunks.take(name)) as Taken).done()
  t.equal(chunks.held(), 300 * KIB)
  rmSync(all[0]?.path ?? '')
  rmSync(all[1]?.path ?? '')
  t.ok(await chunks.take(all[0]?.name ?? ''), 'the first is kept')
  t.equal(await chunks.take(all[1]?.name ?? ''), null, 'the second made room')
})

t.test('what is not a chunk is not there', async (t) => {
  const { dataDir } = stored(t, [])
  const chunks = createChunks(dataDir)
  for (const name of ['', '..', '0'.repeat(64), '../../seedling.db', 'A'.repeat(64)])
    t.equal(await chunks.take(name), null, name)
})
