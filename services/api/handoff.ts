// Handing machines over: plan, check, commit, undo, report. Secrets are in an answer only where they were asked for.

import { Type } from 'typebox'
import { EXPORTS, type ExportFormat } from '../../src/decide/handoff-export.ts'
import type { HandoffPlan } from '../../src/domain/handoff.ts'
import { SECRET_DRIVER_INFO } from '../store/secrets.ts'
import type { ApiDeps, App } from './deps.ts'
import { flag } from './lists.ts'

const text = Type.Optional(Type.String({ minLength: 1 }))
const Options = {
  nodes: Type.Optional(Type.Array(Type.String())),
  image_url: text,
  deploy_kernel: text,
  deploy_ramdisk: text,
  resource_class: text,
  nova: Type.Optional(Type.Boolean())
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
const Keystone = Type.Object(
  {
    auth_url: Type.String({ pattern: '^https?://' }),
    application_credential_id: text,
    application_credential_secret: text,
    username: text,
    password: text,
    user_domain_id: text,
    user_domain_name: text,
    project_id: text,
    project_name: text,
    project_domain_id: text,
    project_domain_name: text,
    system_scope: Type.Optional(Type.Literal('all'))
  },
  closed
)
const target = Type.Object(
  { url: Type.String({ pattern: '^https?://' }), token: text, user: text, keystone: Type.Optional(Keystone) },
  closed
)
const Target = Type.Object({ ...Options, target }, closed)
const Check = Type.Object({ ...Options, target, bmcs: Type.Optional(Type.Boolean()) }, closed)

type Given = {
  image_url?: string
  deploy_kernel?: string
  deploy_ramdisk?: string
  resource_class?: string
  nova?: boolean
}
const options = (given: Given) => ({
  imageUrl: given.image_url?.replace(/\/+$/, '') ?? null,
  deployKernel: given.deploy_kernel ?? null,
  deployRamdisk: given.deploy_ramdisk ?? null,
  resourceClass: given.resource_class ?? 'baremetal',
  nova: given.nova ?? false
})

export function handoffRoutes(app: App, { handoff }: ApiDeps): void {
  // POST although it changes nothing: what it is asked does not fit an address.
  app.post('/v1/handoff/plan', { schema: { body: Plan } }, async ({ body }) => {
    const plan = await handoff.plan(body.nodes ?? [], options(body))
    const shown = body.secrets ? plan : withoutSecrets(plan)
    return { plan: shown, ...(body.export ? { files: EXPORTS[body.export as ExportFormat](shown) } : {}) }
  })
  app.post('/v1/handoff/check', { schema: { body: Check } }, async ({ body }) => ({
    findings: await handoff.check(body.target, body.nodes ?? [], options(body), body.bmcs ?? false)
  }))
  app.post('/v1/handoff', { schema: { body: Target } }, async ({ body }, reply) =>
    reply.code(202).send({ nodes: handoff.commit(body.target, body.nodes ?? [], options(body)) })
  )
  app.get('/v1/handoff', async () => ({ nodes: handoff.state(), ending: handoff.ending() }))
  app.post('/v1/handoff/finish', async () => ({ ending: handoff.finish() }))
  app.get('/v1/handoff/report', async () => handoff.report())
  app.delete(
    '/v1/handoff/:ident',
    {
      schema: {
        params: Type.Object({ ident: Type.String() }),
        querystring: Type.Object({ forget: Type.Optional(Type.String()) }, closed)
      }
    },
    async ({ params, query }, reply) => {
      await handoff.undo(params.ident, flag(query.forget ?? 'false'))
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
