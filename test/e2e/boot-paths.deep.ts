// The three ways into the ramdisk with real firmware, told from the packets on the LAN: SeaBIOS with an iPXE ROM, UEFI PXE, UEFI HTTP
// boot. Each machine is deployed with the tiny image, then restarted with the network first. Takes some minutes.
// first-light.test.ts asserts the first two ways in passing.

import { join } from 'node:path'
import t from 'tap'
import { readCapture, startCapture, stopCapture } from '../../scripts/lab/capture.ts'
import { enrol, followToActive, nodeState, order } from '../../scripts/lab/deploy.ts'
import { consoleText, findRack, putUp, root, takeDown, until } from '../../scripts/lab/lab.ts'
import { defaults } from '../../scripts/lab/plan.ts'
import { api, startSeed } from '../../scripts/lab/seed.ts'
import { checkWays, deployment, restart } from './boot-path.ts'
import { buildAll } from './build.ts'

const NAME = 'paths'
const IMAGE = { name: 'tiny', file: join(root, '.cache/image/instance/tiny.qcow2') }
const BOOT = { patienceMs: 600_000, everyMs: 1000 }

t.setTimeout(2_400_000)
buildAll(IMAGE.name)
const left = findRack(NAME)
if (left) await takeDown(left)
const rack = await putUp({
  ...defaults,
  ...{ name: NAME, nodes: 3, firmware: ['bios', 'uefi', 'http'], diskGiB: 1 }
})
t.teardown(() => takeDown(rack))
const names = rack.machines.map(({ name }) => name)

/** Waits until every instance has come up `times` times since the rack was put up. */
async function instancesUp(times: number): Promise<void> {
  for (const machine of rack.machines)
    await until(
      () => consoleText(machine).split('seedling-tiny: up').length > times,
      `the instance of ${machine.name} did not come up`,
      BOOT
    )
}

await startSeed(rack)
await enrol(rack, IMAGE)

t.test('deployed: each machine goes the way of its firmware', async (t) => {
  await startCapture(rack)
  const began = Date.now()
  await order(rack, names, IMAGE)
  await followToActive(rack, names)
  await instancesUp(1)
  await stopCapture(rack)
  checkWays(t, rack, readCapture(rack.capture.pcap), deployment)
  for (const name of names) t.match(await nodeState(rack, name), { provision_state: 'active' })
  t.comment(`${Math.round((Date.now() - began) / 1000)} s for all three`)
})

t.test('restarted with the network first: each machine is sent to its disk', async (t) => {
  await startCapture(rack)
  for (const name of names) await api(rack, 'PUT', `/v1/nodes/${name}/states/power`, { target: 'rebooting' })
  await instancesUp(2)
  await stopCapture(rack)
  checkWays(t, rack, readCapture(rack.capture.pcap), restart)
  for (const name of names) t.match(await nodeState(rack, name), { provision_state: 'active' })
})
