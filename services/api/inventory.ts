// The import of an inventory: everything in the file or nothing, in one transaction.

import { randomUUID } from 'node:crypto'
import { Type } from 'typebox'
import { planImport, readInventory } from '../../src/decide/inventory.ts'
import { withReservedIp } from './addresses.ts'
import type { ApiDeps, App } from './deps.ts'

/** A node takes about 1 KiB in a file; this is room for thousands. */
const MAX_BYTES = 32 * 2 ** 20

export function inventoryRoutes(app: App, deps: ApiDeps): void {
  const { facts, store, apply, now } = deps

  app.post('/v1/inventory', { bodyLimit: MAX_BYTES, schema: { body: Type.Unknown() } }, async (request) => {
    const entries = readInventory(request.body)
    return store.commit(() => {
      const known = {
        nodes: facts.nodes(),
        ports: facts.ports(),
        busy: new Set(facts.openOrders().map((order) => order.nodeUuid))
      }
      const { changes, result } = planImport(entries, known, randomUUID, now())
      // One by one: which address is free depends on those just given.
      for (const change of changes)
        apply([
          'put' in change && change.put === 'port'
            ? { ...change, row: withReservedIp(change.row, deps) }
            : change
        ])
      return result
    })
  })
}
