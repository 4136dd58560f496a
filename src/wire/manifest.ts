// The manifest of an image (image/README.md): one line a chunk, in order, each ended by a newline:
//
//   offset TAB length TAB sha256      sha256 "-": a chunk of zeros, which is not stored
//
// The image's digest is the sha256 of these bytes, so the text has exactly one form and anything else is refused.

import type { Buffer } from 'node:buffer'
import { createHash } from 'node:crypto'
import { WireError } from './wire-error.ts'

export type ManifestChunk = {
  /** Bytes from the start of the disk. */
  offset: number
  length: number
  /** Of the chunk's bytes, lower-case hex; null: all zeros. */
  sha256: string | null
}

const LINE = /^(0|[1-9]\d{0,14})\t([1-9]\d{0,14})\t([0-9a-f]{64}|-)$/

/** sha256 as 64 lower-case hex digits; of text, its UTF-8 bytes. */
export function sha256Hex(bytes: Buffer | Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex')
}

export function encodeManifest(chunks: readonly ManifestChunk[]): string {
  return chunks.map(({ offset, length, sha256 }) => `${offset}\t${length}\t${sha256 ?? '-'}\n`).join('')
}

/** Throws WireError unless the chunks follow each other without a gap, all of one length but a shorter last. */
export function decodeManifest(text: string): ManifestChunk[] {
  if (text === '') throw new WireError('manifest-empty', 0, 'the manifest has no lines')
  const chunks: ManifestChunk[] = []
  let start = 0
  let next = 0
  while (start < text.length) {
    const end = text.indexOf('\n', start)
    if (end === -1) throw new WireError('manifest-cut', start, 'the manifest ends inside a line')
    const match = LINE.exec(text.slice(start, end))
    if (!match) throw new WireError('manifest-line', start, 'not a line of offset, length and sha256')
    const [, offset, length, hash] = match as unknown as [string, string, string, string]
    const chunk = { offset: Number(offset), length: Number(length), sha256: hash === '-' ? null : hash }
    const size = chunks[0]?.length ?? chunk.length
    const before = chunks.at(-1)
    if (chunk.offset !== next)
      throw new WireError(
        'manifest-offset',
        start,
        `a chunk at ${chunk.offset} where one at ${next} was expected`
      )
    if (chunk.length > size || (before && before.length !== size))
      throw new WireError(
        'manifest-length',
        start,
        'only the last chunk may differ in length, and be shorter'
      )
    chunks.push(chunk)
    next += chunk.length
    start = end + 1
  }
  return chunks
}
