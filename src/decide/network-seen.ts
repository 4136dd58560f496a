// The first sign of life after power-on: a DHCP packet of the machine's firmware, loader or ramdisk.

import type { Change } from '../domain/change.ts'
import { CHECKLIST, type Order } from '../domain/order.ts'
import type { FirmwareName } from './firmware.ts'
import { orderEvent } from './order-event.ts'

/** `client`: who sent a packet of the machine's; null: it could not be told. `now` in ms. */
export function networkSeen(order: Order | null, client: FirmwareName | null, now: number): Change[] {
  if (order?.state !== 'open' || !CHECKLIST[order.kind].includes('network-seen')) return []
  if (order.ticks['network-seen'] !== undefined) return []
  // The system on its disk asks too: before it is switched off, and when it boots although it should not.
  if (client === null || client === 'system') return []
  const switchedOn = order.ticks['powered-on'] !== undefined || order.asked?.act === 'power-on'
  if (order.ticks['powered-off'] === undefined || !switchedOn) return []
  const by = `a DHCP packet of its ${client}`
  return [
    { tick: 'network-seen', orderId: order.id, attempt: order.attempt, at: now },
    orderEvent(order, now, 'milestone-reached', 'network-seen', { milestone: 'network-seen', by })
  ]
}
