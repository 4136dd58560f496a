// Whether all is well, in one answer: for people, and for whatever watches the appliance.

import { statfs } from 'node:fs/promises'
import { networkInterfaces } from 'node:os'
import type { ApiDeps, App } from './deps.ts'

/** Less free space than this is told before it is a fault. */
const LITTLE_SPACE = 512 * 2 ** 20

export type Check = { name: string; ok: boolean; message: string }

export function healthRoutes(app: App, deps: ApiDeps): void {
  const { config, store, facts, dhcp, backups, handoff, lostLines, now } = deps
  const startedAt = now()
  const { address, interface: link } = config.network

  async function checks(): Promise<Check[]> {
    const found: Check[] = []
    const check = (name: string, ok: boolean, message: string) => void found.push({ name, ok, message })
    try {
      store.db.prepare('SELECT 1').get()
      check('database', true, 'answers')
    } catch (error) {
      check('database', false, `${(error as Error).message}; see the log, and "seedling restore --help"`)
    }
    const { bavail, bsize } = await statfs(config.dataDir)
    const free = bavail * bsize
    const mebibytes = Math.floor(free / 2 ** 20)
    check(
      'disk',
      free >= LITTLE_SPACE,
      free >= LITTLE_SPACE
        ? `${mebibytes} MiB free`
        : `only ${mebibytes} MiB free in ${config.dataDir}; delete images nobody uses, or make the disk larger`
    )
    const lost = lostLines()
    check(
      'log',
      lost.untold === 0,
      lost.untold > 0
        ? `nobody reads it: ${lost.untold} lines are lost; look at what takes standard output (journald)`
        : lost.all > 0
          ? `is read again; ${lost.all} lines were lost since the start`
          : 'is read'
    )
    const here = networkInterfaces()[link]?.some((one) => one.address === address) === true
    check(
      'link',
      here,
      here ? `${link} is up with ${address}` : `${link} is down, or does not have ${address}`
    )
    const intruder = dhcp.intruder()
    const { finishedAt, stillAsking, canSwitchOff } = handoff.ending()
    if (finishedAt !== null)
      check(
        'handoff-finished',
        true,
        `DHCP, TFTP and boot paths are stopped since ${new Date(finishedAt).toISOString()}; ` +
          (canSwitchOff
            ? 'nobody asks for metadata: the appliance can be switched off'
            : `metadata is answered ${stillAsking.length > 0 ? `to ${stillAsking.join(', ')}` : 'until nobody has asked for a few minutes'}`)
      )
    check(
      'dhcp',
      finishedAt !== null || intruder === null,
      finishedAt !== null
        ? 'stopped: the hand-over is finished'
        : intruder === null
          ? `mode ${config.network.dhcp.mode}, nobody else answers`
          : `there is ${intruder}; nothing is deployed beside it`
    )
    const silent = facts
      .nodes()
      .filter(
        (node) =>
          node.state !== 'enroll' && !node.handover && node.powerStateAt !== null && node.powerState === null
      )
      .map(({ name, uuid }) => name ?? uuid)
    check(
      'bmcs',
      silent.length === 0,
      silent.length === 0
        ? 'all that were asked answer'
        : `${silent.length} do not answer: ${silent.slice(0, 5).join(', ')}${silent.length > 5 ? ', …' : ''}`
    )
    const stuck = (handoff.state() as { name: string | null; uuid: string; trouble: string | null }[]).filter(
      ({ trouble }) => trouble !== null
    )
    if (stuck.length > 0)
      check(
        'handoff',
        false,
        stuck.map(({ name, uuid, trouble }) => `${name ?? uuid}: ${String(trouble)}`).join('; ')
      )
    return found
  }

  // 200 also when something is wrong: that it answers is one thing, what it says another.
  app.get('/v1/health', async () => {
    const all = await checks()
    const at = backups.lastAt()
    return {
      status: all.every(({ ok }) => ok) ? 'ok' : 'attention',
      checks: all,
      open_orders: facts.openOrders().length,
      last_backup_at: at === null ? null : new Date(at).toISOString(),
      uptime_seconds: Math.round((now() - startedAt) / 1000),
      node_version: process.version
    }
  })
}
