import t from 'tap'
import {
  EMPTY_WINDOW,
  nextSequence,
  receiveSequence,
  type SequenceWindow
} from '../../../src/wire/ipmi/sequence-window.ts'

/** Which of the numbers, received in this order, are taken. */
function taken(numbers: number[]): number[] {
  let window: SequenceWindow = EMPTY_WINDOW
  return numbers.filter((number) => {
    const next = receiveSequence(window, number)
    if (next) window = next
    return next !== null
  })
}

const TABLE: Record<string, [received: number[], taken: number[]]> = {
  'numbers in order': [
    [1, 2, 3],
    [1, 2, 3]
  ],
  'a repetition is dropped': [
    [1, 2, 2, 1],
    [1, 2]
  ],
  'packets may overtake each other': [
    [1, 3, 2, 2],
    [1, 3, 2]
  ],
  'gaps are taken': [
    [1, 9, 100000, 99999],
    [1, 9, 100000, 99999]
  ],
  '31 behind is inside the window, 32 is not': [
    [100, 69, 68],
    [100, 69]
  ],
  'number 0 is never used inside a session': [[0, 1, 0], [1]],
  'a BMC may begin anywhere': [
    [0xfffffff0, 0xfffffff1],
    [0xfffffff0, 0xfffffff1]
  ],
  'the count goes on past 2^32': [
    [0xfffffffe, 0xffffffff, 1, 2, 0xffffffff, 0xfffffffd],
    [0xfffffffe, 0xffffffff, 1, 2, 0xfffffffd]
  ],
  'a leap beyond the window forgets the old numbers': [
    [1, 2, 50, 1],
    [1, 2, 50]
  ],
  'bit 31 of the window counts like any other': [
    [1, 32, 1],
    [1, 32]
  ]
}

for (const [name, [received, expected]] of Object.entries(TABLE)) {
  t.test(name, (t) => {
    t.same(taken(received), expected)
    t.end()
  })
}

t.test('our own numbers wrap past 2^32 and leave 0 out', (t) => {
  t.equal(nextSequence(0), 1)
  t.equal(nextSequence(0x7fffffff), 0x80000000)
  t.equal(nextSequence(0xffffffff), 1)
  t.end()
})
