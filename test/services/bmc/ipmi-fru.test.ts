import t from 'tap'
import { readInventory } from '../../../services/bmc/ipmi-fru.ts'
import { exchange } from './exchange.ts'

/** Header, and a chassis area with two fields. */
const FRU = Buffer.from('01000100000000fe' + '010217c24350c2' + '4353c1000000000000', 'hex')
FRU[FRU.length - 1] = -FRU.subarray(8).reduce((sum, byte) => sum + byte, 0) & 0xff

for (const [name, unit] of [
  ['bytes', 1],
  ['words', 2]
] as const) {
  t.test(`a memory addressed by ${name}`, async (t) => {
    const served = await exchange((command, data) => {
      if (data[0] !== 0) return 0xcb
      if (command.startsWith('Get FRU')) return Buffer.from([FRU.length, 0, unit - 1])
      const at = data.readUInt16LE(1) * unit
      const count = data.readUInt8(3)
      return Buffer.concat([Buffer.from([count]), FRU.subarray(at, at + count * unit)])
    })
    const missing = { kind: 'fru', recordId: 1, name: 'PSU2', fru: 3, logical: true } as const
    const reports = await readInventory(served, [missing])
    t.match(reports, [{ fru: 0, chassis: { 'part number': 'CP', 'serial number': 'CS' }, faults: [] }])
    t.equal(reports.length, 1, 'what is not fitted is left out')
  })
}

t.test('a memory that is shorter than it says, and one that holds rubbish, are told', async (t) => {
  const short = await exchange((command, data) => {
    if (command.startsWith('Get FRU')) return Buffer.from([0xff, 0, 0])
    return data[1] === 0 ? Buffer.concat([Buffer.from([16]), FRU.subarray(0, 16)]) : 0xc9
  })
  t.match(await readInventory(short, []), [{ chassis: null, faults: [/chassis/] }])
  const rubbish = await exchange((command) =>
    command.startsWith('Get FRU') ? Buffer.from([16, 0, 0]) : Buffer.alloc(17, 0x10)
  )
  t.match(await readInventory(rubbish, []), [{ faults: [/no FRU header/] }])
})
