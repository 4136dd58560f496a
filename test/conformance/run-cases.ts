// Runs the table of dhcp-cases.ts on a server, and holds one server's answers against another's.

import { decodeDhcp, NO_ADDRESS, type DhcpMessage } from '../../src/wire/dhcp.ts'
import type { Ip, Mac } from '../../src/wire/address.ts'
import type { Heard, Sent, Wire } from '../support/dhcp-wire.ts'
import { expectationFaults, mostBytes, optionContents, ruleFaults, within } from './answer-rules.ts'
import { CASES, GIADDR, NETWORKS, type Case, type Machine, type Step } from './dhcp-cases.ts'

/** What came of one step. */
export type Outcome = { step: Step; heard: Heard[]; changed: boolean }

/** Each case has two machines of its own, so that no case sees what another did. */
export function machinesOf(sentence: string): { me: Machine; other: Machine } {
  const number = Object.keys(CASES).indexOf(sentence) + 1
  const at = CASES[sentence]?.at ?? 'near'
  const network = Object.keys(NETWORKS).indexOf(at) + 1
  const machine = (group: number): Machine => ({
    at,
    mac: `52:54:00:0${group}:00:${number.toString(16).padStart(2, '0')}`,
    ip: `10.${network}.${group}.${number}`
  })
  return { me: machine(1), other: machine(2) }
}

/** Enrolled at `near`; its DISCOVER follows each step, and its answer says that the server is through with the step. */
export const SENTINEL: { mac: Mac; ip: Ip } = { mac: '52:54:00:03:00:01', ip: '10.1.3.1' }

const RELAYS: readonly Ip[] = Object.values(GIADDR)

/** `leases`: the server's lease table as it stands, for servers that can tell. */
export async function runCase(
  wire: Wire,
  sentence: string,
  { steps }: Case,
  leases: () => Promise<unknown> = () => Promise.resolve(null)
): Promise<Outcome[]> {
  const { me, other } = machinesOf(sentence)
  const outcomes: Outcome[] = []
  let before = JSON.stringify(await leases())
  const script = steps(me, other)[Symbol.iterator]() as Iterator<Step, void, DhcpMessage | undefined>
  for (let next = script.next(undefined); !next.done;) {
    const step = next.value
    await own(wire, step.send)
    const heard = await wire.exchange(step.send, SENTINEL.mac, step.expect === 'silence' ? 0 : 1)
    const after = JSON.stringify(await leases())
    outcomes.push({ step, heard, changed: before !== after })
    before = after
    next = script.next(heard[0]?.message)
  }
  return outcomes
}

/** The sender has the address that it sends from: a client its own, a relay all that it needs for its clients. */
async function own(wire: Wire, { by, from }: Sent): Promise<void> {
  await wire.own('client', by === 'client' && from && from !== NO_ADDRESS ? [from] : [])
  await wire.own(
    'relay',
    by === 'relay' && from && from !== NO_ADDRESS && !RELAYS.includes(from) ? [from] : []
  )
}

/** What is wrong with the answers, by the rules for all answers and by what the case expects. */
export function faultsOf(outcomes: Outcome[]): string[] {
  return outcomes.flatMap(({ step: { send, expect, changes = false }, heard, changed }, index) => {
    const faults: string[] = []
    const acknowledged = expect !== 'silence' && expect.type === 'ack'
    if (changed !== changes && !acknowledged)
      faults.push(changed ? 'the lease table has changed' : 'the lease table has not changed')
    if (expect === 'silence') faults.push(...heard.map(({ message }) => `answered ${typeOf(message)}`))
    else if (heard.length !== 1 || !heard[0]) faults.push(`${answersOf(heard)} instead of one ${expect.type}`)
    else {
      const before = outcomes[index - 1]?.heard[0]
      faults.push(
        ...expectationFaults(expect, heard[0], before),
        ...ruleFaults(decodeDhcp(send.bytes), heard[0])
      )
    }
    return faults.map((fault) => `step ${index + 1}: ${fault}`)
  })
}

const typeOf = ({ options }: DhcpMessage): string => options.messageType ?? 'BOOTP'

const answersOf = (heard: Heard[]): string =>
  heard.map(({ message }) => typeOf(message)).join(' and ') || 'silence'

/**
 * What is different in `theirs`, each thing once, with both values: `answers X` when it is another kind of answer or none, else the field
 * or option by name. Addresses of a discovery pool count as equal when they are so in the run of the case.
 */
export function differences(ours: Outcome[], theirs: Outcome[]): Map<string, string> {
  const found = new Map<string, string>()
  const [nameOurs, nameTheirs] = [poolNames(), poolNames()]
  ours.forEach(({ step, heard }, index) => {
    const other = theirs[index]?.heard ?? []
    const note = (what: string, mine = 'nothing', its = 'nothing') =>
      found.has(what) || found.set(what, `step ${index + 1}: ${brief(mine)}, not ${brief(its)}`)
    if (answersOf(heard) !== answersOf(other))
      note(`answers ${answersOf(other)}`, answersOf(other), answersOf(heard))
    else
      heard.forEach((one, place) => {
        const most = mostBytes(decodeDhcp(step.send.bytes))
        const [a, b] = [aspects(one, most, nameOurs), aspects(other[place] as Heard, most, nameTheirs)]
        for (const name of new Set([...a.keys(), ...b.keys()])) {
          const unasked = UNASKED.test(name) && !asked(step.send.bytes).includes(Number(name.slice(7)))
          if (a.get(name) !== b.get(name)) note(unasked ? 'unasked options' : name, b.get(name), a.get(name))
        }
        const [first, second] = [order(one, other[place] as Heard), order(other[place] as Heard, one)]
        if (first !== second) note('order', second, first)
      })
  })
  return found
}

const brief = (text: string): string => (text.length > 80 ? `${text.slice(0, 80)}…` : text)

/** The options that both answers have, as they stand in the first. */
function order(one: Heard, another: Heard): string {
  const both = optionContents(another.bytes)
  return [...optionContents(one.bytes).keys()].filter((code) => both.has(code)).join(' ')
}

/** What belongs to the protocol and to booting; whatever else is sent without being asked for is one difference. */
const UNASKED = /^option (?!(43|5[1-9]|6[01679]|82|97)$)/

const asked = (request: Buffer): number[] => [...Buffer.from(optionContents(request).get(55) ?? '', 'hex')]

function aspects(
  { message, to, from, bytes }: Heard,
  most: number,
  name: (text: string) => string
): Map<string, string> {
  const found = new Map<string, string>([
    ['to', name(to)],
    ['from', from],
    ['under 300 bytes', String(bytes.length < 300)],
    ['over the maximum size', String(bytes.length > most)]
  ])
  for (const field of [
    'hops',
    'secs',
    'flags',
    'ciaddr',
    'yiaddr',
    'siaddr',
    'giaddr',
    'sname',
    'file'
  ] as const)
    found.set(field, name(String(message[field])))
  for (const [code, content] of optionContents(bytes)) found.set(`option ${code}`, content)
  return found
}

/** Names for the addresses of discovery pools, in the order in which they appear. */
function poolNames(): (text: string) => string {
  const names = new Map<Ip, string>()
  const pools = Object.values(NETWORKS).flatMap(({ discovery }) => discovery ?? [])
  return (text) =>
    text.replace(/^\d+\.\d+\.\d+\.\d+/, (ip) => {
      if (!pools.some((pool) => within(ip, pool))) return ip
      if (!names.has(ip)) names.set(ip, `pool address ${names.size + 1}`)
      return names.get(ip) as string
    })
}
