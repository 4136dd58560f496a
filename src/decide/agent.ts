// What the deploy ramdisk may be told (image/README.md, "The agent protocol"). The token names order and attempt; here is
// decided whether that attempt is still alive, whether this is the right machine, and which disk may be written.

import type { Change } from '../domain/change.ts'
import type { Image } from '../domain/image.ts'
import type { Disk, Inventory } from '../domain/inventory.ts'
import { hardwareModelOf, type Node, type Port } from '../domain/node.ts'
import { nextMilestone, type Failure, type Order, type Progress } from '../domain/order.ts'
import type { OrderLimits } from './order-deadline.ts'
import { failAttempt } from './order-end.ts'
import { orderEvent } from './order-event.ts'
import { bootDelayed, ramdiskDelay } from './boot-delay.ts'
import { chooseRootDevice } from './root-device.ts'

export type AgentFacts = {
  order: Order
  node: Node
  ports: readonly Port[]
  image: Image | null
}

export type Task =
  | {
      task: 'deploy'
      disk: Pick<Disk, 'path' | 'size' | 'serial' | 'wwn'>
      image: { size: number; chunkSize: number; digest: string; manifestUrl: string; chunkUrl: string }
      configDriveUrl: string
      bootMode: 'bios' | 'uefi'
      then: 'reboot' | 'poweroff'
    }
  | { task: 'inspect'; then: 'reboot' | 'poweroff' }

export type AgentVerdict<T> =
  | { answer: T; changes: Change[] }
  /** 410: this attempt is over. 409: refused, with the reason. */
  | { refuse: 410 | 409; code: string; message: string; changes: Change[] }

/** The attempt that a token was made for may be over while its machine still runs. */
function over(
  order: Order,
  token: string
): { refuse: 410; code: string; message: string; changes: Change[] } | null {
  if (order.state === 'open' && order.token === token) return null
  const message =
    order.state === 'open'
      ? `attempt ${order.attempt} has begun; this one is over`
      : `the ${order.kind} order is ${order.state}`
  return { refuse: 410, code: 'attempt-over', message, changes: [] }
}

/** `POST /agent/hello`: checks that this is the machine we mean, then gives it its task. `url` is ours, without a slash at the end. */
export function agentHello(
  { order, node, ports, image }: AgentFacts,
  token: string,
  inventory: Inventory,
  url: string,
  limits: OrderLimits,
  now: number,
  nextToken: string
): AgentVerdict<Task> {
  const ended = over(order, token)
  if (ended) return ended
  const bootLoader = order.loaderTrial?.worked ?? node.bootLoader
  const hardwareModel = node.hardwareModel ?? hardwareModelOf(inventory.vendor, inventory.model)
  const seenNode: Node = { ...node, inventory, bootLoader, hardwareModel, updatedAt: now }
  const changes: Change[] = [{ put: 'node', row: seenNode }]
  const clock = inventory.clock === null ? NaN : Date.parse(inventory.clock)
  changes.push(
    orderEvent(order, now, 'agent-seen', 'agent', {
      bootMode: inventory.bootMode,
      secureBoot: inventory.secureBoot,
      interface: inventory.bootInterface,
      disks: inventory.disks.length,
      memoryMiB: inventory.memoryMiB,
      clockSkewSeconds: Number.isNaN(clock) ? null : Math.round((clock - now) / 1000)
    })
  )
  const delay = ramdiskDelay(inventory.addressSeconds ?? 0, inventory.linkLosses ?? 0)
  changes.push(...bootDelayed({ node, order }, 'ramdisk', delay, now))
  const refuse = (code: string, message: string): AgentVerdict<Task> => {
    const why: Failure = { milestone: nextMilestone(order) ?? 'agent-seen', code, message, at: now }
    return {
      refuse: 409,
      code,
      message,
      changes: [...changes, ...failAttempt(order, seenNode, why, limits, now, nextToken)]
    }
  }

  const wrong = wrongMachine(node, ports, inventory)
  if (wrong) return refuse('wrong-machine', wrong)

  changes.push(...agentSeen(order, now))
  if (order.kind === 'inspect') return { answer: { task: 'inspect', then: 'poweroff' }, changes }
  if (order.kind !== 'deploy' || !image)
    return refuse('refused', `a ${order.kind} order has no work for the ramdisk`)
  if (order.ticks['image-written'] !== undefined)
    // Written and told so, but back in the ramdisk: the disk is good, so on to it.
    return { refuse: 410, code: 'already-written', message: 'the image is on the disk; boot it', changes }

  const hints = node.properties['root_device']
  const choice = chooseRootDevice(
    inventory.disks,
    typeof hints === 'object' && hints !== null ? (hints as Record<string, unknown>) : {},
    image.size
  )
  if ('refused' in choice) return refuse(choice.code, choice.refused)
  const { path, size, serial, wwn } = choice.disk
  changes.push(orderEvent(order, now, 'disk-chosen', path, { path, size, serial, reason: choice.reason }))
  return {
    answer: {
      task: 'deploy',
      disk: { path, size, serial, wwn },
      image: {
        size: image.size,
        chunkSize: image.chunkSize,
        digest: image.digest,
        manifestUrl: `${url}/images/${image.digest}/manifest`,
        chunkUrl: `${url}/images/chunks/`
      },
      configDriveUrl: `${url}/agent/config-drive`,
      bootMode: inventory.bootMode,
      then: 'reboot'
    },
    changes
  }
}

/** The ramdisk runs, so the machine is on, whatever the BMC has not said yet. */
function agentSeen(order: Order, now: number): Change[] {
  if (order.ticks['agent-seen'] !== undefined) return []
  const ticks = { 'powered-on': now, 'network-seen': now, 'agent-seen': now, ...order.ticks }
  return [
    { put: 'order', row: { ...order, ticks } },
    orderEvent(order, now, 'milestone-reached', 'agent-seen', {
      milestone: 'agent-seen',
      by: "the ramdisk's call"
    })
  ]
}

/** Why this is not the machine that was enrolled; null when it is. */
function wrongMachine(node: Node, ports: readonly Port[], inventory: Inventory): string | null {
  const present = new Set(inventory.interfaces.map((nic) => nic.mac.toLowerCase()))
  const missing = ports.filter((port) => !present.has(port.address)).map((port) => port.address)
  if (missing.length > 0)
    return (
      `${node.name ?? node.uuid} was enrolled with ${missing.join(', ')}, but the machine that called has ` +
      `${[...present].join(', ') || 'no interface'}; nothing was written: correct the inventory (swapped BMC addresses?)`
    )
  return null
}

/** `POST /agent/progress`. */
export function agentProgress(
  { order }: Pick<AgentFacts, 'order'>,
  token: string,
  progress: Omit<Progress, 'at'>,
  now: number
): AgentVerdict<Record<string, never>> {
  const ended = over(order, token)
  if (ended) return ended
  return {
    answer: {},
    changes: [
      { put: 'order', row: { ...order, progress: { ...progress, at: now } } },
      orderEvent(order, now, 'write-progress', progress.stage, progress)
    ]
  }
}

/**
 * `POST /agent/written`: the digest read back from the disk is the only thing that ticks `image-written`. Where a Seedling was restored from a backup, it
 * may be the first that it hears of this ramdisk: the attempt's token shows that the one before gave it this task.
 */
export function agentWritten(
  { order, node, image }: AgentFacts,
  token: string,
  digest: string,
  limits: OrderLimits,
  now: number,
  nextToken: string
): AgentVerdict<{ then: 'reboot' }> {
  const ended = over(order, token)
  if (ended) return ended
  if (order.ticks['image-written'] !== undefined) return { answer: { then: 'reboot' }, changes: [] }
  if (!image || order.kind !== 'deploy' || order.ticks['powered-off'] === undefined)
    return { refuse: 409, code: 'refused', message: 'no write was asked of this machine', changes: [] }
  if (digest !== image.digest) {
    const message = `the disk reads back as ${digest}, the image is ${image.digest}; the disk or its controller is faulty`
    const why: Failure = { milestone: 'image-written', code: 'verify-mismatch', message, at: now }
    return {
      refuse: 409,
      code: why.code,
      message,
      changes: failAttempt(order, node, why, limits, now, nextToken)
    }
  }
  return {
    answer: { then: 'reboot' },
    changes: [
      ...agentSeen(order, now),
      { tick: 'image-written', orderId: order.id, attempt: order.attempt, at: now },
      orderEvent(order, now, 'image-written', digest.slice(0, 12), { digest }),
      orderEvent(order, now, 'milestone-reached', 'image-written', {
        milestone: 'image-written',
        by: 'the checksum read back from the disk'
      })
    ]
  }
}

/** `POST /agent/failed`. */
export function agentFailed(
  { order, node }: Pick<AgentFacts, 'order' | 'node'>,
  token: string,
  report: { code: string; message: string; evidence: string | null },
  limits: OrderLimits,
  now: number,
  nextToken: string
): AgentVerdict<Record<string, never>> {
  const ended = over(order, token)
  if (ended) return ended
  const why: Failure = {
    milestone: nextMilestone(order) ?? 'image-written',
    code: report.code,
    message: `the ramdisk reports: ${report.message}`,
    at: now
  }
  return {
    answer: {},
    changes: [
      orderEvent(order, now, 'agent-failed', report.code, report),
      ...failAttempt(order, node, why, limits, now, nextToken)
    ]
  }
}
