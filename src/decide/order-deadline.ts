// How long an order waits for its next line, and what is said when nothing came of it.

import type { Failure, Milestone, Order } from '../domain/order.ts'
import { LOADER_SECONDS, silenceEnds, silenceWords } from './loader-ladder.ts'
import { isSoft, type PowerLimits } from './power-loop.ts'

/** How patient orders are. Seconds. */
export type OrderLimits = PowerLimits & {
  attempts: number
  /** From power-on to the machine's first DHCP packet; large servers test their memory for minutes. */
  networkSeconds: number
  /** From the first DHCP packet to the ramdisk's first call. */
  agentSeconds: number
  /** Without any progress of the write. */
  writeStallSeconds: number
  /** From the end of the write to the installed system's sign of life. */
  instanceSeconds: number
}

const VERIFY_SECONDS = 60
/** An exam that waits for the boot device to lapse takes more than a minute. */
const EXAM_SECONDS = 300
/** As long as Ironic waits (`soft_power_off_timeout`). */
const SOFT_SECONDS = 600

/** When the wait for this line is over; milliseconds since the epoch. */
export function deadline(order: Order, next: Milestone, limits: OrderLimits): number {
  const since = Math.max(order.attemptStartedAt, ...Object.values(order.ticks))
  if (next === 'image-written')
    return Math.max(since, order.progress?.at ?? 0) + limits.writeStallSeconds * 1000
  const end = since + patience(order, next, limits) * 1000
  return next === 'agent-seen' ? Math.min(end, silenceEnds(order) ?? Infinity) : end
}

function patience(order: Order, next: Exclude<Milestone, 'image-written'>, limits: OrderLimits): number {
  switch (next) {
    case 'bmc-verified':
      return VERIFY_SECONDS
    case 'bmc-examined':
      return EXAM_SECONDS
    case 'powered-off':
      return isSoft(order.kind) ? (order.softSeconds ?? SOFT_SECONDS) : limits.powerSeconds
    case 'powered-on':
      return limits.powerSeconds
    case 'network-seen':
      return limits.networkSeconds
    case 'agent-seen':
      return limits.agentSeconds
    case 'instance-up':
      return limits.instanceSeconds
  }
}

/** Why the attempt is over, as the deadline of `next` has passed. */
export function lapsed(order: Order, next: Milestone, limits: OrderLimits, now: number): Failure {
  const { code, message } = told(order, next, limits)
  const last = order.trouble ? `; last: ${order.trouble.message}` : ''
  return { milestone: next, code, message: message + last, at: now }
}

function told(order: Order, next: Milestone, limits: OrderLimits): { code: string; message: string } {
  const timeout = (message: string) => ({ code: 'timeout', message })
  switch (next) {
    case 'bmc-verified':
      return timeout('the BMC did not answer in time')
    case 'bmc-examined':
      return timeout(`the exam of the BMC was not over within ${EXAM_SECONDS} s`)
    case 'powered-off':
      return isSoft(order.kind)
        ? timeout(
            `the operating system did not shut down within ${patience(order, next, limits)} s; "power off" cuts the power`
          )
        : timeout(
            `the BMC still reads "on" ${limits.powerSeconds} s after it was told to switch off; check the BMC or switch the machine off by hand`
          )
    case 'powered-on':
      return timeout(
        `the BMC still reads "off" ${limits.powerSeconds} s after it was told to switch on; check power supply and BMC log`
      )
    case 'network-seen':
      return unseen(order, limits)
    case 'agent-seen':
      return (
        silentLoader(order) ??
        timeout(
          `the deploy ramdisk did not call within ${limits.agentSeconds} s of the machine's first DHCP packet; the timeline shows how far it came (loader but no script: firmware)`
        )
      )
    case 'image-written':
      return timeout(
        `no progress of the write for ${limits.writeStallSeconds} s; look at the machine's console`
      )
    case 'instance-up':
      return timeout(
        `the installed system gave no sign of life within ${limits.instanceSeconds} s; look at its console: boot order, boot loader, network configuration`
      )
  }
}

function silentLoader(order: Order): { code: string; message: string } | null {
  const loader = silenceEnds(order) !== null && order.loaderTrial?.fetched?.loader
  if (!loader) return null
  const message = `${loader} was fetched and nothing followed for ${LOADER_SECONDS} s: ${silenceWords(loader)}`
  return { code: 'loader-silent', message }
}

/** The machine was on, and nothing was heard of it: the likeliest reason first. */
function unseen({ reading, asked }: Order, limits: OrderLimits): { code: string; message: string } {
  const silence = `no DHCP packet of it was seen within ${limits.networkSeconds} s of power-on`
  if (reading?.power === 'off')
    return {
      code: 'power-lost',
      message: `the machine went off again by itself, and ${silence}; check its power supply and the BMC's event log (seedling node sel)`
    }
  if (asked?.bootDevice?.kept === false)
    return {
      code: 'boot-device-not-kept',
      message: `the machine is on, but ${silence}: ${asked.bootDevice.words}. Put the network first in its boot order, or update the BMC's firmware`
    }
  return {
    code: 'no-network',
    message: `the machine is on, but ${silence}; check cabling, VLAN, the MAC of its port, and that its firmware boots from the network`
  }
}
