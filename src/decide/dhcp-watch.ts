// Who else serves DHCP on our link, as a step machine: what was heard, or that time passed, and the state go in; the new state,
// the probes to send, the news and when to look again come out.
//
// Servers are noticed by their answers to our probes, by their answers to others, and by clients that take their offers. A probe is
// a DISCOVER for a MAC that no machine has, from a PXE client, so that proxyDHCP servers answer too; nothing ever takes
// what it is offered. Option 224 of it names the appliance that sent it. A second Seedling, a *twin*, gives strangers no
// answer, but says who it is when it hears the probe of another.

import { Buffer } from 'node:buffer'
import { createHash } from 'node:crypto'
import { macFromBytes, parseMac, type Ip, type Mac } from '../wire/address.ts'
import { BROADCAST_FLAG, CLIENT_PORT, NO_ADDRESS, SERVER_PORT, type DhcpMessage } from '../wire/dhcp.ts'
import { optionCode, type DhcpOptions } from '../wire/dhcp-options.ts'
import { echoed, emptyReply } from './dhcp-reply.ts'
import { MARK_OPTION } from './succession.ts'

/** Where proxyDHCP and boot servers listen (PXE 2.1, 2.2.3). */
const PXE_PORT = 4011
/** For private use (RFC 3942): in a probe and in the answer to one, `seedling:` and the MAC of the sender's link. */
const SEEDLING_OPTION = '#224'
const MARK = 'seedling:'

/** The heads of options 53, with the type REQUEST, and 54. */
const REQUEST = Buffer.of(53, 1, 3)
const SERVER_ID = Buffer.of(54, 4)

/** Milliseconds. */
export const WATCH_TIMES = {
  /** How long we ask before we call ourselves alone: dnsmasq pings an address for 3 s before it offers it. */
  start: 4000,
  /** The second probe of the start, in case the first was lost; and the one for a server that was only overheard. */
  second: 2000,
  /** With those 3 s it makes an alarm within 30. */
  every: 25_000,
  /** While another server is known. */
  everyForeign: 10_000,
  /** Three missed probes and time for the answer. */
  forget: 45_000,
  /** A server that harms nobody is asked less often. */
  forgetHarmless: 90_000,
  /** Without probes a server shows only when a client asks it. */
  forgetQuiet: 600_000
}

export type WatchTimes = typeof WATCH_TIMES

/** A flood of forged answers fills no memory. */
const MOST_SERVERS = 16

export type WatchSettings = {
  /** Ours on the link: server id of our answers, source of our packets. */
  address: Ip
  /** Our link's MAC. No two hosts on a LAN have the same, so it is this appliance's name among twins. */
  mac: Mac
  /** By which Seedlings of the same state know each other (succession.ts); null: there is no state yet. */
  mark: Buffer | null
  /** Servers that may be there. */
  tolerate: readonly Ip[]
  /** Sends nothing, only listens. */
  quiet: boolean
  times: WatchTimes
}

export type DhcpServer = {
  /** Server id; of an impostor, which bears ours, the source of its packets. */
  address: Ip
  /** null: not known, or it is not on our link. */
  mac: Mac | null
  /** `proxy`: gives boot files only. */
  kind: 'dhcp' | 'proxy'
  firstSeenAt: number
  lastSeenAt: number
  /** What gave it away first: an answer to our probe, one to somebody else, or a client that took its offer. */
  seenBy: 'probe' | 'offer' | 'request'
  /** Another Seedling. */
  twin: boolean
  /** It is no reason to stand down: it is named in `tolerate`, or it is a twin that will stand down itself. */
  harmless: boolean
}

export type WatchStatus = {
  /** `probing`: we do not know yet. */
  state: 'probing' | 'alone' | 'foreign'
  servers: DhcpServer[]
}

type Known = Omit<DhcpServer, 'harmless'> & {
  /** We were serving when it was first seen. */
  intruder: boolean
  /** Reported: its MAC was looked up. */
  told: boolean
}

/** Times in milliseconds of a clock that never goes back. */
export type Watch = Readonly<{
  settings: WatchSettings
  /** The client that our probes pretend to be: the same at every start, so that it takes one address of a server's pool at most. */
  asker: { mac: Mac; xid: number }
  /** null: the time of asking is over. */
  startUntil: number | null
  /** Infinity: never. */
  probeAt: number
  servers: readonly Known[]
}>

export type WatchInput =
  | 'timer'
  /** `port` is ours: 67, where clients ask, or 68, where servers answer. */
  | { heard: DhcpMessage; from: Ip; port: typeof SERVER_PORT | typeof CLIENT_PORT }
  /** The answer to a `lookUp`. */
  | { server: Ip; mac: Mac | null }

export type WatchNews = { is: 'alone' } | { is: 'found' | 'gone'; server: DhcpServer }

export type WatchStep = {
  watch: Watch
  /** To broadcast, from port 68. */
  send: { port: number; message: DhcpMessage }[]
  /** Servers whose MAC is wanted, and the host on our link that has it: the source of what was heard. */
  lookUp: { server: Ip; host: Ip }[]
  /** For people, once each; the state itself is `watchStatus`. */
  news: WatchNews[]
  /** Call again with 'timer' then. */
  wakeAt: number
}

export function watchStatus(watch: Watch): WatchStatus {
  const servers = watch.servers.map((server) => described(watch, server))
  const foreign = servers.some((server) => !server.harmless)
  return { state: foreign ? 'foreign' : watch.startUntil === null ? 'alone' : 'probing', servers }
}

function described({ settings }: Watch, { intruder, told: _, ...server }: Known): DhcpServer {
  // Of two twins that both serve, the one with the lower MAC goes on, or they would stand down and come back in turns.
  const givesWay = server.twin && intruder && server.mac !== null && settings.mac < server.mac
  return { ...server, harmless: givesWay || settings.tolerate.includes(server.address) }
}

/** Begins to ask. */
export function startWatch(settings: WatchSettings, now: number): WatchStep {
  const hash = createHash('sha256')
    .update(MARK + settings.mac)
    .digest()
  const xid = hash.readUInt32BE(6)
  // Locally administered, unicast (IEEE 802 8.2.2).
  hash.writeUInt8((hash.readUInt8(0) & 0xfc) | 2, 0)
  const watch: Watch = {
    settings,
    asker: { mac: macFromBytes(hash), xid },
    startUntil: now + settings.times.start,
    probeAt: settings.quiet ? Infinity : now,
    servers: []
  }
  return stepWatch(watch, 'timer', now)
}

/** One step: something was heard, or looked up, or it is time. */
export function stepWatch(watch: Watch, input: WatchInput, now: number): WatchStep {
  if (input === 'timer') return passTime(watch, now)
  if ('server' in input) return identify(watch, input.server, { mac: input.mac })
  const { heard, from, port } = input
  if (port === CLIENT_PORT) return see(watch, hearServer(watch, heard, from), now)
  const sender = heard.op === 'request' ? seedlingOf(heard) : null
  if (sender) return hearTwin(watch, sender, from, now)
  return see(watch, hearClient(watch, heard), now)
}

function wait(watch: Watch, given: Partial<WatchStep> = {}): WatchStep {
  const ends = watch.servers.map((server) => forgetAt(watch, server))
  const wakeAt = Math.min(watch.startUntil ?? Infinity, watch.probeAt, ...ends)
  return { watch, send: [], lookUp: [], news: [], wakeAt, ...given }
}

function forgetAt(watch: Watch, server: Known): number {
  const { quiet, times } = watch.settings
  const patience = quiet ? 'forgetQuiet' : described(watch, server).harmless ? 'forgetHarmless' : 'forget'
  return server.lastSeenAt + times[patience]
}

// Time

function passTime(watch: Watch, now: number): WatchStep {
  const gone = watch.servers.filter((server) => now >= forgetAt(watch, server))
  const servers = watch.servers.filter((server) => !gone.includes(server))
  const asked = watch.startUntil !== null && now >= watch.startUntil
  const startUntil = asked ? null : watch.startUntil
  const next = { ...watch, servers, startUntil }
  const due = now >= watch.probeAt
  const send = due ? probes(watch) : []
  const probeAt = due ? now + pause(next, now) : watch.probeAt
  const news: WatchNews[] = gone.map((server) => ({ is: 'gone', server: described(watch, server) }))
  const alone = asked || watchStatus(watch).state === 'foreign'
  if (alone && watchStatus(next).state === 'alone') news.push({ is: 'alone' })
  return wait({ ...next, probeAt }, { send, news })
}

function pause({ settings: { times }, startUntil, servers }: Watch, now: number): number {
  if (servers.length > 0) return times.everyForeign
  return startUntil !== null && now + times.second < startUntil ? times.second : times.every
}

// What is heard

/** What was learnt of a server. `via` is the host on our link that its MAC can be asked of; null: there is none. */
type Sighting = Pick<DhcpServer, 'address' | 'mac' | 'kind' | 'seenBy' | 'twin'> & { via: Ip | null }

/** An answer on port 68: one of ours, or somebody else's. */
function hearServer({ settings, asker }: Watch, heard: DhcpMessage, from: Ip): Sighting | undefined {
  const { messageType: type, serverId } = heard.options
  if (heard.op !== 'reply' || (type !== 'offer' && type !== 'ack' && type !== 'nak')) return undefined
  const answersUs = heard.chaddr === asker.mac
  const seenBy = answersUs ? 'probe' : 'offer'
  const sender = seedlingOf(heard)
  if (sender === settings.mac) return undefined
  if (sender) return { address: serverId ?? from, mac: sender, kind: 'dhcp', seenBy, twin: true, via: null }
  // Our own broadcasts. The kernel lets none from outside pass that has our address as its source, unless told to.
  if (from === settings.address) return undefined
  const relayed = heard.giaddr !== NO_ADDRESS
  const server = {
    mac: null,
    kind: isProxy(heard, answersUs) ? 'proxy' : 'dhcp',
    seenBy,
    twin: false
  } as const
  // An impostor, unless a relay of this very link brings our own answers back to it.
  if (serverId === settings.address) return relayed ? undefined : { ...server, address: from, via: from }
  // A relay may put its own address in the server's place (RFC 5107): that says nothing of who is behind it. But we give no
  // offers to our own probe.
  if (relayed && serverId === heard.giaddr && !answersUs) return undefined
  return { ...server, address: serverId ?? from, via: relayed ? null : from }
}

/** No address, and the mark of PXE (PXE 2.1, 2.2.3). The answer to an INFORM has none either, but the address of who asked. */
function isProxy({ yiaddr, ciaddr, options }: DhcpMessage, answersUs: boolean): boolean {
  const informed = ciaddr !== NO_ADDRESS && !answersUs
  return /^(PXE|HTTP)Client/.test(options.vendorClass ?? '') && yiaddr === NO_ADDRESS && !informed
}

/** A request on port 67: a client that takes another server's offer. */
function hearClient({ settings }: Watch, heard: DhcpMessage): Sighting | undefined {
  const { messageType: type, serverId } = heard.options
  if (heard.op !== 'request' || type !== 'request' || serverId === undefined) return undefined
  if (serverId === settings.address) return undefined
  // Some clients name the server when they renew: that may be one of long ago. And on networks behind a relay there may well
  // be another server, for machines that are not ours.
  if (heard.ciaddr !== NO_ADDRESS || heard.giaddr !== NO_ADDRESS) return undefined
  return { address: serverId, mac: null, kind: 'dhcp', seenBy: 'request', twin: false, via: serverId }
}

/** A probe on port 67. Its sender may serve or not, so it tells no more than who a server is that was noticed otherwise. */
function hearTwin(watch: Watch, sender: Mac, from: Ip, now: number): WatchStep {
  if (sender === watch.settings.mac) return wait(watch)
  // Of two that start at the same time the one with the lower MAC goes on.
  if (watch.startUntil === null || sender > watch.settings.mac)
    return identify(watch, from, { mac: sender, twin: true })
  const twin = { mac: sender, kind: 'dhcp', seenBy: 'probe', twin: true } as const
  return see(watch, { ...twin, address: from, via: null }, now)
}

function identify(watch: Watch, address: Ip, learnt: { mac: Mac | null; twin?: true }): WatchStep {
  const known = watch.servers.find((server) => server.address === address)
  if (!known) return wait(watch)
  const server: Known = { ...known, ...learnt, mac: learnt.mac ?? known.mac, told: true }
  const next = { ...watch, servers: watch.servers.map((other) => (other === known ? server : other)) }
  const news: WatchNews[] = known.told ? [] : [{ is: 'found', server: described(next, server) }]
  return wait(next, { news })
}

function see(watch: Watch, sighting: Sighting | undefined, now: number): WatchStep {
  if (!sighting) return wait(watch)
  const { via, ...seen } = sighting
  const known = watch.servers.find(({ address }) => address === seen.address)
  if (known) {
    const again: Known = {
      ...known,
      mac: seen.mac ?? known.mac,
      kind: seen.kind === 'dhcp' ? 'dhcp' : known.kind,
      twin: known.twin || seen.twin,
      lastSeenAt: now
    }
    return wait({ ...watch, servers: watch.servers.map((server) => (server === known ? again : server)) })
  }
  if (watch.servers.length >= MOST_SERVERS) return wait(watch)
  const told = via === null
  const intruder = watchStatus(watch).state === 'alone'
  const server: Known = { ...seen, firstSeenAt: now, lastSeenAt: now, intruder, told }
  const { quiet, times } = watch.settings
  // It is asked soon who it is, if it was only overheard.
  const soon = now + (seen.seenBy === 'probe' ? times.everyForeign : times.second)
  const probeAt = quiet ? Infinity : Math.min(watch.probeAt, soon)
  const next = { ...watch, probeAt, servers: [...watch.servers, server] }
  return wait(next, {
    lookUp: via === null ? [] : [{ server: seen.address, host: via }],
    news: told ? [{ is: 'found', server: described(next, server) }] : []
  })
}

// Probes

function probes({ settings, asker }: Watch): WatchStep['send'] {
  const { mac } = asker
  const discover = discoverFor(asker, settings)
  const options: DhcpOptions = {
    ...discover.options,
    // What UEFI firmware sends (RFC 4578); a proxyDHCP server answers none but PXE clients.
    vendorClass: 'PXEClient:Arch:00007:UNDI:003016',
    clientArchitectures: [7],
    clientInterface: Buffer.of(1, 3, 16),
    clientMachineId: Buffer.concat([Buffer.of(0), createHash('sha256').update(mac).digest().subarray(0, 16)])
  }
  const message: DhcpMessage = { ...discover, options }
  // Boot servers answer a client that has an address, and there; the answer to this one is for us.
  const request = {
    ...message,
    ciaddr: settings.address,
    options: { ...options, messageType: 'request' } as const
  }
  return [
    { port: SERVER_PORT, message },
    { port: PXE_PORT, message: request }
  ]
}

/** Asks in the name of `asker`; no Seedling takes it for its request. */
export function discoverFor(
  asker: Watch['asker'],
  { mac, mark }: Pick<WatchSettings, 'mac' | 'mark'>
): DhcpMessage {
  return {
    op: 'request',
    htype: 1,
    hops: 0,
    xid: asker.xid,
    // Some servers and relays leave the first seconds to another one.
    secs: 60,
    flags: BROADCAST_FLAG,
    ciaddr: NO_ADDRESS,
    yiaddr: NO_ADDRESS,
    siaddr: NO_ADDRESS,
    giaddr: NO_ADDRESS,
    chaddr: asker.mac,
    sname: '',
    file: '',
    options: {
      messageType: 'discover',
      parameterList: (['subnetMask', 'routers', 'vendorOptions', 'serverId', 'vendorClass'] as const).map(
        optionCode
      ),
      [SEEDLING_OPTION]: Buffer.from(MARK + mac, 'latin1'),
      ...(mark && { [MARK_OPTION]: mark })
    }
  }
}

/**
 * The Seedling that sent this probe, or this answer to one; null: it is neither. A probe must never be answered as a machine's
 * request is, by the appliance itself as little as by a twin.
 */
export function seedlingOf({ options }: DhcpMessage): Mac | null {
  const text = options[SEEDLING_OPTION]?.toString('latin1') ?? ''
  return text.startsWith(MARK) ? (parseMac(text.slice(MARK.length)) ?? null) : null
}

/**
 * What an appliance that serves DHCP answers to the probe of another: who it is, and no address. Null when the message is no
 * probe for port 67, or our own. It goes where any answer to it would go (`dhcpDestination`).
 */
export function twinAnswer(
  probe: DhcpMessage,
  { address, mac, mark }: Pick<WatchSettings, 'address' | 'mac' | 'mark'>
): DhcpMessage | null {
  const sender = seedlingOf(probe)
  // A copy of the whole VM has our MAC, and is another all the same.
  const theirs = probe.options[MARK_OPTION]
  const own = mark && theirs ? theirs.equals(mark) : sender === mac
  if (!sender || own || probe.op !== 'request' || probe.options.messageType !== 'discover') return null
  return {
    ...emptyReply(probe),
    options: {
      messageType: 'offer',
      serverId: address,
      ...echoed(probe),
      [SEEDLING_OPTION]: Buffer.from(MARK + mac, 'latin1'),
      ...(mark && { [MARK_OPTION]: mark })
    }
  }
}

/**
 * Whether a packet of port 67 can mean anything to the watch, told from its bytes: a flood need not be decoded. It can if it has the
 * mark of a probe, or is a REQUEST (option 53) with a server id (54) that is not `address`, neither relayed nor a renewal.
 */
export function concernsWatch(bytes: Buffer, address: Ip): boolean {
  if (bytes.includes(MARK)) return true
  if (bytes.length < 240 || bytes.readUInt32BE(12) !== 0 || bytes.readUInt32BE(24) !== 0) return false
  if (!bytes.includes(REQUEST) || !bytes.includes(SERVER_ID)) return false
  return !bytes.includes(Buffer.of(...SERVER_ID, ...address.split('.').map(Number)))
}
