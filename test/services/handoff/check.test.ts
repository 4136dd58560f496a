// What is found beforehand of the machines themselves; what a real Ironic, real BMCs and a real DHCP server say of them is in undone.test.ts.

import t from 'tap'
import { checkTarget } from '../../../services/handoff/check.ts'
import { createIronic } from '../../../services/handoff/ironic.ts'
import { planHandoff } from '../../../src/decide/handoff-plan.ts'
import type { Node } from '../../../src/domain/node.ts'
import { aNode, anImage, anInstance, aPort, someHandoffOptions } from '../../support/builders.ts'

/** One that has nothing, and conductors for nothing. */
const EMPTY = {
  ...createIronic('http://127.0.0.1:1'),
  about: async () => ({ maximum: '1.82', drivers: ['redfish'] }),
  node: async () => null,
  portByAddress: async () => null
}

function check(given: Partial<Node>, nova = false) {
  const node = aNode({ state: 'active', powerState: 'on', ...given })
  const one = {
    node,
    ports: [aPort()],
    orders: [],
    instance: anInstance(),
    image: anImage(),
    bootDevice: null
  }
  const { nodes } = planHandoff({ nodes: [one], subnets: [] }, someHandoffOptions({ nova }))
  const asked = { nova, bmcs: false, answers: null, addressOf: () => null }
  return checkTarget(EMPTY, 'http://ironic.example', nodes, asked)
}

t.test('what stands in the way anyhow, and drivers that are not there', async (t) => {
  const off = await check({ powerState: 'off' })
  t.match(
    off.filter((line) => line.startsWith('PROBLEM')),
    [/driver "ipmi" \(there is redfish\)/, /it is off/]
  )
  const nova = await check({}, true)
  t.match(
    nova.filter((line) => line.startsWith('PROBLEM')),
    [/driver "ipmi"/, /driver "fake-hardware"/]
  )
})
