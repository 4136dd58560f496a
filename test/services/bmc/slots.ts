// Sessions are few, and a process that is killed cannot close its own: does a BMC run out of them?

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'
import type { BmcAccess } from '../../../src/domain/bmc.ts'

/** Asks `operations` times, killing the asking process after every `each`; all must be answered. */
export async function killAndAsk(
  t: Test,
  access: BmcAccess,
  operations: number,
  each: number
): Promise<void> {
  const file = new URL('asker.ts', import.meta.url).pathname
  const seen: Record<string, number> = {}
  for (let done = 0; done < operations;) {
    const child = spawn(process.execPath, [file, JSON.stringify(access)], {
      stdio: ['ignore', 'pipe', 'inherit']
    })
    const ended = once(child, 'exit')
    let here = 0
    for await (const word of createInterface(child.stdout)) {
      seen[word] = (seen[word] ?? 0) + 1
      done++
      if (++here === each) break
    }
    child.kill('SIGKILL')
    await ended
  }
  t.same(Object.keys(seen), ['off'], JSON.stringify(seen))
}
