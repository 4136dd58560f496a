// One timer for any number of deadlines that move all the time. An item is looked at no later than its deadline asks for; when the
// deadline has moved on meanwhile it is put where it belongs now. So moving a deadline back, which every packet does, costs nothing.

const TICK = 5
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
  close(): void
}

/** `due` is called for each item whose `wakeAt` has come; it may arm again. */
export function createWheel<T extends Timed>(due: (item: T) => void): Wheel<T> {
  const slots: T[][] = Array.from({ length: SLOTS }, () => [])
  let timer: NodeJS.Timeout | null = null
  let waiting = 0
  let turning = false
  let done = Math.floor(performance.now() / TICK)

  function arm(item: T): void {
    if (item.wakeAt === null) return
    // It stood still while there was nothing in it.
    if (timer === null && !turning) done = Math.floor(performance.now() / TICK)
    const tick = Math.min(Math.max(Math.ceil(item.wakeAt / TICK), done + 1), done + SLOTS - 1)
    if (item.tick !== 0 && item.tick <= tick) return
    item.tick = tick
    ;(slots[tick % SLOTS] as T[]).push(item)
    waiting++
    if (!turning) timer ??= setTimeout(turn, TICK)
  }

  function turn(): void {
    turning = true
    const now = Math.floor(performance.now() / TICK)
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
    timer = waiting > 0 ? setTimeout(turn, TICK) : null
  }

  return {
    arm,
    close() {
      if (timer) clearTimeout(timer)
      timer = null
      for (const slot of slots) slot.length = 0
      waiting = 0
    }
  }
}
