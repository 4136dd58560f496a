// A limit on how many may do something at once; who comes first goes first.

export type Places = {
  /** Waits for a place; call what it resolves with to give it up. */
  take(): Promise<() => void>
}

/**
 * A place is given up after `hold` milliseconds even if nobody calls: one that has hung that long does no work, and must
 * not keep others waiting.
 */
export function places(count: number, hold: number): Places {
  const waiting: (() => void)[] = []
  let free = count

  function leave(): void {
    const next = waiting.shift()
    if (next) next()
    else free++
  }

  function occupied(): () => void {
    let left = false
    const once = (): void => {
      if (left) return
      left = true
      clearTimeout(timer)
      leave()
    }
    const timer = setTimeout(once, hold)
    return once
  }

  return {
    async take() {
      if (free > 0) free--
      else await new Promise<void>((resolve) => waiting.push(resolve))
      return occupied()
    }
  }
}
