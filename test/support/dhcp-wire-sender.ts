// Sends datagrams from inside a network namespace for dhcp-wire.ts. A line on stdin is a JSON list of `Datagram`, sent in that
// order; what comes in is dropped, so that nothing is told that its port is closed. Ends when stdin does.

import dgram from 'node:dgram'
import { createInterface } from 'node:readline'

/** `from` 0.0.0.0: whatever the kernel takes, and really 0.0.0.0 as long as the link has no address. */
export type Datagram = { from: string; fromPort: number; to: string; hex: string }

const SERVER_PORT = 67
const sockets = new Map<string, dgram.Socket>()

async function socketAt(address: string, port: number): Promise<dgram.Socket> {
  const place = `${address}:${port}`
  const found = sockets.get(place)
  if (found) return found
  const socket = dgram.createSocket({ type: 'udp4', reuseAddr: true })
  await new Promise<void>((resolve) => socket.bind({ address, port }, resolve))
  socket.setBroadcast(true)
  socket.on('message', () => undefined)
  sockets.set(place, socket)
  return socket
}

for await (const line of createInterface({ input: process.stdin })) {
  for (const { from, fromPort, to, hex } of JSON.parse(line) as Datagram[]) {
    const socket = await socketAt(from, fromPort)
    await new Promise<void>((resolve, reject) =>
      socket.send(Buffer.from(hex, 'hex'), SERVER_PORT, to, (error) => (error ? reject(error) : resolve()))
    )
  }
}
for (const socket of sockets.values()) socket.close()
