// Other ways to a real Ironic, through its real ipmi driver (ipmitool) against reference BMCs that keep what was asked of them: undone.test.ts and killed.test.ts have the usual one.

import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { setTimeout as sleep } from 'node:timers/promises'
import pino from 'pino'
import t, { type Test } from 'tap'
import { startHandoff, isReportGenuine } from '../../../services/handoff/engine.ts'
import { EXPORTS } from '../../../src/decide/handoff-export.ts'
import { createApply } from '../../../services/store/apply.ts'
import { createFacts } from '../../../services/store/facts.ts'
import { openStore } from '../../../services/store/open.ts'
import { aNode, anImage, anInstance, anOrder, aPort, someHandoffOptions } from '../../support/builders.ts'
import { startFakeBmc, type FakeBmc } from '../../support/fake-bmc.ts'
import { startIronic } from '../../support/ironic.ts'
import { aConfig } from '../api/api-under-test.ts'

t.setTimeout(1_200_000)

const OPTIONS = someHandoffOptions({
  imageUrl: 'http://127.0.0.1:1',
  deployKernel: 'http://127.0.0.1:1/k',
  deployRamdisk: 'http://127.0.0.1:1/r'
})
const id = (kind: string, number: number) => `${kind}-0000-4000-8000-${String(number).padStart(12, '0')}`

async function aRack(t: Test, count: number) {
  const config = aConfig(t.testdir({}))
  const store = openStore(config.dataDir)
  t.teardown(() => store.close())
  const facts = createFacts(store)
  const apply = createApply(store)
  const bmcs = await Promise.all(
    Array.from({ length: count }, () => startFakeBmc({ users: { admin: 'Secret123' }, power: 'on' }))
  )
  t.teardown(() => Promise.all(bmcs.map((bmc) => bmc.close())))
  store.commit(() =>
    apply([
      { put: 'image', row: anImage() },
      ...bmcs.flatMap((bmc, index) => {
        const uuid = id('6e6f6465', index + 1)
        const instance = anInstance({
          uuid: id('696e7374', index + 1),
          nodeUuid: uuid,
          token: `${index}`.padStart(64, '0')
        })
        const driverInfo = {
          ipmi_address: '127.0.0.1',
          ipmi_port: bmc.port,
          ipmi_username: 'admin',
          ipmi_password: 'Secret123'
        }
        return [
          {
            put: 'node' as const,
            row: aNode({
              uuid,
              name: `ctl-${index + 1}`,
              driverInfo,
              state: 'active',
              powerState: 'on',
              instanceUuid: instance.uuid
            })
          },
          { put: 'instance' as const, row: instance },
          {
            put: 'port' as const,
            row: aPort({
              uuid: id('706f7274', index + 1),
              nodeUuid: uuid,
              address: `52:54:00:00:00:0${index + 1}`,
              reservedIp: `192.0.2.10${index + 1}`
            })
          },
          {
            put: 'order' as const,
            row: anOrder({
              id: id('6f726465', index + 1),
              token: `f${index}`.padEnd(64, '0'),
              nodeUuid: uuid,
              kind: 'deploy',
              state: 'done'
            })
          }
        ]
      })
    ])
  )
  const start = () =>
    startHandoff({
      asked: new Map(),
      config,
      store,
      facts,
      apply,
      log: pino({ level: 'silent' }),
      now: Date.now,
      dhcpAnswers: async () => null,
      bootedAt: () => null,
      bootDevice: async () => ({ device: 'none', persistent: false, efi: false, valid: false }),
      letGo: () => undefined,
      onFinish: () => undefined
    })
  return { facts, bmcs, start, config }
}

async function until(what: () => boolean | Promise<boolean>, complaint: () => string): Promise<void> {
  for (let tries = 0; tries < 1200; tries++) {
    if (await what()) return
    await sleep(250)
  }
  throw new Error(complaint())
}

/** What was set at a BMC, rather than read. */
const sets = ({ asked, controls }: FakeBmc) => [
  ...controls.map(({ control }) => control),
  ...asked.filter((name) => /set system boot|clear|identify|set user/i.test(name))
]

t.test("the export is taken by Ironic's own client", async (t) => {
  const ironic = await startIronic(t)
  const { start } = await aRack(t, 2)
  const handoff = start()
  t.teardown(() => handoff.close())
  const folder = t.testdir({})
  const files = EXPORTS.ironic(await handoff.plan([], OPTIONS))
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content)
  await ironic.baremetal('create', join(folder, 'nodes.json'))
  t.match(readFileSync(join(folder, 'adopt.sh'), 'utf8'), /adopt/)
  // Not waiting: the BMCs answer from this very process.
  await promisify(execFile)('sh', [join(folder, 'adopt.sh')], {
    env: { ...process.env, OS_AUTH_TYPE: 'none', OS_ENDPOINT: ironic.url }
  })
  const listed = JSON.parse(await ironic.baremetal('node', 'list', '-f', 'json')) as Record<string, unknown>[]
  t.same(
    listed.map((row) => row['Provisioning State']),
    ['active', 'active']
  )
})

t.test('a wrong password is told in words, and mended while it is on its way', async (t) => {
  const ironic = await startIronic(t)
  const { facts, bmcs, start } = await aRack(t, 1)
  bmcs[0]!.setPassword('admin', 'another')
  const handoff = start()
  t.teardown(() => handoff.close())
  handoff.commit({ url: ironic.url }, [], OPTIONS)
  await until(
    () => /BMC does not answer there/.test(facts.node('ctl-1')?.handover?.trouble ?? ''),
    () => JSON.stringify(handoff.state())
  )
  bmcs[0]!.setPassword('admin', 'Secret123')
  await until(
    () => facts.node('ctl-1')?.handover?.finishedAt !== null,
    () => JSON.stringify(handoff.state())
  )
  t.same(sets(bmcs[0]!), [])
})

t.test('with Nova, which deploys it through a driver that does nothing', async (t) => {
  const ironic = await startIronic(t)
  const { facts, bmcs, start } = await aRack(t, 1)
  const handoff = start()
  t.teardown(() => handoff.close())
  const nova = { ...OPTIONS, imageUrl: null, nova: true }
  const { uuid } = facts.node('ctl-1')!
  handoff.commit({ url: ironic.url }, [], nova)
  await until(
    () => /Nova has to take it/.test(facts.node('ctl-1')?.handover?.trouble ?? ''),
    () => JSON.stringify(handoff.state())
  )
  const asked = [...bmcs[0]!.asked]
  // As Nova's driver for Ironic does it.
  const image = {
    image_source: 'http://127.0.0.1:1/nova.raw',
    image_checksum: 'd41d8cd98f00b204e9800998ecf8427e'
  }
  await ironic.ask('PATCH', `/v1/nodes/${uuid}`, [
    { op: 'add', path: '/instance_uuid', value: 'cdd957c1-b6bc-43f4-8fbc-145d6021e3f1' },
    { op: 'add', path: '/instance_info', value: image }
  ])
  await ironic.ask('PUT', `/v1/nodes/${uuid}/states/provision`, { target: 'active' })
  await until(
    async () => (await ironic.ask('GET', `/v1/nodes/${uuid}`)).provision_state === 'active',
    () => 'Nova deploys it'
  )
  t.same(bmcs[0]!.asked, asked, 'of which its BMC hears nothing')
  await until(
    () => facts.node('ctl-1')?.handover?.finishedAt !== null,
    () => JSON.stringify(handoff.state())
  )
  // Two power syncs later.
  await sleep(25_000)
  t.match(await ironic.ask('GET', `/v1/nodes/${uuid}`), {
    provision_state: 'active',
    driver: 'ipmi',
    power_interface: 'ipmitool',
    deploy_interface: 'direct',
    power_state: 'power on',
    maintenance: false,
    protected: true,
    instance_info: image
  })
  t.same(sets(bmcs[0]!), [])
  const report = handoff.report()
  t.match(report.text, /Everything is handed over/)
  t.ok(isReportGenuine(report))
  t.notOk(isReportGenuine({ ...report, text: report.text.replace('ctl-1', 'ctl-9') }))
})
