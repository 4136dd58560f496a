import t from 'tap'
import {
  makeMark,
  MARK_OPTION,
  nextEpoch,
  readMark,
  relation,
  type Run
} from '../../src/decide/succession.ts'

const KEY = Buffer.alloc(32, 7)
const RUN: Run = { epoch: 1_700_000_000_000, startedAt: 1_800_000_000_000, run: 0xffee_ddcc_bbaa_9988n }

t.test('a mark says what was put into it, to whoever has the key', (t) => {
  const mark = makeMark(KEY, RUN)
  t.same(readMark(KEY, { [MARK_OPTION]: mark }), RUN)
  t.equal(readMark(Buffer.alloc(32, 8), { [MARK_OPTION]: mark }), null, 'another state’s')
  t.equal(readMark(KEY, {}), null)
  t.equal(readMark(KEY, { [MARK_OPTION]: mark.subarray(1) }), null)
  t.end()
})

t.test('no bit of a mark can be changed', (t) => {
  const mark = makeMark(KEY, RUN)
  for (let bit = 0; bit < mark.length * 8; bit++) {
    const forged = Buffer.from(mark)
    forged.writeUInt8(forged.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
    if (readMark(KEY, { [MARK_OPTION]: forged }) !== null) t.fail(`bit ${bit}`)
  }
  t.end()
})

const RELATIONS: Record<string, [Partial<Run>, ReturnType<typeof relation>]> = {
  ourselves: [{}, null],
  'restored after us': [{ epoch: RUN.epoch + 1, run: 1n }, 'successor'],
  'restored after us, whatever its clock says': [
    { epoch: RUN.epoch + 1, startedAt: RUN.startedAt + 1, run: 1n },
    'successor'
  ],
  'what we were restored from': [{ epoch: 0, startedAt: 0, run: 1n }, 'junior'],
  'a copy that was there first': [{ startedAt: RUN.startedAt - 1, run: 1n }, 'elder'],
  'a copy that came later': [{ startedAt: RUN.startedAt + 1, run: 1n }, 'junior'],
  'a copy of the same moment': [{ run: 1n }, 'elder']
}

for (const [name, [change, expected]] of Object.entries(RELATIONS))
  t.test(name, (t) => {
    t.equal(relation(RUN, { ...RUN, ...change }), expected)
    t.end()
  })

t.test('of any two exactly one goes on', (t) => {
  const runs = [0, 1].flatMap((epoch) =>
    [0, 1].flatMap((startedAt) => [0n, 1n].map((run) => ({ epoch, startedAt, run })))
  )
  for (const one of runs)
    for (const other of runs) {
      if (one.run === other.run) continue
      const ends = [relation(one, other), relation(other, one)].filter((is) => is !== 'junior')
      if (ends.length !== 1) t.fail(`${ends.join()}`)
    }
  t.end()
})

t.test('each restore is later than all before, even with the clock set back', (t) => {
  t.equal(nextEpoch(0, 5000), 5000)
  t.equal(nextEpoch(9000, 5000), 9001)
  t.end()
})
