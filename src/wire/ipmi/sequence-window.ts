// Session sequence numbers (IPMI 2.0, section 6.12.13): each side counts its own packets from 1; 0 is never used inside a
// session. A receiver keeps a window, so that packets may overtake each other but none counts twice.

/** The highest number received and, as bit n, whether the number n below it was received. */
export type SequenceWindow = { highest: number; seen: number }

/** Numbers this far behind the highest are still taken, once. */
export const WINDOW_SIZE = 32

export const EMPTY_WINDOW: SequenceWindow = { highest: 0, seen: 0 }

/**
 * The window after receiving `sequence`, or null when the packet must be dropped: number 0, a repetition, or too far
 * behind. Numbers ahead are taken however far (shared NICs skip some): the packet's code has been verified before.
 */
export function receiveSequence(window: SequenceWindow, sequence: number): SequenceWindow | null {
  if (sequence === 0) return null
  if (window.highest === 0) return { highest: sequence, seen: 1 }
  const ahead = (sequence - window.highest) >>> 0
  if (ahead > 0 && ahead < 0x80000000) {
    const seen = ahead < WINDOW_SIZE ? ((window.seen << ahead) | 1) >>> 0 : 1
    return { highest: sequence, seen }
  }
  const behind = (window.highest - sequence) >>> 0
  if (behind >= WINDOW_SIZE) return null
  const bit = (1 << behind) >>> 0
  if ((window.seen & bit) !== 0) return null
  return { highest: window.highest, seen: (window.seen | bit) >>> 0 }
}

/** The number after `sequence`: wraps at 2^32 and leaves 0 out. */
export function nextSequence(sequence: number): number {
  return (sequence + 1) >>> 0 || 1
}
