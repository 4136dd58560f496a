// Deployments: one order for each node, all of them or none.

import { Type } from 'typebox'
import { checkBase64, checkHostname, hostnameOf } from '../../src/decide/personality.ts'
import { decideProvision } from '../../src/decide/provision.ts'
import { AppError } from '../../src/domain/error.ts'
import type { Order } from '../../src/domain/order.ts'
import {
  base,
  checkAlone,
  DESPITE_FOREIGN_DHCP,
  fresh,
  imageNamed,
  nodeNamed,
  provisionFacts,
  type ApiDeps,
  type App
} from './deps.ts'
import { missing } from './keypairs.ts'
import { deploymentView, type Json } from './views.ts'

const DeploymentBody = Type.Object(
  {
    node: Type.Optional(Type.String()),
    nodes: Type.Optional(Type.Array(Type.String(), { minItems: 1 })),
    image: Type.String({ description: 'name or id' }),
    key_names: Type.Optional(Type.Array(Type.String())),
    user_data: Type.Optional(Type.Union([Type.String({ description: 'base64' }), Type.Null()])),
    hostname: Type.Optional(Type.Union([Type.String(), Type.Null()])),
    metadata: Type.Optional(Type.Object({}, { additionalProperties: true }))
  },
  { additionalProperties: false }
)

export function deploymentRoutes(app: App, deps: ApiDeps): void {
  const { facts, store, apply, now, wake } = deps

  const view = (order: Order, at: string): Json =>
    deploymentView(
      order,
      facts.nodeByUuid(order.nodeUuid),
      facts.instanceByUuid(order.instanceUuid ?? ''),
      facts.imageById(order.imageId ?? ''),
      at
    )

  const started = Type.Object(DESPITE_FOREIGN_DHCP, { additionalProperties: false })
  const schema = { body: DeploymentBody, querystring: started }
  app.post('/v1/deployments', { schema }, async (request, reply) => {
    const { body } = request
    checkAlone(deps, request.query)
    const idents = [...(body.nodes ?? []), ...(body.node === undefined ? [] : [body.node])]
    if (idents.length === 0) throw new AppError('bad-request', 'say which: "node" or "nodes"')
    const hostname = body.hostname ?? null
    if (hostname !== null) checkHostname(hostname)
    const userData = typeof body.user_data === 'string' ? checkBase64(body.user_data, 'user_data') : null
    const orders = store.commit(() => {
      const image = imageNamed(facts, body.image)
      const publicKeys: Record<string, string> = {}
      for (const name of body.key_names ?? []) {
        const keypair = facts.keypairByName(name)
        if (!keypair) throw new AppError('keypair-missing', missing(name, facts.keypairs()))
        publicKeys[name] = keypair.publicKey
      }
      const nodes = new Map(idents.map((ident) => nodeNamed(facts, ident)).map((node) => [node.uuid, node]))
      if (hostname !== null && nodes.size > 1)
        throw new AppError(
          'bad-request',
          'one hostname cannot be given to several nodes; leave it out to use their names'
        )
      return [...nodes.values()].map((node) => {
        const spec = {
          image,
          hostname: hostname ?? hostnameOf(node),
          publicKeys,
          userData,
          metadata: (body.metadata ?? {}) as Json
        }
        apply(decideProvision(provisionFacts(facts, node), 'active', spec, fresh(deps), now()))
        return facts.latestOrder(node.uuid) as Order
      })
    })
    for (const { nodeUuid } of orders) wake(nodeUuid)
    const at = base(request)
    return reply.code(202).send({ deployments: orders.map((order) => view(order, at)) })
  })

  const query = Type.Object(
    { node: Type.Optional(Type.String()), state: Type.Optional(Type.String()) },
    { additionalProperties: false }
  )
  app.get('/v1/deployments', { schema: { querystring: query } }, async (request) => {
    const { node, state } = request.query
    const uuid = node === undefined ? undefined : nodeNamed(facts, node).uuid
    const at = base(request)
    const orders = facts
      .ordersOfKind('deploy')
      .filter(
        (order) =>
          (uuid === undefined || order.nodeUuid === uuid) && (state === undefined || order.state === state)
      )
    return { deployments: orders.map((order) => view(order, at)) }
  })

  const params = Type.Object({ uuid: Type.String() })
  app.get('/v1/deployments/:uuid', { schema: { params } }, async (request) => {
    const order = facts.orderById(request.params.uuid)
    if (order?.kind !== 'deploy')
      throw new AppError('not-found', `Deployment ${request.params.uuid} could not be found`)
    return view(order, base(request))
  })
}
