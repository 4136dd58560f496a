// A flood of forged DISCOVERs, as fast as one process can send and without a look at any answer, from 10,000 MACs in turn.
// Run in the clients' namespace, which needs a route for broadcasts.
//
//   dhcp-flood.ts SECONDS        at the end it prints how many it sent

import dgram from 'node:dgram'
import { setImmediate as turn } from 'node:timers/promises'
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

const end = performance.now() + Number(process.argv[2]) * 1000
let sent = 0
while (performance.now() < end) {
  for (let count = 0; count < BATCH; count++) socket.send(packets[sent++ % MACS]!)
  await turn()
}
socket.close()
console.log(sent)
