// A process that asks one BMC for its power again and again, each time in a new session, until it is killed; it says a
// word for each answer: `asker.ts '{"address": …}'` (a BmcAccess).

import { randomBytes } from 'node:crypto'
import pino from 'pino'
import { startBmcs } from '../../../services/bmc/bmcs.ts'
import type { BmcAccess } from '../../../src/domain/bmc.ts'
import { AppError } from '../../../src/domain/error.ts'

const access = JSON.parse(process.argv[2] ?? '') as BmcAccess
const log = pino({ enabled: false })
const bmcs = startBmcs({ now: () => performance.now(), random: randomBytes, log, idle: 0 })
for (;;) {
  const word = await bmcs
    .bmc('asker', access)
    .powerState()
    .catch((error: unknown) => (error instanceof AppError ? `${error.code} ${error.message}` : String(error)))
  console.log(word)
  // The idle session is closed before the next one begins.
  await new Promise((resolve) => setTimeout(resolve, 1))
}
