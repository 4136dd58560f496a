// Who may load a large file now. When a room boots, everybody at once is slowest for everybody: a fixed number load, the others wait in the order in
// which they first asked, for a moment without an answer, then by being told their place and when to ask again. Who asks again has kept its place.

export type Admission = {
  /** Resolves when it is this source's turn, or with its place in the queue (from 1) when that takes too long. */
  enter(source: string): Promise<{ leave(): void } | { place: number; retryAfterSeconds: number }>
  /** Loading now, and waiting without an answer. */
  count(): { loading: number; waiting: number }
}

export type AdmissionLimits = {
  /** How many load at once. */
  loading: number
  /** How long somebody waits without an answer. */
  holdMilliseconds: number
}

/** Enough to fill ten gigabits through slow receivers, few enough that each gets somewhere. */
export const USUAL_ADMISSION: AdmissionLimits = { loading: 64, holdMilliseconds: 5000 }
/** Who has not been heard of for so long has gone elsewhere. */
const FORGOTTEN_AFTER = 60_000
const LONGEST_RETRY = 30

type Waiting = { source: string; admit(): void }

/** `now` in milliseconds, of any origin. */
export function createAdmission(limits: AdmissionLimits, now: () => number): Admission {
  /** Sources that wait or were sent away: when each first asked, and was last heard of. In the order of asking. */
  const queue = new Map<string, { heardAt: number; waiting: Waiting[] }>()
  let loading = 0
  let waiting = 0
  /** How long a load takes, smoothed: what a place in the queue is worth. */
  let usual = 1000

  function start(): { leave(): void } {
    loading++
    const startedAt = now()
    let over = false
    return {
      leave() {
        if (over) return
        over = true
        loading--
        usual += (now() - startedAt - usual) / 16
        next()
      }
    }
  }

  /** Lets in whoever asked first and is still there. */
  function next(): void {
    for (const [source, entry] of queue) {
      if (loading >= limits.loading) return
      const first = entry.waiting.shift()
      if (entry.waiting.length === 0 && (first || now() - entry.heardAt > FORGOTTEN_AFTER))
        queue.delete(source)
      first?.admit()
    }
  }

  /** How many asked before it and still want something: they wait, or were sent away and will come back. */
  function ahead(source: string): number {
    let place = 0
    for (const [other, entry] of queue) {
      if (other === source) break
      if (entry.waiting.length > 0 || now() - entry.heardAt < FORGOTTEN_AFTER) place++
    }
    return place
  }

  return {
    async enter(source) {
      if (loading < limits.loading) {
        queue.delete(source)
        return start()
      }
      const entry = queue.get(source) ?? { heardAt: 0, waiting: [] }
      entry.heardAt = now()
      queue.set(source, entry)
      return new Promise((resolve) => {
        const done = (): void => {
          clearTimeout(timer)
          waiting--
        }
        const mine: Waiting = { source, admit: () => (done(), resolve(start())) }
        waiting++
        entry.waiting.push(mine)
        const timer = setTimeout(() => {
          done()
          entry.waiting.splice(entry.waiting.indexOf(mine), 1)
          entry.heardAt = now()
          const place = ahead(source) + 1
          const seconds = Math.ceil((place / limits.loading) * (usual / 1000))
          resolve({ place, retryAfterSeconds: Math.min(Math.max(seconds, 1), LONGEST_RETRY) })
        }, limits.holdMilliseconds)
      })
    },
    count: () => ({ loading, waiting })
  }
}
