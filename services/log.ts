// The log: JSON lines on stdout, a few of them in one write, because a room that boots says thousands a second. Nobody waits for whoever reads
// them: a reader that takes nothing costs MOST_WAITING and the lines that do not fit, which are counted.

import { pino, type Logger } from 'pino'

const WRITE_BYTES = 4096
/** No line waits longer than this; what a killed process had not written yet is told by its events. */
const FLUSH_MILLISECONDS = 100
/** Bytes that wait for the reader. */
const MOST_WAITING = 4 * 2 ** 20

/** Lines that nobody will read: since the start, and those of them that the log itself has not told of yet. */
export type LostLines = { all: number; untold: number }

export function openLog(level: string): { log: Logger; lost(): LostLines } {
  const out = pino.destination({
    fd: 1,
    sync: false,
    minLength: WRITE_BYTES,
    maxLength: MOST_WAITING,
    periodicFlush: FLUSH_MILLISECONDS
  })
  const log = pino({ level, timestamp: pino.stdTimeFunctions.isoTime }, out)
  const lost = { all: 0, untold: 0 }
  out.on('drop', () => {
    lost.all++
    lost.untold++
  })
  out.on('write', () => {
    if (lost.untold === 0) return
    const lines = lost.untold
    lost.untold = 0
    // Not from within: the writer has not yet put away what it has written.
    setImmediate(() =>
      log.warn({ lines }, `${lines} lines were lost here: whoever reads the log was too slow`)
    )
  })
  // A file system that is full, a reader that is gone: it is tried again with the next lines, and what does not fit meanwhile is counted.
  let failing = false
  out.on('error', () => (failing = true))
  out.on('write', () => (failing = false))
  // Whatever ends the process in an orderly way, an error of our own too: its last words are written (by pino), because they count. Where nothing can
  // be written it would try for ever.
  process.prependListener('exit', () => {
    if (failing) out.destroy()
  })
  return { log, lost: () => ({ ...lost }) }
}
