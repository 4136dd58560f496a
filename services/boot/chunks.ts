// Image chunks on their way out. A room that installs one image asks for the same chunks at about the same time: each is read once and kept for a
// while, within a fixed amount of memory; what does not fit is read from its file piece by piece.

import { open, type FileHandle } from 'node:fs/promises'
import { imagePath, isSha256, type Content } from './files.ts'

const MIB = 2 ** 20
/** What is kept and what is on its way, together. */
const MOST_BYTES = 128 * MIB
/** The largest that is kept. */
const LARGEST = 32 * MIB

export type Chunks = {
  /** null: there is no such chunk. `done` when it has been sent. */
  take(sha256: string): Promise<{ content: Content; done(): void } | null>
  /** Bytes in memory. */
  held(): number
}

type Kept = { size: number; bytes: Promise<Buffer>; users: number }

export function createChunks(dataDir: string, mostBytes = MOST_BYTES): Chunks {
  /** The one used longest ago first. */
  const kept = new Map<string, Kept>()
  let held = 0

  /** Makes room for `size` bytes by what nobody is being sent; false: there is none. */
  function makeRoom(size: number): boolean {
    if (size > LARGEST || size > mostBytes) return false
    for (const [sha256, entry] of kept) {
      if (held + size <= mostBytes) break
      if (entry.users === 0) forget(sha256, entry)
    }
    return held + size <= mostBytes
  }

  function forget(sha256: string, entry: Kept): void {
    if (kept.get(sha256) !== entry) return
    kept.delete(sha256)
    held -= entry.size
  }

  async function use(sha256: string, entry: Kept): Promise<{ content: Content; done(): void }> {
    entry.users++
    kept.delete(sha256)
    kept.set(sha256, entry)
    const done = () => void entry.users--
    try {
      return { content: { bytes: await entry.bytes }, done }
    } catch (error) {
      done()
      forget(sha256, entry)
      throw error
    }
  }

  return {
    async take(sha256) {
      if (!isSha256(sha256)) return null
      const known = kept.get(sha256)
      if (known) return use(sha256, known)
      const file = await openOrNull(imagePath(dataDir, 'chunks', sha256))
      if (!file) return null
      const { handle, size } = file
      // Somebody may have come in between.
      const meanwhile = kept.get(sha256)
      if (meanwhile) {
        await handle.close()
        return use(sha256, meanwhile)
      }
      if (!makeRoom(size)) return { content: { handle, size }, done: () => void handle.close() }
      held += size
      const entry: Kept = { size, bytes: readWhole(handle, size), users: 0 }
      kept.set(sha256, entry)
      return use(sha256, entry)
    },
    held: () => held
  }
}

/** An open file with its size; null when it is not there. */
export async function openOrNull(path: string): Promise<{ handle: FileHandle; size: number } | null> {
  let handle: FileHandle
  try {
    handle = await open(path, 'r')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
  const { size } = await handle.stat()
  return { handle, size }
}

async function readWhole(handle: FileHandle, size: number): Promise<Buffer> {
  try {
    const bytes = Buffer.allocUnsafeSlow(size)
    for (let done = 0; done < size;) {
      const { bytesRead } = await handle.read(bytes, done, Math.min(MIB, size - done), done)
      if (bytesRead === 0) throw new Error('the file is shorter than it was')
      done += bytesRead
    }
    return bytes
  } finally {
    await handle.close()
  }
}
