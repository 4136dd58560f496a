import t from 'tap'
import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { decodeManifest, encodeManifest, sha256Hex, type ManifestChunk } from '../../src/wire/manifest.ts'
import { WireError } from '../../src/wire/wire-error.ts'

const A = 'a'.repeat(64)
const B = '0123456789abcdef'.repeat(4)
const MIB = 2 ** 20

t.test('the text is exactly the lines of the agent protocol', async (t) => {
  const chunks = [
    { offset: 0, length: 8 * MIB, sha256: A },
    { offset: 8 * MIB, length: 8 * MIB, sha256: null },
    { offset: 16 * MIB, length: 512, sha256: B }
  ]
  const text = `0\t8388608\t${A}\n8388608\t8388608\t-\n16777216\t512\t${B}\n`
  t.equal(encodeManifest(chunks), text)
  t.same(decodeManifest(text), chunks)
  t.equal(sha256Hex(text), createHash('sha256').update(text).digest('hex'))
})

t.test('any list of chunks comes back from its text', async () => {
  const list = fc
    .tuple(
      fc.integer({ min: 1, max: 2 ** 30 }),
      fc.array(fc.option(fc.constantFrom(A, B)), { minLength: 1, maxLength: 40 }),
      fc.double({ min: 0, max: 1, noNaN: true })
    )
    .map(([size, hashes, part]): ManifestChunk[] =>
      hashes.map((sha256, index) => ({
        offset: index * size,
        length: index === hashes.length - 1 ? Math.max(1, Math.floor(size * part)) : size,
        sha256
      }))
    )
  fc.assert(
    fc.property(list, (chunks) => {
      t.same(decodeManifest(encodeManifest(chunks)), chunks)
    })
  )
})

const BAD: Record<string, [text: string, code: string, offset: number]> = {
  'nothing at all': ['', 'manifest-empty', 0],
  'a last line without its end': [`0\t8\t${A}\n8\t8\t${A}`, 'manifest-cut', 69],
  'spaces for tabs': [`0 8 ${A}\n`, 'manifest-line', 0],
  'upper-case digits': [`0\t8\t${A.toUpperCase()}\n`, 'manifest-line', 0],
  'an MD5': [`0\t8\t${'a'.repeat(32)}\n`, 'manifest-line', 0],
  'a leading zero': [`0\t08\t${A}\n`, 'manifest-line', 0],
  'carriage returns': [`0\t8\t${A}\r\n`, 'manifest-line', 0],
  'a chunk of no bytes': [`0\t0\t${A}\n`, 'manifest-line', 0],
  'a gap': [`0\t8\t-\n16\t8\t-\n`, 'manifest-offset', 6],
  'an overlap': [`0\t8\t-\n4\t8\t-\n`, 'manifest-offset', 6],
  'a start behind the start': [`8\t8\t-\n`, 'manifest-offset', 0],
  'a last chunk longer than the others': [`0\t8\t-\n8\t9\t-\n`, 'manifest-length', 6],
  'a short chunk in the middle': [`0\t8\t-\n8\t4\t-\n12\t4\t-\n`, 'manifest-length', 12],
  'an empty line in between': [`0\t8\t-\n\n8\t8\t-\n`, 'manifest-line', 6]
}

for (const [sentence, [text, code, offset]] of Object.entries(BAD))
  t.test(`refuses ${sentence}`, async (t) => {
    t.throws(() => decodeManifest(text), { name: 'WireError', code, offset })
  })

t.test('whatever is accepted is written the same way again; whatever is not is a WireError', async (t) => {
  const line = fc.stringMatching(/^[0-9]{1,2}\t[0-9]{1,2}\t(-|[0-9a-f]{64})\n$/)
  fc.assert(
    fc.property(
      fc.array(line, { maxLength: 3 }).map((lines) => lines.join('')),
      (text) => {
        try {
          return encodeManifest(decodeManifest(text)) === text
        } catch (error) {
          return error instanceof WireError
        }
      }
    )
  )
  t.pass('held for every text tried')
})
