// Events of one order.

import type { Event, EventDetail, EventKind } from '../domain/event.ts'
import type { Order } from '../domain/order.ts'

/** The event builder used by everything that concerns one order. */
export function orderEvent<K extends EventKind>(
  order: Pick<Order, 'id' | 'nodeUuid'>,
  at: number,
  kind: K,
  subject: string,
  detail: EventDetail[K]
): { event: Event } {
  return { event: { kind, at, nodeUuid: order.nodeUuid, orderId: order.id, subject, detail } as Event }
}
