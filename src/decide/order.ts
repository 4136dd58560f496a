// The order loop's judgement: rows and one look at the BMC in, ticks and at most one act out (src/README.md).
// Nothing here is remembered: losing the process at any point changes nothing but delay.

import type { PowerState } from '../domain/bmc.ts'
import type { Change } from '../domain/change.ts'
import type { ErrorCode } from '../domain/error.ts'
import type { Node } from '../domain/node.ts'
import { nextMilestone, type Asked, type Failure, type Milestone, type Order } from '../domain/order.ts'
import type { QuirkCard } from '../domain/quirk-card.ts'
import { deadline, lapsed, type OrderLimits } from './order-deadline.ts'
import { ended, finished, retryOrEnd } from './order-end.ts'
import { orderEvent } from './order-event.ts'
import {
  bootsNetwork,
  LOOK_MILLISECONDS,
  losesEfi,
  powerReading,
  powerStep,
  recentPowerOns,
  type Act,
  type PowerStep
} from './power-loop.ts'

/** What one look at the BMC gave. */
export type Observation =
  { power: PowerState } | { card: QuirkCard } | { trouble: { code: ErrorCode; message: string } } | null

export type Turn = { changes: Change[]; act: Act | null; wakeAt: number | null }

/** Troubles that repeating cannot cure and that may lock the account: the order ends at once. */
const HOPELESS: ReadonlySet<string> = new Set(['bmc-auth', 'bmc-cipher', 'bmc-privilege'])

/** What the order's next line needs of the BMC: a reading of power, an exam, or nothing. */
export function needsLook(order: Order, limits: OrderLimits, now: number): 'power' | 'exam' | null {
  if (order.state !== 'open' || now < order.notBefore) return null
  switch (nextMilestone(order)) {
    case 'bmc-verified':
    case 'powered-off':
    case 'powered-on':
      return 'power'
    case 'bmc-examined':
      return 'exam'
    case 'network-seen':
      // A machine that is silent: is it on at all?
      return now >= deadline(order, 'network-seen', limits) ? 'power' : null
    default:
      return null
  }
}

/**
 * One turn for one open order. `seen` is null when no look was needed. `token` is fresh randomness for a new attempt,
 * used only if there is one.
 */
export function decideTurn(
  order: Order,
  node: Node,
  seen: Observation,
  limits: OrderLimits,
  now: number,
  token: string
): Turn {
  if (order.state !== 'open') return { changes: [], act: null, wakeAt: null }
  if (now < order.notBefore) return { changes: [], act: null, wakeAt: order.notBefore }
  const noted = note(order, node, seen, now)
  const { changes } = noted
  let current = noted.order
  let subject = noted.node
  if (seen && 'trouble' in seen && nextMilestone(current) !== 'network-seen')
    return troubled(changes, current, subject, seen.trouble, limits, now, token)

  for (;;) {
    const next = nextMilestone(current)
    if (!next) return { changes: [...changes, ...finished(current, subject, now)], act: null, wakeAt: null }
    const step = stepOf(next, current, subject, seen, limits, now)
    if (step.step === 'reached') {
      const reached = tick(next, current, subject, now)
      changes.push(...reached.changes)
      changes.push(orderEvent(order, now, 'milestone-reached', next, { milestone: next, by: step.by }))
      current = reached.order
      subject = reached.node
      continue
    }
    if (step.step === 'lost') {
      const why = failure(next, step.code, step.message, now)
      if (step.final) return ended(changes, current, subject, why)
      return retryOrEnd(changes, current, subject, why, limits, now, token)
    }
    if (now >= deadline(current, next, limits))
      return retryOrEnd(changes, current, subject, lapsed(current, next, limits, now), limits, now, token)
    if (step.step === 'wait') return { changes, act: null, wakeAt: step.until }
    return ask(changes, current, subject, step.act, now)
  }
}

/** What was seen, as it is stored and told. */
function note(
  order: Order,
  node: Node,
  seen: Observation,
  now: number
): { changes: Change[]; order: Order; node: Node } {
  if (seen && 'power' in seen) {
    const row = { ...order, reading: powerReading(order.reading, seen.power, now), trouble: null }
    return {
      changes: [...powerSeen(node, seen.power, now), { put: 'order', row }],
      order: row,
      node: { ...node, powerState: seen.power, powerStateAt: now }
    }
  }
  if (seen && 'card' in seen) {
    const row = { ...node, quirkCard: seen.card }
    const { findings } = seen.card
    return {
      changes: [{ put: 'node', row }, orderEvent(order, now, 'bmc-examined', 'exam', { findings })],
      order: { ...order, trouble: null },
      node: row
    }
  }
  return { changes: [], order, node }
}

/** What the first unticked line asks for now. */
function stepOf(
  next: Milestone,
  order: Order,
  node: Node,
  seen: Observation,
  limits: OrderLimits,
  now: number
): PowerStep {
  const look: PowerStep = { step: 'wait', until: now }
  switch (next) {
    case 'bmc-verified':
      return seen && 'power' in seen ? { step: 'reached', by: 'the BMC answered' } : look
    case 'bmc-examined':
      return seen && 'card' in seen ? { step: 'reached', by: 'its exam is over' } : look
    case 'powered-off':
    case 'powered-on':
      return seen && 'power' in seen && order.reading
        ? powerStep(next, order, node, order.reading, limits, now)
        : look
    default:
      return { step: 'wait', until: deadline(order, next, limits) }
  }
}

function tick(
  next: Milestone,
  order: Order,
  node: Node,
  now: number
): { changes: Change[]; order: Order; node: Node } {
  const row = { ...order, ticks: { ...order.ticks, [next]: now } }
  const changes: Change[] = [{ put: 'order', row }]
  let subject = node
  if (next === 'powered-on' && order.asked?.act === 'power-on')
    subject = { ...subject, powerOns: [...recentPowerOns(node, now), now] }
  if (order.kind === 'check-power' && subject.quirkCard) subject = timed(next, order, subject)
  if (subject !== node) changes.push({ put: 'node', row: subject })
  return { changes, order: row, node: subject }
}

/** How long the power change took that an exam asked for, written on the card. */
function timed(next: Milestone, { asked, reading }: Order, node: Node): Node {
  if (!node.quirkCard || !asked || !reading) return node
  const power = node.quirkCard.power ?? { onSeconds: null, offSeconds: null }
  const seconds = (reading.since - asked.at) / 1000
  if (next === 'powered-on' && asked.act === 'power-on')
    return { ...node, quirkCard: { ...node.quirkCard, power: { ...power, onSeconds: seconds } } }
  if (next === 'powered-off' && asked.act === 'power-off')
    return { ...node, quirkCard: { ...node.quirkCard, power: { ...power, offSeconds: seconds } } }
  return node
}

function ask(changes: Change[], order: Order, node: Node, act: Act, now: number): Turn {
  const { reading } = order
  const asked: Asked = { act: act.act, at: now }
  if (act.act === 'power-on' && bootsNetwork(order.kind) && losesEfi(node)) {
    const words = 'its BMC loses the EFI bit of a boot device, as its exam showed, so none was set'
    asked.bootDevice = { kept: false, words }
    changes.push(orderEvent(order, now, 'bmc-trouble', 'boot-device', { code: 'boot-efi', message: words }))
  }
  changes.push({ put: 'order', row: { ...order, asked } })
  if (reading)
    changes.push(
      // Not one with the same of an earlier attempt, which may be less than a minute ago.
      orderEvent(order, now, 'power-asked', `${act.act} ${order.attempt}`, {
        act: act.act,
        read: reading.power,
        readAt: reading.at
      })
    )
  return { changes, act, wakeAt: now + LOOK_MILLISECONDS }
}

/** The order after an act failed; `before` is what had been asked before it. `inDoubt`: the BMC may have carried it out. */
export function afterFailedAct(order: Order, before: Asked | null, inDoubt: boolean): Order {
  return { ...order, asked: inDoubt && order.asked ? { ...order.asked, inDoubt } : before }
}

function troubled(
  changes: Change[],
  order: Order,
  node: Node,
  trouble: { code: ErrorCode; message: string },
  limits: OrderLimits,
  now: number,
  token: string
): Turn {
  const next = nextMilestone(order) ?? 'bmc-verified'
  changes.push(orderEvent(order, now, 'bmc-trouble', trouble.code, trouble))
  const why = failure(next, trouble.code, trouble.message, now)
  if (HOPELESS.has(trouble.code)) return ended(changes, order, node, why)
  const count = (order.trouble?.count ?? 0) + 1
  // Readings on both sides of a silence do not agree about it.
  const current = { ...order, trouble: { ...trouble, count }, reading: null }
  if (now >= deadline(current, next, limits))
    return retryOrEnd(changes, current, node, why, limits, now, token)
  // 2, 4, 8, … 30 s: a BMC that is busy or restarting is left alone for longer each time.
  const wait = Math.min(30, 2 ** count) * 1000
  const row = { ...current, notBefore: now + wait }
  return { changes: [...changes, { put: 'order', row }], act: null, wakeAt: row.notBefore }
}

/** The reading as it is stored and, when it differs from the last one, told. */
export function powerSeen(node: Node, power: PowerState, now: number): Change[] {
  const changes: Change[] = [{ put: 'node', row: { ...node, powerState: power, powerStateAt: now } }]
  if (node.powerState !== power)
    changes.push({
      event: {
        kind: 'power-seen',
        at: now,
        nodeUuid: node.uuid,
        orderId: null,
        subject: power,
        detail: { power }
      }
    })
  return changes
}

function failure(milestone: Milestone, code: string, message: string, at: number): Failure {
  return { milestone, code, message, at }
}
