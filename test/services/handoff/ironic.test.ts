// Machines handed over to a real Ironic by the real process, through Ironic's real ipmi driver (ipmitool) to ipmi_sim: the process is killed at every step, and
// machines are taken back at every step. All in a namespace; between Seedling and Ironic a relay cuts and holds what it is told.

import { once } from 'node:events'
import { rmSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createApply } from '../../../services/store/apply.ts'
import { openStore } from '../../../services/store/open.ts'
import type { Change } from '../../../src/domain/change.ts'
import { aNode, anImage, anInstance, anOrder, aPort } from '../../support/builders.ts'
import { startIronic, type IronicUnderTest } from '../../support/ironic.ts'
import { addNamespace, connect, type Namespace } from '../../support/namespace.ts'
import type { Cut, Told } from '../../support/relay.ts'
import { aFolder, ask, dataOf, serve, type Served } from '../../support/served.ts'
import { startIpmiSim, type IpmiSim } from '../bmc/ipmi-sim.ts'
import { dnsmasq } from '../dhcp/watch-lan.ts'

t.setTimeout(400_000)

const TARGET = 'http://127.0.0.1:6390'
const USER = 'true "admin" "secret123" admin 10'
const DEPLOYMENT = ['--image-url', 'http://127.0.0.1:1', '--deploy-kernel', 'http://127.0.0.1:1/k']
const TO_TARGET = ['--target', TARGET, ...DEPLOYMENT, '--deploy-ramdisk', 'http://127.0.0.1:1/r']
/** What is done at Ironic, in this order, as the relay tells it. */
const ACTS = [
  '^POST /v1/nodes ',
  '^POST /v1/ports ',
  '^PATCH .*image_source',
  '^PUT .*"manage"',
  '^PUT .*"adopt"',
  '^PATCH .*"/protected"',
  '^GET .*/validate '
]
const LOOKS = ['^GET /v1/ports/detail', '^GET /v1/nodes/']

type Machine = { uuid: string; name: string; mac: string; bmc: IpmiSim }

const id = (kind: string, number: number) => `${kind}-0000-4000-8000-${String(number).padStart(12, '0')}`

/** Active machines, each with a BMC in the namespace; their rows. */
async function someMachines(t: Test, host: Namespace, count: number): Promise<[Machine[], Change[]]> {
  const machines = await Promise.all(
    Array.from({ length: count }, async (_, index) => ({
      uuid: id('6e6f6465', index + 1),
      name: `ctl-${index + 1}`,
      mac: `52:54:00:00:00:0${index + 1}`,
      bmc: await startIpmiSim(t, [USER], { port: 6231 + index, namespace: host, on: true })
    }))
  )
  const rows = machines.flatMap(({ uuid, name, mac, bmc }, index): Change[] => {
    const given = { nodeUuid: uuid }
    const token = `${index}`.padStart(64, '0')
    const instance = anInstance({ ...given, uuid: id('696e7374', index + 1), token })
    const driverInfo = {
      ipmi_address: '127.0.0.1',
      ipmi_port: bmc.port,
      ipmi_username: 'admin',
      ipmi_password: 'secret123'
    }
    return [
      {
        put: 'node',
        row: aNode({ uuid, name, driverInfo, state: 'active', powerState: 'on', instanceUuid: instance.uuid })
      },
      { put: 'instance', row: instance },
      {
        put: 'port',
        row: aPort({
          ...given,
          uuid: id('706f7274', index + 1),
          address: mac,
          reservedIp: `192.0.2.1${index}`
        })
      },
      {
        put: 'order',
        row: anOrder({ ...given, id: id('6f726465', index + 1), token, kind: 'deploy', state: 'done' })
      }
    ]
  })
  return [machines, [{ put: 'image', row: anImage() }, ...rows]]
}

async function startRelay(t: Test, host: Namespace, ironic: IronicUnderTest) {
  const script = join(import.meta.dirname, '../../support/relay.ts')
  const child = host.spawn(process.execPath, [script, '6390', ironic.url])
  t.teardown(() => void child.kill('SIGKILL'))
  const told: Told[] = []
  const lines = createInterface({ input: child.stdout! })
  await once(lines, 'line')
  lines.on('line', (line) => told.push(JSON.parse(line) as Told))
  const order = (what: object) => void child.stdin?.write(`${JSON.stringify(what)}\n`)
  return {
    told,
    hold: (acts: Record<string, number>) => order({ hold: acts }),
    /** Resolves when that was cut. */
    async cut(cut: Cut) {
      const before = told.filter((one) => one.cut).length
      order({ cut })
      await until(() => told.filter((one) => one.cut).length > before, `${cut.when} ${cut.match}`)
    },
    /** How often Ironic did as it was asked. */
    done: (match: string) =>
      told.filter(({ line, status = 0 }) => new RegExp(match).test(line) && status >= 200 && status < 300)
        .length
  }
}

async function until(what: () => boolean | Promise<boolean>, complaint: string): Promise<void> {
  for (const end = performance.now() + 90_000; performance.now() < end; await sleep(50))
    if (await what()) return
  throw new Error(`in vain: ${complaint}`)
}

t.test('a hand-over', async (t) => {
  const host = await addNamespace('host')
  const lan = await addNamespace('lan')
  const folder = mkdtempSync(join(tmpdir(), 'to-ironic-'))
  t.teardown(async () => {
    for (const namespace of [host, lan]) await namespace.remove()
    rmSync(folder, { recursive: true })
  })
  await connect([host, 'eth0'], [lan, 'eth0'])
  await host.run('ip', 'address', 'add', '192.0.2.1/24', 'dev', 'eth0')
  const [machines, rows] = await someMachines(t, host, 9)
  const home = aFolder(folder, 'seedling', '192.0.2.1')
  const store = openStore(dataOf(home))
  store.commit(() => createApply(store)(rows))
  store.close()
  const ironic = await startIronic(t, { namespace: host.name })
  const relay = await startRelay(t, host, ironic)
  let process: Served = serve(t, host, home)
  await process.serves()

  type Row = { name: string; finishedAt: number | null; trouble: string | null }
  const status = async () =>
    (JSON.parse(await ask(home, 'handoff', 'status', '--json')) as { nodes: Row[] }).nodes
  const handoff = (...args: string[]) => ask(home, 'handoff', ...args)
  const isDone = async (name: string) =>
    (await status()).some((row) => row.name === name && row.finishedAt !== null)
  const there = async ({ uuid }: Machine) => ironic.ask('GET', `/v1/nodes/${uuid}`)
  const killedAt = async (cut: Cut) => {
    await relay.cut(cut)
    process.stop('SIGKILL')
    await process.ended
    process = serve(t, host, home)
  }
  const [first, second, ...others] = machines as [Machine, Machine, ...Machine[]]

  t.test('is checked beforehand, by a log-in to each BMC too, of which nothing is left', async (t) => {
    // One that has the name of a machine, and the MAC of another.
    await ironic.ask('POST', '/v1/nodes', { name: 'ctl-3', driver: 'ipmi' })
    const stranger = (await ironic.ask('GET', '/v1/nodes/ctl-3')).uuid as string
    await ironic.ask('POST', '/v1/ports', { address: second.mac, node_uuid: stranger })
    await lan.run('ip', 'address', 'add', '192.0.2.2/24', 'dev', 'eth0')
    const hosts = [`${first.mac},192.0.2.10`, `${second.mac},192.0.2.77`].map((one) => `--dhcp-host=${one}`)
    const other = await dnsmasq(t, lan, '--no-ping', '--dhcp-range=192.0.2.0,static', ...hosts)
    const said = await handoff('check', ...TO_TARGET, '--bmcs', 'ctl-1', 'ctl-2', 'ctl-3').catch(
      (error: { stdout: string }) => error.stdout
    )
    t.match(said, /ctl-1: Ironic has logged in to its BMC/)
    t.match(said, new RegExp(`PROBLEM: ctl-2: its MAC ${second.mac} is taken there, by node ${stranger}`))
    t.match(said, /ctl-1: the DHCP server 192\.0\.2\.2 has its address 192\.0\.2\.10 ready/)
    t.match(
      said,
      /PROBLEM: ctl-2: the DHCP server 192\.0\.2\.2 answers its MAC .* with 192\.0\.2\.77, and its address is 192\.0\.2\.11/
    )
    t.match(said, new RegExp(`PROBLEM: ctl-3: the name is taken there, by node ${stranger}`))
    t.match(said, /ctl-3: no other DHCP server answers its MAC/)
    await other.stop()
    await ironic.ask('DELETE', `/v1/nodes/${stranger}`)
    t.same((await ironic.ask('GET', '/v1/nodes')).nodes, [])
  })

  t.test(
    'is completed exactly once, although the process is killed before and after every step',
    async (t) => {
      const counts = () => ['^POST /v1/nodes ', '^POST /v1/ports ', '^PUT .*"adopt"'].map(relay.done)
      const before = counts()
      await handoff('commit', ...TO_TARGET, 'ctl-1')
      for (const match of ACTS)
        for (const when of ['before', 'after'] as const) await killedAt({ match, when })
      await process.serves()
      await until(() => isDone('ctl-1'), 'ctl-1 is handed over')
      t.match(await there(first), {
        name: 'ctl-1',
        provision_state: 'active',
        power_state: 'power on',
        protected: true,
        automated_clean: false,
        instance_info: { image_os_hash_value: anImage().sha256 }
      })
      t.same(
        counts(),
        before.map((times) => times + 1)
      )
    }
  )

  t.test('goes on from what somebody began by hand, wherever it is killed while it looks', async (t) => {
    const { uuid } = second
    const wrong = { ipmi_address: '127.0.0.9', ipmi_username: 'admin', ipmi_password: 'wrong' }
    await ironic.ask('POST', '/v1/nodes', { uuid, name: 'by-hand', driver: 'ipmi', driver_info: wrong })
    await handoff('commit', ...TO_TARGET, 'ctl-2')
    for (const match of [...LOOKS, ...LOOKS, ...LOOKS]) await killedAt({ match, when: 'after' })
    await process.serves()
    await until(() => isDone('ctl-2'), 'ctl-2 is handed over')
    t.match(await there(second), {
      name: 'ctl-2',
      provision_state: 'active',
      driver_info: { ipmi_address: '127.0.0.1' },
      automated_clean: false
    })
    t.equal((await ironic.ask('GET', '/v1/nodes')).nodes.length, 2)
    t.equal((await ironic.ask('GET', '/v1/ports')).ports.length, 2)
  })

  t.test('is undone at each step', async (t) => {
    const names = others.map(({ name }) => name)
    t.equal(names.length, ACTS.length)
    relay.hold(Object.fromEntries(others.map(({ uuid }, acts) => [uuid, acts])))
    await handoff('commit', ...TO_TARGET, ...names)
    const refused = (uuid: string) =>
      relay.told.some(({ line, status }) => status === 503 && line.includes(uuid))
    await until(() => others.every(({ uuid }) => refused(uuid)), 'each is held at its step')
    const states = await Promise.all(
      others.map(async (machine) => (await there(machine).catch(() => null))?.provision_state ?? 'not there')
    )
    t.same(states, ['not there', 'enroll', 'enroll', 'enroll', 'manageable', 'active', 'active'])
    relay.hold({})
    await handoff('undo', ...names)
    t.equal((await ironic.ask('GET', '/v1/nodes')).nodes.length, 2, 'no record of them is left there')
    t.same(
      (await status()).map(({ name }) => name),
      ['ctl-1', 'ctl-2']
    )
    for (const name of names)
      t.match(await ask(home, 'node', 'power', 'status', name), /on/, `${name}: its BMC is asked by us again`)
  })

  t.test('of which one that is done is taken back, and the other is forgotten', async (t) => {
    await handoff('undo', 'ctl-1')
    t.equal((await ironic.ask('GET', '/v1/nodes')).nodes.length, 1)
    await handoff('undo', '--forget', 'ctl-2')
    t.equal((await ironic.ask('GET', '/v1/nodes')).nodes.length, 1, 'nobody was asked there')
    t.same(await status(), [])
  })

  t.test('sets nothing at any BMC', async (t) => {
    for (const { name, bmc } of machines) t.same(bmc.sets(), [], name)
  })
})
