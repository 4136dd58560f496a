// The main job on the virtual rack, with real firmware from powered off to running: one BIOS and one UEFI machine, the tiny
// image; Seedling killed in the middle of the write; reboots with the network first; strangers on the LAN.
// first-light.deep.ts does it with the real image.

import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { readCapture, startCapture, stopCapture } from '../../scripts/lab/capture.ts'
import { enrol, followToActive, nodeState, order } from '../../scripts/lab/deploy.ts'
import { consoleText, findRack, putUp, root, takeDown, until } from '../../scripts/lab/lab.ts'
import { defaults } from '../../scripts/lab/plan.ts'
import { inNamespace, run } from '../../scripts/lab/process.ts'
import { api, seedling, startSeed, stopSeed } from '../../scripts/lab/seed.ts'
import type { StoredEvent } from '../../src/domain/event.ts'
import { checkWays, deployment, restart } from './boot-path.ts'
import { buildAll } from './build.ts'

const NAME = 'e2e'
const IMAGE = { name: 'tiny', file: join(root, '.cache/image/instance/tiny.qcow2') }
const BOOT = { patienceMs: 240_000, everyMs: 250 }

buildAll(IMAGE.name)

t.setTimeout(1_200_000)
const left = findRack(NAME)
if (left) await takeDown(left)
const rack = await putUp({ ...defaults, name: NAME, diskGiB: 1 })
t.teardown(() => takeDown(rack))
const names = rack.machines.map(({ name }) => name)

type Told = StoredEvent & { node_name: string | null }
const events = async (): Promise<Told[]> =>
  (await api<{ events: Told[] }>(rack, 'GET', '/v1/events?limit=1000')).events
const countOf = (all: readonly Told[], node: string, test: (event: Told) => boolean) =>
  all.filter((event) => event.node_name === node && test(event)).length
/** Whatever a machine could boot from us. */
const servedBoot = ({ kind, detail }: Told) =>
  kind === 'file-served' ||
  (kind === 'script-served' && (detail as { plan: string }).plan === 'ramdisk') ||
  (kind === 'dhcp-answered' && (detail as { bootFile: string | null }).bootFile !== null)
const ups = (index: number) => consoleText(rack.machines[index]!).split('seedling-tiny: up').length - 1

await startSeed(rack)
await enrol(rack, IMAGE)

t.test('enrolled machines are available, their BMCs checked', async (t) => {
  for (const name of names)
    t.match(await nodeState(rack, name), { provision_state: 'available', power_state: 'power off' })
})

t.test('a mistake is told with what to do, and changes nothing', async (t) => {
  const before = await api(rack, 'GET', '/v1/nodes/detail')
  await t.rejects(
    seedling(rack, 'node', 'deploy', names[0]!, '--image', 'nothing-like-it', '--key', 'rack'),
    {
      message: /nothing-like-it.*tiny/s
    }
  )
  await t.rejects(seedling(rack, 'node', 'deploy', 'node99', '--image', 'tiny', '--key', 'rack'), {
    message: /node99/
  })
  t.same(await api(rack, 'GET', '/v1/nodes/detail'), before)
})

t.test('a machine whose BMC password is wrong fails with that reason and is not touched', async (t) => {
  await api(rack, 'PATCH', `/v1/nodes/${names[0]}`, [
    { op: 'replace', path: '/driver_info/ipmi_password', value: 'not-the-password' }
  ])
  await order(rack, [names[0]!], IMAGE)
  const failed = await until(async () => {
    const state = await nodeState(rack, names[0]!)
    return state.provision_state === 'deploy failed' ? state : undefined
  }, 'the order did not fail')
  t.match(failed.last_error, /password/i)
  t.equal(consoleText(rack.machines[0]!), '', 'the machine was never switched on')
  await api(rack, 'PATCH', `/v1/nodes/${names[0]}`, [
    { op: 'replace', path: '/driver_info/ipmi_password', value: rack.machines[0]!.bmc.password }
  ])
})

t.test('both machines deploy, though Seedling is killed while they write', async (t) => {
  const first = (await events()).at(-1)?.id ?? 0
  await startCapture(rack)
  await order(rack, names, IMAGE)
  await until(
    async () =>
      (await events()).some(
        ({ id, kind, detail }) =>
          id > first && kind === 'write-progress' && (detail as { done: number }).done > 0
      ),
    'no machine came to write',
    BOOT
  )
  await stopSeed(rack, 'SIGKILL')
  await new Promise((resolve) => setTimeout(resolve, 2000))
  await startSeed(rack)
  await followToActive(rack, names)
  const all = (await events()).filter(({ id }) => id > first)
  for (const name of names) {
    t.equal(
      countOf(
        all,
        name,
        ({ kind, detail }) => kind === 'power-asked' && (detail as { act: string }).act === 'power-on'
      ),
      1,
      `${name} was switched on once`
    )
    t.equal(
      countOf(all, name, ({ kind }) => kind === 'attempt-started'),
      0,
      `${name} needed one attempt`
    )
    for (const milestone of [
      'powered-off',
      'powered-on',
      'network-seen',
      'agent-seen',
      'image-written',
      'instance-up'
    ])
      t.equal(
        countOf(all, name, (event) => event.kind === 'milestone-reached' && event.subject === milestone),
        1,
        `${name}: ${milestone} was reached once`
      )
    t.match(await nodeState(rack, name), {
      provision_state: 'active',
      power_state: 'power on',
      last_error: null
    })
  }
  for (const index of names.keys())
    await until(() => ups(index) > 0, `${names[index]} did not come up by itself`, BOOT)
  for (const [index, machine] of rack.machines.entries())
    t.match(
      consoleText(machine),
      new RegExp(`seedling-tiny: up hostname=${names[index]} address=192\\.0\\.2\\.`)
    )
  await stopCapture(rack)
  checkWays(t, rack, readCapture(rack.capture.pcap), deployment)
})

t.test('rebooted with the network first, each boots its own disk and is served nothing', async (t) => {
  const before = (await events()).at(-1)?.id ?? 0
  const upsBefore = names.map((_, index) => ups(index))
  await startCapture(rack)
  for (const name of names) await api(rack, 'PUT', `/v1/nodes/${name}/states/power`, { target: 'rebooting' })
  for (const index of names.keys())
    await until(() => ups(index) > (upsBefore[index] ?? 0), `${names[index]} did not come up again`, BOOT)
  const after = (await events()).filter(({ id }) => id > before)
  for (const name of names) {
    t.ok(
      countOf(
        after,
        name,
        ({ kind, detail }) =>
          kind === 'dhcp-answered' && /pxe|ipxe/.test((detail as { client: string }).client)
      ) > 0,
      `${name} asked the network first`
    )
    t.equal(countOf(after, name, servedBoot), 0, `${name} was served no boot file`)
    t.match(await nodeState(rack, name), { provision_state: 'active' })
  }
  await stopCapture(rack)
  checkWays(t, rack, readCapture(rack.capture.pcap), restart)
})

t.test('a stranger on the LAN gets no address and no file', async (t) => {
  const namespace = `seedling-${NAME}-guest`
  // A run that was cut off may have left it.
  spawnSync('ip', ['netns', 'delete', namespace])
  run(['ip', 'netns', 'add', namespace])
  t.teardown(() => run(['ip', 'netns', 'delete', namespace]))
  run([
    'ip',
    '-n',
    rack.lan.namespace,
    'link',
    'add',
    'guest',
    'type',
    'veth',
    'peer',
    'name',
    'eth0',
    'netns',
    namespace
  ])
  run(['ip', '-n', rack.lan.namespace, 'link', 'set', 'guest', 'master', rack.lan.bridge, 'up'])
  run(['ip', '-n', namespace, 'link', 'set', 'eth0', 'up'])
  const [program = '', ...args] = inNamespace(namespace, [
    'udhcpc',
    '-f',
    '-n',
    '-q',
    '-t',
    '3',
    '-T',
    '1',
    '-i',
    'eth0',
    '-s',
    '/bin/true'
  ])
  const { status, stderr } = spawnSync(program, args, { encoding: 'utf8' })
  t.not(status, 0, 'no lease')
  t.match(stderr, /no lease/i)
  // Nor when it takes an address by itself and asks for files.
  run(['ip', '-n', namespace, 'address', 'add', '192.0.2.250/24', 'dev', 'eth0'])
  const fetch = (url: string) => {
    const [curl = '', ...rest] = inNamespace(namespace, [
      'curl',
      '-sS',
      '-m',
      '5',
      '-o',
      '/dev/null',
      '-w',
      '%{http_code}',
      url
    ])
    return spawnSync(curl, rest, { encoding: 'utf8' }).stdout
  }
  for (const path of [
    '/boot/script?mac=52:54:00:5e:ed:01',
    '/boot/loader/snponly.efi',
    '/latest/meta-data/instance-id'
  ])
    t.match(fetch(`http://192.0.2.1${path}`), /^40[34]$/, path)
  t.equal(fetch('tftp://192.0.2.1/snponly.efi'), '000', 'TFTP gives nothing')
})

t.test('a clean stop ends the process by itself and leaves the rows whole', async (t) => {
  await stopSeed(rack)
  t.match(readFileSync(rack.seed.log, 'utf8').trim().split('\n').at(-1), /"msg":"stopped"/)
  await startSeed(rack)
  for (const name of names) t.match(await nodeState(rack, name), { provision_state: 'active' })
})

t.test('no secret is in the log or in the database', async (t) => {
  const log = readFileSync(rack.seed.log, 'utf8')
  for (const { bmc } of rack.machines) t.notOk(log.includes(bmc.password), 'BMC passwords are not in the log')
})
