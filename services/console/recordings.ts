// Recordings of consoles: each a folder below dataDir/console, bounded, with beginning and end kept. It is made of pieces
// named by the place of their first byte, so that every piece is only ever appended to, and a process that is killed leaves
// nothing to repair:
//
//   console/<order>.<attempt>/000000000000   the beginning
//                             000000524288   pieces in the middle are deleted when newer ones come
//                             000000786432

import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs'
import { appendFile, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { recordingOf } from '../../src/decide/console.ts'

/** `bytes` in all, of which `omitted` are no longer kept; times in milliseconds since the epoch. */
export type RecordingFacts = { bytes: number; omitted: number; updatedAt: number }

export type Recording = {
  /** Written in the background. After a failure everything is dropped, and `trouble` tells. */
  append(bytes: Uint8Array): void
  trouble(): string | null
  /** Resolves when all is written. */
  close(): Promise<void>
}

export type Recordings = {
  /** Begins, or goes on with, a recording. Throws what the file system throws. */
  open(id: string): Recording
  facts(id: string): RecordingFacts | null
  /** All that is kept, with a line where something is left out; null: there is no such recording. */
  read(id: string): Promise<Buffer | null>
  /** The names of all recordings. */
  ids(): string[]
  remove(id: string): void
}

/** Bytes of a piece, and how many pieces are kept at the end; the first is kept too. */
export type RecordingLimits = { piece: number; last: number }

const LIMITS: RecordingLimits = { piece: 256 * 1024, last: 3 }
/** What may wait for the disk. */
const PENDING_BYTES = 1024 * 1024
const NAME_DIGITS = 12

type Piece = { file: string; at: number; size: number; updatedAt: number }

export function openRecordings(dataDir: string, limits = LIMITS): Recordings {
  const root = join(dataDir, 'console')
  mkdirSync(root, { recursive: true, mode: 0o700 })

  function folder(id: string): string {
    if (recordingOf(id) === null) throw new Error(`"${id}" is no recording's name`)
    return join(root, id)
  }

  /** In order. */
  function pieces(id: string): Piece[] {
    let names: string[]
    try {
      names = readdirSync(folder(id))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
      throw error
    }
    return names.sort().map((name) => {
      const file = join(folder(id), name)
      const { size, mtimeMs } = statSync(file)
      return { file, at: Number(name), size, updatedAt: mtimeMs }
    })
  }

  return {
    open(id) {
      mkdirSync(folder(id), { recursive: true, mode: 0o700 })
      return writer(folder(id), pieces(id), limits)
    },
    facts(id) {
      const present = pieces(id)
      const last = present.at(-1)
      if (!last) return null
      const bytes = last.at + last.size
      const stored = present.reduce((sum, { size }) => sum + size, 0)
      return { bytes, omitted: bytes - stored, updatedAt: last.updatedAt }
    },
    async read(id) {
      const present = pieces(id)
      if (present.length === 0) return null
      const parts: Buffer[] = []
      let end = 0
      for (const { file, at } of present) {
        if (at > end) parts.push(Buffer.from(`\r\n[seedling: ${at - end} bytes left out here]\r\n`))
        const bytes = await readFile(file)
        parts.push(bytes)
        end = at + bytes.length
      }
      return Buffer.concat(parts)
    },
    ids: () => readdirSync(root).filter((name) => recordingOf(name) !== null),
    remove: (id) => rmSync(folder(id), { recursive: true, force: true })
  }
}

function writer(folder: string, present: readonly Piece[], limits: RecordingLimits): Recording {
  const last = present.at(-1)
  let end = last ? last.at + last.size : 0
  let piece = last?.at ?? 0
  const kept = present.map(({ at }) => at)
  let pending: Buffer[] = []
  let waiting = 0
  let trouble: string | null = null
  let writing: Promise<void> | undefined

  const nameOf = (at: number): string => join(folder, String(at).padStart(NAME_DIGITS, '0'))

  async function write(): Promise<void> {
    while (pending.length > 0) {
      let rest = Buffer.concat(pending)
      pending = []
      waiting = 0
      while (rest.length > 0) {
        if (end - piece >= limits.piece) await nextPiece()
        const part = rest.subarray(0, limits.piece - (end - piece))
        await appendFile(nameOf(piece), part, { mode: 0o600 })
        if (!kept.includes(piece)) kept.push(piece)
        end += part.length
        rest = rest.subarray(part.length)
      }
    }
  }

  async function nextPiece(): Promise<void> {
    piece = end
    // With the one to come: the first, and so many of the last.
    while (kept.length > limits.last) {
      const [oldest = 0] = kept.splice(1, 1)
      await rm(nameOf(oldest), { force: true })
    }
  }

  async function writeAll(): Promise<void> {
    try {
      await write()
    } catch (error) {
      trouble = `the recording cannot be written: ${(error as Error).message}`
      pending = []
    }
    writing = undefined
  }

  return {
    append(bytes) {
      if (trouble !== null) return
      waiting += bytes.length
      if (waiting > PENDING_BYTES) trouble = 'the disk is too slow for the recording'
      else pending.push(Buffer.from(bytes))
      writing ??= writeAll()
    },
    trouble: () => trouble,
    async close() {
      while (writing) await writing
    }
  }
}
