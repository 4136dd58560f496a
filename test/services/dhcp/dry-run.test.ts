import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { createDiscoveryPool } from '../../../services/dhcp/discovery-pool.ts'
import { createDryRun, type DryRunDeps } from '../../../services/dhcp/dry-run.ts'
import { createApply } from '../../../services/store/apply.ts'
import { createFacts } from '../../../services/store/facts.ts'
import { openStore } from '../../../services/store/open.ts'
import { sampleRequest } from '../../../src/decide/dhcp-samples.ts'
import { aLease, aNode, anOrder, aPort, aSubnet, NOW } from '../../support/builders.ts'

const MAC = '52:54:00:00:00:01'
const STRANGER = '52:54:00:00:00:99'
const subnet = aSubnet({
  discovery: { start: '192.0.2.210', end: '192.0.2.210', leaseSeconds: 60, perSecond: 1 }
})

/** A store with one machine that is to be deployed, and dry runs on it. */
function prepared(t: { teardown(work: () => void): unknown }) {
  const folder = mkdtempSync(join(tmpdir(), 'seedling-dry-run-'))
  const store = openStore(folder)
  t.teardown(() => {
    store.close()
    rmSync(folder, { recursive: true })
  })
  const facts = createFacts(store)
  const apply = createApply(store)
  store.commit(() =>
    apply([
      { put: 'node', row: aNode() },
      { put: 'port', row: aPort() },
      { put: 'order', row: anOrder({ imageId: null, instanceUuid: null, ticks: { 'powered-off': NOW } }) }
    ])
  )
  const dryRun = (given: Partial<DryRunDeps> = {}) =>
    createDryRun({
      facts,
      stages: new Map(),
      conflict: () => null,
      standDown: () => null,
      mode: 'server',
      settings: {
        ...{ address: '192.0.2.1', httpPort: 80, subnets: [subnet] },
        ...{ hasLoader: () => true, unicastWithoutArp: false }
      },
      now: () => NOW,
      leaseNow: () => NOW,
      ...given
    })
  return { facts, dryRun, put: (row = aLease()) => store.commit(() => apply([{ put: 'lease', row }])) }
}

const uefi = sampleRequest('pxe-uefi', MAC, null)

t.test('it says what the service would say, with all that is known', async (t) => {
  const { dryRun, put } = prepared(t)
  t.match(dryRun()(uefi), { reply: { yiaddr: '192.0.2.100' }, bootFile: 'snponly.efi', kind: 'reserved' })
  t.match(dryRun({ mode: 'listen' })(uefi), { reply: { yiaddr: '192.0.2.100' } })
  t.match(dryRun({ mode: 'proxy' })(uefi), {
    reply: { yiaddr: '0.0.0.0' },
    bootFile: 'snponly.efi',
    kind: 'foreign'
  })
  t.match(dryRun({ conflict: () => ({ mac: STRANGER }) })(uefi), { ignore: 'address-in-use' })
  t.match(dryRun({ standDown: () => 'another one is here' })(uefi), { reason: 'another one is here' })
  const stages = { orderId: anOrder().id, attempt: 1, silent: 0, visits: { 'pxe-uefi': 2 }, xid: 1 }
  t.match(dryRun({ stages: new Map([[MAC, stages]]) })(uefi), { bootFile: 'ipxe.efi' })
  put(aLease({ state: 'declined', declines: 1, expiresAt: NOW + 1 }))
  t.match(dryRun()(uefi), { ignore: 'quarantined' })
})

t.test('strangers may be asked about without end, and the pool has what it had', async (t) => {
  const { dryRun, facts } = prepared(t)
  const pool = createDiscoveryPool({ facts, leaseNow: () => NOW, inUse: () => false, mayOffer: () => true })
  const ask = dryRun()
  const other = '52:54:00:00:00:98'
  const answers = [STRANGER, STRANGER, other, STRANGER].map((mac) => ask(sampleRequest('system', mac, null)))
  for (const answer of answers) t.match(answer, { reply: { yiaddr: '192.0.2.210' }, kind: 'discovery' })
  t.equal(pool.candidate(subnet, other, null, null), '192.0.2.210')
  t.same(facts.leases(), [])
  t.same(facts.eventsOfNode(aNode().uuid, 0, 10), [])
})
