// Hostile strings in every place of a GRUB configuration: what is rendered reads back as the same commands, or it is refused. FUZZ_STRINGS and
// FUZZ_SEED change the run.

import { spawnSync } from 'node:child_process'
import fc from 'fast-check'
import t from 'tap'
import { encodeGrub } from '../../src/wire/grub.ts'
import { WireError } from '../../src/wire/wire-error.ts'
import { grubWords } from '../support/grub-words.ts'

const STRINGS = Number(process.env['FUZZ_STRINGS'] ?? 1_000_000)
const SEED = Number(process.env['FUZZ_SEED'] ?? 21)
/** Each configuration takes so many of them. */
const PLACES = 5

/** Letters that mean something to GRUB, to shells or to kernels, among plain ones. */
const LETTERS = 'abZ09 _.,:/=+@%?~&-\'"$\\{}();|<>#*\n\r\t\0é[]!^`'
const PLAIN = 'abZ09_.,:/=+@%?~&-'
const hostile = fc.oneof(
  { weight: 1, arbitrary: fc.string({ unit: fc.constantFrom(...LETTERS), maxLength: 12 }) },
  { weight: 1, arbitrary: fc.string({ maxLength: 24 }) },
  { weight: 4, arbitrary: fc.string({ unit: fc.constantFrom(...PLAIN), minLength: 1, maxLength: 24 }) }
)

t.test(`${STRINGS} strings (seed ${SEED})`, { timeout: 600_000 }, async (t) => {
  const kept: string[] = []
  let rendered = 0
  let refused = 0
  fc.assert(
    fc.property(hostile, hostile, hostile, hostile, hostile, (text, path, ...args) => {
      let config: string
      try {
        config = encodeGrub([
          { do: 'echo', text },
          { do: 'linux', url: `http://192.0.2.1/${path}`, arguments: args }
        ])
      } catch (error) {
        refused++
        return error instanceof WireError && error.code === 'grub-value'
      }
      rendered++
      if (kept.length < 5000) kept.push(config)
      const meant = [
        ['echo', text],
        ['linux', `(http,192.0.2.1)/${path}`, ...args]
      ]
      return JSON.stringify(grubWords(config)) === JSON.stringify(meant)
    }),
    { numRuns: Math.ceil(STRINGS / PLACES), seed: SEED }
  )
  t.ok(rendered > STRINGS / 500 && refused > STRINGS / 500, `${rendered} rendered, ${refused} refused`)
  const { status, stderr } = spawnSync('grub-script-check', { input: kept.join(''), encoding: 'utf8' })
  t.match({ status, stderr }, { status: 0, stderr: '' }, 'GRUB’s own parser reads them too')
})
