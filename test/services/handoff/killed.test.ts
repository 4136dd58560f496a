// A machine is handed over to a real Ironic although the process is killed at every step, before Ironic hears of it and after.

import t from 'tap'
import { anImage } from '../../support/builders.ts'
import { ACTS, besideIronic, TO_TARGET, type Machine } from './to-ironic.ts'

t.setTimeout(400_000)

const { machines, relay, handoff, there, done, serves, killedAt } = await besideIronic(t, 1)
const [first] = machines as [Machine]

t.test('completed exactly once', async (t) => {
  const counts = () => ['^POST /v1/nodes ', '^POST /v1/ports ', '^PUT .*"adopt"'].map(relay.done)
  const before = counts()
  await handoff('commit', ...TO_TARGET, 'ctl-1')
  for (const match of ACTS) for (const when of ['before', 'after'] as const) await killedAt({ match, when })
  await serves()
  await done('ctl-1')
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
})

t.test('nothing is set at its BMC', async (t) => {
  t.same(first.bmc.sets(), [])
})
