// Two Seedlings with one state and one address, the second the successor of the first: who said what to the machines.

import type { Test } from 'tap'
import type { Packet } from '../../scripts/lab/capture.ts'
import { followToActive, nodeState } from '../../scripts/lab/deploy.ts'
import type { RackPlan } from '../../scripts/lab/plan.ts'
import { api } from '../../scripts/lab/seed.ts'
import type { StoredEvent } from '../../src/domain/event.ts'
import { decodeDhcp } from '../../src/wire/dhcp.ts'

/** What Seedling itself, not the kernel of its host, said to the machines. */
const answersFrom = (packets: readonly Packet[], mac: string, port: number) =>
  packets.filter(({ from, payload }) => from.mac === mac && from.port === port && payload.length > 0)

/** The kind and the exchange of a DHCP answer to a machine. */
function exchangeOf({ payload }: Packet): string {
  const { chaddr, xid, options } = decodeDhcp(payload)
  return `${chaddr} ${xid} ${options.messageType}`
}

/** The state moved to `next`'s Seedling in mid-deploy: asserts that all machines finish in one attempt. */
export async function checkFinish(t: Test, next: RackPlan): Promise<void> {
  const names = next.machines.map(({ name }) => name)
  await followToActive(next, names)
  for (const name of names)
    t.match(await nodeState(next, name), { provision_state: 'active', last_error: null })
  const { events } = await api<{ events: StoredEvent[] }>(next, 'GET', '/v1/events?limit=1000')
  t.same(
    events.filter(({ kind }) => kind === 'attempt-started'),
    [],
    'each machine needed one attempt'
  )
}

/**
 * Asserts that nobody was answered by both, and that the old one said nothing any more when the new one began to. `before`, `after`: the MACs of
 * their hosts.
 */
export function checkAnswers(
  t: Test,
  packets: readonly Packet[],
  before: string,
  after: string,
  machines: number
): void {
  const dhcp = [before, after].map((mac) =>
    // Neither answers a machine when it answers the other's question who it is.
    answersFrom(packets, mac, 67).filter(({ payload }) => decodeDhcp(payload).yiaddr !== '0.0.0.0')
  ) as [Packet[], Packet[]]
  const http = [before, after].map((mac) => answersFrom(packets, mac, 80)) as [Packet[], Packet[]]
  t.ok(dhcp[0].length >= machines && http[0].length > 0, 'the old one answered')
  t.ok(http[1].length > 0, 'the new one answered')
  const exchanges = new Set(dhcp[0].map(exchangeOf))
  t.same(
    dhcp[1].map(exchangeOf).filter((exchange) => exchanges.has(exchange)),
    [],
    'no DHCP exchange had answers of both'
  )
  const first = Math.min(...[...dhcp[1], ...http[1]].map(({ at }) => at))
  t.same(
    [...dhcp[0], ...http[0]].filter(({ at }) => at >= first).map(({ at }) => at - first),
    [],
    'the old one answered nothing after the new one'
  )
}
