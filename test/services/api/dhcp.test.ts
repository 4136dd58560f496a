import t from 'tap'
import { decodeDhcp, encodeDhcp } from '../../../src/wire/dhcp.ts'
import type { MessageType } from '../../../src/wire/dhcp-options.ts'
import { decodePcap } from '../../../src/wire/pcap.ts'
import { aLease, aNode, anOrder, aPort } from '../../support/builders.ts'
import { aPacket, aRequest, recorded } from '../../support/dhcp.ts'
import { anApi, fault } from './api-under-test.ts'

const MAC = '52:54:00:00:00:01'
const SECOND = '52:54:00:00:00:02'
const STRANGER = '52:54:00:00:00:99'
const second = aPort({
  uuid: '706f7274-0000-4000-8000-000000000002',
  address: SECOND,
  reservedIp: '192.0.2.101'
})

/** An API with one node, ctl-1, of two ports; `says` notes a packet of a MAC. */
function prepared(given: Parameters<typeof anApi>[0] = {}) {
  const api = anApi(given)
  api.change([
    { put: 'node', row: aNode() },
    { put: 'port', row: aPort() },
    { put: 'port', row: second }
  ])
  const says = (mac: string, at: number, type: MessageType = 'discover', more: object = {}) =>
    api.ring.note({
      ...aPacket({ at, bytes: encodeDhcp(aRequest({ chaddr: mac, options: { messageType: type } })) }),
      decision: `decided at ${at}`,
      mac,
      enrolled: api.deps.facts.isEnrolled(mac),
      ...more
    })
  return { ...api, says }
}

t.test('leases say whose they are, and are found by what they are of', async (t) => {
  const api = prepared()
  t.teardown(() => api.close())
  const later = Date.now() + 1e6
  api.change([
    { put: 'lease', row: aLease({ expiresAt: later }) },
    { put: 'lease', row: aLease({ mac: SECOND, ip: '192.0.2.101', expiresAt: 1 }) },
    { put: 'lease', row: aLease({ mac: STRANGER, ip: '192.0.2.150', state: 'declined', expiresAt: later }) }
  ])
  const found = async (query: string) => {
    const { body } = await api.ask('GET', `/v1/dhcp/leases${query}`)
    return (body.leases as { ip: string }[]).map(({ ip }) => ip)
  }
  t.match((await api.ask('GET', '/v1/dhcp/leases')).body.leases, [
    { ip: '192.0.2.100', node_name: 'ctl-1', state: 'bound', reserved: true },
    { ip: '192.0.2.101', node_name: 'ctl-1', state: 'expired', reserved: true },
    { ip: '192.0.2.150', node_name: null, state: 'declined', reserved: false }
  ])
  t.same(await found('?node=ctl-1'), ['192.0.2.100', '192.0.2.101'])
  t.same(await found('?mac=52-54-00-00-00-99'), ['192.0.2.150'])
  t.same(await found('?ip=192.0.2.101'), ['192.0.2.101'])
  t.same(await found('?state=expired'), ['192.0.2.101'])
  t.same(await found('?node=ctl-1&state=declined'), [])
  t.equal((await api.ask('GET', '/v1/dhcp/leases?node=ctl-9')).status, 404)
  t.equal((await api.ask('GET', '/v1/dhcp/leases?mac=zz')).status, 400)
  t.equal((await api.ask('GET', '/v1/dhcp/leases?state=lost')).status, 400)
  t.equal((await api.ask('GET', '/v1/leases')).status, 404, 'there is one way')
})

t.test('the packets of a node as a capture, all its ports in the order of time', async (t) => {
  const api = prepared()
  t.teardown(() => api.close())
  api.says(MAC, 1000.25)
  api.says(SECOND, 1001)
  api.says(MAC, 1002, 'request')
  api.says(STRANGER, 1003)
  const get = async (url: string) => {
    const answer = await api.app.inject({ method: 'GET', url })
    t.equal(answer.statusCode, 200)
    t.equal(answer.headers['content-type'], 'application/vnd.tcpdump.pcap')
    const packets = decodePcap(answer.rawPayload).map(({ at, bytes }) => [at, decodeDhcp(bytes).chaddr])
    return { packets, name: answer.headers['content-disposition'] }
  }
  t.same(await get('/v1/nodes/ctl-1/dhcp/packets'), {
    packets: [
      [1000.25, MAC],
      [1001, SECOND],
      [1002, MAC]
    ],
    name: 'attachment; filename="ctl-1.pcap"'
  })
  t.same(await get('/v1/dhcp/packets/52-54-00-00-00-99'), {
    packets: [[1003, STRANGER]],
    name: 'attachment; filename="52-54-00-00-00-99.pcap"'
  })
})

t.test('of whom nothing was heard, that is said', async (t) => {
  const api = prepared()
  t.teardown(() => api.close())
  const none = await api.ask('GET', '/v1/nodes/ctl-1/dhcp/packets')
  t.equal(none.status, 404)
  t.match(fault(none), {
    code: 'not-found',
    faultstring:
      /^No DHCP packet of ctl-1 \(52:54:00:00:00:01, 52:54:00:00:00:02\) was seen since Seedling started\. Is/
  })
  t.equal((await api.ask('GET', `/v1/dhcp/packets/${STRANGER}`)).status, 404)
  t.equal((await api.ask('GET', '/v1/dhcp/packets/nobody')).status, 400)
  t.equal((await api.ask('GET', '/v1/nodes/ctl-9/dhcp/packets')).status, 404)
})

t.test('what is no longer enrolled is forgotten', async (t) => {
  const api = prepared()
  t.teardown(() => api.close())
  const all = [MAC, SECOND, '52:54:00:00:00:03']
  for (const mac of all) api.says(mac, 1)
  const known = () => all.filter((mac) => api.ring.of(mac).length > 0)
  await api.ask('PATCH', `/v1/ports/${SECOND}`, [{ op: 'replace', path: '/extra', value: { a: 1 } }])
  t.same(known(), all, 'a port that keeps its MAC keeps its packets')
  await api.ask('PATCH', `/v1/ports/${SECOND}`, [
    { op: 'replace', path: '/address', value: '52:54:00:00:00:03' }
  ])
  t.same(known(), [MAC, '52:54:00:00:00:03'])
  t.equal((await api.ask('DELETE', '/v1/ports/52:54:00:00:00:03')).status, 204)
  t.same(known(), [MAC])
  t.equal((await api.ask('DELETE', '/v1/nodes/ctl-1')).status, 204)
  t.same(known(), [])
})

t.test('an explanation of an enrolled machine has all there is to know', async (t) => {
  const api = prepared()
  t.teardown(() => api.close())
  const ticks = { 'powered-off': Date.now() }
  api.change([
    { put: 'order', row: anOrder({ ticks }) },
    { put: 'lease', row: aLease({ expiresAt: Date.now() + 1e6 }) },
    { put: 'lease', row: aLease({ ip: '192.0.2.150', kind: 'discovery', state: 'released', expiresAt: 1 }) }
  ])
  api.says(MAC, 1000, 'discover')
  api.ring.note({
    ...aPacket({ at: 1001, direction: 'out', from: { address: '192.0.2.1', port: 67 } }),
    mac: MAC,
    enrolled: true,
    decision: 'offer'
  })
  const { body, status } = await api.ask('GET', '/v1/dhcp/explain/52-54-00-00-00-01')
  t.equal(status, 200)
  t.match(body, {
    mac: MAC,
    answer:
      'If ctl-1 (52:54:00:00:00:01) asks now, it gets 192.0.2.100 and the boot file snponly.efi: deploy, attempt 1.',
    relay: null,
    node: { name: 'ctl-1', provision_state: 'deploying', maintenance: false },
    port: { pxe_enabled: true, physical_network: null },
    address: { ip: '192.0.2.100', subnet: '192.0.2.0/24', reason: /^reserved/, barred: null },
    gate: { boot: 'ramdisk', reason: 'deploy, attempt 1' },
    leases: [
      { ip: '192.0.2.100', kind: 'reserved', state: 'bound' },
      { ip: '192.0.2.150', kind: 'discovery', state: 'released' }
    ],
    outcomes: [
      { client: 'pxe-bios', client_name: 'BIOS PXE', answer: 'offer', boot_file: 'undionly.kpxe' },
      { client: 'pxe-uefi', answer: 'offer', ip: '192.0.2.100', boot_file: 'snponly.efi' },
      { client: 'http-uefi', boot_file: 'http://192.0.2.1/boot/loader/snponly.efi' },
      { client: 'ipxe', boot_file: /^http:\/\/192\.0\.2\.1\/boot\/script\?mac=/ },
      { client: 'system', answer: 'offer', boot_file: null, reason: 'an installed system asks' }
    ],
    packets: [
      {
        at: '1970-01-01T00:00:01.000000+00:00',
        direction: 'in',
        from: '0.0.0.0:68',
        to: '255.255.255.255:67',
        type: 'discover',
        size: 300,
        decision: 'decided at 1000'
      },
      { direction: 'out', from: '192.0.2.1:67', type: null, decision: 'offer' }
    ]
  })
  t.notMatch(JSON.stringify(body), /a{64}/, "the order's token is for the ramdisk alone")
  const before = api.rows()
  await api.ask('GET', `/v1/dhcp/explain/${MAC}`)
  t.same(api.rows(), before, 'asking changes nothing')
})

t.test('an explanation of trouble with the address', async (t) => {
  const api = prepared()
  t.teardown(() => api.close())
  const row = aLease({ mac: STRANGER, state: 'declined', declines: 1, expiresAt: Date.now() + 60_000 })
  api.change([{ put: 'lease', row }])
  const explained = async () => (await api.ask('GET', `/v1/dhcp/explain/${MAC}`)).body
  t.match(await explained(), {
    answer: /gets no answer: 192\.0\.2\.100 was declined once\.$/,
    address: { barred: /^declined once because somebody else uses it/ },
    leases: [{ ip: '192.0.2.100', mac: STRANGER, state: 'declined' }]
  })
  api.around.conflict = { mac: STRANGER }
  t.match(await explained(), {
    answer: /gets no answer: 192\.0\.2\.100 is in use by 52:54:00:00:00:99\.$/,
    address: { barred: 'in use by 52:54:00:00:00:99' }
  })
})

t.test('an explanation of a stranger, by the firmware that it showed', async (t) => {
  const api = prepared()
  t.teardown(() => api.close())
  const explained = async () => (await api.ask('GET', `/v1/dhcp/explain/${STRANGER}`)).body
  t.match(await explained(), {
    answer: 'If 52:54:00:00:00:99 asks now, it gets no answer: no port with this MAC is enrolled.',
    node: null,
    port: null,
    leases: [],
    gate: { boot: 'nothing', reason: 'not enrolled' },
    packets: []
  })
  api.says(STRANGER, 5, 'discover', { bytes: Buffer.from('cut') })
  t.match((await explained()).packets, [{ type: null, size: 3 }])
  t.equal((await api.ask('GET', '/v1/dhcp/explain/ctl-1')).status, 400)

  const relayed = recorded('seabios-ipxe-discover', { chaddr: STRANGER, giaddr: '198.51.100.3' })
  api.says(STRANGER, 6, 'discover', { bytes: encodeDhcp(relayed, 1500) })
  t.equal((await explained()).relay, '198.51.100.3')
})

t.test('the status: how we are there, what is left, who else is there', async (t) => {
  const api = prepared({
    pool: { start: '192.0.2.100', end: '192.0.2.109' },
    discovery: { start: '192.0.2.200', end: '192.0.2.203' },
    dhcp: { mode: 'listen' }
  })
  t.teardown(() => api.close())
  const later = Date.now() + 1e6
  const lease = (ip: string, expiresAt: number) => ({
    put: 'lease' as const,
    row: aLease({ mac: STRANGER, kind: 'discovery', ip, expiresAt })
  })
  api.change([
    { put: 'lease', row: aLease({ expiresAt: later }) },
    lease('192.0.2.105', later),
    lease('192.0.2.200', later),
    lease('192.0.2.201', 1)
  ])
  const server = { address: '192.0.2.5', mac: STRANGER, kind: 'dhcp', harmless: false }
  api.around.watch = { state: 'foreign', servers: [{ ...server, firstSeenAt: 1000, lastSeenAt: 2000 }] }
  t.same((await api.ask('GET', '/v1/dhcp/status')).body, {
    mode: 'listen',
    interface: 'lo',
    address: '192.0.2.1',
    subnets: [
      {
        cidr: '192.0.2.0/24',
        name: null,
        relays: [],
        pool: { start: '192.0.2.100', end: '192.0.2.109', size: 10, taken: 3, free: 7 },
        discovery: { start: '192.0.2.200', end: '192.0.2.203', size: 4, taken: 1, free: 3 }
      },
      {
        cidr: '198.51.100.0/24',
        name: null,
        relays: [],
        pool: { start: '198.51.100.10', end: '198.51.100.20', size: 11, taken: 0, free: 11 },
        discovery: null
      }
    ],
    counters: { received: 3, answered: 2 },
    strangers_let_in: 0.25,
    others: {
      state: 'foreign',
      servers: [
        {
          ...server,
          first_seen_at: '1970-01-01T00:00:01.000000+00:00',
          last_seen_at: '1970-01-01T00:00:02.000000+00:00'
        }
      ]
    }
  })
})

t.test('who was seen: clients, the latest first, and what other servers told', async (t) => {
  const api = prepared()
  t.teardown(() => api.close())
  t.same((await api.ask('GET', '/v1/dhcp/seen')).body, { clients: [], servers: [] })
  api.says(MAC, 1000)
  const relayed = recorded('ovmf-pxe-request', { chaddr: STRANGER, giaddr: '198.51.100.3' })
  api.says(STRANGER, 2000, 'request', { bytes: encodeDhcp(relayed, 1500) })
  api.seen.answered(
    aRequest({ op: 'reply', yiaddr: '192.0.2.77', options: { messageType: 'offer', leaseSeconds: 600 } }),
    '192.0.2.5'
  )
  t.match((await api.ask('GET', '/v1/dhcp/seen')).body, {
    clients: [
      {
        mac: STRANGER,
        node_name: null,
        last_at: '1970-01-01T00:00:02.000000+00:00',
        type: 'request',
        client: 'pxe-uefi',
        architecture: 'x64 UEFI',
        vendor_class: 'PXEClient:Arch:00007:UNDI:003000',
        relay: '198.51.100.3',
        requested_options: [1, 2, 3],
        server: '192.0.2.1',
        decision: 'decided at 2000'
      },
      { mac: MAC, node_name: 'ctl-1', client: 'system', relay: null, server: null }
    ],
    servers: [
      {
        address: '192.0.2.5',
        answers: 1,
        answer: { type: 'offer', mac: MAC, ip: '192.0.2.77', lease_seconds: 600, boot_file: null }
      }
    ]
  })
  t.equal((await api.ask('GET', '/v1/dhcp/seen?limit=1')).body.clients.length, 1)
  t.equal((await api.ask('GET', '/v1/dhcp/seen?limit=1001')).status, 400)
})
