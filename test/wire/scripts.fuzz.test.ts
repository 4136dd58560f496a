// Hostile strings in every place of a script, for iPXE and for GRUB: what is rendered reads back as the same commands, or it is refused.
// FUZZ_STRINGS and FUZZ_SEED change the run.

import { spawnSync } from 'node:child_process'
import fc from 'fast-check'
import t from 'tap'
import { encodeGrub } from '../../src/wire/grub.ts'
import { encodeIpxe } from '../../src/wire/ipxe.ts'
import { WireError } from '../../src/wire/wire-error.ts'
import { grubWords } from '../support/grub-words.ts'

const STRINGS = Number(process.env['FUZZ_STRINGS'] ?? 50_000)
const SEED = Number(process.env['FUZZ_SEED'] ?? 21)
/** Each script takes so many of them. */
const PLACES = 5

/** Letters that mean something to iPXE, to GRUB, to shells or to kernels, among plain ones. */
const LETTERS = 'abZ09 _.,:/=+@%?~&-\'"$\\{}();|<>#*\n\r\t\0é[]!^`'
const hostile = fc.oneof(
  { weight: 1, arbitrary: fc.string({ unit: fc.constantFrom(...LETTERS), maxLength: 12 }) },
  { weight: 1, arbitrary: fc.string({ maxLength: 24 }) },
  {
    weight: 4,
    arbitrary: fc.string({ unit: fc.constantFrom(...'abZ09_.,:/=+@%?~&-'), minLength: 1, maxLength: 24 })
  }
)

/** iPXE's own reading (its documentation, "Scripting"): lines of words between blanks; `${`, `;`, `||` and `&&` would mean something. */
function ipxeWords(script: string): string[][] {
  const [magic, ...lines] = script.trimEnd().split('\n')
  if (magic !== '#!ipxe') throw new Error('no iPXE script')
  return lines.map((line) => {
    // eslint-disable-next-line no-control-regex
    if (/\$\{|;|\|\||&&|[\x00-\x1f#\\]/.test(line)) throw new Error(`it means something else: ${line}`)
    return line.split(' ')
  })
}

type Dialect = {
  render(text: string, path: string, args: string[]): string
  expected(text: string, path: string, args: string[]): string[][]
  read(script: string): string[][]
}

const DIALECTS: Record<string, Dialect> = {
  ipxe: {
    render: (text, path, args) =>
      encodeIpxe([
        { do: 'echo', text },
        { do: 'kernel', url: `http://192.0.2.1/${path}`, name: 'vmlinuz', arguments: args }
      ]),
    expected: (text, path, args) => [
      `echo ${text}`.split(' '),
      ['kernel', '--name', 'vmlinuz', `http://192.0.2.1/${path}`, ...args]
    ],
    read: ipxeWords
  },
  grub: {
    render: (text, path, args) =>
      encodeGrub([
        { do: 'echo', text },
        { do: 'linux', url: `http://192.0.2.1/${path}`, arguments: args }
      ]),
    expected: (text, path, args) => [
      ['echo', text],
      ['linux', `(http,192.0.2.1)/${path}`, ...args]
    ],
    read: grubWords
  }
}

for (const [name, { render, expected, read }] of Object.entries(DIALECTS))
  t.test(`${STRINGS} strings for ${name} (seed ${SEED})`, { timeout: 600_000 }, async (t) => {
    const kept: string[] = []
    let rendered = 0
    let refused = 0
    fc.assert(
      fc.property(hostile, hostile, hostile, hostile, hostile, (text, path, ...args) => {
        let script: string
        try {
          script = render(text, path, args)
        } catch (error) {
          refused++
          return error instanceof WireError && error.code === `${name}-value`
        }
        rendered++
        if (kept.length < 1000) kept.push(script)
        return JSON.stringify(read(script)) === JSON.stringify(expected(text, path, args))
      }),
      { numRuns: Math.ceil(STRINGS / PLACES), seed: SEED }
    )
    t.ok(rendered > STRINGS / 200 && refused > STRINGS / 200, `${rendered} scripts, ${refused} refused`)
    if (name !== 'grub') return
    const { status, stderr } = spawnSync('grub-script-check', { input: kept.join(''), encoding: 'utf8' })
    t.match({ status, stderr }, { status: 0, stderr: '' }, 'GRUB’s own parser reads them too')
  })
