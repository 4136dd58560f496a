import t from 'tap'
import { networkSeen } from '../../src/decide/network-seen.ts'
import type { Order } from '../../src/domain/order.ts'
import { anOrder, NOW } from '../support/builders.ts'

const asked = { act: 'power-on', at: NOW } as const
const window = { ticks: { 'powered-off': NOW }, asked }

t.test('the first packet of firmware, loader or ramdisk ticks the line', async (t) => {
  for (const client of ['pxe-bios', 'pxe-uefi', 'pxe-other', 'http-uefi', 'ipxe', 'ramdisk'] as const)
    t.match(networkSeen(anOrder(window), client, NOW), [
      { tick: 'network-seen', attempt: 1, at: NOW },
      { event: { kind: 'milestone-reached', detail: { by: `a DHCP packet of its ${client}` } } }
    ])
  t.equal(networkSeen(anOrder({ ...window, kind: 'inspect' }), 'ipxe', NOW).length, 2)
})

const NOT: Record<string, [Partial<Order> | null, Parameters<typeof networkSeen>[1]]> = {
  'no order': [null, 'ipxe'],
  'an order that is over': [{ ...window, state: 'failed' }, 'ipxe'],
  'an order that boots nothing': [{ ...window, kind: 'reboot' }, 'ipxe'],
  'the system on its disk': [window, 'system'],
  'who cannot be told': [window, null],
  'before it was off': [{ asked }, 'ipxe'],
  'off, and not told to go on yet': [{ ticks: { 'powered-off': NOW } }, 'ipxe'],
  'seen before': [{ ...window, ticks: { ...window.ticks, 'network-seen': NOW } }, 'ipxe']
}
for (const [sentence, [order, client]] of Object.entries(NOT))
  t.test(`${sentence}: nothing`, async (t) => {
    t.same(networkSeen(order && anOrder(order), client, NOW), [])
  })
