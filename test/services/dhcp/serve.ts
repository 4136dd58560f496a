// A DHCP service of its own process, so that it can run inside a network namespace: the real store, sockets and service.
// Argument: a file with the JSON of `Serve`. Writes its log as JSON lines to stdout, "listening" first, its leases as they stand on
// SIGUSR2; ends on SIGTERM.

import { readFileSync } from 'node:fs'
import pino from 'pino'
import type { Instance } from '../../../src/domain/instance.ts'
import type { Node, Port } from '../../../src/domain/node.ts'
import type { Order } from '../../../src/domain/order.ts'
import type { Subnet } from '../../../src/domain/subnet.ts'
import { startDhcp } from '../../../services/dhcp/server.ts'
import { inheritedSockets, listenDatagrams, listenDhcp } from '../../../services/listen.ts'
import type { NetworkConfig } from '../../../services/network-config.ts'
import { startLeaseClock } from '../../../services/clock.ts'
import { createApply } from '../../../services/store/apply.ts'
import { createFacts } from '../../../services/store/facts.ts'
import { openStore } from '../../../services/store/open.ts'
import { anImage } from '../../support/builders.ts'

export type Serve = {
  dataDir: string
  link: { interface: string; address: string }
  subnets: Subnet[]
  dhcp: NetworkConfig['dhcp']
  machines: { node: Node; ports: Port[]; order?: Order; instance?: Instance }[]
}

const serve = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as Serve
const log = pino({ level: 'debug' }, pino.destination({ fd: 1, sync: true }))
const store = openStore(serve.dataDir)
const apply = createApply(store)
const facts = createFacts(store)
store.commit(() => {
  apply([{ put: 'image', row: anImage() }])
  for (const { node, ports, order, instance } of serve.machines) {
    apply([{ put: 'node', row: node }])
    if (instance) apply([{ put: 'instance', row: { ...instance, imageId: anImage().id } }])
    apply(ports.map((row) => ({ put: 'port', row })))
    if (order) apply([{ put: 'order', row: { ...order, imageId: null, instanceUuid: null } }])
  }
})
const clock = startLeaseClock({ store, facts, apply })
const inherited = inheritedSockets(process.env, process.pid)
const proxy =
  serve.dhcp.mode === 'proxy'
    ? await listenDatagrams('proxydhcp', { address: serve.link.address, port: 4011 }, inherited)
    : undefined
const dhcp = startDhcp({
  config: { network: { ...serve.link, subnets: serve.subnets, dhcp: serve.dhcp }, http: { port: 80 } },
  store,
  facts,
  apply,
  log,
  now: Date.now,
  leaseNow: clock.now,
  sockets: { ...(await listenDhcp(serve.link, inherited)), proxy },
  wake: (nodeUuid) => log.info({ nodeUuid }, 'wake')
})
log.info('listening')
process.on('SIGUSR2', () => log.info({ leases: facts.leases() }, 'leases'))
process.on('SIGTERM', () => {
  void dhcp.close().then(() => {
    const ticks = serve.machines.flatMap(({ node }) => Object.keys(facts.latestOrder(node.uuid)?.ticks ?? {}))
    log.info({ counters: dhcp.counters, leases: facts.leases(), ticks }, 'closed')
    clock.close()
    store.close()
  })
})
