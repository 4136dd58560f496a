// A room full of machines in a store, each in its ramdisk window and holding its address.

import type { Apply } from '../../services/store/apply.ts'
import type { Store } from '../../services/store/open.ts'
import type { Mac } from '../../src/wire/address.ts'
import { aLease, aNode, anImage, anInstance, anOrder, aPort, NOW } from './builders.ts'

/** One machine at each of `addresses`, all to get the same image; their MACs. */
export function enrolRoom(store: Store, apply: Apply, addresses: readonly string[]): Mac[] {
  const hex = (index: number) => index.toString(16).padStart(12, '0')
  const macs = addresses.map((_, index): Mac => hex(index + 2 ** 41).replace(/..(?!$)/g, '$&:'))
  store.commit(() => {
    apply([{ put: 'image', row: anImage() }])
    addresses.forEach((ip, index) => {
      const nodeUuid = `6e6f6465-0000-4000-8000-${hex(index)}`
      const instanceUuid = `696e7374-0000-4000-8000-${hex(index)}`
      const mac = macs[index] as Mac
      const token = hex(index).padStart(64, 'f')
      apply([
        { put: 'node', row: aNode({ uuid: nodeUuid, name: `n${index}` }) },
        {
          put: 'port',
          row: aPort({
            uuid: `706f7274-0000-4000-8000-${hex(index)}`,
            nodeUuid,
            address: mac,
            reservedIp: ip
          })
        },
        { put: 'lease', row: aLease({ ip, mac }) },
        { put: 'instance', row: anInstance({ uuid: instanceUuid, nodeUuid, token }) },
        {
          put: 'order',
          row: anOrder({
            id: `6f726465-0000-4000-8000-${hex(index)}`,
            nodeUuid,
            instanceUuid,
            token,
            ticks: { 'powered-off': NOW }
          })
        }
      ])
    })
  })
  return macs
}
