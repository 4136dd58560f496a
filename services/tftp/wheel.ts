// Deadlines of any number of items that move all the time, for one timer. An item is looked at no later than its deadline asks for; when the
// deadline has moved on meanwhile it is put where it belongs now. So moving a deadline back, which every packet does, costs nothing.

import { performance } from 'node:perf_hooks'

/** Milliseconds between two turns. */
export const TICK = 5
/** 5 seconds ahead; what is due later is looked at then and put in again. */
const SLOTS = 1024

/** Times are those of `performance.now()`, in milliseconds. */
export type Timed = {
  /** null: never again. */
  wakeAt: number | null
  /** The wheel's own: the tick at which it is looked at; 0 when it is not in the wheel. */
  tick: number
}

export type Wheel<T extends Timed> = {
  /** After every change of `wakeAt` to an earlier time, and whenever the item may not be in the wheel. */
  arm(item: T): void
  /** To be called every TICK while something is in it: hands out what is due. */
  turn(): void
  isEmpty(): boolean
}

/** `due` is called for each item whose `wakeAt` has come; it may arm again. */
export function createWheel<T extends Timed>(due: (item: T) => void): Wheel<T> {
  const slots: T[][] = Array.from({ length: SLOTS }, () => [])
  let waiting = 0
  let done = 0
  let turning = false
  const tickNow = () => Math.floor(performance.now() / TICK)

  function arm(item: T): void {
    if (item.wakeAt === null) return
    // It stood still while there was nothing in it.
    if (waiting === 0 && !turning) done = tickNow()
    const tick = Math.min(Math.max(Math.ceil(item.wakeAt / TICK), done + 1), done + SLOTS - 1)
    if (item.tick !== 0 && item.tick <= tick) return
    item.tick = tick
    ;(slots[tick % SLOTS] as T[]).push(item)
    waiting++
  }

  function turn(): void {
    const now = tickNow()
    turning = true
    while (done < now && waiting > 0) {
      done++
      const slot = slots[done % SLOTS] as T[]
      if (slot.length === 0) continue
      slots[done % SLOTS] = []
      waiting -= slot.length
      for (const item of slot) {
        // Put in twice, because its deadline came nearer: the earlier place counted.
        if (item.tick !== done) continue
        item.tick = 0
        if (item.wakeAt !== null && item.wakeAt > done * TICK) arm(item)
        else if (item.wakeAt !== null) due(item)
      }
    }
    turning = false
  }

  return { arm, turn, isEmpty: () => waiting === 0 }
}
