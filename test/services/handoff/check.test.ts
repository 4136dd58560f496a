// What is found beforehand of the machines themselves; what a real Ironic, real BMCs and a real DHCP server say of them is in undone.test.ts.

import t from 'tap'
import { checkTarget } from '../../../services/handoff/check.ts'
import { createIronic } from '../../../services/handoff/ironic.ts'
import { planHandoff } from '../../../src/decide/handoff-plan.ts'
import type { BootDeviceSetting } from '../../../src/domain/bmc.ts'
import { AppError } from '../../../src/domain/error.ts'
import type { Node } from '../../../src/domain/node.ts'
import { aNode, anImage, anInstance, aPort, someHandoffOptions } from '../../support/builders.ts'

/** One that has nothing, and conductors for nothing. */
const EMPTY = {
  ...createIronic('http://127.0.0.1:1'),
  about: async () => ({ maximum: '1.82', drivers: ['redfish'] }),
  node: async () => null,
  portByAddress: async () => null
}

function check(given: Partial<Node>, bootDevice: () => Promise<BootDeviceSetting>, nova = false) {
  const node = aNode({ state: 'active', powerState: 'on', ...given })
  const one = { node, ports: [aPort()], orders: [], instance: anInstance(), image: anImage() }
  const { nodes } = planHandoff({ nodes: [one], subnets: [] }, someHandoffOptions({ nova }))
  const asked = { nova, bmcs: false, answers: null, addressOf: () => null, bootDevice }
  return checkTarget(EMPTY, 'http://ironic.example', nodes, asked)
}

const set = (given: Partial<BootDeviceSetting>) => async () => ({
  ...({ device: 'none', persistent: false, efi: false, valid: true } as const),
  ...given
})

t.test('a machine that would not boot from its disk', async (t) => {
  const problems = async (bootDevice: () => Promise<BootDeviceSetting>) =>
    (await check({}, bootDevice)).filter((line) => /PROBLEM: ctl-1/.test(line))
  t.match(await problems(set({ device: 'pxe', persistent: true })), [/boot from "pxe" at every start/])
  t.match(await problems(set({ device: 'cdrom' })), [/boot from "cdrom" at its next start/])
  for (const fine of [
    { device: 'pxe', valid: false },
    { device: 'none' },
    { device: 'disk', persistent: true }
  ] as const)
    t.same(await problems(set(fine)), [])
  const silent = async () => {
    throw new AppError('bmc-unreachable', 'the BMC does not answer')
  }
  t.match(await problems(silent), [/boot device is not known: the BMC does not answer/])
})

t.test('what stands in the way anyhow, and drivers that are not there', async (t) => {
  const off = await check({ powerState: 'off' }, async () => {
    throw new Error('nobody is to ask')
  })
  t.match(
    off.filter((line) => line.startsWith('PROBLEM')),
    [/driver "ipmi" \(there is redfish\)/, /it is off/]
  )
  const nova = await check({}, set({}), true)
  t.match(
    nova.filter((line) => line.startsWith('PROBLEM')),
    [/driver "ipmi"/, /driver "fake-hardware"/]
  )
})
