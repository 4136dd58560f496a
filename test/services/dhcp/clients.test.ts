// The DHCP service in all its manners against real programs, in namespaces: dhcpcd, a relay, strangers, another server beside it.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { aNode, anOrder, aPort, aSubnet, NOW } from '../../support/builders.ts'
import { addNamespace, connect, type Namespace } from '../../support/namespace.ts'
import { serveIn, type ServeHow, type Serving } from './serving.ts'
import type { Serve } from './serve.ts'

const MAC = aPort().address
const STRANGER = '52:54:00:00:00:99'
const folder = mkdtempSync(join(tmpdir(), 'seedling-dhcp-clients-'))
t.teardown(() => rmSync(folder, { recursive: true }))

const told = join(folder, 'told')
const script = join(folder, 'script')
writeFileSync(script, `#!/bin/sh\nenv > ${told}.\${reason:-$1}\n`, { mode: 0o755 })
const toldAt = (event: string): Record<string, string> =>
  Object.fromEntries(
    readFileSync(`${told}.${event}`, 'utf8')
      .trim()
      .split('\n')
      .map((line) => line.split(/=(.*)/s) as [string, string])
  )

const machine = { node: aNode(), ports: [aPort()] }
const serving: Serve['dhcp'] = { mode: 'server', exclusive: false, tolerate: [], probeConflicts: false }

/** A server on `lan` of `host`, and a namespace at the other end of the cable. */
async function aLan(t: Test, given: Partial<Serve>, how?: ServeHow) {
  const host = await addNamespace('host')
  const lan = await addNamespace('lan')
  t.teardown(() => Promise.all([lan, host].map((namespace) => namespace.remove())))
  await connect([host, 'lan'], [lan, 'eth0'], MAC)
  await host.run('ip', 'address', 'add', '192.0.2.1/24', 'dev', 'lan')
  const link = { interface: 'lan', address: '192.0.2.1' }
  const server = await serveIn(host, { link, machines: [machine], ...given }, how)
  t.teardown(() => server.stop())
  return { host, lan, server }
}

const udhcpc = (where: Namespace, ...more: string[]) =>
  where.run('udhcpc', '-i', 'eth0', '-f', '-n', '-q', '-t', '3', '-T', '1', '-s', script, ...more)
const sent = async (host: Namespace, link: string) =>
  Number(await host.run('cat', `/sys/class/net/${link}/statistics/tx_packets`))

const acks = ({ log }: Serving) => log.filter(({ answer }) => answer === 'ack').length

/** dhcpcd keeps its leases and its DUID in the system's folders: here these are its own for one run. */
async function dhcpcd(where: Namespace): Promise<void> {
  const config = join(folder, 'dhcpcd.conf')
  writeFileSync(config, 'duid\npersistent\noption classless_static_routes, interface_mtu, host_name\n')
  const program = `mount -t tmpfs none /var/lib/dhcpcd && mount -t tmpfs none /run &&
    timeout 20 dhcpcd -4 -1 -B -A -f ${config} -c ${script} eth0`
  await where.run('unshare', '-m', 'sh', '-c', program)
}

t.test('dhcpcd, which names itself by a DUID, gets the address of its machine', async (t) => {
  const { lan, server } = await aLan(t, {})
  await udhcpc(lan)
  await dhcpcd(lan)
  t.match(toldAt('BOUND'), {
    new_ip_address: '192.0.2.100',
    new_subnet_cidr: '24',
    new_dhcp_lease_time: '3600',
    new_interface_mtu: '1400',
    new_classless_static_routes: /169\.254\.169\.254\/32 192\.0\.2\.1/
  })
  const ids = (await server.stop()).leases.map(({ ip, clientId }) => [ip, clientId?.slice(0, 2)])
  t.same(ids, [['192.0.2.100', 'ff']], 'the same address, and the id is a DUID (RFC 4361)')
})

t.test('behind a relay: dhcrelay with option 82, and a renewal that is routed', async (t) => {
  const far = await addNamespace('far')
  t.teardown(() => far.remove())
  const subnets = [aSubnet(), aSubnet({ cidr: '198.51.100.0/24', gateway: '198.51.100.254' })]
  const ports = [aPort({ reservedIp: '198.51.100.7' })]
  const { host, server, lan } = await aLan(t, { subnets, machines: [{ node: aNode(), ports }] })
  // The namespace at the end of the server's cable is the relay; the client is behind it.
  await lan.run('ip', 'address', 'add', '192.0.2.254/24', 'dev', 'eth0')
  await connect([lan, 'south'], [far, 'eth0'], MAC)
  await lan.run('ip', 'address', 'add', '198.51.100.254/24', 'dev', 'south')
  await lan.run('sysctl', '-qw', 'net.ipv4.ip_forward=1')
  await host.run('ip', 'route', 'add', '198.51.100.0/24', 'via', '192.0.2.254')
  const relaying = lan.spawn('dhcrelay', [
    '-4',
    '-d',
    '--no-pid',
    '-a',
    '-id',
    'south',
    '-iu',
    'eth0',
    '192.0.2.1'
  ])
  t.teardown(() => relaying.kill('SIGKILL'))
  await sleep(500)
  await udhcpc(far)
  t.match(toldAt('bound'), { ip: '198.51.100.7', router: '198.51.100.254', serverid: '192.0.2.1' })
  const ack = await server.logged({ answer: 'ack', ip: '198.51.100.7' })
  t.equal(ack['to'], '198.51.100.254', 'by way of the relay')
  // Renewed straight from its address, by way of the router.
  await far.run('ip', 'address', 'add', '198.51.100.7/24', 'dev', 'eth0')
  await far.run('ip', 'route', 'add', 'default', 'via', '198.51.100.254')
  const client = far.spawn('udhcpc', ['-i', 'eth0', '-f', '-s', script])
  t.teardown(() => client.kill('SIGKILL'))
  for (let tries = 0; acks(server) < 2 && tries < 300; tries++) await sleep(100)
  // Asked again: a signal that arrives before udhcpc has taken the answer in is no renewal.
  const asking = setInterval(() => client.kill('SIGUSR1'), 1000)
  t.teardown(() => clearInterval(asking))
  const renewal = await server.logged({ answer: 'ack', to: '198.51.100.7' })
  clearInterval(asking)
  t.match(renewal, { type: 'request', mac: MAC, ip: '198.51.100.7' })
  const lease = (await server.stop()).leases
  t.match(lease, [{ ip: '198.51.100.7', mac: MAC, state: 'bound' }])
})

t.test('strangers get short leases from a pool of their own, where there is one', async (t) => {
  const discovery = { start: '192.0.2.50', end: '192.0.2.59', leaseSeconds: 120, perSecond: 20 }
  const { lan, server } = await aLan(t, { subnets: [aSubnet({ discovery })] })
  await lan.run('ip', 'link', 'set', 'eth0', 'address', STRANGER)
  await udhcpc(lan)
  t.match(toldAt('bound'), { ip: '192.0.2.50', lease: '120' })
  await udhcpc(lan, '-x', 'hostname:other', '-C')
  t.match(toldAt('bound'), { ip: '192.0.2.50' }, 'the same without a client id')
  await lan.run('ip', 'link', 'set', 'eth0', 'address', MAC)
  await udhcpc(lan)
  t.match(toldAt('bound'), { ip: '192.0.2.100', lease: '3600' }, 'the enrolled machine has its own')
  const { leases } = await server.stop()
  t.match(
    leases.map(({ ip, kind }) => [ip, kind]),
    [
      ['192.0.2.100', 'reserved'],
      ['192.0.2.50', 'discovery']
    ]
  )
})

t.test('listen-only: not one packet is sent, and it says what it would have answered', async (t) => {
  const { host, lan, server } = await aLan(t, { dhcp: { ...serving, mode: 'listen' } })
  const before = await sent(host, 'lan')
  await t.rejects(udhcpc(lan), 'no lease')
  await lan.run('ip', 'link', 'set', 'eth0', 'address', STRANGER)
  await t.rejects(udhcpc(lan), 'no lease')
  t.match(await server.logged({ msg: 'discover would be answered', mac: MAC }), {
    answer: 'offer',
    ip: '192.0.2.100'
  })
  t.match(await server.logged({ msg: 'discover ignored', mac: STRANGER }), { reason: 'not-enrolled' })
  t.equal(await sent(host, 'lan'), before, 'not one packet')
  t.same((await server.stop()).leases, [], 'and nothing written')
})

t.test('proxyDHCP beside dnsmasq: boot files from us, addresses from the other', async (t) => {
  const order = anOrder({ ticks: { 'powered-off': NOW } })
  const { host, lan, server } = await aLan(t, {
    dhcp: { ...serving, mode: 'proxy' },
    subnets: [aSubnet({ pool: null })],
    machines: [{ node: aNode(), ports: [aPort({ reservedIp: null })], order }]
  })
  const other = await addNamespace('other')
  t.teardown(() => other.remove())
  // One LAN for three: a bridge in the clients' namespace.
  await lan.run('ip', 'link', 'add', 'lan', 'type', 'bridge')
  await lan.run('ip', 'link', 'set', 'lan', 'up')
  await lan.run('ip', 'link', 'set', 'eth0', 'master', 'lan')
  await connect([lan, 'port1'], [other, 'eth0'])
  await lan.run('ip', 'link', 'set', 'port1', 'master', 'lan')
  await other.run('ip', 'address', 'add', '192.0.2.2/24', 'dev', 'eth0')
  const client = await addNamespace('client')
  t.teardown(() => client.remove())
  await lan.run('ip', 'link', 'set', 'eth0', 'address', '52:54:00:00:00:aa')
  await connect([lan, 'port2'], [client, 'eth0'], MAC)
  await lan.run('ip', 'link', 'set', 'port2', 'master', 'lan')
  const dnsmasq = other.spawn('dnsmasq', [
    '--no-daemon',
    '--conf-file=/dev/null',
    '--port=0',
    '--interface=eth0',
    '--bind-dynamic',
    '--no-ping',
    `--dhcp-leasefile=${join(folder, 'dnsmasq.leases')}`,
    '--dhcp-range=192.0.2.30,192.0.2.40,1h'
  ])
  t.teardown(() => dnsmasq.kill('SIGKILL'))
  await sleep(500)
  await udhcpc(client)
  const { ip } = toldAt('bound')
  t.match(ip, /^192\.0\.2\.3/, 'the other server’s')
  t.match(toldAt('bound'), { serverid: '192.0.2.2' })
  t.match(await server.logged({ type: 'request', mac: MAC }), { reason: 'not-for-a-proxy' })
  // A client that is firmware: iPXE's class and features, so that a boot file is told.
  await udhcpc(client, '-V', 'PXEClient:Arch:00007:UNDI:003016', '-x', '0x5d:0007').catch(() => undefined)
  const offer = await server.logged({ answer: 'offer', mac: MAC })
  t.match(offer, { ip: '0.0.0.0', bootFile: 'snponly.efi' })
  const { leases } = await server.stop()
  t.match(leases, [{ ip, mac: MAC, kind: 'foreign' }], 'the address it took is known')
  t.ok(await sent(host, 'lan'))
})
