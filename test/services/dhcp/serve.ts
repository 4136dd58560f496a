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
import { openStore, type Store } from '../../../services/store/open.ts'
import { anImage } from '../../support/builders.ts'

export type Serve = {
  dataDir: string
  link: { interface: string; address: string }
  subnets: Subnet[]
  dhcp: NetworkConfig['dhcp']
  machines: { node: Node; ports: Port[]; order?: Order; instance?: Instance }[]
  /** No line per packet: for thousands of clients. */
  quiet?: boolean
  /**
   * Breaks a promise of store or clock, to show that a test would see it. `no-sync`: commits are not synced; `late-commit`: they
   * are made up to a quarter of a second after the store said so; `wall-clock`: leases end by it.
   */
  sabotage?: 'no-sync' | 'late-commit' | 'wall-clock'
}

const serve = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as Serve
const log = pino({ level: 'debug' }, pino.destination({ fd: 1, sync: true }))
const store = openStore(serve.dataDir)
if (serve.sabotage === 'no-sync') store.db.pragma('synchronous = OFF')
if (serve.sabotage === 'late-commit') commitLate(store)
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
  log: serve.quiet ? log.child({}, { level: 'warn' }) : log,
  now: Date.now,
  stages: new Map(),
  loaders: { has: () => true },
  leaseNow: serve.sabotage === 'wall-clock' ? Date.now : clock.now,
  sockets: { ...(await listenDhcp(serve.link, inherited)), proxy },
  wake: (nodeUuid) => log.info({ nodeUuid }, 'wake')
})
process.on('SIGUSR2', () => log.info({ leases: facts.leases() }, 'leases'))
process.on('SIGTERM', () => {
  void dhcp.close().then(() => {
    const ticks = serve.machines.flatMap(({ node }) => Object.keys(facts.latestOrder(node.uuid)?.ticks ?? {}))
    log.info({ counters: dhcp.counters, leases: facts.leases(), ticks }, 'closed')
    clock.close()
    store.close()
  })
})

log.info('listening')

/** Keeps a transaction open around those of the store, which so become parts of it. */
function commitLate({ db }: Store): void {
  db.exec('BEGIN')
  setInterval(() => db.exec('COMMIT; BEGIN'), 250).unref()
}
