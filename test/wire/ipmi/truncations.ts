// The check every codec gets: cut short at each byte, a format is refused with WireError and nothing else.

import type { Test } from 'tap'
import { WireError } from '../../../src/wire/wire-error.ts'

/** Every proper prefix must be refused. */
export function refusesTruncations(t: Test, whole: Buffer, decode: (bytes: Buffer) => unknown): void {
  const taken = Array.from({ length: whole.length }, (_, length) => length).filter((length) => {
    try {
      decode(whole.subarray(0, length))
      return true
    } catch (error) {
      if (!(error instanceof WireError)) throw error
      return false
    }
  })
  t.same(taken, [], 'no truncation is taken for the whole')
}
