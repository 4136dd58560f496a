// A host that watches, as a process of its own, so that it can run inside a network namespace. Argument: JSON of `WatchHost`. Writes
// `status` with every change of the watch beside its log.

import pino from 'pino'
import { dhcpDestination } from '../../../src/decide/dhcp-destination.ts'
import type { WatchTimes } from '../../../src/decide/dhcp-watch.ts'
import { encodeDhcp } from '../../../src/wire/dhcp.ts'
import { startDhcpWatch } from '../../../services/dhcp/watch.ts'
import { linkMac } from '../../../services/link.ts'
import { inheritedSockets, listenDhcp } from '../../../services/listen.ts'

export type WatchHost = {
  link: { interface: string; address: string }
  /** Hears port 67 too, and answers twins, as long as it serves: when nobody else is there. */
  serves?: boolean
  quiet?: boolean
  tolerate?: string[]
  times: WatchTimes
}

const {
  link,
  serves = false,
  quiet = false,
  tolerate = [],
  times
} = JSON.parse(process.argv[2] ?? '') as WatchHost
const log = pino({ level: 'debug' }, pino.destination({ fd: 1, sync: true }))
const inherited = inheritedSockets(process.env, process.pid)
const sockets = await listenDhcp(link, inherited, 'dhcp-client')
const server = serves ? await listenDhcp(link, inherited) : null
const watch = startDhcpWatch({
  link,
  mac: linkMac(link.interface) ?? '',
  mark: null,
  gaveWay: () => false,
  sockets,
  tolerate,
  quiet,
  times,
  onChange: (status) => log.info(status, 'status'),
  answer(probe, reply) {
    const { address, port } = dhcpDestination(probe, reply, { rom: true, unicastWithoutArp: false })
    if (watch.status().state === 'alone') server?.send.send(encodeDhcp(reply), port, address)
  },
  log,
  now: Date.now
})
for (const socket of server?.receive ?? [])
  socket.on('message', (bytes, from) => watch.heard(bytes, from.address))
log.info('listening')
process.on('SIGTERM', () => {
  for (const socket of server?.receive ?? []) socket.close()
  void watch.close()
})
