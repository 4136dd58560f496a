// Six machines that Seedling has deployed go to a real Ironic, as they run, and dnsmasq gives their addresses from then on: nothing is set at a BMC, no disk and no
// uptime is touched, and Seedling is silent. Then Ironic reboots them, and one is taken back and deployed anew beside the others, and follows them. By the lines of the
// HOWTO in services/handoff/README.md. SEEDLING_QUIET_SECONDS: how long silence is listened to, 600 unless said otherwise.

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream, readFileSync, rmSync } from 'node:fs'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { readCapture, startCapture, stopCapture, type Packet } from '../../scripts/lab/capture.ts'
import { enrol, followToActive, nodeState, order } from '../../scripts/lab/deploy.ts'
import { dhcpExchanges } from '../../scripts/lab/exchanges.ts'
import { consoleText, daemonStatus, findRack, putUp, root, takeDown, until } from '../../scripts/lab/lab.ts'
import { defaults, type MachinePlan } from '../../scripts/lab/plan.ts'
import { inNamespace, run, startDetached, stopRecorded } from '../../scripts/lab/process.ts'
import { api, seedConfig, seedling, startSeed } from '../../scripts/lab/seed.ts'
import { startIronic } from '../support/ironic.ts'
import { buildAll } from './build.ts'
import { addHost } from './host.ts'

const NAME = 'cloud'
const IMAGE = { name: 'tiny', file: join(root, '.cache/image/instance/tiny.qcow2') }
/** The host of the real cloud. */
const CLOUD = `seedling-${NAME}-cloud`
const LAN = '192.0.2.3'
const BMCS = '198.18.0.3'
const QUIET_SECONDS = Number(process.env['SEEDLING_QUIET_SECONDS'] ?? 600)
/** A session with a BMC is closed 3 s after its last command. */
const LET_GO_MS = 5000
const BOOT = { patienceMs: 900_000, everyMs: 1000 }

t.setTimeout(3_600_000)
buildAll(IMAGE.name)
const left = findRack(NAME)
if (left) await takeDown(left)
// A run that was cut off may have left it.
spawnSync('ip', ['netns', 'delete', CLOUD])
const rack = await putUp({ ...defaults, name: NAME, nodes: 6, diskGiB: 1, memoryMiB: 768 })
t.teardown(() => takeDown(rack))
const { machines, seed } = rack
const names = machines.map(({ name }) => name)
const last = machines.at(-1) as MachinePlan
const others = names.filter((name) => name !== last.name)
addHost(rack, CLOUD, { lan: LAN, bmcs: BMCS })
t.teardown(() => run(['ip', 'netns', 'delete', CLOUD]))

const config = seedConfig(rack) as { network: object }
await startSeed(rack, { ...config, network: { ...config.network, dhcp: { tolerate: [LAN] } } })
await enrol(rack, IMAGE)
// All at once would starve each other on two cores.
for (let first = 0; first < names.length; first += 2) {
  const two = names.slice(first, first + 2)
  await order(rack, two, IMAGE)
  await followToActive(rack, two)
}
const ironic = await startIronic(t, { namespace: CLOUD, address: BMCS })

const readme = readFileSync(join(root, 'services/handoff/README.md'), 'utf8')
/** Does what the HOWTO says, for these machines. */
function howto(line: RegExp, ...nodes: string[]): Promise<string> {
  const [said = ''] = /```sh\n.*?```/s.exec(readme.split('## Two steps')[1] ?? '')?.[0].match(line) ?? []
  const args = said.trim().replaceAll('UNDERCLOUD', BMCS).replace('exported', exported).split(' ')
  return seedling(rack, ...args.slice(1), ...nodes)
}
const exported = join(rack.dir, 'exported')

const macOf = (namespace: string, link: string) =>
  run(inNamespace(namespace, ['cat', `/sys/class/net/${link}/address`])).trim()
const seedMac = macOf(seed.namespace, seed.lan.link)
const cloudMac = macOf(CLOUD, seed.lan.link)

/** Asks the shell on a machine's serial console. */
async function shell({ consoleSocket }: MachinePlan, command: string, answer: RegExp): Promise<string> {
  const connection = createConnection(consoleSocket)
  let said = ''
  connection.setEncoding('utf8').on('data', (text: string) => (said += text))
  // The first line wakes the shell.
  connection.write(`\n`)
  await sleep(1000)
  connection.write(`${command}\n`)
  const found = await until(() => answer.exec(said), `no ${answer} in: ${said}`, { patienceMs: 60_000 })
  connection.destroy()
  return found[0]
}

/** A new one at each start of a kernel. */
const bootId = (machine: MachinePlan) =>
  shell(machine, 'cat /proc/sys/kernel/random/boot_id', /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/)

async function diskHash({ disk }: MachinePlan): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(disk), hash)
  return hash.digest('hex')
}

async function allHandedOver(): Promise<void> {
  type State = { nodes: { finishedAt: number | null; trouble: string | null }[] }
  const state = () => api<State>(rack, 'GET', '/v1/handoff')
  const over = async () => (await state()).nodes.every(({ finishedAt }) => finishedAt !== null)
  await until(over, 'not all are handed over', { patienceMs: 300_000, everyMs: 500 }).catch(
    async (error: Error) => {
      throw new Error(`${error.message}: ${JSON.stringify(await state())}`)
    }
  )
}

const each = <T>(what: (machine: MachinePlan) => Promise<T>) => Promise.all(machines.map(what))
/** Chassis controls that the BMCs were told, and their boot flags. */
const chassis = async () => ({
  told: readFileSync(rack.daemon.log, 'utf8').match(/: told .*/g)?.length ?? 0,
  flags: (await daemonStatus(rack)).map(({ power, bootFlags }) => [power, bootFlags])
})
const ups = (machine: MachinePlan) => consoleText(machine).match(/seedling-tiny: up .*/g) ?? []
const addresses = async () =>
  new Map(
    (await api<{ leases: { mac: string; ip: string }[] }>(rack, 'GET', '/v1/dhcp/leases')).leases.map(
      ({ mac, ip }) => [mac, ip]
    )
  )

/** dnsmasq on the cloud's host, as Seedling exports it for these machines; in place of the one before. */
const dnsmasq = { log: join(rack.dir, 'dnsmasq.log'), pidFile: join(rack.dir, 'dnsmasq.pid') }
async function serveDhcp(nodes: string[]): Promise<void> {
  await stopRecorded(dnsmasq.pidFile)
  rmSync(dnsmasq.log, { force: true })
  await howto(/seedling handoff plan .*/, ...nodes).catch(() => {
    // Written all the same, of machines that are handed over, too.
  })
  startDetached(
    inNamespace(CLOUD, [
      ...['dnsmasq', '--keep-in-foreground', '--port=0', '--no-ping', '--user=root', '--bind-interfaces'],
      ...[`--interface=${seed.lan.link}`, `--conf-file=${join(exported, 'dnsmasq.conf')}`],
      ...['--log-facility=-', '--log-dhcp', `--dhcp-leasefile=${join(rack.dir, 'dnsmasq.leases')}`]
    ]),
    dnsmasq
  )
  await until(() => /started/.test(readFileSync(dnsmasq.log, 'utf8')), `dnsmasq: see ${dnsmasq.log}`)
}
t.teardown(() => stopRecorded(dnsmasq.pidFile))

/** What goes from Seedling's host to the BMCs and back. */
const wire = {
  ...{
    pcap: join(rack.dir, 'bmcs.pcap'),
    log: join(rack.dir, 'bmcs.log'),
    pidFile: join(rack.dir, 'bmcs.pid')
  }
}
function captureBmcs(): void {
  rmSync(wire.pcap, { force: true })
  const tcpdump = ['tcpdump', '-Z', 'root', '--immediate-mode', '-U', '-i', rack.bmcs.link, '-w', wire.pcap]
  startDetached(inNamespace(rack.bmcs.namespace, tcpdump), wire)
}

/** Asserts of what was recorded since `from` that Seedling said nothing to these machines but what they read of their metadata. */
function checkSilence(t: Test, packets: readonly Packet[], macs: readonly string[], from: number) {
  const said = packets.filter(
    ({ at, from: { mac, port }, to }) => at > from && mac === seedMac && macs.includes(to.mac) && port !== 80
  )
  t.same(
    said.map(({ to, from }) => `${from.port} → ${to.ip}:${to.port}`),
    []
  )
  const answered = dhcpExchanges(packets.filter(({ at }) => at > from))
    .filter(({ mac }) => macs.includes(mac))
    .flatMap(({ packets }) => packets)
  t.same(
    answered.filter(({ from: { mac } }) => mac === seedMac),
    [],
    'no DHCP answer either'
  )
  return answered
}

t.test('checked beforehand: the BMCs, the next DHCP server', async (t) => {
  const check = () => howto(/seedling handoff check .*/).catch((error: Error) => error.message)
  const before = await check()
  for (const name of names) {
    t.match(before, new RegExp(`${name}: Ironic has logged in to its BMC`))
    t.match(before, new RegExp(`${name}: no other DHCP server answers`))
  }
  t.notMatch(before, /PROBLEM/)
  await serveDhcp(names)
  const after = await check()
  for (const { name, mac } of machines) {
    const address = (await addresses()).get(mac)
    t.match(after, `${name}: the DHCP server ${LAN} has its address ${address} ready`)
  }
  t.notMatch(after, /PROBLEM/)
})

t.test('handed over as they run', async (t) => {
  const [boots, disks, before] = [await each(bootId), await each(diskHash), await chassis()]
  await startCapture(rack)
  captureBmcs()
  // Somebody looks at a console, which is a session with a BMC.
  const viewer = seedling(rack, 'console', names[0] as string).catch((error: Error) => error.message)
  await sleep(3000)
  await howto(/seedling handoff commit .*/)
  t.match(await viewer, /is handed over/)
  const letGo = Date.now() + LET_GO_MS
  await allHandedOver()
  t.comment(`${Date.now() - letGo + LET_GO_MS} ms for six machines`)
  for (const name of names) {
    t.match(await ironic.ask('GET', `/v1/nodes/${name}`), {
      provision_state: 'active',
      power_state: 'power on',
      protected: true,
      automated_clean: false,
      maintenance: false
    })
    t.match(await ironic.ask('GET', `/v1/nodes/${name}/validate`), { deploy: { result: true } })
  }
  await sleep(Math.max(0, letGo + QUIET_SECONDS * 1000 - Date.now()))
  await stopCapture(rack)
  await stopRecorded(wire.pidFile)
  checkSilence(
    t,
    readCapture(rack.capture.pcap),
    machines.map(({ mac }) => mac),
    letGo
  )
  const asked = readCapture(wire.pcap).filter(({ from }) => from.ip === seed.bmc.address)
  t.same(
    asked.filter(({ at, protocol }) => at > letGo && protocol === 'udp').map(({ to }) => to.ip),
    [],
    `nothing from Seedling to a BMC for ${QUIET_SECONDS} s`
  )
  t.same(await chassis(), before, 'nothing was set at a BMC')
  t.same(await each(bootId), boots, 'every kernel is the same as before')
  t.same(await each(diskHash), disks, 'every disk is the same as before')
  const report = await seedling(rack, 'handoff', 'report')
  t.equal(report.match(/no restart was heard/g)?.length, 6)
})

t.test('rebooted by Ironic, each comes back from its own disk, with its address', async (t) => {
  const boots = await each(bootId)
  const address = await addresses()
  await startCapture(rack)
  const began = Date.now()
  const before = machines.map((machine) => ups(machine).length)
  for (const name of names) await ironic.baremetal('node', 'reboot', name)
  for (const [index, machine] of machines.entries())
    await until(() => ups(machine).length > before[index]!, `${machine.name} did not come back`, BOOT)
  await stopCapture(rack)
  const packets = readCapture(rack.capture.pcap)
  const answers = checkSilence(
    t,
    packets,
    machines.map(({ mac }) => mac),
    began
  )
  t.ok(
    answers.some(({ from: { mac } }) => mac === cloudMac),
    'the other DHCP server answered'
  )
  for (const machine of machines)
    t.match(ups(machine).at(-1), `hostname=${machine.name} address=${address.get(machine.mac)}`)
  const after = await each(bootId)
  t.same(
    after.filter((id, index) => id === boots[index]),
    [],
    'all were started anew'
  )
  for (const name of names)
    t.match(await ironic.ask('GET', `/v1/nodes/${name}`), {
      provision_state: 'active',
      power_state: 'power on'
    })
})

t.test('one is taken back and deployed anew, beside the others: each server has its own', async (t) => {
  await serveDhcp(others)
  await startCapture(rack)
  await seedling(rack, 'handoff', 'undo', last.name)
  const records = (await ironic.ask('GET', '/v1/nodes')).nodes as { name: string }[]
  t.same(records.map(({ name }) => name).sort(), others, 'Ironic knows nothing of it any more')
  const [one] = machines as [MachinePlan]
  const before = [ups(one).length, ups(last).length] as const
  await seedling(rack, 'node', 'rebuild', last.name)
  await ironic.baremetal('node', 'reboot', one.name)
  await until(async () => (await nodeState(rack, last.name)).provision_state !== 'active', 'no order began')
  await followToActive(rack, [last.name])
  await until(() => ups(one).length > before[0], `${one.name} did not come back`, BOOT)
  await until(() => ups(last).length > before[1], `${last.name} did not come up`, BOOT)
  await stopCapture(rack)
  const answers = dhcpExchanges(readCapture(rack.capture.pcap))
    .flatMap(({ packets }) => packets)
    .filter(({ message }) => message.op === 'reply')
  const answeredBy = (mac: string) => [
    ...new Set(answers.filter(({ from }) => from.mac === mac).map(({ message }) => message.chaddr))
  ]
  const enrolled = (macs: string[]) => macs.filter((mac) => machines.some((machine) => machine.mac === mac))
  t.same(enrolled(answeredBy(seedMac)), [last.mac], 'Seedling answered its own only')
  t.same(enrolled(answeredBy(cloudMac)), [one.mac], 'and the other server its own')
})

t.test('it follows the others, and Seedling is finished', async (t) => {
  await serveDhcp(names)
  await t.rejects(howto(/seedling handoff finish/), {
    message: /nothing was done: not handed over are node6/
  })
  await howto(/seedling handoff commit .*/, last.name)
  await allHandedOver()
  t.equal((await howto(/seedling handoff status/)).match(/handed over/g)?.length, 6)
  await howto(/seedling handoff finish/)
  const ports = () => run(inNamespace(seed.namespace, ['ss', '-Hlun']))
  await until(() => !/:(67|69) /.test(ports()), 'DHCP or TFTP is still served')
  t.match(await ironic.ask('GET', `/v1/nodes/${last.name}`), { provision_state: 'active', protected: true })
})
