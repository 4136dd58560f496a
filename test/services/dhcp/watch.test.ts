// The watch for other DHCP servers against real ones, in namespaces: dnsmasq as server and as proxy, a second Seedling, a relay.

import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { WATCH_TIMES, type WatchStatus } from '../../../src/decide/dhcp-watch.ts'
import { aNode, anOrder, aPort } from '../../support/builders.ts'
import type { Namespace } from '../../support/namespace.ts'
import { WITHOUT_KOFFI } from '../../support/without-koffi.ts'
import { serveIn } from './serving.ts'
import { aLan, dnsmasq, foreign, linkOf, macOf, statesOf, statuses, watching } from './watch-lan.ts'

// They mostly wait.
t.jobs = 4

const RANGE = '--dhcp-range=192.0.2.50,192.0.2.60,1h'

const SERVER = {
  address: '192.0.2.2',
  mac: macOf(2),
  kind: 'dhcp',
  seenBy: 'probe',
  twin: false,
  harmless: false
}

t.test('a server that is there already is found before we are alone', async (t) => {
  const [, us, other] = await aLan(t)
  // It pings each address for three seconds before it offers it: the whole patience of the start is needed.
  await dnsmasq(t, other, RANGE)
  const watch = await watching(t, us, { times: WATCH_TIMES })
  t.match(await foreign(watch), [SERVER])
  const told = /another DHCP server, 192\.0\.2\.2 with MAC 52:54:00:00:02:00, is on eth0: stop it/
  while (!watch.log.some(({ msg }) => told.test(msg))) await sleep(20)
  t.match(statuses(watch).at(-1)?.servers, [SERVER])
  t.notOk(statesOf(watch).includes('alone'))
})

t.test('a server that comes and goes while we serve', async (t) => {
  const [, us, other] = await aLan(t)
  const watch = await watching(t, us)
  await watch.says('status', { state: 'alone' })
  const { stop } = await dnsmasq(t, other, RANGE, '--no-ping')
  t.match(await foreign(watch), [SERVER])
  await stop()
  await watch.says('status', { state: 'alone' })
  const news = watch.log.filter(({ msg }) => msg.includes('192.0.2.2'))
  t.match(
    news,
    [
      { mac: macOf(2), level: 40 },
      { msg: /is gone from eth0/, level: 30 }
    ],
    'one line each'
  )
})

t.test('a proxyDHCP server', async (t) => {
  const [, us, other] = await aLan(t)
  await dnsmasq(t, other, '--dhcp-range=192.0.2.0,proxy', '--pxe-service=X86-64_EFI,Boot,boot.efi')
  const watch = await watching(t, us)
  t.match(await foreign(watch), [{ address: '192.0.2.2', kind: 'proxy' }])
})

t.test('a server that may be there', async (t) => {
  const [, us, other] = await aLan(t)
  await dnsmasq(t, other, RANGE, '--no-ping')
  const watch = await watching(t, us, { tolerate: ['192.0.2.2'] })
  const { servers } = (await watch.says('status', { state: 'alone' })) as unknown as WatchStatus
  t.match(servers, [{ ...SERVER, harmless: true }])
  await sleep(1500)
  t.notOk(statesOf(watch).includes('foreign'))
  t.equal(statuses(watch).at(-1)?.servers.length, 1, 'it stays known')
})

t.test('a server that gives strangers nothing is found by its clients', async (t) => {
  const [, us, other, client] = await aLan(t)
  const watch = await watching(t, us, { serves: true })
  await watch.says('status', { state: 'alone' })
  await dnsmasq(t, other, RANGE, '--no-ping', '--dhcp-ignore=tag:!known', `--dhcp-host=${macOf(3)}`)
  await client.run('udhcpc', '-i', 'eth0', '-n', '-q', '-s', '/bin/true')
  t.match(await foreign(watch), [{ ...SERVER, seenBy: 'request' }])
})

t.test('listening only', async (t) => {
  const [, us, other, client] = await aLan(t)
  const sent = async () => Number(await us.run('cat', '/sys/class/net/eth0/statistics/tx_packets'))
  const before = await sent()
  const watch = await watching(t, us, { serves: true, quiet: true })
  await watch.says('status', { state: 'alone' })
  await dnsmasq(t, other, RANGE, '--no-ping')
  await client.run('udhcpc', '-i', 'eth0', '-B', '-n', '-q', '-s', '/bin/true')
  const { servers } = (await watch.says('status', { state: 'foreign' })) as unknown as WatchStatus
  // What it heard first, the answer or the client that takes it, is up to the kernel.
  t.match(servers, [{ address: '192.0.2.2', seenBy: /^(offer|request)$/ }])
  await sleep(1500)
  t.equal(await sent(), before, 'not one packet')
})

const starting = (t: Test, host: Namespace, n: number) => watching(t, host, { link: linkOf(n), serves: true })

t.test(
  'a second Seedling stands down when one serves already, and serves when that one is gone',
  async (t) => {
    const [, us, other] = await aLan(t)
    const first = await starting(t, other, 2)
    await first.says('status', { state: 'alone' })
    const second = await starting(t, us, 1)
    t.match(await foreign(second), [{ ...SERVER, twin: true }])
    await sleep(1000)
    t.same(statesOf(first), ['alone'], 'the first is not moved')
    await first.stop()
    await second.says('status', { state: 'alone' })
  }
)

t.test('one of two Seedlings that start at the same time stands down', async (t) => {
  const [, us, other] = await aLan(t)
  const [low, high] = await Promise.all([starting(t, us, 1), starting(t, other, 2)])
  // Which one it is depends on how much at the same time they really start.
  const last = () => [low, high].map((one) => statesOf(one).at(-1)).sort()
  for (let tries = 0; last().join() !== 'alone,foreign' && tries < 200; tries++) await sleep(100)
  await sleep(2000)
  t.same(last(), ['alone', 'foreign'])
})

t.test('one of two Seedlings that meet when both serve stands down', async (t) => {
  const [cables, us, other] = await aLan(t)
  await cables.run('ip', 'link', 'set', 'port2', 'nomaster')
  const [low, high] = await Promise.all([starting(t, us, 1), starting(t, other, 2)])
  for (const one of [low, high]) await one.says('status', { state: 'alone' })
  await cables.run('ip', 'link', 'set', 'port2', 'master', 'switch')
  await high.says('status', { state: 'foreign' })
  await sleep(2000)
  t.notOk(statesOf(low).includes('foreign'))
  t.equal(statesOf(high).at(-1), 'foreign')
})

t.test('a second Seedling that was given our own address', async (t) => {
  const [, us, other] = await aLan(t)
  await other.run('ip', 'address', 'flush', 'dev', 'eth0')
  await other.run('ip', 'address', 'add', '192.0.2.1/24', 'dev', 'eth0')
  // As systemd/seedling-dhcp-client.socket does.
  for (const host of [us, other]) await host.run('sysctl', '-qw', 'net.ipv4.conf.eth0.accept_local=1')
  const first = await starting(t, us, 1)
  await first.says('status', { state: 'alone' })
  const second = await starting(t, other, 1)
  t.match(await foreign(second), [{ address: '192.0.2.1', mac: macOf(1), twin: true }])
})

for (const [name, node] of Object.entries({ koffi: [], 'no koffi': ['--import', WITHOUT_KOFFI] }))
  t.test(`our own broadcasts are no alarm, nor is a relay that brings them back: ${name}`, async (t) => {
    const [, us, client, relay] = await aLan(t)
    const ports = [aPort({ address: macOf(2) })]
    const server = await serveIn(
      us,
      { link: linkOf(1), machines: [{ node: aNode(), ports, order: anOrder() }] },
      { node }
    )
    t.teardown(() => server.stop())
    const watch = await watching(t, us, {}, { node })
    await watch.says('status', { state: 'alone' })
    await client.run('ip', 'address', 'flush', 'dev', 'eth0')
    const lease = () => client.run('udhcpc', '-i', 'eth0', '-B', '-n', '-q', '-s', '/bin/true')
    await lease()
    const relaying = relay.spawn('dhcrelay', ['-4', '-d', '-i', 'eth0', '192.0.2.1'])
    t.teardown(() => relaying.kill())
    await once(relaying.stderr as NodeJS.ReadableStream, 'data')
    await sleep(300)
    await lease()
    await sleep(1500)
    t.same(statesOf(watch), ['alone'])
    t.same(statuses(watch).at(-1)?.servers, [])
    const answered = server.log.filter(({ answer }) => answer !== undefined)
    t.ok(
      answered.some(({ to }) => to === '192.0.2.3'),
      'the relay was at work'
    )
    t.ok(answered.length >= 6)
  })
