// Explanations against the real decisions: what is said must be what is done.

import t from 'tap'
import {
  decideDhcp,
  type DhcpFacts,
  type DhcpIgnored,
  type DhcpSettings,
  type DhcpVerdict
} from '../../src/decide/dhcp.ts'
import { decisionOf, explainDhcp, type DhcpExplanation } from '../../src/decide/dhcp-explain.ts'
import { placeOf } from '../../src/decide/dhcp-place.ts'
import { decideProxyDhcp } from '../../src/decide/proxy-dhcp.ts'
import type { Subnet } from '../../src/domain/subnet.ts'
import type { DhcpMessage } from '../../src/wire/dhcp.ts'
import { aLease, aNode, anOrder, aPort, aSubnet, NOW } from '../support/builders.ts'
import { aRequest, recorded } from '../support/dhcp.ts'

const MAC = '52:54:00:00:00:01'
const US = '192.0.2.1'
const RELAY = '198.51.100.254'
const near = aSubnet()
const far = aSubnet({
  name: 'rack-2',
  cidr: '198.51.100.0/24',
  pool: { start: '198.51.100.10', end: '198.51.100.20' },
  gateway: RELAY
})
const discovery = { start: '192.0.2.210', end: '192.0.2.220', leaseSeconds: 120, perSecond: 20 }

type Given = Partial<DhcpFacts> & {
  subnets?: readonly Subnet[]
  mode?: 'server' | 'proxy' | 'listen'
  last?: DhcpMessage
}

function explain(given: Given): DhcpExplanation {
  const { subnets = [near, far], mode = 'server', last = null, ...known } = given
  const facts: DhcpFacts = {
    port: aPort(),
    node: aNode(),
    order: null,
    instance: null,
    lease: null,
    candidate: null,
    conflict: null,
    standDown: null,
    stages: null,
    heard: null,
    modelLoader: null,
    ...known
  }
  const settings: DhcpSettings = {
    ...{ address: US, httpPort: 80, subnets },
    ...{ hasLoader: () => true, unicastWithoutArp: false }
  }
  const time = { now: NOW, leaseNow: NOW }
  const dryRun = (request: DhcpMessage): DhcpVerdict => {
    const place = placeOf(request, settings)
    return mode === 'proxy'
      ? decideProxyDhcp(request, { port: 67 }, place, { ...facts, other: null }, settings, time)
      : decideDhcp(request, place, facts, settings, time)
  }
  return explainDhcp({ ...facts, mac: MAC, last }, { address: US, subnets, mode }, NOW, dryRun)
}

const deploying = { order: anOrder({ ticks: { 'powered-off': NOW } }) }
const bios = { node: aNode({ properties: { capabilities: 'boot_mode:bios' } }) }
const stranger = { node: null, port: null }
const elsewhere = { port: aPort({ reservedIp: '198.51.100.10', physicalNetwork: 'rack-2' }) }
const from = (name: string) => recorded(name, { chaddr: MAC })

const answers: Record<string, [Given, string]> = {
  'a machine that is to be deployed': [
    deploying,
    'If ctl-1 (52:54:00:00:00:01) asks now, it gets 192.0.2.100 and the boot file snponly.efi: deploy, attempt 1.'
  ],
  'one that boots in BIOS mode': [
    { ...deploying, ...bios },
    'If ctl-1 (52:54:00:00:00:01) asks now, it gets 192.0.2.100 and the boot file undionly.kpxe: deploy, attempt 1.'
  ],
  'one that showed its firmware, whatever its record says': [
    { ...deploying, ...bios, last: from('ovmf-http-discover') },
    'If ctl-1 (52:54:00:00:00:01) asks now, it gets 192.0.2.100 and the boot file http://192.0.2.1/boot/loader/snponly.efi: deploy, attempt 1.'
  ],
  'one whose installed system spoke last': [
    { ...deploying, ...bios, last: from('dhclient-discover') },
    'If ctl-1 (52:54:00:00:00:01) asks now, it gets 192.0.2.100 and the boot file undionly.kpxe: deploy, attempt 1.'
  ],
  'one that is active': [
    { node: aNode({ state: 'active', name: null }) },
    'If 6e6f6465-0000-4000-8000-000000000001 (52:54:00:00:00:01) asks now, it gets 192.0.2.100 and no boot file: the machine is active.'
  ],
  'one without an order': [
    {},
    'If ctl-1 (52:54:00:00:00:01) asks now, it gets 192.0.2.100 and no boot file: no order for this machine.'
  ],
  'one whose address was declined': [
    { lease: aLease({ state: 'declined', declines: 2 }) },
    'If ctl-1 (52:54:00:00:00:01) asks now, it gets no answer: 192.0.2.100 was declined 2 times.'
  ],
  'another server on the link': [
    { standDown: 'another DHCP server answers on this link: 192.0.2.5' },
    'If ctl-1 (52:54:00:00:00:01) asks now, it gets no answer: another DHCP server answers on this link: 192.0.2.5.'
  ],
  'one whose port does not boot': [
    { port: aPort({ pxeEnabled: false, reservedIp: null }) },
    'If ctl-1 (52:54:00:00:00:01) asks now, it gets no answer: no address is reserved for its port, which does not boot from the network.'
  ],
  'one behind a relay': [
    { ...deploying, ...elsewhere },
    'If ctl-1 (52:54:00:00:00:01) asks now, it gets 198.51.100.10 and the boot file snponly.efi: deploy, attempt 1.'
  ],
  'one that is not where its address is': [
    { ...elsewhere, last: from('ovmf-pxe-discover') },
    'If ctl-1 (52:54:00:00:00:01) asks now, it gets no answer: its address 198.51.100.10 is not in 192.0.2.0/24, where it asks from; set physical_network of its port to 192.0.2.0/24.'
  ],
  'a stranger': [
    stranger,
    'If 52:54:00:00:00:01 asks now, it gets no answer: no port with this MAC is enrolled.'
  ],
  'a stranger, with a discovery pool': [
    { ...stranger, subnets: [{ ...near, discovery }], candidate: '192.0.2.210' },
    'If 52:54:00:00:00:01 asks now, it gets 192.0.2.210 and no boot file: not enrolled.'
  ],
  'listening only': [
    { ...deploying, mode: 'listen' },
    'If ctl-1 (52:54:00:00:00:01) asks now, it gets nothing from Seedling, which only listens here (network.dhcp.mode). ' +
      'Were Seedling the DHCP server, it would get 192.0.2.100 and the boot file snponly.efi: deploy, attempt 1.'
  ],
  'beside another server': [
    { ...deploying, mode: 'proxy' },
    'If ctl-1 (52:54:00:00:00:01) asks now, it gets the boot file snponly.efi from Seedling and its address from another DHCP server: deploy, attempt 1.'
  ],
  'beside another server, with nothing to boot': [
    { mode: 'proxy' },
    'If ctl-1 (52:54:00:00:00:01) asks now, it gets no answer: no order for this machine.'
  ]
}

for (const [name, [given, answer]] of Object.entries(answers))
  t.test(`the answer: ${name}`, async (t) => t.equal(explain(given).answer, answer))

t.test('every kind of client, each with what it would be told', async (t) => {
  const { outcomes, gate, relay } = explain(deploying)
  t.same(
    outcomes.map(({ kind, answer, ip, bootFile }) => [kind, answer, ip, bootFile]),
    [
      ['pxe-bios', 'offer', '192.0.2.100', 'undionly.kpxe'],
      ['pxe-uefi', 'offer', '192.0.2.100', 'snponly.efi'],
      ['http-uefi', 'offer', '192.0.2.100', 'http://192.0.2.1/boot/loader/snponly.efi'],
      ['ipxe', 'offer', '192.0.2.100', `http://192.0.2.1/boot/script?mac=${MAC}&client=ipxe&arch=7`],
      ['system', 'offer', '192.0.2.100', null]
    ]
  )
  t.match(outcomes[4], { words: 'an installed system', reason: 'an installed system asks' })
  t.same(gate, { boot: 'ramdisk', reason: 'deploy, attempt 1' }, 'and never the token')
  t.equal(relay, null)
})

const addresses: Record<string, [Given, Partial<DhcpExplanation['address']>]> = {
  'of the first subnet': [
    {},
    {
      ip: '192.0.2.100',
      subnet: '192.0.2.0/24',
      reason: /enrolment, in the first subnet/ as never,
      barred: null
    }
  ],
  'of a subnet by name': [elsewhere, { subnet: '198.51.100.0/24', reason: /that its port names/ as never }],
  'of a subnet by its cidr': [
    { port: aPort({ physicalNetwork: near.cidr }) },
    { reason: /that its port names/ as never }
  ],
  'of none any more': [
    { port: aPort({ reservedIp: '203.0.113.5' }) },
    { ip: '203.0.113.5', subnet: null, reason: /none of the subnets that are configured now/ as never }
  ],
  'none, as the port does not boot': [
    { port: aPort({ pxeEnabled: false, reservedIp: null }) },
    { ip: null, reason: /does not boot from the network \(pxe_enabled\)/ as never }
  ],
  'none, after a time as a proxy': [
    { port: aPort({ reservedIp: null }) },
    { ip: null, reason: /set pxe_enabled of its port off and on again/ as never }
  ],
  "another server's, seen": [
    { mode: 'proxy' },
    { ip: '192.0.2.100', reason: /and seen in a request/ as never }
  ],
  "another server's, not seen": [
    { mode: 'proxy', port: aPort({ reservedIp: null }) },
    { ip: null, reason: /which was not seen yet/ as never }
  ],
  "a stranger's": [stranger, { ip: null, subnet: null, reason: 'it is not enrolled' }],
  "a stranger's from the discovery pool": [
    { ...stranger, subnets: [{ ...near, discovery }], candidate: '192.0.2.210' },
    {
      ip: '192.0.2.210',
      subnet: '192.0.2.0/24',
      reason: 'from the discovery pool, because it is not enrolled'
    }
  ],
  'declined a moment ago': [
    { lease: aLease({ state: 'declined', declines: 3, expiresAt: NOW + 11_500 }) },
    { barred: 'declined 3 times in a row because somebody else uses it; given to nobody for another 12 s' }
  ],
  'declined once': [
    { lease: aLease({ state: 'declined', declines: 1, expiresAt: NOW + 1 }) },
    { barred: 'declined once because somebody else uses it; given to nobody for another 1 s' }
  ],
  'declined long ago': [
    { lease: aLease({ state: 'declined', declines: 1, expiresAt: NOW }) },
    { barred: null }
  ],
  'in use by another': [
    { conflict: { mac: '52:54:00:00:00:99' } },
    { barred: 'in use by 52:54:00:00:00:99' }
  ],
  'in use by somebody': [{ conflict: { mac: null } }, { barred: 'in use by somebody else' }]
}

for (const [name, [given, address]] of Object.entries(addresses))
  t.test(`the address: ${name}`, async (t) => void t.match(explain(given).address, address))

t.test('the way it asks: as it did last, else the way to its address', async (t) => {
  const relays = { ...far, relays: ['203.0.113.1'] }
  const alone = { ...far, gateway: null }
  const cases: Record<string, [Given, string | null]> = {
    'on our link': [{}, null],
    'behind the gateway of its subnet': [elsewhere, RELAY],
    'behind a relay that is configured': [{ ...elsewhere, subnets: [near, relays] }, '203.0.113.1'],
    'behind a relay of which nothing is known': [{ ...elsewhere, subnets: [near, alone] }, '198.51.100.1'],
    'as it asked last, through a relay': [{ last: aRequest({ giaddr: '198.51.100.3' }) }, '198.51.100.3'],
    'as it asked last, on our link': [{ ...elsewhere, last: aRequest() }, null],
    'a stranger': [stranger, null]
  }
  for (const [name, [given, relay]] of Object.entries(cases)) {
    const explained = explain(given)
    t.equal(explained.relay, relay, name)
    if (relay !== null && !given.last) t.equal(explained.outcomes[0]?.ip, '198.51.100.10', name)
  }
})

t.test('a decision in one line', async (t) => {
  const common = { client: 'pxe-uefi' as const, changes: [] }
  const reply = (messageType: 'offer' | 'ack' | 'nak', yiaddr: string) =>
    ({
      ...common,
      reply: aRequest({ op: 'reply', yiaddr, options: { messageType } }),
      destination: { address: '255.255.255.255', port: 68 },
      kind: 'reserved',
      bootFile: null,
      reason: 'the machine is active'
    }) as const
  const ignore = (ignore: DhcpIgnored, reason: string = ignore) => ({ ...common, ignore, reason })
  const cases: [DhcpVerdict, string][] = [
    [reply('ack', '192.0.2.100'), 'ack: 192.0.2.100, no boot file (the machine is active)'],
    [
      { ...reply('offer', '0.0.0.0'), bootFile: 'snponly.efi', reason: 'deploy, attempt 1' },
      'offer: no address, boot file snponly.efi (deploy, attempt 1)'
    ],
    [
      { ...reply('nak', '0.0.0.0'), reason: '192.0.2.100 is reserved for this machine, not 192.0.2.7' },
      'nak: 192.0.2.100 is reserved for this machine, not 192.0.2.7'
    ],
    [ignore('not-enrolled'), 'no answer: no port with this MAC is enrolled'],
    [
      ignore('declined', 'declined: Lease is denied upon entering bound'),
      'no answer: it found its address in use and declined it: Lease is denied upon entering bound'
    ],
    [ignore('nothing-to-boot', 'the machine is active'), 'no answer: the machine is active']
  ]
  for (const [verdict, words] of cases) t.equal(decisionOf(verdict), words)
})
