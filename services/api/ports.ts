// Ports: the NICs of nodes, by MAC. A port that boots has a reserved address from its creation on.

import { randomUUID } from 'node:crypto'
import { Type } from 'typebox'
import { changedFields, newPort, patchPort, portDocument } from '../../src/decide/enrolment.ts'
import { enrolmentEvent } from '../../src/decide/inventory.ts'
import { checkIdle, provisionStateOf } from '../../src/decide/provision.ts'
import { AppError } from '../../src/domain/error.ts'
import type { Node, Port } from '../../src/domain/node.ts'
import { parseMac } from '../../src/wire/address.ts'
import { withReservedIp } from './addresses.ts'
import { base, nodeNamed, provisionFacts, type ApiDeps, type App } from './deps.ts'
import { listOf, PAGE, selected } from './lists.ts'
import { AnyObject, Ident, PatchBody } from './nodes.ts'
import { PORT_SUMMARY, portView, type Json } from './views.ts'

export function portRoutes(app: App, deps: ApiDeps): void {
  const { facts, store, apply, now, dhcp } = deps

  const portNamed = (ident: string): Port => {
    const port = facts.portByUuid(ident) ?? facts.portByMac(parseMac(ident) ?? '')
    if (!port) throw new AppError('not-found', `Port ${ident} could not be found`)
    return port
  }
  const checkFree = (port: Port): void => {
    const other = facts.portByMac(port.address)
    if (!other || other.uuid === port.uuid) return
    const owner = facts.nodeByUuid(other.nodeUuid)
    throw new AppError(
      'mac-taken',
      `A port with MAC ${port.address} exists already, at node ${owner?.name ?? other.nodeUuid}`
    )
  }
  const told = (node: Node, fields: string[]) => ({ event: enrolmentEvent(node, fields, now()) })

  const query = Type.Object(
    {
      ...PAGE,
      node: Type.Optional(Type.String()),
      node_uuid: Type.Optional(Type.String()),
      address: Type.Optional(Type.String())
    },
    { additionalProperties: false }
  )
  for (const [path, summary] of [
    ['/v1/ports', PORT_SUMMARY],
    ['/v1/ports/detail', null]
  ] as const)
    app.get(path, { schema: { querystring: query } }, async (request) => {
      const { node, node_uuid, address } = request.query
      const ident = node ?? node_uuid
      const owner = ident === undefined ? undefined : nodeNamed(facts, ident).uuid
      const mac = address === undefined ? undefined : (parseMac(address) ?? '')
      const at = base(request)
      const views = (owner === undefined ? facts.ports() : facts.portsOfNode(owner))
        .filter((port) => mac === undefined || port.address === mac)
        .map((port) => portView(port, at))
      return listOf('ports', views, request.query, summary, at + request.url)
    })

  app.post('/v1/ports', { schema: { body: AnyObject } }, async (request, reply) => {
    const body = request.body as Json
    if (typeof body['node_uuid'] !== 'string')
      throw new AppError(
        'bad-request',
        'node_uuid is missing: the UUID or name of the node that the port is in'
      )
    const ident = body['node_uuid']
    const port = store.commit(() => {
      const node = nodeNamed(facts, ident)
      const row = newPort(body, randomUUID(), node.uuid, now())
      if (facts.portByUuid(row.uuid))
        throw new AppError('mac-taken', `A port with uuid ${row.uuid} exists already`)
      checkFree(row)
      const reserved = withReservedIp(row, deps)
      apply([{ put: 'port', row: reserved }, told(node, [`port ${row.address}`])])
      return reserved
    })
    const at = base(request)
    return reply.code(201).header('Location', `${at}/v1/ports/${port.uuid}`).send(portView(port, at))
  })

  const fieldsQuery = Type.Object({ fields: Type.Optional(Type.String()) }, { additionalProperties: false })
  app.get('/v1/ports/:ident', { schema: { params: Ident, querystring: fieldsQuery } }, async (request) =>
    selected(portView(portNamed(request.params.ident), base(request)), request.query, null)
  )

  app.patch('/v1/ports/:ident', { schema: { params: Ident, body: PatchBody } }, async (request) => {
    const { before, port } = store.commit(() => {
      const before = portNamed(request.params.ident)
      const row = withReservedIp(patchPort(before, request.body, now()), deps)
      const fields = changedFields(portDocument(before), portDocument(row))
      if (fields.length === 0) return { before, port: before }
      const node = nodeNamed(facts, before.nodeUuid)
      if (fields.includes('address')) checkIdle(provisionFacts(facts, node))
      checkFree(row)
      apply([
        { put: 'port', row },
        told(
          node,
          fields.map((field) => `port ${before.address} ${field}`)
        )
      ])
      return { before, port: row }
    })
    if (port.address !== before.address) dhcp.packets.forget(before.address)
    return portView(port, base(request))
  })

  app.delete('/v1/ports/:ident', { schema: { params: Ident } }, async (request, reply) => {
    const { address } = store.commit(() => {
      const port = portNamed(request.params.ident)
      const node = nodeNamed(facts, port.nodeUuid)
      const known = provisionFacts(facts, node)
      checkIdle(known)
      if (provisionStateOf(known) === 'active' && !node.maintenance)
        throw new AppError(
          'wrong-state',
          `Port ${port.address} holds the address ${port.reservedIp ?? 'none'} of ${node.name ?? node.uuid}, which is active; ` +
            'undeploy the node first, or set maintenance'
        )
      apply([{ remove: 'port', uuid: port.uuid }, told(node, [`port ${port.address} removed`])])
      return port
    })
    dhcp.packets.forget(address)
    return reply.code(204).send()
  })
}
