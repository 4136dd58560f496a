// States of nodes: provision and power verbs, maintenance, validation. What a verb does is decided in src/decide/provision.ts.

import { Type } from 'typebox'
import {
  decidePower,
  POWER_ORDER,
  decideProvision,
  LEGAL,
  type DeploySpec,
  type ProvisionVerb
} from '../../src/decide/provision.ts'
import { provisionOrder, type PowerWord } from '../../src/decide/provision-state.ts'
import { bmcAccess } from '../../src/domain/bmc-access.ts'
import { AppError } from '../../src/domain/error.ts'
import type { Node } from '../../src/domain/node.ts'
import { hostnameOf, readConfigDrive } from '../../src/decide/personality.ts'
import { enrolmentEvent } from '../../src/decide/inventory.ts'
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
import { Ident } from './nodes.ts'
import { statesView, type Json } from './views.ts'

export function stateRoutes(app: App, deps: ApiDeps): void {
  const { facts, store, apply, now, wake } = deps

  app.get('/v1/nodes/:ident/states', { schema: { params: Ident } }, async (request) => {
    const node = nodeNamed(facts, request.params.ident)
    return statesView(node, facts.ordersOfNode(node.uuid), base(request))
  })

  const ProvisionBody = Type.Object(
    {
      target: Type.String(),
      configdrive: Type.Optional(Type.Unknown()),
      clean_steps: Type.Optional(Type.Unknown()),
      deploy_steps: Type.Optional(Type.Unknown()),
      rescue_password: Type.Optional(Type.Unknown()),
      disable_ramdisk: Type.Optional(Type.Unknown())
    },
    { additionalProperties: false }
  )
  const ProvisionQuery = Type.Object(DESPITE_FOREIGN_DHCP, { additionalProperties: false })
  app.put(
    '/v1/nodes/:ident/states/provision',
    { schema: { params: Ident, body: ProvisionBody, querystring: ProvisionQuery } },
    async (request, reply) => {
      const { target, configdrive } = request.body
      if (!Object.hasOwn(LEGAL, target))
        throw new AppError(
          'bad-request',
          `Provision target ${JSON.stringify(target)} is not supported; Seedling has ${Object.keys(LEGAL).join(', ')}`
        )
      if (Array.isArray(request.body.deploy_steps) && request.body.deploy_steps.length > 0)
        throw new AppError('bad-request', 'deploy_steps are not supported; leave them out')
      const verb = target as ProvisionVerb
      if (verb === 'active' || verb === 'rebuild') checkAlone(deps, request.query)
      const uuid = store.commit(() => {
        const node = nodeNamed(facts, request.params.ident)
        const deploy = verb === 'active' || verb === 'rebuild' ? deploySpec(node, configdrive) : null
        apply(decideProvision(provisionFacts(facts, node), verb, deploy, fresh(deps), now()))
        return node.uuid
      })
      wake(uuid)
      return reply
        .code(202)
        .header('Location', `${base(request)}/v1/nodes/${request.params.ident}/states`)
        .send()
    }
  )

  /** What Ironic's users say in instance_info and the config drive; what they leave out stays as it was ordered last. */
  function deploySpec(node: Node, configdrive: unknown): DeploySpec | null {
    const source = node.instanceInfo['image_source']
    if (typeof source !== 'string' || source === '') return null
    const image = imageNamed(facts, source)
    const orders = facts.ordersOfNode(node.uuid)
    const before = facts.instanceByUuid(provisionOrder(orders)?.instanceUuid ?? node.instanceUuid ?? '')
    const given = readConfigDrive(configdrive)
    return {
      image,
      hostname: given?.hostname ?? before?.hostname ?? hostnameOf(node),
      publicKeys: given?.publicKeys ?? before?.publicKeys ?? {},
      userData: given ? given.userData : (before?.userData ?? null),
      metadata: given?.metadata ?? before?.metadata ?? {}
    }
  }

  const PowerBody = Type.Object(
    {
      target: Type.String(),
      timeout: Type.Optional(Type.Union([Type.Integer({ minimum: 1 }), Type.Null()]))
    },
    { additionalProperties: false }
  )
  app.put(
    '/v1/nodes/:ident/states/power',
    { schema: { params: Ident, body: PowerBody } },
    async (request, reply) => {
      const { target, timeout } = request.body
      const known = Object.keys(POWER_ORDER) as PowerWord[]
      const word = known.find((one) => one === target)
      if (!word)
        throw new AppError(
          'bad-request',
          `Power target ${JSON.stringify(target)} is not known; Seedling has ${known.join(', ')}`
        )
      const uuid = store.commit(() => {
        const node = nodeNamed(facts, request.params.ident)
        apply(decidePower(provisionFacts(facts, node), word, timeout ?? null, fresh(deps), now()))
        return node.uuid
      })
      wake(uuid)
      return reply
        .code(202)
        .header('Location', `${base(request)}/v1/nodes/${request.params.ident}/states`)
        .send()
    }
  )

  const setMaintenance = (ident: string, maintenance: boolean, maintenanceReason: string | null): void => {
    const uuid = store.commit(() => {
      const node = nodeNamed(facts, ident)
      if (node.maintenance === maintenance && node.maintenanceReason === maintenanceReason) return node.uuid
      const row = { ...node, maintenance, maintenanceReason, updatedAt: now() }
      const fields = [maintenance ? 'maintenance (on)' : 'maintenance (off)']
      apply([{ put: 'node', row }, { event: enrolmentEvent(row, fields, now()) }])
      return node.uuid
    })
    wake(uuid)
  }
  const MaintenanceBody = Type.Object(
    { reason: Type.Optional(Type.Union([Type.String(), Type.Null()])) },
    { additionalProperties: false }
  )
  app.put(
    '/v1/nodes/:ident/maintenance',
    { schema: { params: Ident, body: Type.Union([MaintenanceBody, Type.Null()]) } },
    async (request, reply) => {
      setMaintenance(request.params.ident, true, request.body?.reason ?? null)
      return reply.code(202).send()
    }
  )
  app.delete('/v1/nodes/:ident/maintenance', { schema: { params: Ident } }, async (request, reply) => {
    setMaintenance(request.params.ident, false, null)
    return reply.code(202).send()
  })

  app.get('/v1/nodes/:ident/validate', { schema: { params: Ident } }, async (request) =>
    validate(nodeNamed(facts, request.params.ident))
  )
  /** Does what each interface needs stand in the record? Nothing is asked of the machine. */
  function validate(node: Node): Json {
    const check = (work: () => void): Json => {
      try {
        work()
        return { result: true }
      } catch (error) {
        if (error instanceof AppError) return { result: false, reason: error.message }
        throw error
      }
    }
    const unsupported = (what: string): Json => ({ result: false, reason: `Seedling does not do ${what}` })
    const bmc = check(() => void bmcAccess(node))
    const boot = check(() => {
      if (!facts.portsOfNode(node.uuid).some((port) => port.pxeEnabled))
        throw new AppError(
          'bad-request',
          'no port with pxe_enabled: the machine cannot boot from the network'
        )
    })
    const deploy = check(() => {
      const source = node.instanceInfo['image_source']
      if (typeof source !== 'string') throw new AppError('image-missing', 'instance_info has no image_source')
      imageNamed(facts, source)
    })
    return {
      boot,
      deploy,
      management: bmc,
      network: { result: true },
      power: bmc,
      bios: unsupported('BIOS settings'),
      console: unsupported('serial consoles'),
      inspect: boot,
      raid: unsupported('RAID'),
      rescue: unsupported('rescue'),
      storage: { result: true }
    }
  }
}
