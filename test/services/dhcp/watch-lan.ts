// A LAN in namespaces for tests of the watch: hosts that watch (watch-host.ts), and dnsmasq.

import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { WATCH_TIMES, type WatchStatus } from '../../../src/decide/dhcp-watch.ts'
import { addNamespace, connect, type Namespace } from '../../support/namespace.ts'
import { startScript, type Script, type ScriptHow } from '../../support/script.ts'
import type { WatchHost } from './watch-host.ts'

const FILE = join(import.meta.dirname, 'watch-host.ts')

/** A switch, and three hosts on it, each with the link `eth0`, the address 192.0.2.N and the MAC 52:54:00:00:0N:00, counted from 1. */
export async function aLan(t: Test): Promise<[Namespace, Namespace, Namespace, Namespace]> {
  const lan = await addNamespace('lan')
  const all = [lan]
  t.teardown(() => Promise.all(all.map((namespace) => namespace.remove())))
  await lan.run('ip', 'link', 'add', 'switch', 'type', 'bridge')
  await lan.run('ip', 'link', 'set', 'switch', 'up')
  for (let n = 1; n <= 3; n++) {
    const host = await addNamespace(`host${n}`)
    all.push(host)
    await connect([lan, `port${n}`], [host, 'eth0'], macOf(n))
    await lan.run('ip', 'link', 'set', `port${n}`, 'master', 'switch')
    await host.run('ip', 'address', 'add', `192.0.2.${n}/24`, 'dev', 'eth0')
  }
  return all as Awaited<ReturnType<typeof aLan>>
}

export const macOf = (n: number) => `52:54:00:00:0${n}:00`
export const linkOf = (n: number) => ({ interface: 'eth0', address: `192.0.2.${n}` })

/** Much sooner than in earnest, and yet with time for a busy machine. */
const QUICK = { ...WATCH_TIMES, start: 2000, second: 500, every: 1250, everyForeign: 500, forget: 2250 }

export async function watching(
  t: Test,
  host: Namespace,
  given: Partial<WatchHost> = {},
  how: ScriptHow = {}
) {
  const script = await startScript(host, FILE, { link: linkOf(1), times: QUICK, ...given }, how)
  t.teardown(() => script.stop())
  return script
}

export const statuses = ({ log }: Script) =>
  log.filter(({ msg }) => msg === 'status') as unknown as WatchStatus[]
/** Waits until another server is known, with its MAC. */
export async function foreign(script: Script): Promise<WatchStatus['servers']> {
  for (;;) {
    await script.says('status', { state: 'foreign' })
    const { servers } = statuses(script).at(-1) as WatchStatus
    if (servers.every(({ mac }) => mac !== null)) return servers
    await sleep(20)
  }
}

export const statesOf = (script: Script) => statuses(script).map(({ state }) => state)

/** dnsmasq with these further arguments, in the foreground; `stop` waits until it is gone. */
export async function dnsmasq(
  t: Test,
  host: Namespace,
  ...more: string[]
): Promise<{ stop(): Promise<void> }> {
  const folder = mkdtempSync(join(tmpdir(), 'seedling-dnsmasq-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const common = [
    '--no-daemon',
    '--conf-file=/dev/null',
    '--port=0',
    '--interface=eth0',
    '--user=root',
    `--dhcp-leasefile=${join(folder, 'leases')}`
  ]
  const child = host.spawn('dnsmasq', [...common, ...more])
  let said = ''
  const gone = once(child, 'close')
  child.stderr?.on('data', (chunk: Buffer) => (said += chunk.toString()))
  for (let tries = 0; !/DHCP, /.test(said); tries++) {
    if (tries > 200 || child.exitCode !== null) throw new Error(`dnsmasq did not come up: ${said}`)
    await sleep(20)
  }
  const stop = async () => {
    child.kill()
    await gone
  }
  t.teardown(stop)
  return { stop }
}
