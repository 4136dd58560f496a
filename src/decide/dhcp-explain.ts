// Why a machine is answered as it is, in words for people: what would happen if it asked now, which address it has and why, what the gate
// says. Asks the decisions themselves, with sample requests, and decides nothing.

import type { BootPlan } from '../domain/boot.ts'
import { bootMode, type Node, type Port } from '../domain/node.ts'
import type { Order } from '../domain/order.ts'
import type { Lease, Subnet } from '../domain/subnet.ts'
import { formatIp, type Ip, type Mac } from '../wire/address.ts'
import { NO_ADDRESS, type DhcpMessage } from '../wire/dhcp.ts'
import type { MessageType } from '../wire/dhcp-options.ts'
import type { DhcpIgnored, DhcpVerdict } from './dhcp.ts'
import { contains, rangeOf } from './dhcp-place.ts'
import { SAMPLE_KINDS, sampleRequest, sampleWords, type SampleKind } from './dhcp-samples.ts'
import { firmwareOf } from './firmware.ts'
import { bootPlan } from './gate.ts'

/** What is known of the machine that is asked about; `node`, `port` and `order` are null for a stranger. */
export type ExplainFacts = {
  mac: Mac
  node: Node | null
  port: Port | null
  /** The node's latest order, open or not. */
  order: Order | null
  /** Of its reserved address. */
  lease: Lease | null
  /** Somebody else was just found to answer at that address. */
  conflict: { mac: Mac | null } | null
  /** The last request that came from it. */
  last: DhcpMessage | null
}

export type ExplainSettings = {
  address: Ip
  subnets: readonly Subnet[]
  mode: 'server' | 'proxy' | 'listen'
}

export type DhcpExplanation = {
  /** What happens if the machine asks now, and why. One sentence or two. */
  answer: string
  /** The relay that it is taken to ask through; null: it asks on our link. */
  relay: Ip | null
  address: {
    ip: Ip | null
    /** Its cidr. */
    subnet: string | null
    reason: string
    /** Why it is not given out at this moment; null: it is. */
    barred: string | null
  }
  gate: Pick<BootPlan, 'boot' | 'reason'>
  outcomes: Outcome[]
}

/** What a client of some kind would be answered. */
export type Outcome = {
  kind: SampleKind
  /** The kind, for people. */
  words: string
  /** null: none. */
  answer: MessageType | null
  ip: Ip | null
  bootFile: string | null
  reason: string
}

/** `dryRun` decides one request as if it came now, and changes nothing. `leaseNow` is on the lease clock, ms. */
export function explainDhcp(
  facts: ExplainFacts,
  settings: ExplainSettings,
  leaseNow: number,
  dryRun: (request: DhcpMessage) => DhcpVerdict
): DhcpExplanation {
  const relay = relayOf(facts, settings)
  const outcomes = SAMPLE_KINDS.map((kind) => outcomeOf(kind, dryRun(sampleRequest(kind, facts.mac, relay))))
  const asked = outcomes.find(({ kind }) => kind === firmwareKind(facts)) as Outcome
  const { boot, reason } = bootPlan(facts)
  return {
    answer: answerFor(facts, settings, asked),
    relay,
    address: { ...addressOf(facts, settings, asked), barred: barredBy(facts, leaseNow) },
    gate: { boot, reason },
    outcomes
  }
}

/** The way it asked last; if it never did, the way to the subnet that its address is in. */
function relayOf({ last, port }: ExplainFacts, { subnets, address }: ExplainSettings): Ip | null {
  if (last) return last.giaddr === NO_ADDRESS ? null : last.giaddr
  const ip = port?.reservedIp ?? null
  const subnet = ip === null ? undefined : subnets.find((one) => contains(one, ip))
  if (!subnet || contains(subnet, address)) return null
  return subnet.relays[0] ?? subnet.gateway ?? formatIp(rangeOf(subnet).first + 1)
}

/** The firmware that it showed, else that of the mode in which its node boots. */
function firmwareKind({ last, node }: ExplainFacts): SampleKind {
  const shown = last && firmwareOf(last).firmware.name
  if (shown === 'pxe-bios' || shown === 'pxe-uefi' || shown === 'http-uefi') return shown
  return node && bootMode(node) === 'bios' ? 'pxe-bios' : 'pxe-uefi'
}

function outcomeOf(kind: SampleKind, verdict: DhcpVerdict): Outcome {
  const common = { kind, words: sampleWords(kind) }
  if ('ignore' in verdict)
    return { ...common, answer: null, ip: null, bootFile: null, reason: reasonOf(verdict) }
  const { reply, bootFile, reason } = verdict
  return {
    ...common,
    answer: reply.options.messageType ?? null,
    ip: reply.yiaddr === NO_ADDRESS ? null : reply.yiaddr,
    bootFile,
    reason
  }
}

function answerFor({ mac, node }: ExplainFacts, { mode }: ExplainSettings, asked: Outcome): string {
  const who = node ? `${node.name ?? node.uuid} (${mac})` : mac
  const what = `${gets(asked)}: ${asked.reason}.`
  if (mode !== 'listen') return `If ${who} asks now, it gets ${what}`
  return (
    `If ${who} asks now, it gets nothing from Seedling, which only listens here (network.dhcp.mode). ` +
    `Were Seedling the DHCP server, it would get ${what}`
  )
}

function gets({ answer, ip, bootFile }: Outcome): string {
  if (answer === null) return 'no answer'
  // Only a proxy answers without an address.
  if (ip === null) return `the boot file ${bootFile} from Seedling and its address from another DHCP server`
  return bootFile === null ? `${ip} and no boot file` : `${ip} and the boot file ${bootFile}`
}

function addressOf(
  { node, port }: ExplainFacts,
  { subnets, mode }: ExplainSettings,
  asked: Outcome
): Omit<DhcpExplanation['address'], 'barred'> {
  const holding = (ip: Ip | null) => (ip === null ? undefined : subnets.find((one) => contains(one, ip)))
  if (!node || !port) {
    const subnet = holding(asked.ip)?.cidr ?? null
    const reason =
      subnet === null ? 'it is not enrolled' : 'from the discovery pool, because it is not enrolled'
    return { ip: asked.ip, subnet, reason }
  }
  const ip = port.reservedIp
  const subnet = holding(ip)
  const reason = (): string => {
    if (mode === 'proxy')
      return ip === null
        ? 'another DHCP server gives it one, which was not seen yet'
        : 'given by another DHCP server, and seen in a request of this machine'
    if (ip === null)
      return port.pxeEnabled
        ? 'none is reserved for it; set pxe_enabled of its port off and on again to have one reserved'
        : 'its port does not boot from the network (pxe_enabled), so none is reserved for it'
    if (!subnet) return 'reserved for it once, but in none of the subnets that are configured now'
    const named = port.physicalNetwork !== null && [subnet.name, subnet.cidr].includes(port.physicalNetwork)
    return `reserved for it at its enrolment, in ${named ? 'the subnet that its port names (physical_network)' : 'the first subnet, as its port names no other'}`
  }
  return { ip, subnet: subnet?.cidr ?? null, reason: reason() }
}

function barredBy({ lease, conflict }: ExplainFacts, leaseNow: number): string | null {
  if (conflict) return `in use by ${conflict.mac ?? 'somebody else'}`
  if (lease?.state !== 'declined' || lease.expiresAt <= leaseNow) return null
  const seconds = Math.ceil((lease.expiresAt - leaseNow) / 1000)
  const times = lease.declines === 1 ? 'once' : `${lease.declines} times in a row`
  return `declined ${times} because somebody else uses it; given to nobody for another ${seconds} s`
}

/** A verdict in one line: whether the packet is answered, with what, and why. */
export function decisionOf(verdict: DhcpVerdict): string {
  if ('ignore' in verdict) return `no answer: ${reasonOf(verdict)}`
  const { reply, bootFile, reason } = verdict
  const type = reply.options.messageType
  if (type === 'nak') return `nak: ${reason}`
  const ip = reply.yiaddr === NO_ADDRESS ? 'no address' : reply.yiaddr
  return `${type}: ${ip}, ${bootFile === null ? 'no boot file' : `boot file ${bootFile}`} (${reason})`
}

function reasonOf({ ignore, reason }: Extract<DhcpVerdict, { ignore: unknown }>): string {
  // Behind the name may be what the client said itself.
  const bare = reason === ignore || reason.startsWith(`${ignore}: `)
  return bare ? IGNORED[ignore] + reason.slice(ignore.length) : reason
}

/** The reasons that say no more than their own name. */
const IGNORED: Readonly<Record<DhcpIgnored, string>> = {
  'not-a-request': 'it is an answer, or a message that only servers send',
  'not-dhcp': 'it is plain BOOTP, without a DHCP message type',
  'not-ethernet': 'the hardware address is no Ethernet MAC',
  'unknown-relay': 'it came through a relay that is not among the subnet\'s "relays"',
  'bad-relay-option': 'what the relay added (option 82) cannot be read',
  'not-enrolled': 'no port with this MAC is enrolled',
  'handed-over': 'it is handed over: its new owner answers it',
  'no-address': 'no address is reserved for its port, which does not boot from the network',
  'no-subnet': 'it comes from a network that is not among "network.subnets"',
  'address-elsewhere': 'its address is in another subnet than the one it asks from',
  'address-in-use': 'somebody else answers at its address',
  quarantined: 'its address was declined a moment ago',
  'standing-down': 'another DHCP server is on the link, or may be',
  'pool-exhausted': 'the discovery pool has no address left, or has given out all it may in a second',
  'unknown-lease': 'it speaks of an address of which nothing is known here',
  'other-server': 'it took the offer of another DHCP server',
  'not-its-address': 'it speaks of an address that it does not have',
  'other-client-id': 'its client id is not that of the lease',
  released: 'it gave its address back',
  declined: 'it found its address in use and declined it',
  'nothing-to-boot': 'there is no boot file for it',
  'not-for-a-proxy': 'addresses are the business of the other DHCP server'
}
