// The gate: what may this machine boot now? Every machine-facing path (DHCP, proxy port, TFTP, HTTP script, images,
// metadata) asks this one function. It looks at rows only, never at how often somebody asked: that is what ends the
// endless reinstall.

import type { BootPlan } from '../domain/boot.ts'
import type { Node, Port } from '../domain/node.ts'
import type { Order } from '../domain/order.ts'

export type GateFacts = {
  node: Pick<Node, 'state' | 'maintenance' | 'handover'> | null
  port: Pick<Port, 'pxeEnabled'> | null
  /** The node's latest order, open or not. */
  order: Pick<Order, 'id' | 'kind' | 'state' | 'attempt' | 'token' | 'ticks' | 'notBefore'> | null
}

/**
 * What the machine may boot. `ramdisk` only inside the window that we opened ourselves: an open order that needs the
 * ramdisk, after this attempt's power-off was read back and before the ramdisk said that it is done.
 */
export function bootPlan({ node, port, order }: GateFacts): BootPlan {
  if (!node || !port) return { boot: 'nothing', reason: 'not enrolled' }
  if (node.handover) return { boot: 'nothing', reason: `handed over to ${node.handover.target}` }
  if (order?.state === 'open' && (order.kind === 'deploy' || order.kind === 'inspect')) {
    const last = order.kind === 'deploy' ? 'image-written' : 'agent-seen'
    if (order.ticks[last] !== undefined)
      return { boot: 'local-disk', reason: `${order.kind}: ${last} is reached` }
    if (node.maintenance) return { boot: 'nothing', reason: 'in maintenance' }
    if (!port.pxeEnabled) return { boot: 'nothing', reason: 'network boot is off for this port' }
    if (order.ticks['powered-off'] === undefined)
      return { boot: 'nothing', reason: `${order.kind} waits for the machine to be off first` }
    return {
      boot: 'ramdisk',
      orderId: order.id,
      attempt: order.attempt,
      token: order.token,
      reason: `${order.kind}, attempt ${order.attempt}`
    }
  }
  if (node.state === 'active') return { boot: 'local-disk', reason: 'the machine is active' }
  return { boot: 'nothing', reason: 'no order for this machine' }
}
