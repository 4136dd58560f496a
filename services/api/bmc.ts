// What operators ask of BMCs: power as it is now, boot device and indicators under Ironic's names; event log, sensors and the
// exam, which Ironic has no place for, under `bmc`. Changes of power are orders (states.ts); here nothing is switched.

import { Type } from 'typebox'
import { sameOverride } from '../../src/decide/bmc-exam.ts'
import { powerSeen } from '../../src/decide/order.ts'
import { checkIdle, decideCheck } from '../../src/decide/provision.ts'
import type { BootDevice } from '../../src/domain/bmc.ts'
import { AppError } from '../../src/domain/error.ts'
import { bootMode, type Node } from '../../src/domain/node.ts'
import { base, fresh, nodeNamed, provisionFacts, type ApiDeps, type App } from './deps.ts'
import { Ident } from './nodes.ts'
import { links, maskedDriverInfo, quirkCardView, time, type Json } from './views.ts'

/** Those of Ironic's boot devices that IPMI has. */
const BOOT_DEVICES: readonly Exclude<BootDevice, 'none'>[] = ['pxe', 'disk', 'cdrom', 'bios', 'safe']

/** Ironic's words for the states of a light (ironic.common.indicator_states). */
const LIGHT = { always: 'on', timed: 'blinking', off: 'off' } as const

export function bmcRoutes(app: App, deps: ApiDeps): void {
  const { facts, store, apply, now, wake } = deps
  const params = { schema: { params: Ident } }
  const named = (request: { params: { ident: string } }): Node => nodeNamed(facts, request.params.ident)

  app.get('/v1/nodes/:ident/states/power', params, async (request) => {
    const { uuid } = named(request)
    const power = await deps.bmc(named(request)).powerState()
    const readAt = now()
    store.commit(() => {
      const node = facts.nodeByUuid(uuid)
      if (node) apply(powerSeen(node, power, readAt))
    })
    return { power_state: `power ${power}`, read_at: time(readAt) }
  })

  bootDeviceRoutes(app, deps)
  indicatorRoutes(app, deps)

  app.get('/v1/nodes/:ident/bmc', params, async (request) => {
    const node = named(request)
    const { quirkCard } = node
    return {
      node_uuid: node.uuid,
      node_name: node.name,
      driver: node.driver,
      driver_info: maskedDriverInfo(node),
      quirk_card: quirkCard && quirkCardView(quirkCard)
    }
  })
  const CheckBody = Type.Object({ power: Type.Optional(Type.Boolean()) }, { additionalProperties: false })
  const check = { schema: { params: Ident, body: Type.Union([CheckBody, Type.Null()]) } }
  app.post('/v1/nodes/:ident/bmc/check', check, async (request, reply) => {
    const uuid = store.commit(() => {
      const node = named(request)
      const power = request.body?.power ?? false
      apply(decideCheck(provisionFacts(facts, node), power, fresh(deps), now()))
      return node.uuid
    })
    wake(uuid)
    return reply
      .code(202)
      .header('Location', `${base(request)}/v1/nodes/${request.params.ident}/bmc`)
      .send()
  })

  app.get('/v1/nodes/:ident/bmc/sel', params, async (request) => {
    const events = await deps.bmc(named(request)).events()
    return {
      sel: events.map(({ recordId, ...event }) => ({ record_id: recordId, ...event }))
    }
  })
  app.delete('/v1/nodes/:ident/bmc/sel', params, async (request, reply) => {
    await deps.bmc(named(request)).clearEvents()
    return reply.code(204).send()
  })
  app.get('/v1/nodes/:ident/bmc/sensors', params, async (request) => ({
    sensors: await deps.bmc(named(request)).sensors()
  }))
}

function bootDeviceRoutes(app: App, deps: ApiDeps): void {
  const { facts } = deps
  const path = '/v1/nodes/:ident/management/boot_device'

  app.get(path, { schema: { params: Ident } }, async (request) => {
    const { device, persistent, valid } = await deps.bmc(nodeNamed(facts, request.params.ident)).bootDevice()
    // Without the valid bit the rest is stale and overrides nothing; a device that has no word here is not known to Ironic either.
    const boot_device = !valid || device === 'none' || device === 'other' ? null : device
    return { boot_device, persistent: valid && persistent }
  })
  app.get(`${path}/supported`, { schema: { params: Ident } }, async (request) => {
    nodeNamed(facts, request.params.ident)
    return { supported_boot_devices: BOOT_DEVICES }
  })

  const Body = Type.Object(
    { boot_device: Type.String(), persistent: Type.Optional(Type.Boolean()) },
    { additionalProperties: false }
  )
  app.put(path, { schema: { params: Ident, body: Body } }, async (request, reply) => {
    const { boot_device: wanted, persistent = false } = request.body
    const device = BOOT_DEVICES.find((known) => known === wanted)
    if (!device)
      throw new AppError(
        'bad-request',
        `Boot device ${JSON.stringify(wanted)} is not known; Seedling has ${BOOT_DEVICES.join(', ')}`
      )
    const node = nodeNamed(facts, request.params.ident)
    // An order sets its own.
    checkIdle({ node, orders: facts.ordersOfNode(node.uuid) })
    const efi = bootMode(node) === 'uefi'
    const asked = { device, persistent, efi, valid: true }
    const found = await deps.bmc(node).setBootDevice(device, { persistent, efi })
    if (!sameOverride(asked, found))
      throw new AppError(
        'bmc-refused',
        `The BMC of ${node.name ?? node.uuid} took boot device ${device}, but reads back ` +
          `${found.valid ? `${found.device}${found.efi ? ', EFI' : ''}${found.persistent ? ', persistent' : ''}` : 'none'}; ` +
          '"seedling bmc check" tells what it can keep'
      )
    return reply.code(204).send()
  })
}

/** One component with one light: Chassis Identify (IPMI 2.0, section 28.5). */
function indicatorRoutes(app: App, deps: ApiDeps): void {
  const { facts } = deps
  const path = '/v1/nodes/:ident/management/indicators'
  const linked = (at: string, { uuid }: Node, rest: string): Json[] =>
    links(at, `nodes/${uuid}/management/indicators/${rest}`)
  const One = Type.Object({
    ident: Type.String({ minLength: 1 }),
    component: Type.Literal('chassis'),
    indicator: Type.Literal('identify')
  })

  app.get(path, { schema: { params: Ident } }, async (request) => {
    const node = nodeNamed(facts, request.params.ident)
    return { components: [{ name: 'chassis', links: linked(base(request), node, 'chassis') }] }
  })
  app.get(`${path}/chassis`, { schema: { params: Ident } }, async (request) => {
    const node = nodeNamed(facts, request.params.ident)
    const light = { name: 'identify', readonly: false, states: ['on', 'off'] }
    return { indicators: [{ ...light, links: linked(base(request), node, 'chassis/identify') }] }
  })
  app.get(`${path}/:component/:indicator`, { schema: { params: One } }, async (request) => {
    const state = await deps.bmc(nodeNamed(facts, request.params.ident)).identifyState()
    return { state: state ? LIGHT[state] : 'unknown' }
  })
  const Body = Type.Object(
    {
      state: Type.String(),
      seconds: Type.Optional(
        Type.Integer({ minimum: 1, maximum: 255, description: 'off again by itself after this long' })
      )
    },
    { additionalProperties: false }
  )
  app.put(
    `${path}/:component/:indicator`,
    { schema: { params: One, body: Body } },
    async (request, reply) => {
      const state = request.body.state.toLowerCase()
      if (state !== 'on' && state !== 'off')
        throw new AppError('bad-request', `The light can be "on" or "off", not ${JSON.stringify(state)}`)
      const light = state === 'off' ? 0 : (request.body.seconds ?? 'always')
      await deps.bmc(nodeNamed(facts, request.params.ident)).identify(light)
      return reply.code(204).send()
    }
  )
}
