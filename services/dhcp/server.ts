// DHCP on port 67: packets in, one transaction for all that lie in the socket, answers out. What to answer is decided in
// src/decide/dhcp.ts.

import type { RemoteInfo, Socket } from 'node:dgram'
import type { Logger } from 'pino'
import { decideDhcp, type DhcpAnswer, type DhcpSettings, type DhcpVerdict } from '../../src/decide/dhcp.ts'
import { decodeDhcp, encodeDhcp, type DhcpMessage } from '../../src/wire/dhcp.ts'
import { WireError } from '../../src/wire/wire-error.ts'
import type { Config } from '../config.ts'
import type { Apply } from '../store/apply.ts'
import type { Facts } from '../store/facts.ts'
import type { Store } from '../store/open.ts'

export type DhcpDeps = {
  config: Pick<Config, 'network' | 'http'>
  store: Store
  facts: Facts
  apply: Apply
  log: Logger
  /** Milliseconds since the epoch. */
  now: () => number
  /** From `listenDhcp` (services/listen.ts): all are read, `send` answers. `close` closes them. */
  sockets: { receive: Socket[]; send: Socket }
  /** Told of a node whose order got a tick; a hint. */
  wake: (nodeUuid: string) => void
}

export type DhcpCounters = { received: number; malformed: number; answered: number; ignored: number }

type Arrived = { bytes: Buffer; from: RemoteInfo }
type Decided = { request: DhcpMessage; verdict: DhcpVerdict; nodeUuid: string | null }

/** Serves DHCP until `close`, which resolves when the sockets are closed. */
export function startDhcp(deps: DhcpDeps): { counters: Readonly<DhcpCounters>; close(): Promise<void> } {
  const { config, store, facts, apply, now, sockets, wake } = deps
  const log = deps.log.child({ service: 'dhcp' })
  const counters: DhcpCounters = { received: 0, malformed: 0, answered: 0, ignored: 0 }
  const settings: DhcpSettings = {
    address: config.network.address,
    httpPort: config.http.port,
    subnets: config.network.subnets,
    unicastWithoutArp: false
  }
  let waiting: Arrived[] = []
  let closed = false

  function receive(bytes: Buffer, from: RemoteInfo): void {
    counters.received++
    // One turn of the event loop reads what the socket holds; the whole lot then shares one commit.
    if (waiting.length === 0) setImmediate(serve)
    waiting.push({ bytes, from })
  }

  function serve(): void {
    if (closed) return
    const started = performance.now()
    const requests = decodeAll()
    if (requests.length === 0) return
    const decided = store.commit(() => requests.map(decide))
    const milliseconds = Math.round((performance.now() - started) * 10) / 10
    for (const { request, verdict, nodeUuid } of decided) {
      if ('reply' in verdict) send(request, verdict)
      else counters.ignored++
      logDecision(request, verdict, milliseconds)
      if (nodeUuid && verdict.changes.some((change) => 'tick' in change)) wake(nodeUuid)
    }
  }

  function decodeAll(): DhcpMessage[] {
    const arrived = waiting
    waiting = []
    return arrived.flatMap(({ bytes, from }) => {
      try {
        return [decodeDhcp(bytes)]
      } catch (error) {
        if (!(error instanceof WireError)) throw error
        counters.malformed++
        log.debug({ from: from.address, bytes: bytes.length, code: error.code }, error.message)
        return []
      }
    })
  }

  function decide(request: DhcpMessage): Decided {
    const machine = facts.machineByMac(request.chaddr)
    const verdict = decideDhcp(
      request,
      { ...machine, lease: facts.leaseByMac(request.chaddr) },
      settings,
      now()
    )
    apply(verdict.changes)
    return { request, verdict, nodeUuid: machine.node?.uuid ?? null }
  }

  function send(request: DhcpMessage, verdict: DhcpAnswer): void {
    const { address, port } = verdict.destination
    const bytes = encodeDhcp(verdict.reply, request.options.maxMessageSize)
    sockets.send.send(bytes, port, address, (error) => {
      if (error) log.warn({ mac: request.chaddr, to: address, error: error.message }, 'DHCP answer not sent')
    })
    counters.answered++
  }

  function logDecision(request: DhcpMessage, verdict: DhcpVerdict, milliseconds: number): void {
    const { messageType: type } = request.options
    const line = { mac: request.chaddr, type, client: verdict.client, milliseconds }
    if ('reply' in verdict) {
      const { reply, destination, bootFile, reason } = verdict
      const answer = reply.options.messageType
      log.info(
        { ...line, answer, ip: reply.yiaddr, to: destination.address, bootFile, reason },
        `${type} answered`
      )
    }
    // Strangers are none of our business, and there may be many of them.
    else log[verdict.client ? 'info' : 'debug']({ ...line, reason: verdict.ignore }, `${type} ignored`)
  }

  const all = new Set([...sockets.receive, sockets.send])
  for (const socket of all) {
    // On an unconnected UDP socket this is the kernel's word about an earlier answer, a host unreachable say.
    socket.on('error', (error) => log.warn({ error: error.message }, 'DHCP socket'))
  }
  for (const socket of sockets.receive) socket.on('message', receive)

  return {
    counters,
    async close() {
      closed = true
      await Promise.all([...all].map((socket) => new Promise<void>((done) => socket.close(() => done()))))
    }
  }
}
