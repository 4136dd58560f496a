// What Ironic's own client was seen to ask, asked of Seedling: same status, same keys in the answer, same kinds of values.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { anImage } from '../../support/builders.ts'
import { fake, started } from '../bmc/started.ts'
import { anApi, type Answer } from './api-under-test.ts'

const FOLDER = join(import.meta.dirname, '../../fixtures/ironic/exchanges')

type Json = Record<string, unknown>
type Exchange = {
  request: { method: string; path: string; headers: Record<string, string>; body: unknown }
  response: { status: number; headers: Record<string, string>; body: Json | null }
}

function captured(name: string): Exchange[] {
  return (JSON.parse(readFileSync(join(FOLDER, `${name}.json`), 'utf8')) as { exchanges: Exchange[] })
    .exchanges
}

type Api = ReturnType<typeof anApi>

/**
 * Asks what was asked. The fixtures' second node had a driver without hardware, which Seedling has not: it becomes an ipmi node.
 * A long list stands shortened in the fixtures; the mark for what was left out is dropped.
 */
async function replay(api: Api, exchange: Exchange): Promise<Answer> {
  const { method, path, headers, body } = exchange.request
  let asked = Array.isArray(body) ? body.filter((item) => typeof item === 'object') : body
  if (method === 'POST' && (asked as Json | null)?.['driver'] === 'fake-hardware')
    asked = { ...(asked as Json), driver: 'ipmi' }
  return api.ask(method, path, asked ?? undefined, headers)
}

/** Keys, and keys of what is inside, with the kinds of values where neither side is null. */
function sameShape(t: Tap, found: unknown, expected: unknown, where: string): void {
  if (expected === null || found === null) return
  if (Array.isArray(expected)) {
    t.ok(Array.isArray(found), `${where} is a list`)
    const [first] = expected as unknown[]
    if (first !== undefined && typeof first === 'object')
      sameShape(t, (found as unknown[])[0], first, `${where}[0]`)
    return
  }
  t.equal(typeof found, typeof expected, `${where} is ${typeof expected}`)
  if (typeof expected !== 'object') return
  // What the operator or the driver says is free; only our own record has fixed keys.
  if (
    /(driver_info|properties|extra|instance_info|internal_info|driver_internal_info|link_connection)$/.test(
      where
    )
  )
    return
  // `reason` stands beside a false `result`, and which are false differs.
  const keys = Object.keys(expected as Json).filter((key) => key !== 'reason')
  t.same(
    without(found as Json, 'reason').sort(),
    [...keys].sort(),
    `${where || 'the body'} has Ironic's keys`
  )
  for (const key of keys) sameShape(t, (found as Json)[key], (expected as Json)[key], `${where}.${key}`)
}

function without(object: Json, key: string): string[] {
  return Object.keys(object).filter((name) => name !== key)
}

type Tap = {
  ok(value: unknown, name: string): unknown
  equal(a: unknown, b: unknown, name: string): unknown
  same(a: unknown, b: unknown, name: string): unknown
}

/** Finishes whatever was ordered, as the conductor would, so that the next exchange meets the state that Ironic was in. */
function settle(api: Api): void {
  const { facts } = api.deps
  for (const order of facts.openOrders()) {
    const node = facts.nodeByUuid(order.nodeUuid)
    if (!node) continue
    const at = Date.now()
    const state = ({ manage: 'manageable', deploy: 'active', undeploy: 'available' } as const)[
      order.kind as 'manage'
    ]
    api.change([
      { put: 'order', row: { ...order, state: 'done', finishedAt: at } },
      {
        put: 'node',
        row: {
          ...node,
          state: state ?? node.state,
          instanceUuid:
            order.kind === 'deploy'
              ? order.instanceUuid
              : order.kind === 'undeploy'
                ? null
                : node.instanceUuid
        }
      }
    ])
  }
}

t.test('the first tier, in the order in which it was captured', async (t) => {
  const api = anApi()
  t.teardown(() => api.close())
  api.change([{ put: 'image', row: anImage({ name: 'tiny' }) }])
  const [bmc, bmcs] = [await fake(t), started(t)]
  api.deps.bmc = ({ uuid }) => bmcs.bmc(uuid, bmc.access())
  const prepare: Record<string, () => Promise<unknown>> = {
    // Seedling deploys images that it has; Ironic's fake driver needed none.
    '057-node-deploy': () =>
      api.ask('PATCH', '/v1/nodes/cap2', [
        { op: 'add', path: '/driver_info', value: { ipmi_address: '127.0.0.2' } },
        { op: 'add', path: '/instance_info/image_source', value: 'tiny' }
      ]),
    '059-node-deploy-config-drive-json': () =>
      api.ask('PATCH', '/v1/nodes/cap2', [{ op: 'add', path: '/instance_info/image_source', value: 'tiny' }]),
    // Seedling keeps the address of an active machine until it is told that this is meant.
    '101-port-delete': () => api.ask('PUT', '/v1/nodes/cap1/maintenance', {}),
    // The capture of 036 was shortened by the operation that set this.
    '040-node-unset': () => api.ask('PATCH', '/v1/nodes/cap1', [{ op: 'add', path: '/extra/a', value: 'b' }])
  }
  await t.test('exchanges', async (t) => {
    const names = [
      '001-node-list-empty',
      '002-driver-list',
      '003-driver-list-type',
      '004-driver-show',
      '010-node-create',
      '011-node-create-duplicate',
      '012-node-create-unknown-driver',
      '013-node-create-fake',
      '014-create-file',
      '016-node-list',
      '017-node-list-long',
      '018-node-list-fields',
      '019-node-list-filter',
      '020-node-list-no-maintenance',
      '021-node-show',
      '022-node-show-uuid',
      '023-node-show-fields',
      '024-node-show-missing',
      '025-node-show-instance',
      '026-port-create',
      '027-port-create-duplicate',
      '028-port-create-bad-mac',
      '029-port-list',
      '030-port-list-node',
      '031-port-list-address',
      '032-port-show',
      '033-port-show-address',
      '034-port-set',
      '035-port-unset',
      '036-node-set',
      '037-node-set-back',
      '038-node-set-instance-info',
      '039-node-set-json-value',
      '040-node-unset',
      '041-node-unset-missing',
      '042-node-set-duplicate-name',
      '043-node-validate',
      '044-node-maintenance-set',
      '045-node-maintenance-unset',
      '047-node-trait-list',
      '049-node-adopt-from-enroll',
      '050-node-provide-from-enroll',
      '051-node-manage',
      '053-node-manage-again',
      '054-node-inspect',
      '056-node-provide',
      '057-node-deploy',
      '058-node-undeploy',
      '059-node-deploy-config-drive-json',
      '062-node-rebuild',
      '065-node-deploy-from-active',
      '066-node-delete-active',
      '067-node-abort-nothing',
      '075-node-power-off',
      '076-node-power-state',
      '077-node-power-on',
      '081-node-boot-device-show',
      '082-node-boot-device-supported',
      '083-node-boot-device-set',
      '084-node-boot-device-set-persistent',
      '085-node-boot-device-bad',
      '089-node-adopt',
      '098-portgroup-list',
      '097-chassis-list',
      '101-port-delete',
      '102-node-undeploy-cap2',
      '103-node-delete',
      '104-node-delete-missing',
      '107-openstack-node-list',
      '105-node-maint',
      '106-node-delete-maintenance'
    ]
    for (const name of names) {
      if (name === '051-node-manage') {
        // The fixtures' second node has no hardware; here it gets a BMC and a NIC.
        await api.ask('PATCH', '/v1/nodes/cap2', [
          { op: 'add', path: '/driver_info', value: { ipmi_address: '127.0.0.2' } }
        ])
        await api.ask('POST', '/v1/ports', { address: '52:54:00:cc:00:02', node_uuid: 'cap2' })
      }
      if (name === '053-node-manage-again') {
        await api.ask('PUT', '/v1/nodes/cap2/states/provision', { target: 'manage' })
        settle(api)
      }
      await prepare[name]?.()
      // A shortened PATCH cannot be repeated whole; its answer can be compared all the same.
      for (const exchange of captured(name).slice(
        0,
        name === '014-create-file' || name === '103-node-delete' ? 2 : 1
      )) {
        const answer = await replay(api, exchange)
        t.equal(
          answer.status,
          exchange.response.status,
          `${name}: ${exchange.request.method} ${exchange.request.path}`
        )
        t.equal(answer.headers['x-openstack-ironic-api-version'], '1.78', `${name}: version`)
        if (exchange.response.headers['Location']) t.ok(answer.headers['location'], `${name}: Location`)
        const { body } = exchange.response
        if (body && 'error_message' in body) {
          const fault = JSON.parse(answer.body.error_message as string) as Json
          t.equal(fault['faultcode'], 'Client', `${name}: faultcode`)
          t.equal(typeof fault['faultstring'], 'string', `${name}: faultstring`)
          t.ok('debuginfo' in fault, `${name}: debuginfo`)
        } else if (body) {
          // The driver has all of Ironic's keys; its interfaces are ours. A list's first node may be another one.
          sameShape(t, answer.body, body, '')
        }
      }
      settle(api)
    }
  })
})

t.test('versions: what we speak is said on every answer, what we do not is refused with it', async (t) => {
  const api = anApi()
  t.teardown(() => api.close())
  const asked = async (version: string, url = '/v1/nodes') =>
    api.ask('GET', url, undefined, { 'X-OpenStack-Ironic-API-Version': version })
  for (const version of ['1.1', '1.31', '1.78']) {
    const answer = await asked(version)
    t.equal(answer.status, 200, version)
    t.equal(answer.headers['x-openstack-ironic-api-version'], version)
  }
  t.equal((await asked('latest')).headers['x-openstack-ironic-api-version'], '1.78')
  for (const version of ['1.79', '2.0', '1.0', 'new', '1.078x']) {
    const answer = await asked(version)
    t.equal(answer.status, 406, version)
    t.equal(answer.headers['x-openstack-ironic-api-minimum-version'], '1.1')
    t.equal(answer.headers['x-openstack-ironic-api-maximum-version'], '1.78')
    t.match(answer.body, { error_message: { title: 'Not Acceptable', description: /1\.1 to 1\.78/ } })
  }
  const missing = await api.ask('GET', '/nowhere')
  t.equal(missing.headers['x-openstack-ironic-api-maximum-version'], '1.78', 'on errors too')
  const root = await api.ask('GET', '/')
  t.match(root.body, {
    default_version: { id: 'v1', min_version: '1.1', version: '1.78' },
    versions: [{ status: 'CURRENT' }]
  })
  t.match((await api.ask('GET', '/v1/')).body, {
    id: 'v1',
    nodes: [{ rel: 'self' }, { rel: 'bookmark' }],
    version: { version: '1.78' }
  })
})
