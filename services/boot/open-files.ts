// Files that stay open for a moment after they were sent: a room that installs one image asks for the same chunks at about the same time. What is
// kept open is what does not change under its name.

import { open, type FileHandle } from 'node:fs/promises'

/** A deleted image's room on the disk comes back after so long. */
const KEPT_MILLISECONDS = 5000
const MOST_KEPT = 256

export type OpenFile = {
  fd: number
  size: number
  /** To be called once, when it has been sent. */ done(): void
}

export type OpenFiles = {
  /** null: it is not there. */
  take(path: string): Promise<OpenFile | null>
  /** How many are open. */
  count(): number
  close(): Promise<void>
}

type Entry = {
  opened: Promise<{ handle: FileHandle; size: number }>
  users: number
  timer: NodeJS.Timeout | null
}

export function createOpenFiles(keptMilliseconds = KEPT_MILLISECONDS, mostKept = MOST_KEPT): OpenFiles {
  const entries = new Map<string, Entry>()
  /** Those that nobody uses; who has waited longest first. */
  const idle = new Map<string, Entry>()

  async function forget(path: string, entry: Entry): Promise<void> {
    if (entry.timer) clearTimeout(entry.timer)
    idle.delete(path)
    entries.delete(path)
    await (await entry.opened).handle.close()
  }

  function rest(path: string, entry: Entry): void {
    entry.users--
    if (entry.users > 0) return
    idle.set(path, entry)
    entry.timer = setTimeout(() => void forget(path, entry), keptMilliseconds).unref()
    for (const [oldest, one] of idle) {
      if (idle.size <= mostKept) break
      void forget(oldest, one)
    }
  }

  return {
    async take(path) {
      let entry = entries.get(path)
      if (!entry) {
        entry = { opened: openWithSize(path), users: 0, timer: null }
        entries.set(path, entry)
      }
      entry.users++
      idle.delete(path)
      if (entry.timer) clearTimeout(entry.timer)
      try {
        const { handle, size } = await entry.opened
        const mine = entry
        return { fd: handle.fd, size, done: () => rest(path, mine) }
      } catch (error) {
        if (entries.get(path) === entry) entries.delete(path)
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
        throw error
      }
    },
    count: () => entries.size,
    close: async () => void (await Promise.all([...idle].map(([path, entry]) => forget(path, entry))))
  }
}

async function openWithSize(path: string): Promise<{ handle: FileHandle; size: number }> {
  const handle = await open(path, 'r')
  try {
    return { handle, size: (await handle.stat()).size }
  } catch (error) {
    await handle.close()
    throw error
  }
}
