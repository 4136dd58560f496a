// Two ways for a server to end without warning. Both are done to a state folder that can be looked at before the next start.

import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import type { Serving } from '../services/dhcp/serving.ts'
import { run } from '../support/namespace.ts'

export type Disaster = {
  /** Where the server's state is, for a program started with `wrap` before it, or by `inside`. */
  dataDir: string
  wrap: string[]
  inside: typeof run
  strike(server: Serving): Promise<void>
}

/** SIGKILL. `state`: a prepared state folder. */
export function killing(state: string): Disaster {
  return { dataDir: state, wrap: [], inside: run, strike: (server) => server.kill() }
}

/**
 * A power cut: `state` is put on an ext4 of its own, in `folder`, which forgets all that was not synced. The server is stopped
 * first: a sync that it waits for while the file system goes down could tell it of success (seen in 3 of 15 trials).
 */
export async function cuttingPower(t: Test, state: string, folder: string): Promise<Disaster> {
  const [image, dataDir] = [join(folder, 'image'), join(folder, 'mount')]
  mkdirSync(dataDir)
  await run('truncate', '--size=512M', image)
  await run('mkfs.ext4', '-q', '-d', state, image)
  // The mount lives in a namespace of its own, which ends with this process: nothing can be left behind.
  const holder = spawn('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', 'echo; exec cat'])
  await new Promise((resolve) => holder.stdout.once('data', resolve))
  t.teardown(() => holder.kill())
  const enter = [`--mount=/proc/${holder.pid}/ns/mnt`]
  const inside: typeof run = (...command) => run('nsenter', ...enter, ...command)
  const mount = () => inside('mount', '-o', 'loop', image, dataDir)
  await mount()
  return {
    dataDir,
    wrap: ['nsenter', ...enter],
    inside,
    async strike(server) {
      process.kill(server.pid, 'SIGSTOP')
      while (!isStopped(server.pid)) await sleep(1)
      await inside('xfs_io', '-x', '-c', 'shutdown', dataDir)
      await server.kill()
      await inside('umount', dataDir)
      await mount()
    }
  }
}

function isStopped(pid: number): boolean {
  return readdirSync(`/proc/${pid}/task`).every((task) => {
    const stat = readFileSync(`/proc/${pid}/task/${task}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).startsWith('T')
  })
}
