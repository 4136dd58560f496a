// A host that keeps an eye on its link, and has DHCP's sockets open on it, as a process of its own, so that it can run inside a network
// namespace. Argument: JSON of a link and how often to look. A line on stdin: `send` broadcasts to port 9999, `open` opens the sockets anew. Writes `heard` for
// every datagram on port 67, `link` for every change.

import { createInterface } from 'node:readline'
import pino from 'pino'
import { startLinkWatch } from '../../services/link.ts'
import { listenDhcp, type DatagramSockets, type Link } from '../../services/listen.ts'

const { everyMs, ...link } = JSON.parse(process.argv[2] ?? '') as Link & { everyMs: number }
const log = pino({ level: 'debug' }, pino.destination({ fd: 1, sync: true }))

async function open(): Promise<DatagramSockets> {
  const sockets = await listenDhcp(link, new Map())
  for (const socket of sockets.receive)
    socket.on('message', (bytes, from) => log.info({ text: bytes.toString(), from: from.address }, 'heard'))
  return sockets
}

let sockets = await open()
const watch = startLinkWatch({
  link,
  everyMs,
  onChange: (status, before) => log.info({ ...status, before: before.index }, 'link')
})
log.info(watch.status(), 'link')
createInterface({ input: process.stdin }).on('line', (line) => {
  if (line === 'send')
    sockets.send.send('sent', 9999, '255.255.255.255', (error) =>
      log.info({ error: (error as NodeJS.ErrnoException | null)?.code ?? null }, 'sent')
    )
  else {
    for (const socket of sockets.receive) socket.close()
    void open().then((opened) => {
      sockets = opened
      log.info('opened')
    })
  }
})
log.info('listening')
process.on('SIGTERM', () => {
  watch.close()
  for (const socket of sockets.receive) socket.close()
  process.stdin.destroy()
})
