// Which of several Seedlings with the same state is the one that acts. A state can be in two places: restored from a backup on another
// host, or in a copy of the whole VM.

/** The one row of its kind. */
export type Standing = {
  id: 1
  /** When this state last took its place (ms): 0 where it was begun, later by each restore. The latest of all acts. */
  epoch: number
  /** The later Seedling that was seen on our link. This one serves nothing from then on, until `seedling unfence`. */
  fenced: { at: number; epoch: number; address: string } | null
  /** When the hand-over was finished, ms: from then on only metadata is answered. */
  finishedAt: number | null
}

export const FIRST_STANDING: Standing = { id: 1, epoch: 0, fenced: null, finishedAt: null }

/** Exit code of a Seedling that is fenced (sysexits.h: EX_CONFIG); systemd does not start it again. */
export const FENCED_EXIT = 78
