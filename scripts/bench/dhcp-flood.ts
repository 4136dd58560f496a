// A flood of forged DISCOVERs, without a look at any answer, from 10,000 MACs in turn. Run in the clients' namespace, which
// needs a route for broadcasts.
//
//   dhcp-flood.ts SECONDS RATE        RATE packets a second, 0: as fast as one process can send; at the end it prints how many it sent

import dgram from 'node:dgram'
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import { encodeDhcp } from '../../src/wire/dhcp.ts'
import { aRequest } from '../../test/support/dhcp.ts'
import { FORGED } from './dhcp-load.ts'

const MACS = 10_000
const BATCH = 64

const packets = Array.from({ length: MACS }, (_, index) => {
  const number = Buffer.alloc(6)
  number.writeUInt8(FORGED, 0)
  number.writeUInt32BE(index, 2)
  const chaddr = number.toString('hex').replace(/..(?!$)/g, '$&:')
  return encodeDhcp(aRequest({ chaddr, xid: index, options: { messageType: 'discover' } }))
})

const socket = dgram.createSocket('udp4')
await new Promise<void>((resolve) => socket.bind(0, resolve))
socket.setBroadcast(true)
await new Promise<void>((resolve) => socket.connect(67, '255.255.255.255', resolve))

const [seconds, rate] = process.argv.slice(2).map(Number) as [number, number]
const start = performance.now()
const elapsed = () => (performance.now() - start) / 1000
let sent = 0
while (elapsed() < seconds) {
  if (rate > 0 && sent > rate * elapsed()) {
    await sleep(1)
    continue
  }
  for (let count = 0; count < BATCH; count++) socket.send(packets[sent++ % MACS]!)
  await turn()
}
socket.close()
console.log(sent)
