// A machine's serial console as its BMC offers it.

import type { AppError } from './error.ts'

/**
 * What people should know besides the machine's words: it is off or in transition (`unavailable`) or no longer
 * (`available`); the BMC dropped characters of the machine's (`overrun`); the machine sent a break; what was typed was
 * dropped (`dropped`).
 */
export type ConsoleNews = 'unavailable' | 'available' | 'overrun' | 'break' | 'dropped'

/** An open console. */
export type ConsoleLine = {
  /** Characters for the machine. At most a few thousand wait; what goes beyond is dropped, and told as news. */
  write(characters: Uint8Array): void
  /** A serial break, after what was written before it. */
  sendBreak(): void
  close(): Promise<void>
}

export type ConsoleListener = {
  heard(characters: Buffer): void
  news(news: ConsoleNews): void
  /** The line is gone, unasked; nothing more will come. */
  lost(error: AppError): void
}

export type ConsoleOptions = {
  /** Take it from whoever has it. */
  steal: boolean
  /** Nobody sits there: do without it where the BMC has no session to spare. */
  spare: boolean
}
