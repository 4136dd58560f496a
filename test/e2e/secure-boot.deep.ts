// Secure Boot with real firmware: OVMF with Microsoft's keys, enforcing. A machine of which nothing is known refuses the unsigned loader, is
// told shim instead and deploys; what worked is remembered, for it and for the next machine of its model. Takes some minutes.

import { join } from 'node:path'
import t from 'tap'
import { readCapture, startCapture, stopCapture } from '../../scripts/lab/capture.ts'
import { enrol, followToActive, nodeState, order } from '../../scripts/lab/deploy.ts'
import { consoleText, findRack, putUp, root, takeDown, until } from '../../scripts/lab/lab.ts'
import { defaults, type MachinePlan } from '../../scripts/lab/plan.ts'
import { api, seedling, startSeed } from '../../scripts/lab/seed.ts'
import type { Event, EventDetail, EventKind, StoredEvent } from '../../src/domain/event.ts'
import { checkWays, deployment, restart } from './boot-path.ts'
import { buildAll } from './build.ts'

const NAME = 'secure'
const IMAGE = { name: 'tiny', file: join(root, '.cache/image/instance/tiny.qcow2') }
const BOOT = { patienceMs: 600_000, everyMs: 1000 }

t.setTimeout(2_400_000)
buildAll(IMAGE.name)
const left = findRack(NAME)
if (left) await takeDown(left)
const rack = await putUp({ ...defaults, name: NAME, nodes: 2, firmware: ['secure'], diskGiB: 1 })
t.teardown(() => takeDown(rack))
const [first, second] = rack.machines as [MachinePlan, MachinePlan]

const events = async ({ name }: MachinePlan, after: number): Promise<StoredEvent[]> => {
  const all = await api<{ events: StoredEvent[] }>(rack, 'GET', `/v1/events?node=${name}&limit=1000`)
  return all.events.filter(({ id }) => id > after)
}
const of = <K extends EventKind>(all: readonly StoredEvent[], kind: K) =>
  all.filter((event): event is StoredEvent & Extract<Event, { kind: K }> => event.kind === kind)
const files = (all: readonly StoredEvent[]) =>
  of(all, 'file-served').map(({ detail }) => (detail as EventDetail['file-served']).name)

/** Deploys and answers the events of it. */
async function deploy(machine: MachinePlan): Promise<StoredEvent[]> {
  const before = (await events(machine, 0)).at(-1)?.id ?? 0
  const began = Date.now()
  await order(rack, [machine.name], IMAGE)
  await followToActive(rack, [machine.name])
  t.comment(`${machine.name}: active after ${Math.round((Date.now() - began) / 1000)} s`)
  return events(machine, before)
}

async function instanceUp(machine: MachinePlan, times: number): Promise<void> {
  await until(
    () => consoleText(machine).split('seedling-tiny: up').length > times,
    'the instance did not come up',
    BOOT
  )
}

/** The rack as if it had this machine alone. */
const alone = (machine: MachinePlan) => ({ ...rack, machines: [machine] })

await startSeed(rack)
await enrol(rack, IMAGE)

t.test('the unsigned loader is refused, that is named, and shim leads to the ramdisk', async (t) => {
  const all = await deploy(first)
  t.match(consoleText(first), /Boot0[^]*PXEv4[^]*Access Denied/, 'the firmware refuses')
  t.match(
    of(all, 'loader-silent').map(({ detail }) => detail),
    [
      {
        loader: 'snponly.efi',
        reason: /Secure Boot probably refuses unsigned loaders/,
        next: /shimx64\.efi$/
      }
    ]
  )
  t.match(files(all), ['snponly.efi', 'shimx64.efi', 'grubx64.efi', 'kernel', 'ramdisk'])
  t.match(of(all, 'agent-seen'), [{ detail: { bootMode: 'uefi', secureBoot: true } }])
  t.same(of(all, 'attempt-started'), [], 'all in one attempt')
  t.match(await api(rack, 'GET', `/v1/nodes/${first.name}`), { secure_boot: true, boot_mode: 'uefi' })
  t.match(consoleText(first), /Kernel is locked down from EFI Secure Boot/)
  await instanceUp(first, 1)
})

t.test('another machine of the same model begins with shim', async (t) => {
  await startCapture(rack)
  const all = await deploy(second)
  await instanceUp(second, 1)
  await stopCapture(rack)
  checkWays(t, alone(second), readCapture(rack.capture.pcap), deployment)
  t.same(of(all, 'loader-silent'), [])
  t.match(of(all, 'agent-seen'), [{ detail: { secureBoot: true } }])
})

t.test('restarted with the network first: it boots its disk, under Secure Boot too', async (t) => {
  await startCapture(rack)
  await api(rack, 'PUT', `/v1/nodes/${second.name}/states/power`, { target: 'rebooting' })
  await instanceUp(second, 2)
  await stopCapture(rack)
  checkWays(t, alone(second), readCapture(rack.capture.pcap), restart)
})

t.test('so does the next order of the first', async (t) => {
  await seedling(rack, 'node', 'undeploy', first.name)
  await until(
    async () => (await nodeState(rack, first.name)).provision_state === 'available',
    'it is not available again',
    BOOT
  )
  t.same(of(await deploy(first), 'loader-silent'), [])
})
