// Network namespaces for tests: links that nobody else sees. Needs root and iproute2.

import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { promisify } from 'node:util'

let count = 0

const execute = promisify(execFile)

/** Runs a command to its end; its stdout. Rejects with stderr when it fails. */
export async function run(command: string, ...args: string[]): Promise<string> {
  return (await execute(command, args)).stdout
}

export type Namespace = {
  name: string
  /** Runs to the end in the namespace; stdout. */
  run(command: string, ...args: string[]): Promise<string>
  /** Starts a program in the namespace. */
  spawn(command: string, args: string[], env?: Record<string, string>): ChildProcess
  /** Processes in it are ended, its links go with it. */
  remove(): Promise<void>
}

/** A namespace without IPv6, so that nothing is sent in it that the test does not send. */
export async function addNamespace(label: string): Promise<Namespace> {
  const name = `t${process.pid}-${label}${count++}`
  await run('ip', 'netns', 'add', name)
  const inside = (command: string, args: string[]) => ['netns', 'exec', name, command, ...args]
  const namespace: Namespace = {
    name,
    run: (command, ...args) => run('ip', ...inside(command, args)),
    spawn: (command, args, env = {}) =>
      spawn('ip', inside(command, args), { env: { ...process.env, ...env }, stdio: 'pipe' }),
    async remove() {
      for (const pid of (await run('ip', 'netns', 'pids', name)).split('\n').filter(Boolean)) {
        try {
          process.kill(Number(pid), 'SIGKILL')
        } catch {
          // ended by itself
        }
      }
      await run('ip', 'netns', 'del', name)
    }
  }
  const off = ['net.ipv6.conf.all.disable_ipv6=1', 'net.ipv6.conf.default.disable_ipv6=1']
  await namespace.run('sysctl', '-qw', ...off)
  await namespace.run('ip', 'link', 'set', 'lo', 'up')
  return namespace
}

/** A cable between two namespaces; both ends are up. `mac` is the second end's. */
export async function connect(
  [a, linkA]: [Namespace, string],
  [b, linkB]: [Namespace, string],
  mac?: string
): Promise<void> {
  const peer = ['peer', 'name', linkB, 'netns', b.name, ...(mac ? ['address', mac] : [])]
  await run('ip', 'link', 'add', linkA, 'netns', a.name, 'type', 'veth', ...peer)
  await a.run('ip', 'link', 'set', linkA, 'up')
  await b.run('ip', 'link', 'set', linkB, 'up')
}
