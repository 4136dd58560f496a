// Power as a closed loop: what the BMC's readings mean for the lines `powered-off` and `powered-on`, and what is to be asked
// of it next. BMCs read off too early, come back on, take a command and do nothing: so nothing is believed that was not
// read, off is believed only when two readings agree, and nothing is asked without a fresh reading that calls for it.

import type { PowerState } from '../domain/bmc.ts'
import { bootMode, type Node } from '../domain/node.ts'
import type { Asked, Order, OrderKind, PowerReading } from '../domain/order.ts'

export type PowerLimits = {
  /** For a machine to go on or off, all repeats included. Seconds, as all of these. */
  powerSeconds: number
  /** The same is asked again after this long, if a reading still calls for it. */
  askAgainSeconds: number
  /** A machine stays off this long before it is switched on: power supplies and BMCs want it. */
  minimumOffSeconds: number
  /** Orders switch one machine on no more often than this. */
  rebootsPerHour: number
}

export type Act =
  | { act: 'power-off' | 'soft-off' }
  /** Boot device (when given) and power on, always as one step: BMCs drop the override after 60 s (IPMI 2.0, table 28-14, parameter 3). */
  | { act: 'power-on'; bootDevice: { device: 'pxe'; efi: boolean } | null }

export type PowerStep =
  | { step: 'reached'; by: string }
  | { step: 'wait'; until: number }
  | { step: 'act'; act: Act }
  /** This attempt came to nothing; `final`: another would, too. */
  | { step: 'lost'; code: string; message: string; final: boolean }

/** How often a power change is looked for, and how far apart two readings are that agree; milliseconds. */
export const LOOK_MILLISECONDS = 1000
const HOUR = 3_600_000

/** The readings so far and one more. `now` in ms. */
export function powerReading(before: PowerReading | null, power: PowerState, now: number): PowerReading {
  return before?.power === power
    ? { ...before, at: now, count: before.count + 1 }
    : { power, since: now, at: now, count: 1 }
}

/** Is the operating system asked to shut down, rather than the power cut? */
export function isSoft(kind: OrderKind): boolean {
  return kind === 'soft-power-off' || kind === 'soft-reboot'
}

/** Does the machine have to boot from the network? */
export function bootsNetwork(kind: OrderKind): boolean {
  return kind === 'deploy' || kind === 'inspect'
}

/** The times of the last hour among those at which the machine was switched on. */
export function recentPowerOns({ powerOns }: Pick<Node, 'powerOns'>, now: number): number[] {
  return powerOns.filter((at) => at > now - HOUR)
}

/** What follows from the latest reading for the line that is next. */
export function powerStep(
  line: 'powered-off' | 'powered-on',
  order: Order,
  node: Node,
  reading: PowerReading,
  limits: PowerLimits,
  now: number
): PowerStep {
  return line === 'powered-off'
    ? offStep(order, reading, limits, now)
    : onStep(order, node, reading, limits, now)
}

function offStep(order: Order, reading: PowerReading, limits: PowerLimits, now: number): PowerStep {
  const look: PowerStep = { step: 'wait', until: now + LOOK_MILLISECONDS }
  if (reading.power === 'off') {
    const milliseconds = reading.at - reading.since
    return reading.count > 1 && milliseconds >= LOOK_MILLISECONDS
      ? { step: 'reached', by: `the BMC read off ${reading.count} times, ${milliseconds / 1000} s apart` }
      : look
  }
  // Pressed twice, a power button may mean something else to the operating system.
  if (isSoft(order.kind))
    return order.asked?.act === 'soft-off' ? look : { step: 'act', act: { act: 'soft-off' } }
  return mayAsk(order.asked, 'power-off', limits, now) ? { step: 'act', act: { act: 'power-off' } } : look
}

function onStep(
  order: Order,
  node: Node,
  reading: PowerReading,
  limits: PowerLimits,
  now: number
): PowerStep {
  const offAt = order.ticks['powered-off']
  if (reading.power === 'on') {
    if (!bootsNetwork(order.kind) || order.asked?.act === 'power-on' || offAt === undefined)
      return { step: 'reached', by: 'the BMC reads on' }
    // It came without the boot device that we would have set, and boots who knows what.
    return {
      step: 'lost',
      code: 'power-came-back',
      message:
        `the machine is on again although nobody here switched it on, ${(now - offAt) / 1000} s after its BMC read off; ` +
        'look for whatever else switches it: power policy, watchdog, another tool',
      final: false
    }
  }
  const restedAt = offAt === undefined ? now : offAt + limits.minimumOffSeconds * 1000
  if (now < restedAt) return { step: 'wait', until: restedAt }
  const recent = recentPowerOns(node, now)
  const [first] = recent
  if (first !== undefined && recent.length >= limits.rebootsPerHour)
    return {
      step: 'lost',
      code: 'reboot-cap',
      message:
        `the machine was switched on ${recent.length} times within the last hour, and is left alone until ` +
        `${new Date(first + HOUR).toISOString()}; the timeline tells what became of it each time ` +
        '(deploy.rebootsPerHour in the configuration is the limit)',
      final: true
    }
  if (!mayAsk(order.asked, 'power-on', limits, now)) return { step: 'wait', until: now + LOOK_MILLISECONDS }
  return { step: 'act', act: { act: 'power-on', bootDevice: overrideFor(order, node) } }
}

/** There is a fresh reading that calls for it. When it is not known whether the last one was carried out, that reading says so. */
function mayAsk(asked: Asked | null, act: Asked['act'], limits: PowerLimits, now: number): boolean {
  return asked?.act !== act || asked.inDoubt === true || now >= asked.at + limits.askAgainSeconds * 1000
}

function overrideFor({ kind }: Order, node: Node): { device: 'pxe'; efi: boolean } | null {
  if (!bootsNetwork(kind) || losesEfi(node)) return null
  return { device: 'pxe', efi: bootMode(node) === 'uefi' }
}

/** An override without the EFI bit may turn a UEFI machine to legacy boot for good: better none. */
export function losesEfi(node: Node): boolean {
  return bootMode(node) === 'uefi' && node.quirkCard?.bootDevice?.keepsEfi === false
}
