// DHCP on port 67, and on 4011 as a proxy: packets in, one transaction for all that lie in the socket, answers out. What to answer is decided
// in src/decide/dhcp.ts and src/decide/proxy-dhcp.ts.

import type { RemoteInfo, Socket } from 'node:dgram'
import type { Logger } from 'pino'
import type { Heard } from '../../src/decide/boot-delay.ts'
import type { LoaderNames } from '../../src/decide/boot-file.ts'
import { stagesAfter, type BootStages } from '../../src/decide/boot-stage.ts'
import {
  decideDhcp,
  type DhcpAnswer,
  type DhcpFacts,
  type DhcpSettings,
  type DhcpVerdict
} from '../../src/decide/dhcp.ts'
import { withinStored } from '../../src/decide/dhcp-reply.ts'
import { decisionOf } from '../../src/decide/dhcp-explain.ts'
import { placeOf } from '../../src/decide/dhcp-place.ts'
import { networkSeen } from '../../src/decide/network-seen.ts'
import { addressShown, decideProxyDhcp, type ProxyDoor } from '../../src/decide/proxy-dhcp.ts'
import type { Standing } from '../../src/domain/standing.ts'
import type { Subnet } from '../../src/domain/subnet.ts'
import { macFromBytes, type Ip, type Mac } from '../../src/wire/address.ts'
import { decodeDhcp, encodeDhcp, NO_ADDRESS, type DhcpMessage } from '../../src/wire/dhcp.ts'
import { WireError } from '../../src/wire/wire-error.ts'
import type { Config } from '../config.ts'
import type { DatagramSockets } from '../listen.ts'
import type { Apply } from '../store/apply.ts'
import type { Facts } from '../store/facts.ts'
import { isFull, type Store } from '../store/open.ts'
import { createDiscoveryPool } from './discovery-pool.ts'
import { createFloodShield } from './flood-shield.ts'
import { gather } from './gather.ts'
import type { PacketRing } from './packet-ring.ts'

export type DhcpDeps = {
  config: Pick<Config, 'network' | 'http'>
  /** The boot loaders there are. */
  loaders: LoaderNames
  store: Store
  facts: Facts
  apply: Apply
  log: Logger
  /** Milliseconds since the epoch. */
  now: () => number
  /** The lease clock, ms (services/clock.ts). */
  leaseNow: () => number
  /** From `listenDhcp` (services/listen.ts): all are read, `send` answers; `proxy` is port 4011. `close` closes them. */
  sockets: DatagramSockets & { proxy?: Socket | undefined }
  /** Told of a node whose order got a tick; a hint. */
  wake: (nodeUuid: string) => void
  /** How far each machine came; a hint, kept here. */
  stages: Map<Mac, BootStages>
  /** Keeps the last packets of every MAC for people. */
  ring?: Pick<PacketRing, 'note'>
  /** Why nobody is to start afresh with us now, for people; null: all may. */
  standDown?: () => string | null
  /** Hears every packet of port 67 first; true: it is no machine's. */
  heard?: (bytes: Buffer, from: Ip) => boolean
  /** Looks whether somebody answers at an address that is offered; what it found before. */
  conflicts?: {
    probe(ip: Ip, macs: readonly Mac[]): void
    conflict(ip: Ip): DhcpFacts['conflict']
    isClear(ip: Ip): boolean
  }
}

export type DhcpCounters = {
  received: number
  malformed: number
  answered: number
  ignored: number
  /** Not looked into, because too many strangers asked at once. */
  dropped: number
}

export type DhcpServer = {
  counters: Readonly<DhcpCounters>
  /** The share of strangers' packets that the kernel lets through; 1, all, but in a flood. */
  strangersShare(): number
  close(): Promise<void>
}

type Arrived = { bytes: Buffer; from: RemoteInfo; port: 67 | 4011; at: number; mac: Mac }
type Decided = { request: DhcpMessage; verdict: DhcpVerdict; nodeUuid: string | null; arrived: Arrived }

/** One turn of the event loop takes this many packets of a socket (libuv); when they are all there, more are likely to wait. */
const PACKETS_A_TURN = 32
/** Packets that share a commit, at most: a sync of the disk costs as much as a few dozen answers. */
const MOST_AT_ONCE = 512
/** Strangers' packets that are looked into in a second, beside ten for each address that they may get. */
const STRANGERS_A_SECOND = 1000
const STRANGERS_TOLD_MILLISECONDS = 10_000
const EVERYBODY: Ip = '255.255.255.255'
const UNREAD = 'no answer: no port with this MAC is enrolled'

/** What decisions are told of us. */
export function dhcpSettings({
  config: { network, http },
  loaders
}: Pick<DhcpDeps, 'config' | 'loaders'>): DhcpSettings {
  return {
    address: network.address,
    httpPort: http.port,
    subnets: network.subnets,
    hasLoader: (name) => loaders.has(name),
    // It takes a packet socket, and so a capability that the service does not have; a client without an address that
    // cannot hear broadcasts has yet to be met (RFC 2131 4.1 allows them).
    unicastWithoutArp: false
  }
}

/** When every lease is over that may have been given to a stranger before the state was restored, ms; 0: it never was. */
function doubtsEnd({ epoch }: Standing, subnets: readonly Subnet[]): number {
  return epoch + 1000 * Math.max(0, ...subnets.map(({ discovery }) => discovery?.leaseSeconds ?? 0))
}

/** Serves DHCP until `close`, which resolves when the sockets are closed. */
export function startDhcp(deps: DhcpDeps): DhcpServer {
  const { config, store, facts, apply, now, leaseNow, sockets, wake, stages, ring } = deps
  const settings = dhcpSettings(deps)
  const { mode, probeConflicts } = config.network.dhcp
  const log = deps.log.child({ service: 'dhcp' })
  const counters: DhcpCounters = { received: 0, malformed: 0, answered: 0, ignored: 0, dropped: 0 }
  const conflict = (ip: Ip) => deps.conflicts?.conflict(ip) ?? null
  // A restored state does not know to whom addresses were given after its backup, and knows again when the longest of these leases is over.
  const sureAt = doubtsEnd(facts.standing(), config.network.subnets)
  function mayOffer(ip: Ip, mac: Mac): boolean {
    if (now() >= sureAt || !deps.conflicts || deps.conflicts.isClear(ip)) return true
    deps.conflicts.probe(ip, [mac])
    return false
  }
  const pool = createDiscoveryPool({ facts, leaseNow, inUse: (ip) => conflict(ip) !== null, mayOffer })
  const discovers = new Map<Mac, Heard>()
  const gathering = { facts, pool, stages, discovers, conflict, standDown: deps.standDown ?? (() => null) }
  const strangersServed = mode === 'listen' || config.network.subnets.some(({ discovery }) => discovery)
  const shield = createFloodShield({
    perSecond:
      STRANGERS_A_SECOND +
      10 * config.network.subnets.reduce((sum, { discovery }) => sum + (discovery?.perSecond ?? 0), 0),
    filter: sockets.filter,
    enrolled: facts.enrolledMacs,
    log
  })
  let enrolled: Arrived[] = []
  let strangers: Arrived[] = []
  let seen = 0
  let turn = 0
  let unanswered = 0
  let closed = false

  function receive(bytes: Buffer, from: RemoteInfo, port: 67 | 4011): void {
    counters.received++
    if (turn++ === 0) setImmediate(turnOver)
    if (port === 67 && deps.heard?.(bytes, from.address)) return
    // Before anything is decoded: whose packet is it? A flood of strangers' costs no more than this.
    const mac = bytes.length >= 34 && bytes[2] === 6 ? macFromBytes(bytes, 28) : ''
    const arrived = { bytes, from, port, at: now(), mac }
    const ours = facts.isEnrolled(mac)
    if (!ours && !strangersServed) {
      ignoreUnread(arrived)
      return
    }
    if (!ours && shield.tooMany(arrived.at)) {
      counters.dropped++
      return
    }
    if (enrolled.length + strangers.length === 0) setImmediate(serve)
    if (ours) enrolled.push(arrived)
    else strangers.push(arrived)
  }

  function turnOver(): void {
    if (turn < PACKETS_A_TURN) shield.drained()
    turn = 0
  }

  /** A stranger where strangers get nothing: counted, kept for who wants to know, and looked into for who reads the debug log. */
  function ignoreUnread(arrived: Arrived): void {
    const { mac, at } = arrived
    counters.ignored++
    unanswered++
    if (!shield.tooMany(at) && mac !== '') note(arrived, UNREAD)
    if (mac !== '' && !log.isLevelEnabled('debug')) return
    const request = decode(arrived)
    if (!request) return
    const place = placeOf(request, settings)
    const verdict = decideDhcp(request, place, gather(request, place, gathering), settings, time())
    logDecision(request, verdict, 0)
  }

  /** Keeps a packet that came in, with what was decided. */
  function note({ bytes, from, port, at, mac }: Arrived, decision: string): void {
    if (!ring || mac === '') return
    // The socket does not tell where a packet was sent to: who has no address yet can only have broadcast.
    const to = { address: from.address === NO_ADDRESS ? EVERYBODY : settings.address, port }
    ring.note({ mac, enrolled: facts.isEnrolled(mac), at, direction: 'in', from, to, bytes, decision })
  }

  const time = () => ({ now: now(), leaseNow: leaseNow() })

  function serve(): void {
    if (closed) return
    // What the sockets hold shares one commit: as long as they give all that one turn takes, they hold more.
    const waiting = enrolled.length + strangers.length
    if (waiting - seen >= PACKETS_A_TURN && waiting < MOST_AT_ONCE) {
      seen = waiting
      setImmediate(serve)
      return
    }
    answer()
  }

  /** Decides and answers what was read. */
  function answer(): void {
    const started = performance.now()
    const arrived = [...enrolled, ...strangers]
    enrolled = []
    strangers = []
    seen = 0
    const requests = arrived.flatMap((one) => {
      const request = decode(one)
      return request ? [{ request, arrived: one }] : []
    })
    if (requests.length === 0) return
    const decided =
      commit(() => requests.map((one) => decide(one.request, one.arrived))) ?? requests.flatMap(renewStored)
    const milliseconds = Math.round((performance.now() - started) * 10) / 10
    for (const { request, verdict, nodeUuid, arrived } of decided) {
      note(arrived, decisionOf(verdict))
      if ('reply' in verdict && mode !== 'listen') send(request, verdict, arrived)
      else counters.ignored++
      logDecision(request, verdict, milliseconds)
      if (nodeUuid && verdict.changes.some((change) => 'tick' in change)) wake(nodeUuid)
    }
  }

  /** Nothing leaves that is not on disk. null: the disk is full; all goes on by itself when there is room again. */
  function commit(work: () => Decided[]): Decided[] | null {
    try {
      return store.commit(work)
    } catch (error) {
      if (!isFull(error)) throw error
      log.error(
        'the disk is full: new leases cannot be stored, so only who has one is answered, until it ends; make room in dataDir'
      )
      return null
    }
  }

  /** Without a word to the database: who has a lease on disk keeps it for the rest of its time. */
  function renewStored({ request, arrived }: { request: DhcpMessage; arrived: Arrived }): Decided[] {
    if (mode !== 'server') return []
    const place = placeOf(request, settings)
    const verdict = decideDhcp(request, place, gather(request, place, gathering), settings, time())
    if (!('reply' in verdict)) return []
    const reply = withinStored(verdict.reply, facts.leaseByIp(verdict.reply.yiaddr), leaseNow())
    return reply ? [{ request, verdict: { ...verdict, reply, changes: [] }, nodeUuid: null, arrived }] : []
  }

  function decode({ bytes, from }: Arrived): DhcpMessage | undefined {
    try {
      return decodeDhcp(bytes)
    } catch (error) {
      if (!(error instanceof WireError)) throw error
      counters.malformed++
      log.debug({ from: from.address, bytes: bytes.length, code: error.code }, error.message)
      return undefined
    }
  }

  function decide(request: DhcpMessage, arrived: Arrived): Decided {
    const place = placeOf(request, settings)
    const known = gather(request, place, gathering)
    const verdict =
      mode === 'proxy'
        ? decideProxyDhcp(
            request,
            doorOf(arrived),
            place,
            { ...known, other: seenAt(request) },
            settings,
            time()
          )
        : decideDhcp(request, place, known, settings, time())
    if (mode !== 'listen') {
      verdict.changes.push(...networkSeen(known.order, verdict.client, now()))
      apply(verdict.changes)
      remember(request, known, verdict)
    }
    return { request, verdict, nodeUuid: known.node?.uuid ?? null, arrived }
  }

  const doorOf = ({ port, from }: Arrived): ProxyDoor =>
    port === 67 ? { port } : { port, from: { address: from.address, port: from.port } }

  function seenAt(request: DhcpMessage) {
    const ip = addressShown(request)
    return ip === null ? null : facts.portByIp(ip)
  }

  /** Hints only: what is on offer, how far a machine came, whose address to look after. */
  function remember(request: DhcpMessage, known: DhcpFacts, verdict: DhcpVerdict): void {
    const mac = request.chaddr
    if (known.node && request.options.messageType === 'discover')
      discovers.set(mac, { xid: request.xid, at: now() })
    if (!('reply' in verdict)) {
      if (verdict.ignore === 'other-server') pool.settle(mac)
      return
    }
    const { reply, kind, bootFile, client } = verdict
    const answer = reply.options.messageType
    if (answer === 'offer' && probeConflicts && kind !== 'foreign')
      deps.conflicts?.probe(
        reply.yiaddr,
        known.node ? facts.portsOfNode(known.node.uuid).map((port) => port.address) : [mac]
      )
    if (answer !== 'ack') return
    if (kind === 'discovery') pool.settle(mac)
    if (known.order?.state === 'open' && request.options.messageType !== 'inform')
      stages.set(mac, stagesAfter(known.stages, known.order, client, request.xid, bootFile !== null))
    else stages.delete(mac)
  }

  function send(request: DhcpMessage, verdict: DhcpAnswer, arrived: Arrived): void {
    const { address, port } = verdict.destination
    const bytes = encodeDhcp(verdict.reply, request.options.maxMessageSize)
    // What came by 4011 is answered from there: firewalls and firmware look at the port.
    const socket = arrived.port === 4011 ? (sockets.proxy ?? sockets.send) : sockets.send
    ring?.note({
      mac: request.chaddr,
      enrolled: facts.isEnrolled(request.chaddr),
      at: now(),
      direction: 'out',
      from: { address: settings.address, port: arrived.port },
      to: { address, port },
      bytes,
      decision: decisionOf(verdict)
    })
    socket.send(bytes, port, address, (error) => {
      if (error) log.warn({ mac: request.chaddr, to: address, error: error.message }, 'DHCP answer not sent')
    })
    counters.answered++
  }

  function logDecision(request: DhcpMessage, verdict: DhcpVerdict, milliseconds: number): void {
    const { messageType: type } = request.options
    const line = { mac: request.chaddr, type, client: verdict.client, milliseconds, reason: verdict.reason }
    if ('reply' in verdict) {
      const { reply, destination, bootFile } = verdict
      const answer = reply.options.messageType
      log.info(
        { ...line, answer, ip: reply.yiaddr, to: destination.address, bootFile },
        mode === 'listen' ? `${type} would be answered` : `${type} answered`
      )
    }
    // Strangers are none of our business, and there may be many of them.
    else log[verdict.client ? 'info' : 'debug'](line, `${type} ignored`)
  }

  const telling = setInterval(() => {
    if (unanswered > 0 || counters.dropped > 0)
      log.info(
        { unanswered, dropped: counters.dropped },
        'packets of machines that are not enrolled got no answer'
      )
    unanswered = 0
  }, STRANGERS_TOLD_MILLISECONDS)

  const all = new Set([...sockets.receive, sockets.send, ...(sockets.proxy ? [sockets.proxy] : [])])
  for (const socket of all) {
    // On an unconnected UDP socket this is the kernel's word about an earlier answer, a host unreachable say.
    socket.on('error', (error) => log.warn({ error: error.message }, 'DHCP socket'))
  }
  for (const socket of sockets.receive) socket.on('message', (bytes, from) => receive(bytes, from, 67))
  sockets.proxy?.on('message', (bytes, from) => receive(bytes, from, 4011))

  return {
    counters,
    strangersShare: shield.share,
    async close() {
      // What was read is in no socket any more, where who comes next would find it.
      answer()
      closed = true
      clearInterval(telling)
      shield.close()
      // Answers leave a tick after `send`, and a socket that is closed by then sends nothing.
      await new Promise<void>((sent) => process.nextTick(sent))
      await Promise.all([...all].map((socket) => new Promise<void>((done) => socket.close(() => done()))))
    }
  }
}
