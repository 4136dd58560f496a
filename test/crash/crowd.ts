// A crowd of DHCP clients behind one relay, and the ledger of what they were promised. A process of its own, so that it can
// stand in a network namespace and outlive the servers. Argument: JSON of `Crowd`. Takes orders as JSON lines from stdin
// (crowding.ts) and answers each with one line on stdout.
//
// Every REQUEST has a higher transaction id than all before it, and bears it in its host name: so a row of the lease table
// tells which REQUEST it was written for (host-name.ts).

import { createSocket } from 'node:dgram'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Ip, Mac } from '../../src/wire/address.ts'
import { decodeDhcp, encodeDhcp, NO_ADDRESS, SERVER_PORT, type DhcpMessage } from '../../src/wire/dhcp.ts'
import type { DhcpOptions } from '../../src/wire/dhcp-options.ts'
import { aMac, aRequest } from '../support/dhcp.ts'
import { seededRandom } from '../support/mutate.ts'
import { hostNameOf } from './host-name.ts'

export type Crowd = {
  server: Ip
  /** Our own address, to which the server sends all answers. */
  relay: Ip
  /** The first so many clients are enrolled machines: they never give their address back. */
  enrolled: number
  /** So many clients are to hold a lease. */
  leases: number
  seed: number
}

/** What a client was promised. `xid`: by the ACK to which REQUEST; `endsAt`: ms of our own monotonic clock. */
export type Promised = { mac: Mac; ip: Ip; xid: number; endsAt: number }

const CONVERSATIONS = 64
const RESEND_MILLISECONDS = 250
/** After so many requests in vain the server is held to know nothing of the client. */
const TRIES = 12
const PATIENCE_MILLISECONDS = 60_000

const crowd = JSON.parse(process.argv[2] ?? '') as Crowd
const random = seededRandom(crowd.seed)
const socket = createSocket('udp4')
const ledger = new Map<Mac, Promised>()
/** Who was promised an address last. */
const holders = new Map<Ip, Promised>()
const gone = new Set<Mac>()
const waiting = new Map<number, (reply: DhcpMessage | null) => void>()
const busy = new Set<Mac>()
/** When a REQUEST was sent first. */
const askedAt = new Map<number, number>()
/** Breaches seen since they were last told. */
let breaches: string[] = []
/** So many have come so far. */
let clients = 0
let lastXid = 0
let acks = 0
/** How often an address went to another client than before. */
let inherited = 0
let heardAt = 0
let loading: Promise<unknown> | null = null
let stopping = false

socket.on('error', () => {}) // the kernel's word that nobody listens: the server is down
socket.on('message', (bytes) => {
  heardAt = performance.now()
  const reply = decodeDhcp(bytes)
  if (reply.options.messageType === 'ack') note(reply)
  waiting.get(reply.xid)?.(reply)
})

/** Writes an ACK into the ledger; also one that nobody waits for any more. */
function note({ chaddr: mac, yiaddr: ip, xid, options }: DhcpMessage): void {
  if (gone.has(mac)) return
  acks++
  const now = performance.now()
  // A client counts from when it asked (RFC 2131 4.4.1).
  const endsAt = (askedAt.get(xid) ?? now) + (options.leaseSeconds ?? 0) * 1000
  const promised = { mac, ip, xid, endsAt }
  const holder = holders.get(ip)
  if (holder && holder.mac !== mac) {
    if (holder.endsAt > now) breaches.push(`${ip} was promised to ${holder.mac}, and now to ${mac}`)
    else inherited++
  }
  const before = ledger.get(mac)
  if (before && before.ip !== ip && before.endsAt > now)
    breaches.push(`${mac} had ${before.ip}, and now got ${ip}`)
  holders.set(ip, promised)
  ledger.set(mac, promised)
}

function packet(xid: number, mac: Mac, ciaddr: Ip, options: DhcpOptions): Buffer {
  const hostName = options.messageType === 'request' ? hostNameOf(xid) : undefined
  const relayed = { giaddr: crowd.relay, hops: 1, flags: 0 }
  return encodeDhcp(aRequest({ ...relayed, xid, chaddr: mac, ciaddr, options: { ...options, hostName } }))
}

const send = (bytes: Buffer) => socket.send(bytes, SERVER_PORT, crowd.server)

/** Asks again and again; null when there is no answer after `tries`, or all is to stop. */
function ask(
  mac: Mac,
  ciaddr: Ip,
  options: DhcpOptions,
  { tries = Infinity, every = RESEND_MILLISECONDS } = {}
): Promise<DhcpMessage | null> {
  const xid = ++lastXid
  const bytes = packet(xid, mac, ciaddr, options)
  return new Promise((resolve) => {
    let timer: NodeJS.Timeout | undefined
    const end = (reply: DhcpMessage | null) => {
      clearTimeout(timer)
      waiting.delete(xid)
      resolve(reply)
    }
    const attempt = () => {
      if (stopping || tries-- === 0) return end(null)
      send(bytes)
      timer = setTimeout(attempt, every)
    }
    waiting.set(xid, end)
    if (options.messageType === 'request') askedAt.set(xid, performance.now())
    attempt()
  })
}

/** One conversation of one client, picked at random: it comes, renews, starts anew or goes. */
async function converse(): Promise<void> {
  const n = pick()
  if (n === undefined) return sleep(1)
  const mac = aMac(n)
  const held = ledger.get(mac)
  const dice = random()
  busy.add(mac)
  if (!held || dice < 0.35) await boot(mac)
  else if (dice < 0.45 && n >= crowd.enrolled) leave(held)
  else await renew(held)
  busy.delete(mac)
}

/** The number of a client with nothing to do; undefined: none was found. */
function pick(): number | undefined {
  const few = clients < crowd.enrolled || (crowd.leases > crowd.enrolled && ledger.size < crowd.leases)
  if (few && random() < 0.8) return clients++
  for (let tries = 0; tries < 10; tries++) {
    const n = Math.floor(random() * clients)
    const mac = aMac(n)
    if (!busy.has(mac) && !gone.has(mac)) return n
  }
  return undefined
}

/** DISCOVER, OFFER, REQUEST, ACK. A client that has an address and is offered another has been forgotten; `note` says so. */
async function boot(mac: Mac): Promise<void> {
  // In vain when all addresses are taken.
  const offer = await ask(mac, NO_ADDRESS, { messageType: 'discover' }, { tries: 4 })
  if (!offer) return
  const { serverId } = offer.options
  const taken = { messageType: 'request', serverId, requestedAddress: offer.yiaddr } as const
  await ask(mac, NO_ADDRESS, taken)
}

async function renew({ mac, ip }: Promised): Promise<void> {
  const reply = await ask(mac, ip, { messageType: 'request' })
  if (reply?.options.messageType === 'nak') forget(mac, 'was refused when it renewed')
}

function leave(promised: Promised): void {
  const { mac, ip } = promised
  gone.add(mac)
  ledger.delete(mac)
  promised.endsAt = performance.now()
  send(packet(++lastXid, mac, ip, { messageType: 'release', serverId: crowd.server }))
}

function forget(mac: Mac, how: string): void {
  const promised = ledger.get(mac)
  if (!promised) return
  breaches.push(`${mac} had ${promised.ip}, and ${how}`)
  ledger.delete(mac)
  holders.delete(promised.ip)
}

/** Works in so many conversations at a time, while there is more to do. */
async function together(
  more: () => boolean,
  work: () => Promise<unknown>,
  conversations = CONVERSATIONS
): Promise<void> {
  const one = async () => {
    while (more()) await work()
  }
  await Promise.all(Array.from({ length: conversations }, one))
}

const newcomer = () => boot(aMac(clients++))

const orders = {
  /** All clients come once. */
  async fill(): Promise<void> {
    await together(() => clients < crowd.leases, newcomer)
  },
  /** Newcomers ask until so many more clients have a lease. */
  async come(count: number): Promise<void> {
    stopping = false
    const enough = ledger.size + count
    await together(() => ledger.size < enough, newcomer)
  },
  /** Loads the server, and goes on after the answer, which comes with so many more ACKs. */
  async load(more: number): Promise<void> {
    stopping = false
    loading ??= together(() => !stopping, converse)
    const enough = acks + more
    const deadline = performance.now() + PATIENCE_MILLISECONDS
    while (acks < enough) {
      if (performance.now() > deadline) throw new Error(`${acks - enough + more} ACKs instead of ${more}`)
      await sleep(2)
    }
  },
  /** Stops the load and waits until nothing more comes. How many questions were left without an answer. */
  async settle(): Promise<number> {
    stopping = true
    const open = waiting.size
    heardAt = performance.now()
    for (const end of [...waiting.values()]) end(null)
    await loading
    loading = null
    while (performance.now() - heardAt < 50) await sleep(10)
    return open
  },
  ledger: () => [...ledger.values()],
  /** Asks until it is offered an address. */
  async offer(every: number): Promise<void> {
    stopping = false
    await ask(aMac(0), NO_ADDRESS, { messageType: 'discover' }, { every })
  },
  /** Lets everybody that has a lease ask for it as after a reboot (INIT-REBOOT). How many were asked. */
  async check(): Promise<number> {
    stopping = false
    const promised = [...ledger.values()]
    let next = 0
    const checkOne = async () => {
      const { mac, ip } = promised[next++] as Promised
      const asked = { messageType: 'request', requestedAddress: ip } as const
      const once = () => ask(mac, NO_ADDRESS, asked, { tries: TRIES })
      // A server that answers nobody is only slow: whoever hears nothing asks again when somebody does.
      const reply = (await once()) ?? (await orders.offer(RESEND_MILLISECONDS), await once())
      if (!reply) forget(mac, 'got no answer after the restart')
      else if (reply.options.messageType !== 'ack') forget(mac, 'was refused after the restart')
    }
    await together(() => next < promised.length, checkOne)
    return promised.length
  },
  /**
   * Newcomers ask until so many addresses have gone from one client to another, or for a minute. How much time the first lease
   * had left when they began, ms.
   */
  async inherit(count: number): Promise<number> {
    stopping = false
    const started = performance.now()
    const ends = Math.min(...[...ledger.values()].map(({ endsAt }) => endsAt))
    const enough = inherited + count
    const more = () => inherited < enough && performance.now() < started + PATIENCE_MILLISECONDS
    await together(more, newcomer, count)
    return ends - started
  },
  /** What was promised and not kept, since this was last asked; and counts of all. */
  tell() {
    const told = { breaches, acks, inherited }
    breaches = []
    return told
  }
}

export type Orders = typeof orders

socket.bind(SERVER_PORT, crowd.relay, () => {
  createInterface({ input: process.stdin }).on('line', (line) => {
    const { order, args } = JSON.parse(line) as { order: keyof Orders; args: never[] }
    const carryOut = orders[order] as (...args: never[]) => unknown
    void Promise.resolve(carryOut(...args)).then((answer) => console.log(JSON.stringify(answer ?? null)))
  })
  process.stdin.on('end', () => process.exit())
})
