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
const TRIES = 24

const crowd = JSON.parse(process.argv[2] ?? '') as Crowd
const random = seededRandom(crowd.seed)
const socket = createSocket('udp4')
const ledger = new Map<Mac, Promised>()
/** Who was promised an address last. */
const holders = new Map<Ip, Promised>()
const gone = new Set<Mac>()
const waiting = new Map<number, (reply: DhcpMessage | null) => void>()
const busy = new Set<Mac>()
/** Breaches seen since they were last told. */
let breaches: string[] = []
/** So many have come so far. */
let clients = 0
let lastXid = 0
let acks = 0
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
  const promised = { mac, ip, xid, endsAt: now + (options.leaseSeconds ?? 0) * 1000 }
  const holder = holders.get(ip)
  if (holder && holder.mac !== mac && holder.endsAt > now)
    breaches.push(`${ip} was promised to ${holder.mac}, and now to ${mac}`)
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
  else if (dice < 0.4 && n >= crowd.enrolled) leave(held)
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
  const offer = await ask(mac, NO_ADDRESS, { messageType: 'discover' })
  if (!offer) return
  const { serverId } = offer.options
  const taken = { messageType: 'request', serverId, requestedAddress: offer.yiaddr } as const
  await ask(mac, NO_ADDRESS, taken)
}

async function renew({ mac, ip }: Promised): Promise<void> {
  const reply = await ask(mac, ip, { messageType: 'request' })
  if (reply?.options.messageType === 'nak') forget(mac, 'was refused when it renewed')
}

function leave({ mac, ip }: Promised): void {
  gone.add(mac)
  ledger.delete(mac)
  holders.delete(ip)
  send(packet(++lastXid, mac, ip, { messageType: 'release', serverId: crowd.server }))
}

function forget(mac: Mac, how: string): void {
  const promised = ledger.get(mac)
  if (!promised) return
  breaches.push(`${mac} had ${promised.ip}, and ${how}`)
  ledger.delete(mac)
  holders.delete(promised.ip)
}

/** Runs conversations side by side until `stopping`. */
function load(): void {
  stopping = false
  const one = async () => {
    while (!stopping) await converse()
  }
  loading ??= Promise.all(Array.from({ length: CONVERSATIONS }, one))
}

async function until(done: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 60_000
  while (!done()) {
    if (performance.now() > deadline)
      throw new Error(`after a minute ${acks} ACKs and ${ledger.size} leases, ${what}`)
    await sleep(2)
  }
}

const orders = {
  /** Loads the server until everybody has a lease. */
  async fill(): Promise<void> {
    load()
    await until(() => ledger.size >= crowd.leases, `not ${crowd.leases} leases`)
  },
  /** Loads the server, and goes on after the answer, which comes with so many more ACKs. */
  async load(more: number): Promise<void> {
    load()
    const enough = acks + more
    await until(() => acks >= enough, `not ${more} more ACKs`)
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
  async offer(): Promise<void> {
    stopping = false
    await ask(aMac(0), NO_ADDRESS, { messageType: 'discover' }, { every: 20 })
  },
  /** Lets everybody that has a lease ask for it as after a reboot (INIT-REBOOT). How many were asked. */
  async check(): Promise<number> {
    const promised = [...ledger.values()]
    const queue = promised.values()
    stopping = false
    const one = async () => {
      for (const { mac, ip } of queue) {
        const asked = { messageType: 'request', requestedAddress: ip } as const
        const reply = await ask(mac, NO_ADDRESS, asked, { tries: TRIES })
        if (!reply) forget(mac, 'got no answer after the restart')
        else if (reply.options.messageType !== 'ack') forget(mac, 'was refused after the restart')
      }
    }
    await Promise.all(Array.from({ length: CONVERSATIONS }, one))
    return promised.length
  },
  /** What was promised and not kept, since this was last asked; and all ACKs ever. */
  tell() {
    const told = { breaches, acks }
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
