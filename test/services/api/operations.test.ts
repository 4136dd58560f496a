// Health, backups and hand-over plans through the API.

import { randomUUID } from 'node:crypto'
import { buildApi } from '../../../services/api/server.ts'
import { readBackup } from '../../../services/backup-file.ts'
import { AppError } from '../../../src/domain/error.ts'
import { aHandover, aNode, aPort, anImage, anInstance, anInventory } from '../../support/builders.ts'
import { someDeps } from './api-under-test.ts'
import t from 'tap'

t.test('health tells what is amiss and what to do', async (t) => {
  const { deps, around, remove } = someDeps()
  t.teardown(remove)
  const app = buildApi(deps)
  const ask = async () =>
    (await app.inject('/v1/health')).json() as {
      status: string
      checks: { name: string; ok: boolean; message: string }[]
    }
  const first = await ask()
  t.match(
    first.checks.find(({ name }) => name === 'database'),
    { ok: true }
  )
  // The address of these tests is on no link.
  t.match(
    first.checks.find(({ name }) => name === 'link'),
    { ok: false, message: /192\.0\.2\.1/ }
  )
  t.equal(first.status, 'attention')
  around.intruder = 'a DHCP server 192.0.2.9'
  const node = aNode({ powerState: null, powerStateAt: 1 })
  deps.store.commit(() => deps.apply([{ put: 'node', row: node }]))
  const second = await ask()
  t.match(
    second.checks.find(({ name }) => name === 'dhcp'),
    { ok: false, message: /192\.0\.2\.9/ }
  )
  t.match(
    second.checks.find(({ name }) => name === 'bmcs'),
    { ok: false, message: /ctl-1/ }
  )
})

t.test('a backup comes encrypted, under a passphrase that is long enough', async (t) => {
  const { deps, remove } = someDeps()
  t.teardown(remove)
  const app = buildApi(deps)
  const short = await app.inject({ method: 'POST', url: '/v1/backup', payload: { passphrase: 'short' } })
  t.equal(short.statusCode, 400)
  const answer = await app.inject({
    method: 'POST',
    url: '/v1/backup',
    payload: { passphrase: 'long enough for this' }
  })
  t.equal(answer.statusCode, 200)
  const names: string[] = []
  async function* parts() {
    yield answer.rawPayload
  }
  for await (const { name } of readBackup(parts(), 'long enough for this')) names.push(name)
  t.same(names.sort(), ['backup.json', 'secret.key', 'seedling.db'])
})

t.test('a hand-over plan shows no password unless asked, and an export has it only then', async (t) => {
  const { deps, remove } = someDeps()
  t.teardown(remove)
  deps.store.commit(() =>
    deps.apply([
      { put: 'node', row: aNode({ state: 'active', powerState: 'on' }) },
      { put: 'port', row: aPort() }
    ])
  )
  const app = buildApi(deps)
  const plan = async (payload: object) =>
    (await app.inject({ method: 'POST', url: '/v1/handoff/plan', payload })).body
  t.notMatch(await plan({ export: 'plain' }), /secret/)
  t.match(await plan({ export: 'plain', secrets: true }), /secret/)
  t.match(await plan({}), /image-missing/)
  const refused = await app.inject({
    method: 'POST',
    url: '/v1/handoff',
    payload: { target: { url: 'http://127.0.0.1:1' } }
  })
  t.equal(refused.statusCode, 400)
  t.match(refused.body, /nothing was done: ctl-1/)
  t.equal(deps.facts.node('ctl-1')?.handover, null)
})

t.test('a machine that is handed over is left alone by every verb', async (t) => {
  const { deps, remove } = someDeps()
  t.teardown(remove)
  const handover = aHandover({ finishedAt: 2 })
  deps.store.commit(() =>
    deps.apply([
      { put: 'node', row: aNode({ state: 'active', powerState: 'on', handover }) },
      { put: 'port', row: aPort() }
    ])
  )
  const app = buildApi(deps)
  for (const [url, target] of [
    ['provision', 'deleted'],
    ['provision', 'rebuild'],
    ['power', 'power off']
  ]) {
    const answer = await app.inject({
      method: 'PUT',
      url: `/v1/nodes/ctl-1/states/${url}`,
      payload: { target }
    })
    t.equal(answer.statusCode, 400, `${target}: ${answer.body.slice(0, 160)}`)
    t.match(answer.body, /handed over to http:\/\/ironic\.example/)
  }
})

t.test('the hand-over is finished when every machine is gone, and that is its last step', async (t) => {
  const { deps, remove } = someDeps()
  t.teardown(remove)
  const app = buildApi(deps)
  const ask = async (method: 'GET' | 'POST' | 'DELETE', url: string, payload?: object) =>
    app.inject({ method, url, ...(payload ? { payload } : {}) })
  const finish = () => ask('POST', '/v1/handoff/finish')
  t.match((await finish()).body, /nothing was handed over/)
  const put = (finishedAt: number | null) =>
    deps.store.commit(() =>
      deps.apply([{ put: 'node', row: aNode({ state: 'active', handover: aHandover({ finishedAt }) }) }])
    )
  put(null)
  const early = await finish()
  t.equal(early.statusCode, 400)
  t.match(early.body, /not handed over are/)
  t.equal(deps.facts.standing().finishedAt, null, 'on its way is not gone')
  put(2)
  const done = (await finish()).json<{ ending: { finishedAt: number; canSwitchOff: boolean } }>()
  t.type(done.ending.finishedAt, 'number')
  t.equal(done.ending.canSwitchOff, false, 'nobody knows yet who still asks')
  t.same((await finish()).json(), done, 'twice is once')
  t.match((await ask('GET', '/v1/health')).body, /DHCP, TFTP and boot paths are stopped since/)
  t.match((await ask('GET', '/v1/handoff/report')).body, /only metadata is answered here/)
  const node = deps.facts.nodes()[0]!
  for (const refused of [
    await ask('DELETE', `/v1/handoff/${node.uuid}`),
    await ask('POST', '/v1/handoff', { target: { url: 'http://ironic.example' } }),
    await ask('POST', '/v1/nodes', { name: 'late', driver: 'ipmi' })
  ]) {
    t.equal(refused.statusCode, 400)
    t.match(refused.body, /hand-over is finished/)
  }
})

t.test('a plan has what BMCs say of boot devices; nobody asks that of a machine that stays', async (t) => {
  const { deps, around, remove } = someDeps()
  t.teardown(remove)
  const staying = aNode({ uuid: randomUUID(), name: 'ctl-2', state: 'available', driverInfo: {} })
  deps.store.commit(() =>
    deps.apply([
      { put: 'image', row: anImage() },
      {
        put: 'node',
        row: aNode({
          state: 'active',
          powerState: 'on',
          instanceUuid: anInstance().uuid,
          inventory: anInventory()
        })
      },
      { put: 'node', row: staying },
      { put: 'instance', row: anInstance() },
      { put: 'port', row: aPort() }
    ])
  )
  const app = buildApi(deps)
  const asked: (string | null)[] = []
  const blockers = async () => {
    const payload = { image_url: 'http://images.example' }
    const { plan } = (await app.inject({ method: 'POST', url: '/v1/handoff/plan', payload })).json() as {
      plan: { nodes: { name: string; blockers: { code: string; message: string }[] }[] }
    }
    return plan.nodes.find(({ name }) => name === 'ctl-1')?.blockers
  }
  around.bootDevice = async ({ name }) => {
    asked.push(name)
    return { device: 'pxe', persistent: true, efi: false, valid: true }
  }
  t.match(await blockers(), [{ code: 'boot-device', message: /boot from "pxe" at every start/ }])
  around.bootDevice = async () => {
    throw new AppError('bmc-unreachable', 'it does not answer')
  }
  t.match(await blockers(), [{ code: 'boot-device-unknown', message: /it does not answer/ }])
  t.same(asked, ['ctl-1'])
})
