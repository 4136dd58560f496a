// BMCs as a test starts them: real sockets and time, short patience, and the log kept to look for secrets in it.

import { randomBytes } from 'node:crypto'
import pino from 'pino'
import type { Test } from 'tap'
import type { BmcAccess } from '../../../src/domain/bmc.ts'
import { AppError } from '../../../src/domain/error.ts'
import { SESSION_TIMING } from '../../../src/decide/bmc-session-state.ts'
import { startBmcs, type Bmcs, type BmcsDeps } from '../../../services/bmc/bmcs.ts'
import { startFakeBmc, type FakeBmc, type FakeBmcOptions } from '../../support/fake-bmc.ts'

export const NODE = '5d27f5ac-0a3a-4d5c-8d7b-0c8d8a3b9c11'

/** A tenth of the usual patience. */
const QUICK = Object.fromEntries(
  Object.entries(SESSION_TIMING).map(([name, value]) => [name, name.endsWith('Tries') ? value : value / 10])
) as typeof SESSION_TIMING

/** Closed at the end of the test; then its log must hold neither password nor key. */
export function started(t: Test, changes: Partial<BmcsDeps> = {}, secrets = ['secret123']): Bmcs {
  const lines: string[] = []
  const log = pino({ level: 'trace' }, { write: (line: string) => void lines.push(line) })
  const bmcs = startBmcs({
    now: () => performance.now(),
    random: randomBytes,
    log,
    timing: QUICK,
    operation: 2000,
    idle: 300,
    ...changes
  })
  t.teardown(async () => {
    await bmcs.close()
    const spilt = lines.filter((line) => secrets.some((secret) => line.includes(secret)))
    if (spilt.length > 0) throw new Error(`a secret in the log: ${spilt[0]}`)
  })
  return bmcs
}

export async function fake(t: Test, options: FakeBmcOptions = {}): Promise<FakeBmc> {
  const bmc = await startFakeBmc(options)
  t.teardown(() => bmc.close())
  return bmc
}

/** The AppError a promise rejects with; its text holds no secret. */
export async function failureOf(work: Promise<unknown>, access: BmcAccess): Promise<AppError> {
  const result = await work.then(
    (value) => ({ value }),
    (error: unknown) => ({ error })
  )
  if (!('error' in result)) throw new Error(`no failure, but ${JSON.stringify(result.value)}`)
  if (!(result.error instanceof AppError)) throw result.error
  const { message, detail } = result.error
  const text = message + JSON.stringify(detail)
  for (const secret of [access.password, access.kg].filter(Boolean)) {
    if (text.includes(secret)) throw new Error(`a secret in: ${text}`)
  }
  return result.error
}
