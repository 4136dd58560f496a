// The log: JSON lines on stdout, a few of them in one write, because a room that boots says thousands a second.

import { pino, type Logger } from 'pino'

const WRITE_BYTES = 4096
/** No line waits longer than this; what a killed process had not written yet is told by its events. */
const FLUSH_MILLISECONDS = 100

export function openLog(level: string): Logger {
  const out = pino.destination({ fd: 1, sync: true, minLength: WRITE_BYTES })
  const flush = () => out.flushSync()
  setInterval(flush, FLUSH_MILLISECONDS).unref()
  // Whatever ends the process in an orderly way, an error of our own too: its last words are the ones that count.
  process.on('exit', flush)
  return pino({ level, timestamp: pino.stdTimeFunctions.isoTime }, out)
}
