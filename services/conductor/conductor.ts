// Looks at the open orders and does the first unticked line of each, one turn at a time per node, again and again.
// All judgement is in src/decide/order.ts; what is kept here (timers, who is busy) may be lost at any moment.

import { sameOverride } from '../../src/decide/bmc-exam.ts'
import { afterFailedAct, decideTurn, needsLook, powerSeen, type Observation } from '../../src/decide/order.ts'
import type { OrderLimits } from '../../src/decide/order-deadline.ts'
import { orderEvent } from '../../src/decide/order-event.ts'
import type { Act } from '../../src/decide/power-loop.ts'
import type { Bmc, BootDeviceSetting } from '../../src/domain/bmc.ts'
import type { Change } from '../../src/domain/change.ts'
import { AppError } from '../../src/domain/error.ts'
import { hardwareModelOf, type Node } from '../../src/domain/node.ts'
import type { Order } from '../../src/domain/order.ts'
import type { QuirkCard } from '../../src/domain/quirk-card.ts'
import type { Logger } from 'pino'
import type { Apply } from '../store/apply.ts'
import type { Facts } from '../store/facts.ts'
import { isFull, type Store } from '../store/open.ts'

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
  /** Examines the node's BMC; `wait`: for a minute, to see whether a boot device lapses. */
  examine: (node: Node, wait: boolean) => Promise<QuirkCard>
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
/** How soon it is seen that there is room on the disk again. */
const FULL_MILLISECONDS = 5000
/** How many BMCs are read at once by the poll: as many as may log in at once, so that dead ones hold up nobody. */
const POLL_WIDTH = 128
/** What the poll reads within this time shares a commit. */
const POLL_COMMIT_MILLISECONDS = 100

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
    const running = turn(nodeUuid)
      .catch(full)
      .then((wakeAt) => {
        turns.delete(nodeUuid)
        if (again.delete(nodeUuid)) wake(nodeUuid)
        else if (wakeAt !== null) sleep(nodeUuid, wakeAt)
      })
    turns.set(nodeUuid, running)
  }

  /** Nothing is done that cannot be stored; it is tried again soon. */
  function full(error: unknown): number {
    if (!isFull(error)) throw error
    log.error('the disk is full: orders wait until there is room in dataDir')
    return now() + FULL_MILLISECONDS
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
    const at = now()
    const wanted = needsLook(order, deps.limits, at)
    const seen = wanted === 'exam' ? await exam(node, order) : wanted === 'power' ? await look(node) : null
    // What we cut short ourselves says nothing about the BMC.
    if (closed && seen && 'trouble' in seen) return null
    const verdict = store.commit(() => {
      const order2 = facts.latestOrder(nodeUuid)
      const node2 = facts.nodeByUuid(nodeUuid)
      // While we looked, the order may have been cancelled or gone on; what we saw then answers an old question.
      if (!node2 || order2?.id !== order.id || order2.attempt !== order.attempt) return null
      // Without a look it is judged at the moment at which none was needed: a deadline that falls in between would end an order unseen.
      const decided = decideTurn(order2, node2, seen, deps.limits, seen ? now() : at, deps.token())
      apply(decided.changes)
      tell(node2, decided.changes)
      return { ...decided, order: order2, node: node2 }
    })
    if (!verdict) return now()
    if (order.kind === 'manage' && seen && 'power' in seen) await learnModel(node)
    if (!verdict.act) return verdict.wakeAt
    const failed = await carryOut(verdict.node, verdict.order, verdict.act)
    if (!failed || closed) return verdict.wakeAt
    return store.commit(() => {
      const order3 = facts.latestOrder(nodeUuid)
      const node3 = facts.nodeByUuid(nodeUuid)
      if (!node3 || order3?.id !== order.id || order3.attempt !== order.attempt) return now()
      const row = afterFailedAct(order3, verdict.order.asked, failed.inDoubt)
      const decided = decideTurn(row, node3, failed.seen, deps.limits, now(), deps.token())
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

  async function exam(node: Node, { kind }: Order): Promise<Observation> {
    try {
      return { card: await deps.examine(node, kind !== 'manage') }
    } catch (error) {
      return troubleOf(error)
    }
  }

  /** Null: the BMC took it. `inDoubt`: it may have been carried out all the same. */
  async function carryOut(
    node: Node,
    order: Order,
    act: Act
  ): Promise<{ seen: Observation; inDoubt: boolean } | null> {
    let sent = false
    try {
      const bmc = deps.bmc(node)
      if (act.act === 'power-on' && act.bootDevice) await setBootDevice(bmc, order, act.bootDevice)
      sent = true
      if (act.act === 'power-off') await bmc.powerOff()
      else if (act.act === 'soft-off') await bmc.softOff()
      else await bmc.powerOn()
      return null
    } catch (error) {
      const seen = troubleOf(error)
      return { seen, inDoubt: sent && (error as AppError).detail['leftAlone'] !== true }
    }
  }

  /** Sets, compares what is read back, and sets once more where that differs; what became of it is kept with the order. */
  async function setBootDevice(
    bmc: Bmc,
    order: Order,
    wanted: { device: 'pxe'; efi: boolean }
  ): Promise<void> {
    const { device, efi } = wanted
    const words = `${device}, once, ${efi ? 'EFI' : 'legacy'}`
    const asked: BootDeviceSetting = { device, efi, persistent: false, valid: true }
    try {
      let setting = await bmc.setBootDevice(device, { persistent: false, efi })
      if (!sameOverride(asked, setting)) setting = await bmc.setBootDevice(device, { persistent: false, efi })
      const kept = sameOverride(asked, setting)
      const found = setting.valid ? `${setting.device}, ${setting.efi ? 'EFI' : 'legacy'}` : 'none'
      const reason = kept ? words : `the boot device was set to ${words}, and its BMC reads back ${found}`
      noteBootDevice(order, { kept, words: reason }, [
        orderEvent(order, now(), 'boot-device-set', `${device} ${order.attempt}`, {
          ...setting,
          asked: words,
          kept
        })
      ])
    } catch (error) {
      // A BMC without boot options is no reason to stop: where the network is first anyway, the machine comes.
      if (!(error instanceof AppError) || error.code !== 'bmc-refused') throw error
      const { code, message } = error
      noteBootDevice(order, { kept: false, words: `its boot device could not be set (${message})` }, [
        orderEvent(order, now(), 'bmc-trouble', 'boot-device', { code, message })
      ])
    }
  }

  function noteBootDevice(
    { id, attempt }: Order,
    bootDevice: { kept: boolean; words: string },
    events: Change[]
  ): void {
    store.commit(() => {
      const row = facts.orderById(id)
      if (row?.state === 'open' && row.attempt === attempt && row.asked)
        apply([{ put: 'order', row: { ...row, asked: { ...row.asked, bootDevice } } }])
      apply(events)
    })
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
      .filter(
        (node) => !node.handover && node.state !== 'enroll' && facts.latestOrder(node.uuid)?.state !== 'open'
      )
    const read: { uuid: string; seen: Observation }[] = []
    const keep = (): void => {
      if (read.length === 0) return
      try {
        store.commit(() => read.splice(0).forEach(({ uuid, seen }) => keepReading(uuid, seen)))
      } catch (error) {
        full(error)
      }
    }
    const keeper = setInterval(keep, POLL_COMMIT_MILLISECONDS)
    const worker = async () => {
      for (let node = waiting.shift(); node && !closed; node = waiting.shift()) {
        const seen = await look(node)
        if (!closed) read.push({ uuid: node.uuid, seen })
      }
    }
    await Promise.all(Array.from({ length: POLL_WIDTH }, worker))
    clearInterval(keeper)
    keep()
  }

  function keepReading(nodeUuid: string, seen: Observation): void {
    const node = facts.nodeByUuid(nodeUuid)
    if (!node || !seen) return
    if ('power' in seen) apply(powerSeen(node, seen.power, now()))
    else if ('trouble' in seen && node.powerState !== null)
      apply([
        { put: 'node', row: { ...node, powerState: null, powerStateAt: now() } },
        {
          event: {
            kind: 'bmc-trouble',
            at: now(),
            nodeUuid,
            orderId: null,
            subject: seen.trouble.code,
            detail: seen.trouble
          }
        }
      ])
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
