// Judgement about serial consoles: when a lost one is opened again, which orders are recorded, and in what words people
// are told.

import type { ConsoleNews } from '../domain/console.ts'
import type { AppError } from '../domain/error.ts'
import type { Node } from '../domain/node.ts'
import type { Order } from '../domain/order.ts'

/** A console that was open, and how it went; milliseconds of one monotonic clock. */
export type Absence = { since: number; tries: number; deactivated: boolean }

/** A session that we lost still counts on the BMC until this long after its last word (IPMI 2.0, section 6.12.15). */
const SESSION_LIFE_MILLISECONDS = 70_000
const FIRST_PAUSE_MILLISECONDS = 1000
const LONGEST_PAUSE_MILLISECONDS = 30_000

export function absence(error: AppError, now: number): Absence {
  return { since: now, tries: 0, deactivated: error.detail['reason'] === 'console-deactivated' }
}

/** Milliseconds until the next try to open the console again. `jitter` is a random number in [0, 1). */
export function reopenPause({ tries }: Absence, jitter: number): number {
  return Math.min(FIRST_PAUSE_MILLISECONDS * 2 ** tries, LONGEST_PAUSE_MILLISECONDS) * (0.75 + jitter / 2)
}

/**
 * Whether to go on after a failed try to open it again. What a person has to mend is not tried again; and a console that
 * another one took is that one's, whereas the session in the way of one that fell silent may be our own old one.
 */
export function mayReopen({ since, deactivated }: Absence, error: AppError, now: number): boolean {
  if (error.detail['reason'] === 'console-taken')
    return !deactivated && now - since < SESSION_LIFE_MILLISECONDS
  return passes(error)
}

/** Whether the failure is one that passes by waiting. */
export function passes(error: AppError): boolean {
  if (error.detail['reason'] === 'no-spare-session') return false
  return error.code === 'bmc-unreachable' || error.code === 'bmc-busy'
}

/** Whether this attempt boots a machine now: from the moment that it is known to be off, so that nothing is missed. */
export function isBooting({ kind, state, ticks }: Order): boolean {
  return state === 'open' && (kind === 'deploy' || kind === 'inspect') && ticks['powered-off'] !== undefined
}

/** Whether the node's console is recorded when it boots: `extra.console.record`, or else the default. */
export function isRecorded({ extra }: Pick<Node, 'extra'>, byDefault: boolean): boolean {
  const given = extra['console'] as { record?: unknown } | null | undefined
  return typeof given?.record === 'boolean' ? given.record : byDefault
}

/** A recording's name: it is of one attempt of one order. */
export function recordingId({ id, attempt }: Pick<Order, 'id' | 'attempt'>): string {
  return `${id}.${attempt}`
}

/** The order and attempt of a recording's name; null: it is none. */
export function recordingOf(id: string): { orderId: string; attempt: number } | null {
  const [, orderId, attempt] = /^([0-9a-f-]{36})\.([1-9]\d{0,5})$/.exec(id) ?? []
  return orderId === undefined ? null : { orderId, attempt: Number(attempt) }
}

export const NEWS_WORDS: Readonly<Record<ConsoleNews, string>> = {
  unavailable: 'the machine is off or being reset; what is typed waits',
  available: 'the machine takes characters again',
  overrun: "the BMC could not keep up and lost some of the machine's words",
  break: 'the machine sent a break',
  dropped: 'the machine takes nothing, and what was typed is dropped'
}
