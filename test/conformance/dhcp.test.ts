// The conformance table over real packets: Seedling must do what the table says, and Kea and dnsmasq must differ from
// Seedling in just the ways that the table explains.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Serve } from '../services/dhcp/serve.ts'
import { serveIn } from '../services/dhcp/serving.ts'
import { aNode, anInstance, anOrder, aPort, NOW } from '../support/builders.ts'
import { startPeer, type PeerName } from '../support/dhcp-peers.ts'
import { layWire, LINK, type Wire } from '../support/dhcp-wire.ts'
import { CASES, GIADDR, HOST_NAME, NETWORKS, type Case } from './dhcp-cases.ts'
import { ALWAYS, PEER_SETTINGS, peerSubnets, type Reservation } from './peers.ts'
import { differences, faultsOf, machinesOf, runCase, SENTINEL, type Outcome } from './run-cases.ts'

type Enrolled = Reservation & Pick<Case, 'machine' | 'dhcp'>

const enrolled: Enrolled[] = [
  { at: 'near', ...SENTINEL },
  ...Object.entries(CASES).flatMap(([sentence, { machine, dhcp }]) => {
    if (machine === 'stranger') return []
    const { me, other } = machinesOf(sentence)
    return [{ ...me, machine, dhcp, ...(machine === 'installed' ? { hostname: HOST_NAME } : {}) }, other]
  })
]

/** A node with one port, and what its machine is to be. */
function enrol({ mac, ip, machine, dhcp }: Enrolled, index: number): Serve['machines'][number] {
  const id = (kind: string) => `${kind}-0000-4000-8000-${index.toString(16).padStart(12, '0')}`
  const installed = machine === 'installed'
  const uuid = id('6e6f6465')
  const instance = anInstance({
    uuid: id('696e7374'),
    nodeUuid: uuid,
    hostname: HOST_NAME,
    token: id('token')
  })
  const node = aNode({
    uuid,
    name: `node-${index}`,
    extra: dhcp ? { dhcp } : {},
    state: installed ? 'active' : 'available',
    instanceUuid: installed ? instance.uuid : null
  })
  const ports = [aPort({ uuid: id('706f7274'), nodeUuid: uuid, address: mac, reservedIp: ip })]
  const order = anOrder({ id: id('6f726465'), nodeUuid: uuid, ticks: { 'powered-off': NOW } })
  return { node, ports, ...(machine === 'deploying' ? { order } : {}), ...(installed ? { instance } : {}) }
}

async function aWire(t: Test): Promise<Wire> {
  const wire = await layWire(Object.values(GIADDR))
  t.teardown(() => wire.remove())
  return wire
}

const ours = new Map<string, Outcome[]>()

t.test('Seedling does what the RFCs say', async (t) => {
  const wire = await aWire(t)
  const server = await serveIn(wire.server, {
    link: LINK,
    subnets: Object.values(NETWORKS),
    machines: enrolled.map(enrol)
  })
  t.teardown(() => server.stop())
  for (const [sentence, one] of Object.entries(CASES)) {
    await t.test(sentence, async (t) => {
      const outcomes = await runCase(wire, sentence, one, () => server.leases())
      ours.set(sentence, outcomes)
      t.strictSame(faultsOf(outcomes), [], one.rfc)
    })
  }
})

for (const name of ['kea', 'dnsmasq'] satisfies PeerName[]) {
  t.test(`${name} differs as the table says`, async (t) => {
    const wire = await aWire(t)
    const folder = mkdtempSync(join(tmpdir(), 'seedling-conformance-'))
    t.teardown(() => rmSync(folder, { recursive: true }))
    const subnets = peerSubnets(enrolled)
    const peer = await startPeer(name, wire.server, { folder, link: LINK, subnets, ...PEER_SETTINGS })
    t.teardown(() => peer.stop())
    const unseen = new Set(Object.keys(ALWAYS[name]))
    for (const [sentence, one] of Object.entries(CASES)) {
      if (one.alone) continue
      await t.test(sentence, async (t) => {
        const found = differences(ours.get(sentence) ?? [], await runCase(wire, sentence, one))
        const here = Object.fromEntries([...found].filter(([what]) => !(what in ALWAYS[name])))
        for (const what of found.keys()) unseen.delete(what)
        t.strictSame(Object.keys(here).sort(), Object.keys(one[name] ?? {}).sort(), JSON.stringify(here))
      })
    }
    t.strictSame([...unseen], [], 'differences that are no more')
  })
}
