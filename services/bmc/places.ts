// A limit on how many may do something at once; who comes first goes first.

export type Places = {
  /** Waits for a place; call what it resolves with to give it up. `alive`: whether something has come of it so far. */
  take(alive: () => boolean): Promise<() => void>
}

/**
 * Nobody keeps a place for ever: after `silent` milliseconds it is given up if nothing has come of it, after `longest` in
 * any case. Who hangs does no work, and must not keep others waiting.
 */
export function places(count: number, { silent, longest }: { silent: number; longest: number }): Places {
  const waiting: (() => void)[] = []
  let free = count

  function leave(): void {
    const next = waiting.shift()
    if (next) next()
    else free++
  }

  function occupied(alive: () => boolean): () => void {
    let left = false
    const once = (): void => {
      if (left) return
      left = true
      clearTimeout(timer)
      leave()
    }
    let timer = setTimeout(() => {
      if (alive()) timer = setTimeout(once, longest - silent)
      else once()
    }, silent)
    return once
  }

  return {
    async take(alive) {
      if (free > 0) free--
      else await new Promise<void>((resolve) => waiting.push(resolve))
      return occupied(alive)
    }
  }
}
