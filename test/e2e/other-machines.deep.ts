// Machines that do not boot as most do: ARM64, by PXE and by HTTP, into the ramdisk; and such as know nothing of networks, with iPXE in a USB
// port, to their installed system. Takes some minutes.

import { readFileSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import t from 'tap'
import { readCapture, startCapture, stopCapture } from '../../scripts/lab/capture.ts'
import { enrol, followToActive, nodeState, order } from '../../scripts/lab/deploy.ts'
import { findRack, putUp, root, takeDown, until } from '../../scripts/lab/lab.ts'
import { cpuArch, defaults, networkBoot, type MachinePlan } from '../../scripts/lab/plan.ts'
import { api, seedling, startSeed } from '../../scripts/lab/seed.ts'
import type { StoredEvent } from '../../src/domain/event.ts'
import { checkWays, deployment, inspection } from './boot-path.ts'
import { buildAll } from './build.ts'

const NAME = 'others'
const IMAGE = { name: 'tiny', file: join(root, '.cache/image/instance/tiny.qcow2') }
const BOOT = { patienceMs: 600_000, everyMs: 1000 }

t.setTimeout(2_400_000)
buildAll(IMAGE.name, 'arm64')
const left = findRack(NAME)
if (left) await takeDown(left)
const rack = await putUp({
  ...defaults,
  ...{ name: NAME, nodes: 4, firmware: ['arm64', 'arm64-http', 'bios-cd', 'uefi-stick'], diskGiB: 1 }
})
t.teardown(() => takeDown(rack))

const arms = rack.machines.filter(({ firmware }) => cpuArch(firmware) === 'aarch64')
const sticks = rack.machines.filter(({ firmware }) => networkBoot(firmware) === 'stick')
const names = (machines: readonly MachinePlan[]) => machines.map(({ name }) => name)
const events = async (node: string): Promise<StoredEvent[]> =>
  (await api<{ events: StoredEvent[] }>(rack, 'GET', `/v1/events?node=${node}&limit=1000`)).events
const sha256 = (file: string) => createHash('sha256').update(readFileSync(file)).digest('hex')

await startSeed(rack)
await enrol(rack, IMAGE)

t.test('ARM64 machines come to the ramdisk’s first call, and are switched off again', async (t) => {
  await startCapture(rack)
  await seedling(rack, 'node', 'manage', ...names(arms))
  const states = (...wanted: string[]) =>
    until(
      async () => {
        const all = await Promise.all(names(arms).map((name) => nodeState(rack, name)))
        return all.every(({ provision_state: state }) => wanted.includes(state))
      },
      `${names(arms).join(', ')} did not become ${wanted.join(' or ')}`,
      BOOT
    )
  await states('manageable')
  await seedling(rack, 'node', 'inspect', ...names(arms))
  for (const name of names(arms))
    await until(
      async () =>
        (await events(name)).some(({ kind, subject }) => kind === 'order-done' && subject === 'inspect'),
      `${name} was not inspected`,
      BOOT
    )
  await stopCapture(rack)
  checkWays(t, { ...rack, machines: arms }, readCapture(rack.capture.pcap), inspection)
  for (const name of names(arms)) {
    t.match(await nodeState(rack, name), { provision_state: 'manageable', last_error: null })
    t.match(
      (await events(name)).find(({ kind }) => kind === 'agent-seen'),
      { detail: { bootMode: 'uefi', disks: 1 } }
    )
  }
})

t.test('machines with iPXE in a USB port are deployed, and it is left as it was', async (t) => {
  const before = sticks.map(({ stick }) => sha256(stick!))
  await startCapture(rack)
  await order(rack, names(sticks), IMAGE)
  await followToActive(rack, names(sticks))
  await until(
    async () => {
      const all = await Promise.all(names(sticks).map(events))
      return all.every((told) => told.some(({ kind }) => kind === 'metadata-read'))
    },
    'the instances read no metadata',
    BOOT
  )
  await stopCapture(rack)
  checkWays(t, { ...rack, machines: sticks }, readCapture(rack.capture.pcap), deployment)
  for (const [index, { name, stick, serial }] of sticks.entries()) {
    t.match(await nodeState(rack, name), { provision_state: 'active', last_error: null })
    t.equal(sha256(stick!), before[index], `${name}: nothing was written to the stick`)
    t.match(
      (await events(name)).find(({ kind }) => kind === 'disk-chosen'),
      { detail: { serial: `${serial}-1` } }
    )
    t.match(
      (await events(name)).find(({ kind }) => kind === 'agent-seen'),
      { detail: { disks: 2 } },
      `${name}: the ramdisk saw the stick`
    )
  }
})
