// How many connections there is room for. A process that cannot open a file or a socket any more cannot go on; so whoever connects gets only a part
// of the descriptors, however many ask.

import { readFileSync } from 'node:fs'

/** What the process needs for itself, at most: its ports and threads, the database, BMCs, consoles, conversions of images. */
const OWN = 512

/** Descriptors that connections may take; `limit` is the process's own (getrlimit(2), RLIMIT_NOFILE; Node raises it as far as it may at its start). */
export function roomForConnections(limit = descriptorLimit()): number {
  return Math.max(Math.floor(limit / 8), limit - OWN)
}

function descriptorLimit(): number {
  const [, soft] = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? []
  return soft === undefined ? Infinity : Number(soft)
}
