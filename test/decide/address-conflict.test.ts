import t from 'tap'
import { CONFLICT_TIMES, judgeConflict, type ConflictEvidence } from '../../src/decide/address-conflict.ts'

const [OWN, SECOND, OTHER] = ['52:54:00:00:00:01', '52:54:00:00:00:02', '52:54:00:00:00:99']
const { ask, settle } = CONFLICT_TIMES

/** What is seen → who holds the address: a MAC, `elsewhere` without one, or the verdict's word. */
const CASES: Record<string, [seen: Partial<ConflictEvidence>, verdict: string]> = {
  'no answer yet': [{}, 'wait'],
  'no answer to three questions': [{ milliseconds: ask }, 'by-nobody'],
  'a host answers ARP': [{ now: OTHER }, OTHER],
  'the machine itself answers': [{ now: OWN }, 'by-machine'],
  'the machine itself, by its second port': [{ now: SECOND }, 'by-machine'],
  'the machine itself, although it refuses': [{ now: OWN, before: OWN, refused: true }, 'by-machine'],
  'an entry that was there may be stale': [{ now: OTHER, before: OTHER, milliseconds: settle - 1 }, 'wait'],
  'an entry that was there, and the host refuses': [{ now: OTHER, before: OTHER, refused: true }, OTHER],
  'an entry that the kernel has confirmed': [{ now: OTHER, before: OTHER, milliseconds: settle }, OTHER],
  'an entry that the kernel has dropped': [{ before: OTHER, milliseconds: ask }, 'by-nobody'],
  'an entry that went from another host to the machine': [{ before: OTHER, now: OWN }, 'by-machine'],
  'an entry that went from the machine to another host': [{ before: OWN, now: OTHER }, OTHER],
  'a refusal whose MAC may yet show': [{ refused: true }, 'wait'],
  'a refusal from behind a router': [{ refused: true, milliseconds: ask }, 'elsewhere']
}

t.test('who holds an address', async (t) => {
  const nothing = { macs: [OWN, SECOND], before: null, now: null, refused: false, milliseconds: 500 }
  for (const [name, [seen, expected]] of Object.entries(CASES)) {
    const verdict = judgeConflict({ ...nothing, ...seen }, CONFLICT_TIMES)
    const word =
      verdict === 'wait'
        ? 'wait'
        : verdict.held === 'by-another'
          ? (verdict.mac ?? 'elsewhere')
          : verdict.held
    t.equal(word, expected, name)
  }
})
