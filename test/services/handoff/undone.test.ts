// Machines on their way to a real Ironic: checked beforehand, begun by hand, taken back at each step.

import t from 'tap'
import { dnsmasq } from '../dhcp/watch-lan.ts'
import { ACTS, besideIronic, TO_TARGET, until, type Machine } from './to-ironic.ts'

t.setTimeout(400_000)

const LOOKS = ['^GET /v1/ports/detail', '^GET /v1/nodes/']
const { lan, machines, ironic, relay, handoff, status, seedling, there, done, serves, killedAt } =
  await besideIronic(t, 9)
const [first, second, ...others] = machines as [Machine, Machine, ...Machine[]]

const records = async () =>
  ((await ironic.ask('GET', '/v1/nodes')).nodes as { name: string }[]).map(({ name }) => name)
/** Whether the relay holds it. */
const refused = ({ uuid }: Machine) =>
  relay.told.some(({ line, status }) => status === 503 && line.includes(uuid))

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
  t.same(await records(), [])
})

t.test('goes on from what somebody began by hand, wherever it is killed while it looks', async (t) => {
  const { uuid } = second
  const wrong = { ipmi_address: '127.0.0.9', ipmi_username: 'admin', ipmi_password: 'wrong' }
  await ironic.ask('POST', '/v1/nodes', { uuid, name: 'by-hand', driver: 'ipmi', driver_info: wrong })
  await handoff('commit', ...TO_TARGET, 'ctl-2')
  for (const match of [...LOOKS, ...LOOKS, ...LOOKS]) await killedAt({ match, when: 'after' })
  await serves()
  await done('ctl-2')
  t.match(await there(second), {
    name: 'ctl-2',
    provision_state: 'active',
    driver_info: { ipmi_address: '127.0.0.1' },
    automated_clean: false
  })
  t.match(
    await handoff('commit', ...TO_TARGET, 'ctl-2'),
    /Nothing left to hand over/,
    'given away is given away'
  )
  t.same(await records(), ['ctl-2'])
  t.equal((await ironic.ask('GET', '/v1/ports')).ports.length, 1)
})

t.test('is undone at each step', async (t) => {
  const names = others.map(({ name }) => name)
  t.equal(names.length, ACTS.length)
  relay.hold(Object.fromEntries(others.map(({ uuid }, acts) => [uuid, acts])))
  await handoff('commit', ...TO_TARGET, ...names)
  await until(() => others.every(refused), 'each is held at its step')
  const states = await Promise.all(
    others.map(async (machine) => (await there(machine).catch(() => null))?.provision_state ?? 'not there')
  )
  t.same(states, ['not there', 'enroll', 'enroll', 'enroll', 'manageable', 'active', 'active'])
  relay.hold({})
  await handoff('undo', ...names)
  t.same(await records(), ['ctl-2'], 'no record of them is left there')
  t.same(
    (await status()).map(({ name }) => name),
    ['ctl-2']
  )
  for (const name of names)
    t.match(await seedling('node', 'power', 'status', name), /on/, `${name}: its BMC is asked by us again`)
})

t.test('is undone when it is done, and forgotten where nobody is to be asked', async (t) => {
  await handoff('undo', 'ctl-2')
  t.same(await records(), [])
  relay.hold({ [first.uuid]: 1 })
  await handoff('commit', ...TO_TARGET, 'ctl-1')
  await until(() => refused(first), 'it is held')
  await handoff('undo', '--forget', 'ctl-1')
  t.same(await records(), ['ctl-1'], 'its record is left there')
  t.same(await status(), [])
})

t.test('sets nothing at any BMC', async (t) => {
  for (const { name, bmc } of machines) t.same(bmc.sets(), [], name)
})
