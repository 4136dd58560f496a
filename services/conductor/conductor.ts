// Looks at the open orders and does the first unticked line of each, one turn at a time per node, again and again.
// All judgement is in src/decide/order.ts; what is kept here (timers, who is busy) may be lost at any moment.

import type { Bmc } from '../../src/domain/bmc.ts'
import type { Change } from '../../src/domain/change.ts'
import { AppError } from '../../src/domain/error.ts'
import { hardwareModelOf, type Node } from '../../src/domain/node.ts'
import type { Order } from '../../src/domain/order.ts'
import {
  decideTurn,
  needsLook,
  orderEvent,
  powerSeen,
  type Act,
  type Observation,
  type OrderLimits
} from '../../src/decide/order.ts'
import type { Logger } from 'pino'
import type { Apply } from '../store/apply.ts'
import type { Facts } from '../store/facts.ts'
import type { Store } from '../store/open.ts'

export type ConductorDeps = {
  store: Store
  facts: Facts
  apply: Apply
  log: Logger
  now: () => number
  /** 256 random bits, hex. */
  token: () => string
  limits: OrderLimits
  /** The node's BMC; throws AppError when its driver_info is no use. */
  bmc: (node: Node) => Bmc
  /** 0: power is read only for orders. */
  pollSeconds: number
}

export type Conductor = {
  /** A hint that something about this node changed. */
  wake(nodeUuid: string): void
  /** No new turns; resolves when the turns under way are over. */
  close(): Promise<void>
}

/** A missed wake-up costs at most this. */
const SWEEP_MILLISECONDS = 30_000
/** How many BMCs are read at once by the poll. */
const POLL_WIDTH = 16

export function startConductor(deps: ConductorDeps): Conductor {
  const { store, facts, apply, now } = deps
  const log = deps.log.child({ service: 'conductor' })
  const timers = new Map<string, NodeJS.Timeout>()
  const turns = new Map<string, Promise<void>>()
  const again = new Set<string>()
  let closed = false

  function wake(nodeUuid: string): void {
    if (closed) return
    clearTimeout(timers.get(nodeUuid))
    timers.delete(nodeUuid)
    if (turns.has(nodeUuid)) {
      again.add(nodeUuid)
      return
    }
    const running = turn(nodeUuid).then((wakeAt) => {
      turns.delete(nodeUuid)
      if (again.delete(nodeUuid)) wake(nodeUuid)
      else if (wakeAt !== null) sleep(nodeUuid, wakeAt)
    })
    turns.set(nodeUuid, running)
  }

  function sleep(nodeUuid: string, wakeAt: number): void {
    if (closed) return
    // Never longer than a sweep: a wall clock that jumps must not put a node to sleep for years.
    const delay = Math.min(Math.max(0, wakeAt - now()), SWEEP_MILLISECONDS)
    timers.set(
      nodeUuid,
      setTimeout(() => wake(nodeUuid), delay)
    )
  }

  /** One look, one commit, at most one act. Resolves with when to come back. */
  async function turn(nodeUuid: string): Promise<number | null> {
    const order = facts.latestOrder(nodeUuid)
    const node = facts.nodeByUuid(nodeUuid)
    if (!node || order?.state !== 'open') return null
    const seen = needsLook(order, now()) ? await look(node) : null
    const verdict = store.commit(() => {
      const order2 = facts.latestOrder(nodeUuid)
      const node2 = facts.nodeByUuid(nodeUuid)
      // While we looked, the order may have been cancelled or gone on; what we saw then answers an old question.
      if (!node2 || order2?.id !== order.id || order2.attempt !== order.attempt) return null
      const decided = decideTurn(order2, node2, seen, deps.limits, now(), deps.token())
      apply(decided.changes)
      tell(node2, decided.changes)
      return { ...decided, order: order2, node: node2 }
    })
    if (!verdict) return now()
    if (order.kind === 'manage' && seen && 'power' in seen) await learnModel(node)
    if (!verdict.act) return verdict.wakeAt
    const trouble = await carryOut(verdict.node, verdict.order, verdict.act)
    if (!trouble) return verdict.wakeAt
    return store.commit(() => {
      const order3 = facts.latestOrder(nodeUuid)
      const node3 = facts.nodeByUuid(nodeUuid)
      if (!node3 || order3?.id !== order.id || order3.attempt !== order.attempt) return now()
      const decided = decideTurn({ ...order3, asked: null }, node3, trouble, deps.limits, now(), deps.token())
      apply(decided.changes)
      tell(node3, decided.changes)
      return decided.wakeAt
    })
  }

  /** Machines are alike in what they boot; which ones, the BMC knows before the first of them has booted. Doing without costs nothing. */
  async function learnModel(node: Node): Promise<void> {
    if (node.hardwareModel !== null) return
    const fru = await deps
      .bmc(node)
      .product()
      .catch((error: unknown) => {
        if (error instanceof AppError) return null
        throw error
      })
    const { manufacturer = null, 'product name': product = null } = fru?.product ?? fru?.board ?? {}
    const hardwareModel = hardwareModelOf(manufacturer, product)
    if (hardwareModel === null) return
    store.commit(() => {
      const current = facts.nodeByUuid(node.uuid)
      if (current) apply([{ put: 'node', row: { ...current, hardwareModel } }])
    })
  }

  async function look(node: Node): Promise<Observation> {
    try {
      return { power: await deps.bmc(node).powerState() }
    } catch (error) {
      return troubleOf(error)
    }
  }

  async function carryOut(node: Node, order: Order, act: Act): Promise<Observation> {
    try {
      const bmc = deps.bmc(node)
      if (act.act === 'power-off') await bmc.powerOff()
      else {
        if (act.bootDevice) await setBootDevice(bmc, order, act.bootDevice)
        await bmc.powerOn()
      }
      return null
    } catch (error) {
      return troubleOf(error)
    }
  }

  async function setBootDevice(
    bmc: Bmc,
    order: Order,
    wanted: { device: 'pxe'; efi: boolean }
  ): Promise<void> {
    const asked = `${wanted.device}, once, ${wanted.efi ? 'EFI' : 'legacy'}`
    let setting: Awaited<ReturnType<Bmc['setBootDevice']>>
    try {
      setting = await bmc.setBootDevice(wanted.device, { persistent: false, efi: wanted.efi })
    } catch (error) {
      // A BMC without boot options is no reason to stop: where the network is first anyway, the machine comes.
      if (!(error instanceof AppError) || error.code !== 'bmc-refused') throw error
      const { code, message } = error
      store.commit(() => apply([orderEvent(order, now(), 'bmc-trouble', 'boot-device', { code, message })]))
      return
    }
    const kept =
      setting.valid && setting.device === wanted.device && setting.efi === wanted.efi && !setting.persistent
    store.commit(() =>
      apply([orderEvent(order, now(), 'boot-device-set', wanted.device, { ...setting, asked, kept })])
    )
  }

  function troubleOf(error: unknown): { trouble: { code: AppError['code']; message: string } } {
    if (error instanceof AppError) return { trouble: { code: error.code, message: error.message } }
    throw error
  }

  function tell(node: Node, changes: readonly Change[]): void {
    for (const change of changes)
      if ('event' in change)
        log.info({ node: node.name ?? node.uuid, kind: change.event.kind, ...change.event.detail }, 'order')
  }

  function sweep(): void {
    for (const order of facts.openOrders()) if (!timers.has(order.nodeUuid)) wake(order.nodeUuid)
  }

  async function poll(): Promise<void> {
    const waiting = facts
      .nodes()
      .filter((node) => node.state !== 'enroll' && facts.latestOrder(node.uuid)?.state !== 'open')
    const worker = async () => {
      for (let node = waiting.shift(); node && !closed; node = waiting.shift()) {
        const seen = await look(node)
        const { uuid } = node
        store.commit(() => {
          const current = facts.nodeByUuid(uuid)
          if (!current || !seen) return
          if ('power' in seen) apply(powerSeen(current, seen.power, now()))
          else if (current.powerState !== null)
            apply([
              { put: 'node', row: { ...current, powerState: null, powerStateAt: now() } },
              {
                event: {
                  kind: 'bmc-trouble',
                  at: now(),
                  nodeUuid: uuid,
                  orderId: null,
                  subject: seen.trouble.code,
                  detail: seen.trouble
                }
              }
            ])
        })
      }
    }
    await Promise.all(Array.from({ length: POLL_WIDTH }, worker))
  }

  const sweeper = setInterval(sweep, SWEEP_MILLISECONDS)
  let polling: Promise<void> = Promise.resolve()
  let pollIdle = true
  const poller =
    deps.pollSeconds > 0
      ? setInterval(() => {
          // A round that takes longer than its interval is not overtaken by the next.
          if (!pollIdle) return
          pollIdle = false
          polling = poll().finally(() => (pollIdle = true))
        }, deps.pollSeconds * 1000)
      : undefined
  sweep()

  return {
    wake,
    async close() {
      closed = true
      clearInterval(sweeper)
      clearInterval(poller)
      for (const timer of timers.values()) clearTimeout(timer)
      await Promise.all([...turns.values(), polling])
    }
  }
}
