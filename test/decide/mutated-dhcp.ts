// Mutated packets of real clients through the whole of DHCP: decoded, placed, decided in every mode, encoded again.

import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Test } from 'tap'
import { decideDhcp, type DhcpFacts, type DhcpVerdict } from '../../src/decide/dhcp.ts'
import { placeOf } from '../../src/decide/dhcp-place.ts'
import { decideProxyDhcp } from '../../src/decide/proxy-dhcp.ts'
import { decodeDhcp, encodeDhcp, type DhcpMessage } from '../../src/wire/dhcp.ts'
import { WireError } from '../../src/wire/wire-error.ts'
import { aLease, aNode, anOrder, aPort, aSubnet, NOW } from '../support/builders.ts'
import { aRequest, recordedBytes } from '../support/dhcp.ts'
import { mutate, seededRandom } from '../support/mutate.ts'

const MIB = 2 ** 20
const discovery = { start: '192.0.2.10', end: '192.0.2.20', leaseSeconds: 120, perSecond: 20 }
const settings = {
  address: '192.0.2.1',
  httpPort: 80,
  subnets: [aSubnet({ discovery, options: { 150: 'c0000201' } }), aSubnet({ cidr: '198.51.100.0/24' })],
  hasLoader: () => true,
  unicastWithoutArp: false
}
const time = { now: NOW, leaseNow: NOW }

const none = {
  order: null,
  instance: null,
  lease: null,
  candidate: null,
  conflict: null,
  standDown: null,
  stages: null,
  heard: null,
  modelLoader: null
}
const senders: DhcpFacts[] = [
  { ...none, node: aNode(), port: aPort() },
  {
    ...none,
    node: aNode(),
    port: aPort(),
    order: anOrder({ ticks: { 'powered-off': NOW } }),
    lease: aLease()
  },
  { ...none, node: aNode({ state: 'active' }), port: aPort(), conflict: { mac: null } },
  { ...none, node: null, port: null, candidate: '192.0.2.11' },
  {
    ...none,
    node: null,
    port: null,
    lease: aLease({ ip: '192.0.2.12', kind: 'discovery' }),
    candidate: '192.0.2.12'
  }
]

const relayed = aRequest({
  giaddr: '198.51.100.1',
  hops: 1,
  options: {
    messageType: 'request',
    requestedAddress: '192.0.2.100',
    serverId: '192.0.2.1',
    relayAgent: Buffer.from('01040001000205040a0000010b04c0000201', 'hex')
  }
})

function corpus(): Buffer[] {
  const names = readdirSync(join(import.meta.dirname, '../fixtures/dhcp'))
  const recordings = names.filter((name) => name.endsWith('.hex')).map((name) => name.slice(0, -4))
  // Answers are recorded beside the requests; nobody sends us those.
  const requests = recordings.map(recordedBytes).filter((packet) => packet[0] === 1)
  return [...requests, encodeDhcp(relayed)]
}

/** What holds for every answer, whatever was asked. */
function checkAnswer(request: DhcpMessage, facts: DhcpFacts, verdict: DhcpVerdict): void {
  if (!('reply' in verdict)) return
  const { reply } = verdict
  const bytes = encodeDhcp(reply, request.options.maxMessageSize)
  const back = decodeDhcp(bytes)
  assert.deepEqual([back.xid, back.chaddr, back.giaddr], [request.xid, request.chaddr, request.giaddr])
  assert.ok(bytes.length >= 300 && bytes.length <= 1472)
  const own = facts.port ? facts.port.reservedIp : facts.candidate
  assert.ok(reply.yiaddr === own || reply.yiaddr === '0.0.0.0', `${reply.yiaddr} is not ${own}`)
  if (verdict.bootFile !== null) assert.ok(facts.order, 'a boot file without an order')
}

/** Bytes that something still holds on to. */
function held(): number {
  setFlagsFromString('--expose-gc')
  ;(runInNewContext('gc') as () => void)()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** `count` mutated packets: the codec's own error or an answer that holds, and no memory kept. `FUZZ_SEED` repeats a run. */
export async function surviveMutations(t: Test, count: number): Promise<void> {
  const seed = Number(process.env['FUZZ_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
  t.comment(`FUZZ_SEED=${seed}`)
  const random = seededRandom(seed)
  const whole = corpus()
  const tally = { refused: 0, ignored: 0, answered: 0 }
  let baseline = 0
  for (let round = 0; round < count; round++) {
    if (round === Math.min(100_000, count >> 1)) baseline = held()
    const packet = whole[round % whole.length] as Buffer
    // Three times of four only the options, where the structure is.
    const from = round % 4 === 0 ? 0 : 240
    const damaged = Buffer.concat([packet.subarray(0, from), mutate(packet.subarray(from), random)])
    let request: DhcpMessage
    try {
      request = decodeDhcp(damaged)
    } catch (error) {
      if (!(error instanceof WireError))
        throw new Error(`round ${round}, ${damaged.toString('hex')}`, { cause: error })
      tally.refused++
      continue
    }
    const facts = senders[round % senders.length] as DhcpFacts
    try {
      const place = placeOf(request, settings)
      const verdict = decideDhcp(request, place, facts, settings, time)
      checkAnswer(request, facts, verdict)
      tally['reply' in verdict ? 'answered' : 'ignored']++
      if (round % 3 === 0) {
        const door =
          round % 2 === 0
            ? { port: 67 as const }
            : { port: 4011 as const, from: { address: '192.0.2.9', port: 68 } }
        decideProxyDhcp(request, door, place, { ...facts, other: null }, settings, time)
      }
    } catch (error) {
      throw new Error(`round ${round}, ${damaged.toString('hex')}`, { cause: error })
    }
  }
  const grown = held() - baseline
  for (const [what, times] of Object.entries(tally)) t.ok(times > count / 50, `${times} ${what}`)
  t.ok(grown < 32 * MIB, `memory grew by ${(grown / MIB).toFixed(1)} MiB`)
}
