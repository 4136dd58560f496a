// Nodes: list, create, show, change, delete, and their sub-lists.

import { randomUUID } from 'node:crypto'
import { Type } from 'typebox'
import { bmcKey, changedFields, newNode, nodeDocument, patchNode } from '../../src/decide/enrolment.ts'
import { enrolmentEvent } from '../../src/decide/inventory.ts'
import { checkIdle } from '../../src/decide/provision.ts'
import { shown } from '../../src/decide/provision-state.ts'
import { AppError } from '../../src/domain/error.ts'
import type { Node } from '../../src/domain/node.ts'
import type { Facts } from '../store/facts.ts'
import { base, nodeNamed, provisionFacts, type ApiDeps, type App } from './deps.ts'
import { flag, listOf, PAGE, selected, type Page } from './lists.ts'
import { NODE_SUMMARY, nodeView, PORT_SUMMARY, portView, type Json } from './views.ts'

export const Ident = Type.Object({ ident: Type.String({ minLength: 1 }) })

/** JSON Patch as Ironic takes it. */
export const PatchBody = Type.Array(
  Type.Object(
    {
      op: Type.Union([Type.Literal('add'), Type.Literal('replace'), Type.Literal('remove')]),
      path: Type.String(),
      value: Type.Optional(Type.Unknown())
    },
    { additionalProperties: false }
  ),
  { maxItems: 1000 }
)

/** Any object: what may be in it is judged in src/decide/enrolment.ts, all faults at once. */
export const AnyObject = Type.Object({}, { additionalProperties: true })

const NodeQuery = Type.Object(
  {
    ...PAGE,
    associated: Type.Optional(Type.String()),
    maintenance: Type.Optional(Type.String()),
    provision_state: Type.Optional(Type.String()),
    driver: Type.Optional(Type.String()),
    resource_class: Type.Optional(Type.String()),
    instance_uuid: Type.Optional(Type.String()),
    owner: Type.Optional(Type.String()),
    conductor_group: Type.Optional(Type.String())
  },
  { additionalProperties: false }
)

/** States in which nothing would be lost with the record. */
const DELETABLE = ['enroll', 'manageable', 'available', 'inspect failed']

export function nodeRoutes(app: App, deps: ApiDeps): void {
  const { facts, store, apply, now, dhcp } = deps
  const view = (node: Node, at: string): Json => nodeView(node, facts.ordersOfNode(node.uuid), at)

  const list = (
    query: Page & Record<string, unknown>,
    summary: readonly string[] | null,
    url: string
  ): Json => {
    const { origin } = new URL(url)
    const associated = flag(query['associated'] as string | undefined)
    const maintenance = flag(query['maintenance'] as string | undefined)
    const same = ['provision_state', 'driver', 'resource_class', 'instance_uuid', 'owner', 'conductor_group']
    const views = facts
      .nodes()
      .filter((node) => associated === undefined || (node.instanceUuid !== null) === associated)
      .filter((node) => maintenance === undefined || node.maintenance === maintenance)
      .map((node) => view(node, origin))
      .filter((node) => same.every((key) => query[key] === undefined || node[key] === query[key]))
    return listOf('nodes', views, query, summary, url)
  }
  app.get('/v1/nodes', { schema: { querystring: NodeQuery } }, async (request) =>
    list(request.query, NODE_SUMMARY, base(request) + request.url)
  )
  app.get('/v1/nodes/detail', { schema: { querystring: NodeQuery } }, async (request) =>
    list(request.query, null, base(request) + request.url)
  )

  app.post('/v1/nodes', { schema: { body: AnyObject } }, async (request, reply) => {
    const node = store.commit(() => {
      if (facts.standing().finishedAt !== null)
        throw new AppError(
          'wrong-state',
          'the hand-over is finished: nothing boots from here any more, so no machine can be enrolled'
        )
      const row = newNode(request.body as Json, randomUUID(), now())
      if (facts.nodeByUuid(row.uuid))
        throw new AppError('name-taken', `A node with uuid ${row.uuid} is enrolled already`)
      checkUnique(facts, row)
      apply([{ put: 'node', row }, { event: enrolmentEvent(row, null, now()) }])
      return row
    })
    const at = base(request)
    return reply.code(201).header('Location', `${at}/v1/nodes/${node.uuid}`).send(view(node, at))
  })

  const fieldsQuery = Type.Object({ fields: Type.Optional(Type.String()) }, { additionalProperties: false })
  app.get('/v1/nodes/:ident', { schema: { params: Ident, querystring: fieldsQuery } }, async (request) =>
    selected(view(nodeNamed(facts, request.params.ident), base(request)), request.query, null)
  )

  app.patch('/v1/nodes/:ident', { schema: { params: Ident, body: PatchBody } }, async (request) => {
    const node = store.commit(() => {
      const before = nodeNamed(facts, request.params.ident)
      const row = patchNode(before, request.body, now())
      const fields = changedFields(nodeDocument(before), nodeDocument(row))
      checkUnique(facts, row)
      if (fields.includes('driver_info')) checkIdle(provisionFacts(facts, before))
      if (fields.includes('instance_uuid') && facts.instanceByUuid(before.instanceUuid ?? ''))
        throw new AppError(
          'wrong-state',
          `instance_uuid of ${before.name ?? before.uuid} names its installed instance; undeploy the node first`
        )
      if (fields.length === 0) return before
      apply([{ put: 'node', row }, { event: enrolmentEvent(row, fields, now()) }])
      return row
    })
    return view(node, base(request))
  })

  app.delete('/v1/nodes/:ident', { schema: { params: Ident } }, async (request, reply) => {
    const ports = store.commit(() => {
      const node = nodeNamed(facts, request.params.ident)
      const orders = facts.ordersOfNode(node.uuid)
      checkIdle({ node, orders })
      const { state } = shown(node, orders)
      // Ironic answers 409 here, so this is "busy" and not "wrong-state".
      if (!node.maintenance && !DELETABLE.includes(state))
        throw new AppError(
          'busy',
          `Node ${node.name ?? node.uuid} cannot be deleted in state "${state}"; undeploy it first, or set maintenance to ` +
            `forget it as it is (states in which it can be deleted: ${DELETABLE.join(', ')})`
        )
      const enrolled = facts.portsOfNode(node.uuid)
      apply([
        { remove: 'node', uuid: node.uuid },
        {
          event: {
            kind: 'node-removed',
            at: now(),
            nodeUuid: node.uuid,
            orderId: null,
            subject: node.uuid,
            detail: { name: node.name }
          }
        }
      ])
      return enrolled
    })
    for (const { address } of ports) dhcp.packets.forget(address)
    return reply.code(204).send()
  })

  const portsQuery = Type.Object(PAGE, { additionalProperties: false })
  for (const [path, summary] of [
    ['/v1/nodes/:ident/ports', PORT_SUMMARY],
    ['/v1/nodes/:ident/ports/detail', null]
  ] as const)
    app.get(path, { schema: { params: Ident, querystring: portsQuery } }, async (request) => {
      const at = base(request)
      const ports = facts.portsOfNode(nodeNamed(facts, request.params.ident).uuid)
      return listOf(
        'ports',
        ports.map((port) => portView(port, at)),
        request.query,
        summary,
        at + request.url
      )
    })

  app.get('/v1/nodes/:ident/inventory', { schema: { params: Ident } }, async (request) => {
    const node = nodeNamed(facts, request.params.ident)
    if (!node.inventory)
      throw new AppError(
        'not-found',
        `Node ${node.name ?? node.uuid} has not been inspected; inspect or deploy it, then its ramdisk reports`
      )
    return { inventory: node.inventory, plugin_data: {} }
  })

  // Of what Ironic has and a bootstrap does not need, clients only want to hear that there is none.
  for (const name of ['traits', 'vifs', 'portgroups'])
    app.get(`/v1/nodes/:ident/${name}`, { schema: { params: Ident } }, async (request) => {
      nodeNamed(facts, request.params.ident)
      return { [name]: [] }
    })
  for (const name of ['portgroups', 'chassis', 'allocations', 'deploy_templates'])
    app.get(`/v1/${name}`, async () => ({ [name]: [] }))
}

function checkUnique(facts: Facts, node: Node): void {
  const namesake = node.name === null ? null : facts.nodeByName(node.name)
  if (namesake && namesake.uuid !== node.uuid)
    throw new AppError('name-taken', `A node named ${node.name} is enrolled already (${namesake.uuid})`)
  const bmc = bmcKey(node.driverInfo)
  if (bmc === null) return
  const sharer = facts
    .nodesByBmc(String(node.driverInfo['ipmi_address']))
    .find((other) => other.uuid !== node.uuid && bmcKey(other.driverInfo) === bmc)
  if (sharer)
    throw new AppError(
      'bmc-taken',
      `The BMC at ${bmc} belongs to node ${sharer.name ?? sharer.uuid}; two nodes on one BMC would switch each other off`
    )
}
