// One request to a service of the target's, bounded in time.

import { AppError } from '../../src/domain/error.ts'

const PATIENCE_MILLISECONDS = 60_000

export type Answer = { status: number; headers: Headers; text: string }

/** `who` names the service to people. AppError `bad-request` with `passing` when it does not answer. */
export async function request(
  who: string,
  url: string,
  init: { method: string; headers: Record<string, string>; body?: string }
): Promise<Answer> {
  try {
    const signal = AbortSignal.timeout(PATIENCE_MILLISECONDS)
    const response = await fetch(url, { ...init, redirect: 'error', signal })
    const { status, headers } = response
    return { status, headers, text: await response.text() }
  } catch (error) {
    const { cause, message } = error as Error & { cause?: { code?: string } }
    throw new AppError('bad-request', `${who} does not answer: ${cause?.code ?? message}`, { passing: true })
  }
}
