// Many reference BMCs in one process, for bmc.ts: `bmc-farm.ts FIRST COUNT LOSS SILENT`. BMC number n is at 127.69.x.y port
// 623; the last SILENT of them answer nothing. Says "ready", and ends with its standard input.

import { startFakeBmc } from '../../test/support/fake-bmc.ts'
import { seededRandom } from '../../test/support/mutate.ts'

const [first = 0, count = 0, loss = 0, silent = 0] = process.argv.slice(2).map(Number)
const random = seededRandom(first + 1)

for (let number = first; number < first + count; number++) {
  const address = `127.69.${number >> 8}.${number & 0xff}`
  const bmc = await startFakeBmc({ address, port: 623, users: { admin: 'secret123' } })
  bmc.faults.loses = () => random() < loss
  bmc.faults.silent = number >= first + count - silent
}
console.log('ready')
process.stdin.on('end', () => process.exit()).resume()
