// Network namespaces for tests: links that nobody else sees. Needs root and iproute2.

import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import { lossyEnd } from '../../scripts/lab/network.ts'

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

/** A server's host at 192.0.2.1 on its link `lan`, and a room for its clients at 192.0.2.100 on `eth0`; gone after the test. */
export async function aHostAndItsClients(
  t: Pick<Test, 'teardown'>
): Promise<{ host: Namespace; room: Namespace }> {
  const [host, room] = [await addNamespace('host'), await addNamespace('room')]
  t.teardown(() => Promise.all([room, host].map((namespace) => namespace.remove())))
  await connect([host, 'lan'], [room, 'eth0'])
  await host.run('ip', 'address', 'add', '192.0.2.1/24', 'dev', 'lan')
  await room.run('ip', 'address', 'add', '192.0.2.100/24', 'dev', 'eth0')
  return { host, room }
}

/** From now on this share of the packets that arrive at either end of the cable from `lan` to `eth0`, in percent, is lost. */
export async function losePackets(host: Namespace, room: Namespace, percent: number): Promise<void> {
  // Whole segments, or one loss would be that of forty packets.
  await host.run('ip', 'link', 'set', 'lan', 'gso_max_segs', '1')
  await host.run('nft', lossyEnd('lan', percent))
  await room.run('nft', lossyEnd('eth0', percent))
}
