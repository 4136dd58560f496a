// When a BMC that keeps failing is left alone. A breaker is a hint in memory: losing it costs one more try.

import type { AppError, ErrorCode } from '../domain/error.ts'

/** `open` after failures: nothing is tried before `retryAt`, then one try decides. */
export type Breaker = { failures: number; retryAt: number; last: AppError | null }

export const CLOSED: Breaker = { failures: 0, retryAt: -Infinity, last: null }

/** So many silent tries in a row are taken for bad luck; the first pause; it doubles, up to the longest. Milliseconds. */
type Rule = { tolerated: number; firstPause: number; longestPause: number }

const SILENT: Rule = { tolerated: 2, firstPause: 5_000, longestPause: 120_000 }
/** Each wrong password counts on the BMC, and many lock the user after three to five. */
const WRONG_LOGIN: Rule = { tolerated: 0, firstPause: 60_000, longestPause: 3_600_000 }

const RULES: Partial<Record<ErrorCode, Rule>> = {
  'bmc-unreachable': SILENT,
  'bmc-protocol': SILENT,
  'bmc-busy': SILENT,
  'bmc-cipher': WRONG_LOGIN,
  'bmc-privilege': SILENT,
  'bmc-auth': WRONG_LOGIN
}

/** Whether something may be asked of the BMC now. */
export function admits({ retryAt }: Breaker, now: number): boolean {
  return now >= retryAt
}

/**
 * The breaker after an operation failed. A refusal of one command (`bmc-refused`) is an answer like any other. `jitter` is
 * a random number in [0, 1): pauses differ by a quarter, so that BMCs that failed together do not come back together.
 */
export function afterFailure(breaker: Breaker, error: AppError, now: number, jitter: number): Breaker {
  const rule = RULES[error.code]
  if (!rule) return CLOSED
  const failures = breaker.failures + 1
  const beyond = failures - rule.tolerated
  if (beyond <= 0) return { failures, retryAt: -Infinity, last: error }
  const pause = Math.min(rule.firstPause * 2 ** (beyond - 1), rule.longestPause)
  return { failures, retryAt: now + pause * (0.75 + jitter / 2), last: error }
}
