// The mark by which Seedlings of one state know each other on a link, and what it means to meet one. The mark goes out with every probe for
// other DHCP servers and with every answer to one (src/decide/dhcp-watch.ts), in an option of its own.
//
// It is signed with a key that only holders of the state have, so nobody else can make a Seedling step aside. A mark that is recorded and sent
// again says nothing that is not true: there is a later one.

import { createHmac, timingSafeEqual } from 'node:crypto'
import type { DhcpOptions } from '../wire/dhcp-options.ts'

/** For private use (RFC 3942). */
export const MARK_OPTION = '#225'
const SIGNATURE = 32
const LENGTH = 8 + 8 + 8 + SIGNATURE

/** One run of one Seedling. */
export type Run = {
  /** Of its state (`Standing`). */
  epoch: number
  /** When it started, ms by its own clock. */
  startedAt: number
  /** Random: no two runs have the same. */
  run: bigint
}

/** `key`: `Sealer.derive('succession')`. */
export function makeMark(key: Uint8Array, { epoch, startedAt, run }: Run): Buffer {
  const body = Buffer.alloc(LENGTH - SIGNATURE)
  body.writeBigUInt64BE(BigInt(epoch), 0)
  body.writeBigUInt64BE(BigInt(startedAt), 8)
  body.writeBigUInt64BE(run, 16)
  return Buffer.concat([body, createHmac('sha256', key).update(body).digest()])
}

/** The run behind a mark; null: there is no mark, or it is not of our state. */
export function readMark(key: Uint8Array, options: DhcpOptions): Run | null {
  const mark = options[MARK_OPTION]
  if (!mark || mark.length !== LENGTH) return null
  const body = mark.subarray(0, LENGTH - SIGNATURE)
  const expected = createHmac('sha256', key).update(body).digest()
  if (!timingSafeEqual(mark.subarray(LENGTH - SIGNATURE), expected)) return null
  return {
    epoch: Number(body.readBigUInt64BE(0)),
    startedAt: Number(body.readBigUInt64BE(8)),
    run: body.readBigUInt64BE(16)
  }
}

/**
 * What another run of our state is to us. `successor`: its state took its place after ours: ours is out of date, for good. `elder`: the very same
 * state, and it was there first (a copied VM): we end, and may start again when it is gone. `junior`: it is for the other one to end, by the same
 * rule. Of two runs exactly one goes on, whatever their clocks say. Null: it is ourselves.
 */
export function relation(ours: Run, theirs: Run): 'successor' | 'elder' | 'junior' | null {
  if (ours.run === theirs.run) return null
  if (theirs.epoch !== ours.epoch) return theirs.epoch > ours.epoch ? 'successor' : 'junior'
  const first =
    theirs.startedAt === ours.startedAt ? theirs.run < ours.run : theirs.startedAt < ours.startedAt
  return first ? 'elder' : 'junior'
}

/** The epoch of a state that takes its place now (ms): later than any it has had. */
export function nextEpoch(before: number, now: number): number {
  return Math.max(before + 1, now)
}
