// What must be so before a restored state drives machines. A backup knows nothing of what happened after it: a machine that it calls available may
// have been installed since, and an order that it calls open may have been done.

import type { Change } from '../domain/change.ts'
import type { Node } from '../domain/node.ts'
import type { Order } from '../domain/order.ts'

/** `upToDate`: the operator says that nothing has happened since `madeAt` (ms); then orders go on where they were. */
export function restoredChanges(
  { nodes, orders }: { nodes: readonly Node[]; orders: readonly Order[] },
  { madeAt, upToDate }: { madeAt: number; upToDate: boolean },
  now: number
): { changes: Change[]; cancelled: number } {
  const changes: Change[] = []
  const cancelled = upToDate ? [] : orders
  const reason = `restored from the state of ${new Date(madeAt).toISOString()}: what happened to this machine since is not known`
  for (const order of cancelled) {
    changes.push({ put: 'order', row: { ...order, state: 'cancelled', finishedAt: now } })
    const detail = { order: order.kind, reason }
    changes.push({
      event: {
        kind: 'order-cancelled',
        at: now,
        nodeUuid: order.nodeUuid,
        orderId: order.id,
        subject: order.kind,
        detail
      }
    })
  }
  if (!upToDate)
    for (const node of nodes)
      if (!node.maintenance)
        changes.push({
          put: 'node',
          row: { ...node, maintenance: true, maintenanceReason: reason, updatedAt: now }
        })
  const detail = { at: madeAt, upToDate, cancelled: cancelled.length }
  changes.push({
    event: { kind: 'state-restored', at: now, nodeUuid: null, orderId: null, subject: 'state', detail }
  })
  return { changes, cancelled: cancelled.length }
}
