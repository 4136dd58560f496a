// Handing machines over: plan, check, commit, undo, report. Secrets are in an answer only where they were asked for.

import { Type } from 'typebox'
import { EXPORTS, type ExportFormat } from '../../src/decide/handoff-export.ts'
import type { HandoffPlan } from '../../src/domain/handoff.ts'
import { SECRET_DRIVER_INFO } from '../store/secrets.ts'
import type { ApiDeps, App } from './deps.ts'

const text = Type.Optional(Type.String({ minLength: 1 }))
const Options = {
  nodes: Type.Optional(Type.Array(Type.String())),
  image_url: text,
  deploy_kernel: text,
  deploy_ramdisk: text,
  resource_class: text
}
const closed = { additionalProperties: false }
const Plan = Type.Object(
  {
    ...Options,
    export: Type.Optional(
      Type.Union((Object.keys(EXPORTS) as ExportFormat[]).map((name) => Type.Literal(name)))
    ),
    secrets: Type.Optional(Type.Boolean())
  },
  closed
)
const Target = Type.Object(
  {
    ...Options,
    target: Type.Object({ url: Type.String({ pattern: '^https?://' }), token: text, user: text }, closed)
  },
  closed
)

type Given = { image_url?: string; deploy_kernel?: string; deploy_ramdisk?: string; resource_class?: string }
const options = (given: Given) => ({
  imageUrl: given.image_url?.replace(/\/+$/, '') ?? null,
  deployKernel: given.deploy_kernel ?? null,
  deployRamdisk: given.deploy_ramdisk ?? null,
  resourceClass: given.resource_class ?? 'baremetal'
})

export function handoffRoutes(app: App, { handoff }: ApiDeps): void {
  // POST although it changes nothing: what it is asked does not fit an address.
  app.post('/v1/handoff/plan', { schema: { body: Plan } }, async ({ body }) => {
    const plan = handoff.plan(body.nodes ?? [], options(body))
    const shown = body.secrets ? plan : withoutSecrets(plan)
    return { plan: shown, ...(body.export ? { files: EXPORTS[body.export as ExportFormat](shown) } : {}) }
  })
  app.post('/v1/handoff/check', { schema: { body: Target } }, async ({ body }) => ({
    findings: await handoff.check(body.target, body.nodes ?? [], options(body))
  }))
  app.post('/v1/handoff', { schema: { body: Target } }, async ({ body }, reply) =>
    reply.code(202).send({ nodes: handoff.commit(body.target, body.nodes ?? [], options(body)) })
  )
  app.get('/v1/handoff', async () => ({ nodes: handoff.state(), ending: handoff.ending() }))
  app.post('/v1/handoff/finish', async () => ({ ending: handoff.finish() }))
  app.get('/v1/handoff/report', async () => handoff.report())
  app.delete(
    '/v1/handoff/:ident',
    { schema: { params: Type.Object({ ident: Type.String() }) } },
    async ({ params }, reply) => {
      await handoff.undo(params.ident)
      return reply.code(204).send()
    }
  )
}

function withoutSecrets(plan: HandoffPlan): HandoffPlan {
  return {
    ...plan,
    nodes: plan.nodes.map((node) => ({
      ...node,
      export: {
        ...node.export,
        driverInfo: Object.fromEntries(
          Object.entries(node.export.driverInfo).filter(
            ([key]) => !(SECRET_DRIVER_INFO as readonly string[]).includes(key)
          )
        )
      }
    }))
  }
}
