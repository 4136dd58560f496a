import { readSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createOpenFiles, type OpenFile } from '../../../services/boot/open-files.ts'

function stored(t: Test, count: number): string[] {
  const dir = t.testdir(
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`f${index}`, `content ${index}`]))
  )
  return Array.from({ length: count }, (_, index) => join(dir, `f${index}`))
}

/** How often this process has the file open. */
const open = (path: string): number =>
  readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(path)
    } catch {
      return false
    }
  }).length

const text = ({ fd, size }: OpenFile): string => {
  const bytes = Buffer.alloc(size)
  readSync(fd, bytes, 0, size, 0)
  return bytes.toString()
}

t.test('a file is opened once for all who ask for it, and closed a moment after the last', async (t) => {
  const [path] = stored(t, 1) as [string]
  const files = createOpenFiles(50)
  const all = (await Promise.all([files.take(path), files.take(path), files.take(path)])) as OpenFile[]
  t.same(all.map(text), Array(3).fill('content 0'))
  t.equal(open(path), 1)
  for (const one of all) one.done()
  const again = (await files.take(path)) as OpenFile
  await sleep(200)
  t.equal(open(path), 1, 'who came back in time keeps it open')
  t.equal(text(again), 'content 0')
  again.done()
  while (open(path) > 0) await sleep(20)
  t.equal(files.count(), 0)
})

t.test('what is not there is null, and is found once it is', async (t) => {
  const path = join(t.testdir({}), 'late')
  const files = createOpenFiles()
  t.equal(await files.take(path), null)
  writeFileSync(path, 'here')
  const found = (await files.take(path)) as OpenFile
  t.equal(text(found), 'here')
  rmSync(path)
  found.done()
  await files.close()
  t.equal(open(path), 0)
})

t.test('no more than so many rest open; those in use do not count', async (t) => {
  const paths = stored(t, 10)
  const files = createOpenFiles(60_000, 3)
  const taken = (await Promise.all(paths.map((path) => files.take(path)))) as OpenFile[]
  t.equal(files.count(), 10)
  for (const one of taken.slice(0, 9)) one.done()
  while (paths.map(open).filter((count) => count > 0).length > 4) await sleep(10)
  t.same(paths.map(open), [0, 0, 0, 0, 0, 0, 1, 1, 1, 1], 'who has waited longest goes first')
  taken[9]?.done()
  await files.close()
  t.equal(files.count(), 0)
})

t.test('an error is not kept', async (t) => {
  const dir = t.testdir({})
  const files = createOpenFiles()
  await t.rejects(files.take(join(dir, 'x'.repeat(300))), { code: 'ENAMETOOLONG' })
  t.equal(files.count(), 0)
})
