// Clients for the DHCP bench, in a namespace: Debian's perfdhcp as many machines, directly on the link or behind a relay.
//
// perfdhcp is a relay by nature: every packet it makes carries its own address as giaddr, and it hears only what is sent to
// that address. Direct clients are made with packet templates, in which giaddr is zero and the broadcast flag set. The
// answers are then broadcast, and nftables readdresses them to perfdhcp on their way in, before its socket. Its packets for
// relayed clients have a client id (61) besides, the templates have none.

import { writeFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { join } from 'node:path'
import type { Ip, Mac } from '../../src/wire/address.ts'
import { BROADCAST_FLAG, encodeDhcp } from '../../src/wire/dhcp.ts'
import type { DhcpOptions } from '../../src/wire/dhcp-options.ts'
import { aRequest } from '../../test/support/dhcp.ts'
import type { Namespace } from '../../test/support/namespace.ts'

export type Shape = 'direct' | 'relayed'

/** Where the clients are. The link has both addresses; `relay` is the giaddr of those behind one. */
export type Clients = {
  namespace: Namespace
  link: string
  address: Ip
  relay: Ip
  server: Ip
  /** For what perfdhcp reads. */
  folder: string
  /** The command that runs a sender in its place, so that it is pinned; may be empty. */
  under: readonly string[]
}

/** MACs of forged packets start with this byte; answers to them are dropped on the link, as a network card would. */
export const FORGED = 0x02

const DISCOVER = 'discover.hex'
const REQUEST = 'request.hex'

/** Prepares the link for direct clients. */
export async function prepareClients({ namespace, link, address, folder }: Clients): Promise<void> {
  const rules = join(folder, 'answers.nft')
  // chaddr is 28 bytes into the message, so 36 bytes, 288 bits, after the start of the UDP header.
  writeFileSync(
    rules,
    `table netdev answers {
       chain incoming {
         type filter hook ingress device "${link}" priority 0
         udp dport 68 @th,288,8 ${FORGED} drop
         udp dport 68 ip daddr 255.255.255.255 ip daddr set ${address}
       }
     }\n`
  )
  await namespace.run('nft', '-f', rules)
  writeFileSync(join(folder, DISCOVER), template({ messageType: 'discover' }).toString('hex'))
  writeFileSync(join(folder, REQUEST), request.toString('hex'))
}

/** What perfdhcp asks for in its own packets. */
const parameterList = [1, 28, 2, 3, 15, 6, 12]

const template = (options: DhcpOptions): Buffer =>
  encodeDhcp(aRequest({ flags: BROADCAST_FLAG, options: { ...options, parameterList } }))

const request = template({ messageType: 'request', serverId: '0.0.0.0', requestedAddress: '0.0.0.0' })

/** Where perfdhcp puts what differs from packet to packet: the transaction, the MAC's last byte, options 54 and 50 as a whole. */
const places = [
  ...['-X', '4', '-X', '4', '-O', '33', '-O', '33'],
  ...['-S', String(request.indexOf(Buffer.from([54, 4]), 240))],
  ...['-I', String(request.indexOf(Buffer.from([50, 4]), 240))]
]

export type Load = {
  shape: Shape
  /** MAC of the first client; the others count up from it, and after the last comes the first again. */
  base: Mac
  clients: number
} & (
  | { rate: number; seconds: number }
  /** Every client asks at once and then as RFC 2131 has it: again after about 1, 2, 4 … s. */
  | { avalanche: true; limitSeconds: number }
)

/** Seconds since the start. */
type Answer = { sent: number; received: number }

/** What came of a load. */
export type Outcome = {
  discovers: number
  offers: Answer[]
  acks: Answer[]
  /** Answers that reached the clients and were lost there, because perfdhcp's socket was full. */
  overrun: number
}

/** Answers that come later than this after the last DISCOVER count as lost: a server that only queues is not keeping up. */
const PATIENCE_SECONDS = 0.2

/** Runs perfdhcp to its end. Rejects when it could not run. */
export async function perfdhcp(clients: Clients, load: Load): Promise<Outcome> {
  const { namespace, under, folder } = clients
  const command = [
    ...under,
    ...['perfdhcp', '-4', '-g', 'single', '-x', 't', '-b', `mac=${load.base}`, '-R', String(load.clients)],
    ...('rate' in load
      ? ['-r', String(load.rate), '-p', String(load.seconds), '-W', String(PATIENCE_SECONDS * 1e6)]
      : ['--scenario', 'avalanche']),
    ...(load.shape === 'direct'
      ? [
          '-B',
          '-L',
          '68',
          '-l',
          clients.link,
          ...places,
          '-T',
          join(folder, DISCOVER),
          '-T',
          join(folder, REQUEST)
        ]
      : ['-l', clients.relay, clients.server])
  ]
  const before = await receiveErrors(namespace)
  const child = namespace.spawn(command[0]!, command.slice(1))
  const late =
    'limitSeconds' in load ? setTimeout(() => child.kill('SIGINT'), load.limitSeconds * 1000) : undefined
  const [output, complaint] = await Promise.all([text(child.stdout!), text(child.stderr!)])
  clearTimeout(late)
  if (!output.includes('***Statistics')) throw new Error(`perfdhcp: ${complaint || output}`)
  return { ...readOutcome(output), overrun: (await receiveErrors(namespace)) - before }
}

/** Datagrams for which a socket in the namespace had no room; the field of proc(5) `net/snmp`. */
async function receiveErrors(namespace: Namespace): Promise<number> {
  const [names, values] = (await namespace.run('grep', '^Udp:', '/proc/net/snmp')).split('\n')
  return Number(values!.split(' ')[names!.split(' ').indexOf('RcvbufErrors')])
}

function readOutcome(output: string): Omit<Outcome, 'overrun'> {
  const times = (exchange: string): Answer[] => {
    const part = output.split(`***Timestamps for packets: ${exchange}***`)[1]?.split('***')[0] ?? ''
    return [...part.matchAll(/^sent \/ received: ([\d.]+) \/ ([\d.]+)$/gm)].map(([, sent, received]) => ({
      sent: Number(sent),
      received: Number(received)
    }))
  }
  const discovers = Number(/DISCOVER-OFFER\*\*\*\nsent packets: (\d+)/.exec(output)?.[1])
  return { discovers, offers: times('DISCOVER-OFFER'), acks: times('REQUEST-ACK') }
}

/** From DISCOVER to ACK in seconds, one number for every exchange begun; Infinity for one that was not completed. */
export function exchangeTimes({ discovers, offers, acks }: Outcome): number[] {
  // perfdhcp sends the REQUEST as soon as it has the OFFER, and one at a time.
  const byReceived = offers.toSorted((a, b) => a.received - b.received)
  let next = 0
  const times = acks
    .toSorted((a, b) => a.sent - b.sent)
    .map(({ sent, received }) => {
      while (next + 1 < byReceived.length && byReceived[next + 1]!.received <= sent) next++
      return received - byReceived[next]!.sent
    })
  return [...times, ...Array<number>(Math.max(0, discovers - times.length)).fill(Infinity)]
}

/** The value that `share` of the numbers do not exceed. */
export function percentile(numbers: readonly number[], share: number): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? NaN
}
