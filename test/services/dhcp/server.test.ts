// The DHCP service against real clients, in namespaces: udhcpc and dhclient.

import { existsSync, readFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { macToBytes } from '../../../src/wire/address.ts'
import { aNode, anOrder, aPort, NOW } from '../../support/builders.ts'
import { recordedBytes } from '../../support/dhcp.ts'
import { addNamespace, connect, type Namespace } from '../../support/namespace.ts'
import { serveIn } from './serving.ts'

const MAC = aPort().address
const folder = mkdtempSync(join(tmpdir(), 'seedling-dhcp-client-'))
t.teardown(() => rmSync(folder, { recursive: true }))

/** What a client is told, as its script gets it: the environment of the last event, one `NAME=value` a line. */
const told = join(folder, 'told')
const script = join(folder, 'script')
writeFileSync(script, `#!/bin/sh\nenv > ${told}.$1\n[ -z "$reason" ] || env > ${told}.$reason\n`, {
  mode: 0o755
})

function toldAt(event: string): Record<string, string> {
  const lines = readFileSync(`${told}.${event}`, 'utf8').trim().split('\n')
  return Object.fromEntries(lines.map((line) => line.split(/=(.*)/s) as [string, string]))
}

/** A server with one machine on `lan`, and with another link, `office`, where the same machine is plugged in by mistake. */
async function aRoom(
  t: Test,
  machine = { node: aNode(), ports: [aPort()], order: anOrder() },
  more: { quiet?: boolean } = {}
) {
  const host = await addNamespace('host')
  const lan = await addNamespace('lan')
  const office = await addNamespace('office')
  t.teardown(() => Promise.all([lan, office, host].map((namespace) => namespace.remove())))
  await connect([host, 'lan'], [lan, 'eth0'], MAC)
  await connect([host, 'office'], [office, 'eth0'], MAC)
  await host.run('ip', 'address', 'add', '192.0.2.1/24', 'dev', 'lan')
  await host.run('ip', 'address', 'add', '198.51.100.1/24', 'dev', 'office')
  const link = { interface: 'lan', address: '192.0.2.1' }
  const server = await serveIn(host, { link, machines: [machine], ...more })
  t.teardown(() => server.stop())
  return { host, lan, office, server }
}

const udhcpc = (where: Namespace, ...more: string[]) =>
  where.run('udhcpc', '-i', 'eth0', '-f', '-n', '-q', '-t', '3', '-T', '1', '-s', script, ...more)

/** Packets that left by a link, as the kernel counts them. */
const sent = async (host: Namespace, link: string) =>
  Number(await host.run('cat', `/sys/class/net/${link}/statistics/tx_packets`))

t.test('clients of enrolled machines and of strangers', async (t) => {
  const { host, lan, office, server } = await aRoom(t)
  let read = 0
  /** What the server has done since it was last asked: "discover offer", "release released". */
  const done = async (count: number) => {
    const lines = () => server.log.slice(read).filter(({ type }) => type !== undefined)
    for (let tries = 0; lines().length < count && tries < 300; tries++) await sleep(100)
    const found = lines().map(({ type, answer, reason }) => `${String(type)} ${String(answer ?? reason)}`)
    read = server.log.length
    return found
  }

  await t.test('udhcpc gets all that the subnet has', async (t) => {
    await udhcpc(lan, '-O', 'staticroutes')
    t.match(toldAt('bound'), {
      ip: '192.0.2.100',
      subnet: '255.255.255.0',
      router: '192.0.2.254',
      dns: '192.0.2.53',
      domain: 'example.org',
      mtu: '1400',
      lease: '3600',
      serverid: '192.0.2.1',
      staticroutes: '169.254.169.254/32 192.0.2.1 0.0.0.0/0 192.0.2.254'
    })
    t.same(await done(2), ['discover offer', 'request ack'])
  })

  await t.test('dhclient, twice: the second time it asks for the address it had', async (t) => {
    await dhclient(lan, 'one')
    t.match(toldAt('BOUND'), {
      new_ip_address: '192.0.2.100',
      new_subnet_mask: '255.255.255.0',
      new_dhcp_server_identifier: '192.0.2.1',
      new_domain_name: 'example.org',
      new_dhcp_lease_time: '3600'
    })
    await dhclient(lan, 'one')
    t.match(toldAt('REBOOT'), { new_ip_address: '192.0.2.100' })
    t.same(await done(3), ['discover offer', 'request ack', 'request ack'])
  })

  await t.test('dhclient that comes from another network is refused, then gets its address', async (t) => {
    const elsewhere = `lease { interface "eth0"; fixed-address 10.1.2.3; option subnet-mask 255.0.0.0;
      option dhcp-server-identifier 10.0.0.1; option dhcp-lease-time 86400; expire never; }\n`
    await dhclient(lan, 'elsewhere', elsewhere)
    t.same(await done(3), ['request nak', 'discover offer', 'request ack'])
  })

  await t.test('a machine that is not enrolled gets nothing', async (t) => {
    const before = await sent(host, 'lan')
    await lan.run('ip', 'link', 'set', 'eth0', 'address', '52:54:00:00:00:99')
    await t.rejects(udhcpc(lan), 'no lease')
    await lan.run('ip', 'link', 'set', 'eth0', 'address', MAC)
    t.same(await done(3), Array(3).fill('discover not-enrolled'))
    t.equal(await sent(host, 'lan'), before, 'not one packet')
  })

  await t.test(
    'the other link is neither heard nor answered, not even for an enrolled machine',
    async (t) => {
      const before = await sent(host, 'office')
      await t.rejects(udhcpc(office), 'no lease')
      await udhcpc(lan)
      t.same(await done(2), ['discover offer', 'request ack'])
      t.equal(await sent(host, 'office'), before, 'not one packet')
    }
  )

  await t.test('rubbish is counted, and the next client is served', async (t) => {
    const cut = recordedBytes('ovmf-pxe-discover').subarray(0, 300)
    await flood(lan, [Buffer.alloc(0), Buffer.from('hello'), cut])
    await udhcpc(lan)
    t.same(await done(2), ['discover offer', 'request ack'])
  })

  await t.test('a burst is answered to the last request', async (t) => {
    const discover = recordedBytes('ovmf-pxe-discover')
    macToBytes(MAC).copy(discover, 28)
    await flood(lan, Array<Buffer>(500).fill(discover))
    t.same(await done(500), Array(500).fill('discover offer'))
  })

  await t.test('udhcpc gives its address back', async (t) => {
    await lan.run('ip', 'address', 'add', '192.0.2.100/24', 'dev', 'eth0')
    const client = lan.spawn('udhcpc', ['-i', 'eth0', '-f', '-R', '-s', script])
    t.same(await done(2), ['discover offer', 'request ack'])
    await sleep(500)
    client.kill('SIGTERM')
    t.same(await done(1), ['release released'])
  })

  const { leases, ...counters } = await server.stop()
  t.match(leases, [{ mac: MAC, ip: '192.0.2.100', state: 'released' }])
  t.match(counters, { malformed: 3, answered: 2 + 3 + 3 + 2 + 2 + 500 + 2 })
})

t.test('a flood of forged packets does not crowd out an enrolled machine', async (t) => {
  const { lan, server } = await aRoom(t, undefined, { quiet: true })
  const discover = recordedBytes('ovmf-pxe-discover')
  macToBytes(MAC).copy(discover, 28)
  const forged = Array.from({ length: 10_000 }, (_, index) => {
    const bytes = Buffer.from(discover)
    bytes.writeUInt32BE(0x66000000 + index, 30)
    return bytes
  })
  const mixed = forged.flatMap((bytes, index) => (index % 100 === 0 ? [discover, bytes, 2] : [bytes]))
  await flood(lan, [...forged, 500, ...mixed])
  await server.logged({ service: 'dhcp', msg: 'a flood from machines that are not enrolled' })
  await sleep(500)
  const { received, answered } = await server.stop()
  t.equal(answered, 100, 'every one of its own')
  t.ok(received < 10_000, `${received} of 20,100 packets were let in`)
})

t.test('what was read when it is told to end is answered', async (t) => {
  const { lan, server } = await aRoom(t)
  const discover = recordedBytes('ovmf-pxe-discover')
  macToBytes(MAC).copy(discover, 28)
  // It finds the packets and the signal at once.
  process.kill(server.pid, 'SIGSTOP')
  await flood(lan, Array<Buffer>(20).fill(discover))
  const ended = server.stop()
  process.kill(server.pid, 'SIGCONT')
  const { received, answered } = await ended
  t.ok(received > 0, `${received} were read`)
  t.equal(answered, received)
})

/** Runs dhclient until it has a lease, and ends it. It keeps its leases by `name`. */
async function dhclient(where: Namespace, name: string, leases?: string): Promise<void> {
  const [leaseFile, pidFile] = [join(folder, `${name}.leases`), join(folder, `${name}.pid`)]
  if (leases !== undefined) writeFileSync(leaseFile, leases)
  await where.run('dhclient', '-1', '-sf', script, '-lf', leaseFile, '-pf', pidFile, 'eth0')
  // It goes to the background before it writes this file.
  const pid = () => (existsSync(pidFile) ? readFileSync(pidFile, 'utf8').trim() : '')
  for (let tries = 0; pid() === '' && tries < 100; tries++) await sleep(20)
  await where.run('kill', pid())
}

t.test('the first packet of ROM, loader or ramdisk is a sign of life, and wakes the conductor', async (t) => {
  const order = anOrder({
    ticks: { 'powered-off': NOW, 'powered-on': NOW },
    imageId: null,
    instanceUuid: null
  })
  const { lan, server } = await aRoom(t, { node: aNode(), ports: [aPort()], order })
  await udhcpc(lan)
  t.notOk(
    server.log.some(({ msg }) => msg === 'wake'),
    'the system on its disk is none'
  )
  await udhcpc(lan, '-V', 'seedling-ramdisk')
  await server.logged({ msg: 'wake', nodeUuid: aNode().uuid })
  t.same((await server.stop()).ticks.at(-1), 'network-seen')
})

t.test('the installed system shows that it is up', async (t) => {
  const written = {
    'powered-off': NOW,
    'powered-on': NOW,
    'network-seen': NOW,
    'agent-seen': NOW,
    'image-written': NOW
  }
  const order = anOrder({ ticks: written, imageId: null, instanceUuid: null })
  const { lan, server } = await aRoom(t, { node: aNode(), ports: [aPort()], order })
  await udhcpc(lan, '-V', 'seedling-ramdisk')
  t.notOk(
    server.log.some(({ msg }) => msg === 'wake'),
    'the ramdisk does not'
  )
  await udhcpc(lan)
  await server.logged({ msg: 'wake', nodeUuid: aNode().uuid })
  t.same((await server.stop()).ticks.at(-1), 'instance-up')
})

/** Sends datagrams from port 68 to everybody, pausing at each number for so many milliseconds, and waits until they are out. */
async function flood(where: Namespace, datagrams: (Buffer | number)[]): Promise<void> {
  const program = `const datagrams = JSON.parse(require('fs').readFileSync(0))
    const socket = require('dgram').createSocket('udp4')
    socket.bind(68, '192.0.2.9', async () => {
      socket.setBroadcast(true)
      for (const one of datagrams)
        await new Promise((done) => typeof one === 'number' ? setTimeout(done, one)
          : socket.send(Buffer.from(one, 'hex'), 67, '255.255.255.255', done))
      socket.close()
    })`
  await where.run('ip', 'address', 'replace', '192.0.2.9/24', 'dev', 'eth0')
  const child = where.spawn(process.execPath, ['-e', program])
  child.stdin?.end(
    JSON.stringify(datagrams.map((one) => (typeof one === 'number' ? one : one.toString('hex'))))
  )
  let stderr = ''
  child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  const code = await new Promise((resolve) => child.once('close', resolve))
  if (code !== 0) throw new Error(stderr)
  await where.run('ip', 'address', 'flush', 'dev', 'eth0')
}
