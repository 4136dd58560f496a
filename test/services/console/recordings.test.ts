import { appendFileSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { openRecordings } from '../../../services/console/recordings.ts'

const ID = '6f726465-0000-4000-8000-000000000001.1'
const LIMITS = { piece: 100, last: 3 }

/** What a reader must get of `text` written under LIMITS. */
function kept(text: string): string {
  const starts = Array.from(
    { length: Math.ceil(text.length / LIMITS.piece) },
    (_, index) => index * LIMITS.piece
  )
  const tail = starts.slice(1).slice(-LIMITS.last)
  const from = tail[0] ?? LIMITS.piece
  const omitted = from - LIMITS.piece
  const gap = omitted > 0 ? `\r\n[seedling: ${omitted} bytes left out here]\r\n` : ''
  return text.slice(0, LIMITS.piece) + gap + text.slice(from)
}

t.test('a short one is as it was said', async (t) => {
  const recordings = openRecordings(t.testdir())
  t.equal(await recordings.read(ID), null)
  t.equal(recordings.facts(ID), null)
  const recording = recordings.open(ID)
  recording.append(Buffer.from('SeaBIOS\r\n'))
  recording.append(Buffer.from('iPXE\r\n'))
  await recording.close()
  t.equal(String(await recordings.read(ID)), 'SeaBIOS\r\niPXE\r\n')
  t.match(recordings.facts(ID), { bytes: 15, omitted: 0 })
  t.same(recordings.ids(), [ID])
  recordings.remove(ID)
  t.same(recordings.ids(), [])
})

t.test(
  'of a long one beginning and end are kept, whatever pieces it comes in and however often it is opened',
  async (t) => {
    let run = 0
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(350), fc.boolean()), { maxLength: 12 }), async (pieces) => {
        const recordings = openRecordings(join(t.testdirName, String(run++)), LIMITS)
        let text = ''
        let recording = recordings.open(ID)
        for (const [length, reopen] of pieces) {
          const piece = Array.from({ length }, (_, at) =>
            String.fromCharCode(97 + ((text.length + at) % 26))
          ).join('')
          recording.append(Buffer.from(piece))
          text += piece
          if (!reopen) continue
          await recording.close()
          recording = recordings.open(ID)
        }
        await recording.close()
        if (text === '') return
        const read = String(await recordings.read(ID))
        if (read !== kept(text)) throw new Error(`${text.length} bytes became ${JSON.stringify(read)}`)
        const facts = recordings.facts(ID)
        if (facts?.bytes !== text.length) throw new Error('the size is wrong')
      }),
      { numRuns: 60, seed: 5 }
    )
    t.pass(`${run} recordings`)
    t.testdir()
  }
)

t.test('100 MiB take 1 MiB on the disk', async (t) => {
  const folder = t.testdir()
  const recordings = openRecordings(folder)
  const recording = recordings.open(ID)
  const piece = Buffer.alloc(2 ** 19, 'x')
  for (let round = 0; round < 200; round++) {
    recording.append(piece)
    await recording.close()
  }
  t.equal(recording.trouble(), null)
  const files = readdirSync(join(folder, 'console', ID)).map((name) => join(folder, 'console', ID, name))
  const size = files.reduce((sum, file) => sum + statSync(file).size, 0)
  t.ok(size <= 2 ** 20, `${size} bytes`)
  t.match(recordings.facts(ID), { bytes: 200 * piece.length, omitted: 200 * piece.length - size })
  for (const file of files) t.equal(statSync(file).mode & 0o777, 0o600)
})

t.test('a disk that takes nothing, and one that is too slow', async (t) => {
  const folder = t.testdir()
  const recordings = openRecordings(folder)
  // Nobody writes to a folder.
  mkdirSync(join(folder, 'console', ID, '000000000000'), { recursive: true })
  const recording = recordings.open(ID)
  recording.append(Buffer.from('x'))
  await recording.close()
  t.match(recording.trouble(), /cannot be written/)
  recording.append(Buffer.from('y'))
  await recording.close()
  const other = recordings.open(ID.replace('.1', '.2'))
  for (let round = 0; round < 40; round++) other.append(Buffer.alloc(65_536))
  await other.close()
  t.match(other.trouble(), /too slow/)
})

t.test('what else lies there is no recording, and no name leads elsewhere', async (t) => {
  const folder = t.testdir()
  const recordings = openRecordings(folder)
  writeFileSync(join(folder, 'console', 'note'), '')
  appendFileSync(join(folder, 'secret'), 'secret')
  t.same(recordings.ids(), [])
  await t.rejects(recordings.read('../secret'), /no recording/)
  t.throws(() => recordings.open('../x'), /no recording/)
})
