// The deploy ramdisk's calls (image/README.md, "The agent protocol"). Each carries its attempt's token; whoever has none is
// told nothing.

import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import {
  agentFailed,
  agentHello,
  agentProgress,
  agentWritten,
  type AgentFacts,
  type AgentVerdict
} from '../../src/decide/agent.ts'
import { configDrive } from '../../src/decide/config-drive.ts'
import type { OrderLimits } from '../../src/decide/order-deadline.ts'
import type { Apply } from '../store/apply.ts'
import type { Facts } from '../store/facts.ts'
import type { Store } from '../store/open.ts'

export type AgentDeps = {
  store: Store
  facts: Facts
  apply: Apply
  now: () => number
  /** 256 random bits, hex: for the attempt that may follow. */
  token: () => string
  limits: OrderLimits
  /** Where machines reach us, `http://192.0.2.1`, without a slash at the end. */
  url: string
  wake: (nodeUuid: string) => void
}

const Text = Type.String({ maxLength: 256 })
const MaybeText = Type.Union([Text, Type.Null()])
const Count = Type.Integer({ minimum: 0, maximum: 2 ** 31 })
const Bytes = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })
const MacText = Type.String({ pattern: '^[0-9a-f]{2}(:[0-9a-f]{2}){5}$' })

const InventorySchema = Type.Object({
  uuid: MaybeText,
  serial: MaybeText,
  vendor: MaybeText,
  model: MaybeText,
  bootMode: Type.Union([Type.Literal('bios'), Type.Literal('uefi')]),
  bootInterface: Type.Union([MacText, Type.Null()]),
  arch: Text,
  secureBoot: Type.Boolean(),
  cpus: Type.Integer({ minimum: 0, maximum: 65536 }),
  cpuModel: MaybeText,
  memoryMiB: Type.Integer({ minimum: 0, maximum: 2 ** 40 }),
  interfaces: Type.Array(
    Type.Object({
      name: Text,
      mac: MacText,
      carrier: Type.Boolean(),
      driver: MaybeText,
      speedMbps: Type.Union([Type.Integer(), Type.Null()])
    }),
    { maxItems: 256 }
  ),
  disks: Type.Array(
    Type.Object({
      path: Type.String({ pattern: '^/dev/[A-Za-z0-9/_-]+$', maxLength: 64 }),
      size: Bytes,
      serial: MaybeText,
      wwn: MaybeText,
      model: MaybeText,
      vendor: MaybeText,
      rotational: Type.Boolean(),
      removable: Type.Boolean(),
      usb: Type.Optional(Type.Boolean()),
      readOnly: Type.Boolean(),
      logicalSectorSize: Type.Integer({ minimum: 512, maximum: 65536 }),
      signatures: Type.Array(Text, { maxItems: 64 })
    }),
    { maxItems: 1024 }
  ),
  addressSeconds: Type.Optional(Count),
  linkLosses: Type.Optional(Count),
  clock: MaybeText
})

const ProgressSchema = Type.Object({
  stage: Type.Union([Type.Literal('writing'), Type.Literal('verifying'), Type.Literal('finishing')]),
  done: Bytes,
  total: Bytes
})
const WrittenSchema = Type.Object({ digest: Type.String({ pattern: '^[0-9a-f]{64}$' }) })
const FailedSchema = Type.Object({
  code: Type.String({ pattern: '^[a-z-]{1,40}$' }),
  message: Type.String({ maxLength: 2000 }),
  evidence: Type.Optional(Type.Union([Type.String({ maxLength: 8000 }), Type.Null()]))
})

/** Mounts the agent's five routes on the machine-facing HTTP server. */
export function agentRoutes(deps: AgentDeps): (app: FastifyInstance) => Promise<void> {
  const { store, facts, apply, limits, url, now } = deps

  const tokenOf = (request: FastifyRequest): string | null =>
    /^Bearer ([0-9a-f]{64})$/.exec(request.headers.authorization ?? '')?.[1] ?? null

  function gather(token: string | null): (AgentFacts & { token: string }) | null {
    const order = token === null ? null : facts.orderByToken(token)
    const node = order && facts.nodeByUuid(order.nodeUuid)
    if (!token || !order || !node) return null
    return {
      token,
      order,
      node,
      ports: facts.portsOfNode(node.uuid),
      image: order.imageId ? facts.imageById(order.imageId) : null
    }
  }

  /** Gather, decide, commit, then answer. */
  function handle<T>(
    request: FastifyRequest,
    reply: FastifyReply,
    decide: (facts: AgentFacts & { token: string }) => AgentVerdict<T>
  ): FastifyReply {
    const done = store.commit(() => {
      const gathered = gather(tokenOf(request))
      if (!gathered) return null
      const verdict = decide(gathered)
      apply(verdict.changes)
      return { verdict, node: gathered.node }
    })
    if (!done)
      return reply
        .code(401)
        .send({ code: 'unknown-token', message: 'no attempt has this token; wait to be switched off' })
    const { verdict, node } = done
    const what = { node: node.name ?? node.uuid, call: request.url }
    if ('refuse' in verdict) {
      request.log.warn({ ...what, code: verdict.code, reason: verdict.message }, 'agent refused')
      deps.wake(node.uuid)
      return reply.code(verdict.refuse).send({ code: verdict.code, message: verdict.message })
    }
    if (verdict.changes.length > 0) deps.wake(node.uuid)
    request.log.info(what, 'agent answered')
    return reply.send(verdict.answer)
  }

  return async (instance) => {
    const app = instance.withTypeProvider<TypeBoxTypeProvider>()
    app.post('/agent/hello', { schema: { body: InventorySchema }, bodyLimit: 1 << 20 }, (request, reply) =>
      handle(request, reply, (gathered) =>
        agentHello(gathered, gathered.token, request.body, url, limits, now(), deps.token())
      )
    )
    app.post('/agent/progress', { schema: { body: ProgressSchema }, bodyLimit: 4096 }, (request, reply) =>
      handle(request, reply, (gathered) => agentProgress(gathered, gathered.token, request.body, now()))
    )
    app.post('/agent/written', { schema: { body: WrittenSchema }, bodyLimit: 4096 }, (request, reply) =>
      handle(request, reply, (gathered) =>
        agentWritten(gathered, gathered.token, request.body.digest, limits, now(), deps.token())
      )
    )
    app.post('/agent/failed', { schema: { body: FailedSchema }, bodyLimit: 65536 }, (request, reply) =>
      handle(request, reply, (gathered) => {
        const { code, message, evidence = null } = request.body
        return agentFailed(gathered, gathered.token, { code, message, evidence }, limits, now(), deps.token())
      })
    )
    app.get('/agent/config-drive', (request, reply) => {
      const gathered = gather(tokenOf(request))
      if (!gathered)
        return reply.code(401).send({ code: 'unknown-token', message: 'no attempt has this token' })
      const { order, node, ports } = gathered
      const instance = order.instanceUuid ? facts.instanceByUuid(order.instanceUuid) : null
      if (order.state !== 'open' || !instance)
        return reply
          .code(410)
          .send({ code: 'attempt-over', message: `the ${order.kind} order is ${order.state}` })
      return reply.send({ label: 'config-2', files: configDrive({ instance, node, ports, url }) })
    })
  }
}
