// Looks out for other DHCP servers on the machines' link: holds port 68, where servers answer, sends the probes, keeps the time. What
// it means is decided in src/decide/dhcp-watch.ts.

import { randomInt } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import {
  concernsWatch,
  discoverFor,
  seedlingOf,
  startWatch,
  stepWatch,
  twinAnswer,
  watchStatus,
  WATCH_TIMES,
  type DhcpServer,
  type WatchInput,
  type WatchNews,
  type WatchStatus,
  type WatchStep,
  type WatchTimes
} from '../../src/decide/dhcp-watch.ts'
import type { Ip, Mac } from '../../src/wire/address.ts'
import { CLIENT_PORT, decodeDhcp, encodeDhcp, SERVER_PORT, type DhcpMessage } from '../../src/wire/dhcp.ts'
import { WireError } from '../../src/wire/wire-error.ts'
import type { DatagramSockets, Link } from '../listen.ts'
import { knock, readNeighbours } from '../neighbours.ts'

export type DhcpWatchDeps = {
  link: Link
  /** The link's own (`linkMac`). */
  mac: Mac
  /** `Succession.mark`; null: there is no state yet. */
  mark: Buffer | null
  /** Asked of every probe, and of every answer to one: true, if it is no server to stand down for. */
  gaveWay: (message: DhcpMessage, from: Ip) => boolean
  /** From `listenDhcp(link, inherited, 'dhcp-client')`. `close` closes them. */
  sockets: DatagramSockets
  /** Servers that may be there. */
  tolerate: readonly Ip[]
  /** Sends nothing at all, only listens. */
  quiet: boolean
  /** Called after every change of the status; not when a known server is seen again. */
  onChange: (status: WatchStatus) => void
  /** Every answer of another server that is heard on port 68. */
  onAnswer?: (message: DhcpMessage, from: Ip) => void
  /** Sends our answer to the probe of a twin as any answer of ours, from port 67, if we serve. Not called when `quiet`. */
  answer: (probe: DhcpMessage, reply: DhcpMessage) => void
  log: Logger
  /** Milliseconds since the epoch. */
  now: () => number
  times?: WatchTimes
}

export type DhcpWatch = {
  /** Times are in milliseconds since the epoch. */
  status(): WatchStatus
  /**
   * Takes what the DHCP service heard on port 67 from `from`, before anything else is done with it; costs next to nothing for nearly all
   * packets. True: it is a probe, ours or a twin's, and must not be answered like a machine's request.
   */
  heard(bytes: Buffer, from: Ip): boolean
  /** Asks other servers what they have for a machine; what they say comes by `onAnswer`. Never when `quiet`. */
  askFor(machine: Mac): void
  close(): Promise<void>
}

/** Packets that are looked into in a second; a flood of forged ones gets no more of our time. */
const MOST_READ = 1000
/** A host that is there answers ARP within milliseconds. */
const LOOKS = 4
const BETWEEN_LOOKS_MS = 250

export function startDhcpWatch(deps: DhcpWatchDeps): DhcpWatch {
  const {
    link,
    mac,
    mark,
    gaveWay,
    sockets,
    tolerate,
    quiet,
    onChange,
    answer,
    now,
    times = WATCH_TIMES
  } = deps
  const log = deps.log.child({ service: 'dhcp-watch' })
  // Not the time of day, which may be set back by years.
  const clock = () => performance.now()
  let timer: NodeJS.Timeout | undefined
  let closed = false
  let unsent = false
  let reading = { second: 0, count: 0 }
  const begun = startWatch({ address: link.address, mac, mark, tolerate, quiet, times }, clock())
  let { watch } = begun

  function step(input: WatchInput): void {
    if (closed) return
    const done = stepWatch(watch, input, clock())
    // Nearly all of what is heard is of no interest.
    if (done.watch === watch) return
    const before = outline()
    watch = done.watch
    act(done)
    if (outline() !== before) onChange(status())
  }

  function act({ send, lookUp, news, wakeAt }: WatchStep): void {
    for (const { port, message } of send) probe(message, port)
    for (const { server, host } of lookUp) void identify(server, host)
    for (const one of news) tell(one)
    clearTimeout(timer)
    if (wakeAt < Infinity) timer = setTimeout(() => step('timer'), Math.max(0, Math.ceil(wakeAt - clock())))
  }

  /** All of the status but when servers were last seen. */
  function outline(): string {
    const { state, servers } = watchStatus(watch)
    return JSON.stringify([state, servers.map((server) => ({ ...server, lastSeenAt: 0 }))])
  }

  function status(): WatchStatus {
    const { state, servers } = watchStatus(watch)
    const date = (time: number) => Math.round(now() - clock() + time)
    const dated = ({ firstSeenAt, lastSeenAt, ...server }: DhcpServer): DhcpServer => ({
      ...server,
      firstSeenAt: date(firstSeenAt),
      lastSeenAt: date(lastSeenAt)
    })
    return { state, servers: servers.map(dated) }
  }

  function probe(message: DhcpMessage, port: number): void {
    sockets.send.send(encodeDhcp(message), port, '255.255.255.255', (error) => {
      if (closed || (error !== null) === unsent) return
      unsent = error !== null
      if (error) log.warn({ link: link.interface, error: error.message }, 'cannot ask for other DHCP servers')
      else log.info({ link: link.interface }, 'asking for other DHCP servers again')
    })
  }

  /** Finds the MAC of a host on the link. Whoever just sent a broadcast need not be in the kernel's table. */
  async function identify(server: Ip, host: Ip): Promise<void> {
    const asking = quiet ? undefined : knock(link, host, () => {})
    let found: Mac | undefined
    for (let look = 0; look < LOOKS && found === undefined && !closed; look++) {
      if (look > 0) await sleep(BETWEEN_LOOKS_MS)
      found = (await readNeighbours(link.interface)).get(host)
    }
    asking?.close()
    step({ server, mac: found ?? null })
  }

  function tell(one: WatchNews): void {
    if (one.is === 'alone') {
      log.info({ link: link.interface }, quiet ? 'no DHCP server heard' : 'no other DHCP server answers')
      return
    }
    const { address, mac, kind, seenBy, twin, harmless } = one.server
    const line = { link: link.interface, address, mac, kind, seenBy, twin, harmless }
    const who = `${twin ? 'another Seedling' : kind === 'proxy' ? 'a proxyDHCP server' : 'another DHCP server'}, ${address}`
    const where = mac ? `${who} with MAC ${mac},` : who
    if (one.is === 'gone') log.info(line, `${where} is gone from ${link.interface}`)
    else if (harmless) log.info(line, `${where} is on ${link.interface}, which is as it should be`)
    else
      log.warn(
        line,
        `${where} is on ${link.interface}: stop it, or name it in the configuration if it is meant to be there`
      )
  }

  function read(bytes: Buffer, from: Ip): DhcpMessage | undefined {
    const second = Math.floor(clock() / 1000)
    if (second !== reading.second) reading = { second, count: 0 }
    if (++reading.count > MOST_READ) return undefined
    try {
      return decodeDhcp(bytes)
    } catch (error) {
      if (!(error instanceof WireError)) throw error
      log.debug({ from, code: error.code }, error.message)
      return undefined
    }
  }

  function hearServer(bytes: Buffer, from: Ip): void {
    const heard = read(bytes, from)
    if (!heard) return
    if (gaveWay(heard, from)) return
    if (heard.op === 'reply' && from !== link.address) deps.onAnswer?.(heard, from)
    step({ heard, from, port: CLIENT_PORT })
  }

  function hearClient(bytes: Buffer, from: Ip): boolean {
    const heard = concernsWatch(bytes, link.address) ? read(bytes, from) : undefined
    if (!heard) return false
    if (!gaveWay(heard, from)) step({ heard, from, port: SERVER_PORT })
    const reply = quiet ? null : twinAnswer(heard, { address: link.address, mac, mark })
    if (reply) answer(heard, reply)
    return seedlingOf(heard) !== null
  }

  const all = new Set([...sockets.receive, sockets.send])
  for (const socket of all)
    socket.on('error', (error) => log.warn({ error: error.message }, 'DHCP client port'))
  for (const socket of sockets.receive) socket.on('message', (bytes, from) => hearServer(bytes, from.address))
  act(begun)

  return {
    status,
    heard: hearClient,
    askFor(machine) {
      if (!quiet) probe(discoverFor({ mac: machine, xid: randomInt(2 ** 32) }, { mac, mark }), SERVER_PORT)
    },
    async close() {
      closed = true
      clearTimeout(timer)
      await Promise.all([...all].map((socket) => new Promise<void>((done) => socket.close(() => done()))))
    }
  }
}
