// Everything that may be written, as data. Decisions return changes; services/store/apply.ts is the only one to carry
// them out, all of one decision in one transaction.

import type { Event } from './event.ts'
import type { Image, KeyPair } from './image.ts'
import type { Instance } from './instance.ts'
import type { Node, Port } from './node.ts'
import type { Milestone, Order } from './order.ts'
import type { Standing } from './standing.ts'
import type { ClockMark, Lease } from './subnet.ts'

export type Change =
  | { put: 'node'; row: Node }
  | { put: 'port'; row: Port }
  | { put: 'lease'; row: Lease }
  | { put: 'clock'; row: ClockMark }
  | { put: 'standing'; row: Standing }
  | { put: 'image'; row: Image }
  | { put: 'keypair'; row: KeyPair }
  | { put: 'instance'; row: Instance }
  | { put: 'order'; row: Order }
  | { remove: 'node' | 'port' | 'instance'; uuid: string }
  | { remove: 'image'; id: string }
  | { remove: 'keypair'; name: string }
  /** Ignored when the order is no longer open, in another attempt, or has the tick already: ticks never move. */
  | { tick: Milestone; orderId: string; attempt: number; at: number }
  | { event: Event }
