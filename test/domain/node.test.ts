import t from 'tap'
import { hardwareModelOf } from '../../src/domain/node.ts'

const NAMES: [vendor: string | null, product: string | null, name: string | null][] = [
  ['Dell Inc.', 'PowerEdge R740', 'Dell Inc. PowerEdge R740'],
  [' HPE ', 'ProLiant  DL380\tGen10 ', 'HPE ProLiant DL380 Gen10'],
  [null, 'X11DPU', 'X11DPU'],
  ['Supermicro', null, null],
  ['Supermicro', ' ', null],
  ['ASUS', 'System Product Name', null],
  ['ASUS', 'To be filled by O.E.M.', null],
  ['Intel', 'Default string', null],
  ['x', 'N/A', null],
  ['x', 'Nano 5', 'x Nano 5']
]

t.test('machines that are alike have one name, and those that do not tell have none', async (t) => {
  for (const [vendor, product, name] of NAMES) t.equal(hardwareModelOf(vendor, product), name, `${product}`)
})
