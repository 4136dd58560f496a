// Whether somebody else holds an address that is about to be given to a machine, judged by what a datagram to it brought about: the
// kernel's table of neighbours, and perhaps the host's word that the port is closed.

import type { Mac } from '../wire/address.ts'

/** Milliseconds. */
export const CONFLICT_TIMES = {
  /** Three ARP requests, a second apart, find nobody. */
  ask: 3500,
  /**
   * A MAC that was in the table before may be of a host that left. The kernel trusts it for 45 s at most, then doubts for 5 s and asks
   * three times (arp(7): base_reachable_time, delay_first_probe_time, ucast_solicit); what it holds after that has answered.
   */
  settle: 60_000
}

export type ConflictTimes = typeof CONFLICT_TIMES

export type ConflictEvidence = {
  /** All MACs of the machine that the address is meant for. */
  macs: readonly Mac[]
  /** The address's MAC in the table before we sent anything, and now; null: none. */
  before: Mac | null
  now: Mac | null
  /** A host said that the port is closed. */
  refused: boolean
  /** Since the first datagram. */
  milliseconds: number
}

/** `mac` null: the holder is not on our link. */
export type ConflictVerdict =
  { held: 'by-another'; mac: Mac | null } | { held: 'by-machine' | 'by-nobody' } | 'wait'

/**
 * Judges one look. Behind a relay there is no MAC to tell the machine from another holder, so there only a machine that has no
 * address yet is to be asked for.
 */
export function judgeConflict(
  { macs, before, now, refused, milliseconds }: ConflictEvidence,
  times: ConflictTimes
): ConflictVerdict {
  if (now !== null && macs.includes(now)) return { held: 'by-machine' }
  if (now !== null && (now !== before || refused || milliseconds >= times.settle))
    return { held: 'by-another', mac: now }
  if (now !== null || milliseconds < times.ask) return 'wait'
  return refused ? { held: 'by-another', mac: null } : { held: 'by-nobody' }
}
