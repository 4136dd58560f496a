// The only writer. Carries out the changes that a decision returned; call it inside `store.commit`.

import type { Change } from '../../src/domain/change.ts'
import type { Event } from '../../src/domain/event.ts'
import type { Node } from '../../src/domain/node.ts'
import type { Order } from '../../src/domain/order.ts'
import type { Store } from './open.ts'
import { fromRow, toRow } from './rows.ts'
import { SECRET_DRIVER_INFO } from './secrets.ts'

/** The same kind and subject of a node within this span raises `repeats` instead of adding a line. */
const REPEAT_MILLISECONDS = 60_000

const KEY = {
  node: 'uuid',
  port: 'uuid',
  lease: 'ip',
  clock: 'id',
  standing: 'id',
  image: 'id',
  keypair: 'name',
  instance: 'uuid',
  order: 'id'
}

/** Tables that change with every packet, and of which nobody keeps what was read. */
const UNCOUNTED: ReadonlySet<string> = new Set(['lease', 'clock'])

export type Apply = (changes: readonly Change[]) => void

export function createApply(store: Store): Apply {
  const { db } = store
  const upserts = new Map<string, ReturnType<typeof db.prepare>>()

  function upsert(table: keyof typeof KEY, object: object): void {
    const row = toRow(object)
    let statement = upserts.get(table)
    if (!statement) {
      const columns = Object.keys(row)
      const updates = columns.filter((column) => column !== KEY[table]).map((c) => `${c} = excluded.${c}`)
      statement = db.prepare(
        `INSERT INTO "${table}" (${columns.join(', ')}) VALUES (${columns.map((c) => '@' + c).join(', ')})
         ON CONFLICT (${KEY[table]}) DO UPDATE SET ${updates.join(', ')}`
      )
      upserts.set(table, statement)
    }
    statement.run(row)
  }

  const orderById = db.prepare('SELECT * FROM "order" WHERE id = ?')
  const lastEvent = db.prepare(
    `SELECT id FROM event WHERE node_uuid IS ? AND kind = ? AND subject = ? AND order_id IS ? AND last_at > ?
     ORDER BY id DESC LIMIT 1`
  )
  const repeatEvent = db.prepare(
    'UPDATE event SET repeats = repeats + 1, last_at = ?, detail = ? WHERE id = ?'
  )
  const addEvent = db.prepare(
    `INSERT INTO event (at, last_at, repeats, kind, subject, node_uuid, order_id, detail)
     VALUES (@at, @at, 1, @kind, @subject, @nodeUuid, @orderId, @detail)`
  )

  function putEvent(event: Event): void {
    const detail = JSON.stringify(event.detail)
    const last = lastEvent.get(
      event.nodeUuid,
      event.kind,
      event.subject,
      event.orderId,
      event.at - REPEAT_MILLISECONDS
    ) as { id: number } | undefined
    if (last) repeatEvent.run(event.at, detail, last.id)
    else addEvent.run({ ...event, detail })
  }

  function tick(change: Extract<Change, { tick: unknown }>): void {
    const order = fromRow<Order>(orderById.get(change.orderId))
    if (!order || order.state !== 'open' || order.attempt !== change.attempt) return
    if (order.ticks[change.tick] !== undefined) return
    upsert('order', { ...order, ticks: { ...order.ticks, [change.tick]: change.at } })
  }

  function sealed(node: Node): Node {
    const driverInfo: Record<string, unknown> = { ...node.driverInfo }
    for (const key of SECRET_DRIVER_INFO) {
      const value = driverInfo[key]
      if (value !== undefined && value !== null) driverInfo[key] = store.sealer.seal(String(value))
    }
    return { ...node, driverInfo }
  }

  return (changes) => {
    for (const change of changes) {
      if (!('event' in change) && !('put' in change && UNCOUNTED.has(change.put))) store.changed()
      if ('event' in change) putEvent(change.event)
      else if ('tick' in change) tick(change)
      else if ('put' in change) upsert(change.put, change.put === 'node' ? sealed(change.row) : change.row)
      else if (change.remove === 'image') db.prepare('DELETE FROM image WHERE id = ?').run(change.id)
      else if (change.remove === 'keypair') db.prepare('DELETE FROM keypair WHERE name = ?').run(change.name)
      else db.prepare(`DELETE FROM ${change.remove} WHERE uuid = ?`).run(change.uuid)
    }
  }
}
