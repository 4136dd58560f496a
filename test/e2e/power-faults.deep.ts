// Faulty power on the virtual rack: real firmware, OpenIPMI's BMCs, machines whose disk comes first, so that the boot device
// matters. Each order ends with a deployed machine, or parked with the reason's name, within its bound; and no BMC was told
// to do what its machine had done already.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { enrol, nodeState, order } from '../../scripts/lab/deploy.ts'
import { findRack, ipmitool, putUp, root, setFaults, takeDown, until } from '../../scripts/lab/lab.ts'
import { defaults, type MachinePlan } from '../../scripts/lab/plan.ts'
import { api, seedConfig, seedling, startSeed } from '../../scripts/lab/seed.ts'
import type { StoredEvent } from '../../src/domain/event.ts'
import { buildAll } from './build.ts'

const NAME = 'power'
const IMAGE = { name: 'tiny', file: join(root, '.cache/image/instance/tiny.qcow2') }
/** Short, so that what never comes is given up soon; emulated firmware takes most of a minute to its first DHCP packet. */
const PATIENCE = { attempts: 2, powerSeconds: 40, askAgainSeconds: 15, networkSeconds: 150 }
/** Two attempts with all their patience used up, the pause between them, and the write. */
const BOUND = { patienceMs: 600_000, everyMs: 250 }

buildAll(IMAGE.name)

t.setTimeout(3_000_000)
const left = findRack(NAME)
if (left) await takeDown(left)
const rack = await putUp({ ...defaults, name: NAME, diskGiB: 1, bootFirst: 'disk' })
t.teardown(() => takeDown(rack))
const [bios, uefi] = rack.machines as [MachinePlan, MachinePlan]
await startSeed(rack, { ...seedConfig(rack), deploy: PATIENCE })

/** The events of a machine since the last order, as text. */
async function timeline({ name }: MachinePlan): Promise<string[]> {
  const { events } = await api<{ events: StoredEvent[] }>(rack, 'GET', `/v1/events?node=${name}&limit=1000`)
  const began = events.findLastIndex(({ kind }) => kind === 'order-started')
  return events.slice(began).map(({ kind, detail }) => `${kind} ${JSON.stringify(detail)}`)
}
const tells = async (machine: MachinePlan, words: RegExp) =>
  (await timeline(machine)).some((line) => words.test(line))

/** The controls that a machine's BMC was told so far, with the power before each: `on (off)`. */
const told = ({ name }: MachinePlan): string[] =>
  [...readFileSync(rack.daemon.log, 'utf8').matchAll(new RegExp(`${name}: told (\\w+), is (\\w+)`, 'g'))].map(
    ([, control, power]) => `${control} (${power})`
  )

/** Waits for the end of the order; the controls since `before`. */
async function ended(machine: MachinePlan, state: string, before: number): Promise<string[]> {
  const node = await until(
    async () => {
      const found = await nodeState(rack, machine.name)
      return /^deploying$|^wait call-back$/.test(found.provision_state) ? undefined : found
    },
    `${machine.name}: the order did not end`,
    BOUND
  )
  if (node.provision_state !== state)
    throw new Error(`${node.provision_state}: ${node.last_error}\n${(await timeline(machine)).join('\n')}`)
  return told(machine).slice(before)
}
const rebuild = ({ name }: MachinePlan) =>
  api(rack, 'PUT', `/v1/nodes/${name}/states/provision`, { target: 'rebuild' })

t.test('enrolment examines the BMCs', async (t) => {
  await enrol(rack, IMAGE)
  for (const { name } of rack.machines) {
    const { quirk_card: card } = await api<{ quirk_card: Record<string, unknown> }>(
      rack,
      'GET',
      `/v1/nodes/${name}/bmc`
    )
    t.match(card, { way: { cipher_suite: 3 }, boot_device: { truthful: true, keeps_efi: true } })
  }
  t.match(await seedling(rack, 'node', 'power', 'status', bios.name), /power off/)
})

t.test('an "on" that does not turn on; a BMC that is silent for a while', async (t) => {
  await setFaults(rack, bios, { ignoresOn: 1 })
  await setFaults(rack, uefi, { silentMs: 45_000 })
  await order(rack, [bios.name, uefi.name], IMAGE)
  t.same(await ended(bios, 'active', 0), ['on (off)', 'on (off)'])
  t.same(await ended(uefi, 'active', 0), ['on (off)'])
  t.ok(await tells(uefi, /^bmc-trouble .*bmc-unreachable/), 'the timeline tells of the silence')
})

t.test('a boot flag that lapses; off that comes back', async (t) => {
  const before = [told(bios).length, told(uefi).length] as const
  await setFaults(rack, bios, { lapsedFlags: 1 })
  await setFaults(rack, uefi, { offComesBackMs: 4500 })
  await Promise.all([rebuild(bios), rebuild(uefi)])
  t.same(await ended(bios, 'active', before[0]), ['off (on)', 'on (off)', 'off (on)', 'on (off)'])
  t.ok(await tells(bios, /^attempt-started .*no DHCP packet of it was seen/))
  t.same(await ended(uefi, 'active', before[1]), ['off (on)', 'off (on)', 'on (off)'])
  t.ok(await tells(uefi, /^attempt-started .*on again although nobody here switched it on/))
})

t.test('another password, set midway; an "on" that never turns on', async (t) => {
  const before = [told(bios).length, told(uefi).length] as const
  await setFaults(rack, uefi, { ignoresOn: 1000 })
  await Promise.all([rebuild(bios), rebuild(uefi)])
  await until(() => tells(bios, /^milestone-reached .*powered-off/), 'it was not switched off', BOUND)
  ipmitool(rack, bios, 'user', 'set', 'password', '2', 'changed')
  t.same(await ended(bios, 'deploy failed', before[0]), ['off (on)'])
  t.match(await nodeState(rack, bios.name), { last_error: /Correct ipmi_password/ })
  const controls = await ended(uefi, 'deploy failed', before[1])
  t.match(await nodeState(rack, uefi.name), { last_error: /still reads "off" 40 s after/ })
  t.equal(controls[0], 'off (on)')
  t.same([...new Set(controls.slice(1))], ['on (off)'], 'told to go on, and only while it was off')
  t.ok(controls.length <= 7, 'and no more often than it takes')
})
