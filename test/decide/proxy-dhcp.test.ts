import t from 'tap'
import type { DhcpVerdict } from '../../src/decide/dhcp.ts'
import { placeOf } from '../../src/decide/dhcp-place.ts'
import { decideProxyDhcp, type ProxyDoor, type ProxyFacts } from '../../src/decide/proxy-dhcp.ts'
import type { Change } from '../../src/domain/change.ts'
import type { DhcpMessage } from '../../src/wire/dhcp.ts'
import { aNode, anOrder, aPort, aSubnet, NOW } from '../support/builders.ts'
import { aRequest, recorded } from '../support/dhcp.ts'

const MAC = '52:54:00:00:00:01'
const US = '192.0.2.1'
const OTHERS = '192.0.2.2'
const IP = '192.0.2.77'
const settings = {
  address: US,
  httpPort: 80,
  subnets: [aSubnet({ pool: null })],
  hasLoader: () => true,
  unicastWithoutArp: false
}
const off = { 'powered-off': NOW }
const written = { ...off, 'powered-on': NOW, 'agent-seen': NOW, 'image-written': NOW }

const machine = (given: Partial<ProxyFacts> = {}): ProxyFacts => ({
  node: aNode(),
  port: aPort({ reservedIp: null }),
  order: null,
  instance: null,
  lease: null,
  candidate: null,
  conflict: null,
  standDown: null,
  stages: null,
  heard: null,
  modelLoader: null,
  other: null,
  ...given
})
const deploying = machine({ order: anOrder({ ticks: off }) })
const decide = (request: DhcpMessage, facts = deploying, door: ProxyDoor = { port: 67 }): DhcpVerdict =>
  decideProxyDhcp(request, door, placeOf(request, settings), facts, settings, { now: NOW, leaseNow: NOW })
const answer = (verdict: DhcpVerdict) => {
  if (!('reply' in verdict)) throw new Error(`ignored: ${verdict.ignore}`)
  return verdict
}
const puts = (changes: Change[]) =>
  changes.flatMap((change) =>
    'put' in change && (change.put === 'port' || change.put === 'lease') ? [change] : []
  )

const ovmf = recorded('ovmf-pxe-discover', { chaddr: MAC })
const ovmfHttp = recorded('ovmf-http-discover', { chaddr: MAC })
const ipxe = recorded('seabios-ipxe-discover', { chaddr: MAC })
const system = aRequest({ chaddr: MAC })
const door: ProxyDoor = { port: 4011, from: { address: IP, port: 4011 } }
const onDoor = { ...ovmf, ciaddr: IP, options: { ...ovmf.options, messageType: 'request' as const } }

t.test('an offer has a boot file and no address', async (t) => {
  const { reply, destination } = answer(decide(ovmf))
  t.match(reply, { yiaddr: '0.0.0.0', siaddr: US, file: 'snponly.efi' })
  t.match(reply.options, {
    messageType: 'offer',
    serverId: US,
    vendorClass: 'PXEClient',
    bootFileName: 'snponly.efi',
    clientMachineId: ovmf.options.clientMachineId
  })
  for (const name of ['leaseSeconds', 'renewSeconds', 'subnetMask', 'routers', 'dnsServers'] as const)
    t.equal(reply.options[name], undefined, name)
  t.same(destination, { address: '255.255.255.255', port: 68 })
})

t.test(
  'a loader that came to nothing is noted with the offer of the next: no more will be heard',
  async (t) => {
    const fetched = { loader: 'snponly.efi', at: NOW - 3000 }
    const order = anOrder({
      ticks: off,
      loaderTrial: { fetched, worked: null, silent: [], refused: false }
    })
    const { bootFile, changes } = answer(
      decide(recorded('ovmf-pxe-discover', { chaddr: MAC }), machine({ order }))
    )
    t.equal(bootFile, 'shimx64.efi')
    t.match(
      changes.find((change) => 'put' in change && change.put === 'order'),
      { row: { loaderTrial: { fetched: null, silent: ['snponly.efi'] } } }
    )
  }
)

t.test('every kind of firmware is told that it is a proxy who speaks', async (t) => {
  t.match(answer(decide(ovmfHttp)).reply.options, {
    vendorClass: 'HTTPClient',
    bootFileName: 'http://192.0.2.1/boot/loader/snponly.efi'
  })
  t.match(answer(decide(ipxe)).reply.options, {
    vendorClass: 'PXEClient',
    bootFileName: /^http:.*\/boot\/script/
  })
})

t.test('what is on port 4011 is acknowledged from there, to where it came from', async (t) => {
  const { reply, destination } = answer(decide(onDoor, deploying, door))
  t.match(reply, { ciaddr: IP, yiaddr: '0.0.0.0', file: 'snponly.efi', options: { messageType: 'ack' } })
  t.same(destination, { address: IP, port: 4011 })
})

const silent: Record<string, { verdict: () => DhcpVerdict; ignore: string }> = {
  'a stranger': { verdict: () => decide(ovmf, machine({ node: null, port: null })), ignore: 'not-enrolled' },
  'an idle machine': { verdict: () => decide(ovmf, machine()), ignore: 'nothing-to-boot' },
  'an active machine': {
    verdict: () => decide(ipxe, machine({ node: aNode({ state: 'active' }) })),
    ignore: 'nothing-to-boot'
  },
  'an installed system': { verdict: () => decide(system), ignore: 'nothing-to-boot' },
  'a request on 67 is the other server’s business': {
    verdict: () => decide({ ...onDoor, ciaddr: '0.0.0.0' }),
    ignore: 'not-for-a-proxy'
  },
  'an idle machine on 4011': { verdict: () => decide(onDoor, machine(), door), ignore: 'nothing-to-boot' },
  'a release': {
    verdict: () => decide(aRequest({ chaddr: MAC, ciaddr: IP, options: { messageType: 'release' } })),
    ignore: 'not-for-a-proxy'
  }
}

t.test('who gets no answer', async (t) => {
  for (const [name, { verdict, ignore }] of Object.entries(silent))
    t.match(verdict(), { ignore, reason: /./ }, name)
})

t.test('the address that a machine takes from the other server is what it is known by', async (t) => {
  const taking = aRequest({
    chaddr: MAC,
    options: { messageType: 'request', serverId: OTHERS, requestedAddress: IP, hostName: 'ctl-1' }
  })
  t.match(puts(decide(taking, machine()).changes), [
    { put: 'port', row: { address: MAC, reservedIp: IP } },
    { put: 'lease', row: { ip: IP, mac: MAC, kind: 'foreign', state: 'bound', hostname: 'ctl-1' } }
  ])
  const known = machine({ port: aPort({ reservedIp: IP }) })
  t.same(
    puts(decide(taking, known).changes).map(({ put }) => put),
    ['lease'],
    'once is enough'
  )
  const other = aPort({ uuid: 'p2', address: '52:54:00:00:00:02', reservedIp: IP })
  t.match(puts(decide(taking, machine({ other })).changes), [
    { put: 'port', row: { uuid: 'p2', reservedIp: null } },
    { put: 'port', row: { address: MAC, reservedIp: IP } },
    { put: 'lease' }
  ])
})

t.test('an address in no subnet of ours, or a mere DISCOVER, is nobody’s', async (t) => {
  const elsewhere = aRequest({
    chaddr: MAC,
    options: { messageType: 'request', serverId: OTHERS, requestedAddress: '10.9.9.9' }
  })
  t.same(puts(decide(elsewhere, machine()).changes), [])
  const asking = aRequest({ chaddr: MAC, options: { messageType: 'discover', requestedAddress: IP } })
  t.same(puts(decide(asking, machine()).changes), [])
})

t.test('the installed system’s own request is its sign of life', async (t) => {
  const order = anOrder({ ticks: written })
  const request = aRequest({
    chaddr: MAC,
    options: { messageType: 'request', serverId: OTHERS, requestedAddress: IP }
  })
  t.match(
    decide(request, machine({ order })).changes.filter((change) => 'tick' in change),
    [{ tick: 'instance-up', attempt: 1 }]
  )
})
