// The conflict probe against real hosts, in namespaces, without any privilege.

import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { CONFLICT_TIMES } from '../../../src/decide/address-conflict.ts'
import { addNamespace, connect, type Namespace } from '../../support/namespace.ts'
import { startScript } from '../../support/script.ts'

const FILE = join(import.meta.dirname, 'conflict-host.ts')
/** What the unit leaves a service: nothing. */
const WITHOUT_CAPABILITIES = ['setpriv', '--bounding-set=-all', '--inh-caps=-all', '--no-new-privs']
const [HOLDER, MACHINE] = ['52:54:00:00:00:99', '52:54:00:00:00:01']
/** The kernel's patience is shortened to 1.5 s, 1 s and three times one: what it holds after that has answered. */
const TIMES = { ...CONFLICT_TIMES, settle: 7000 }

/**
 * `us` at 192.0.2.1; `holder` with 192.0.2.9 and 192.0.2.10, of which it keeps the second to itself: no word of a closed port; and a router
 * at 192.0.2.254, behind which a host holds 198.51.100.9.
 */
async function aNetwork(t: Test) {
  const names = ['us', 'holder', 'router', 'far']
  const [us, holder, router, far] = (await Promise.all(names.map(addNamespace))) as [
    Namespace,
    Namespace,
    Namespace,
    Namespace
  ]
  t.teardown(() => Promise.all([us, holder, router, far].map((namespace) => namespace.remove())))
  await router.run('ip', 'link', 'add', 'switch', 'type', 'bridge')
  await router.run('ip', 'link', 'set', 'switch', 'up')
  await connect([router, 'port1'], [us, 'lan'])
  await connect([router, 'port2'], [holder, 'eth0'], HOLDER)
  await connect([router, 'far'], [far, 'eth0'])
  for (const port of ['port1', 'port2']) await router.run('ip', 'link', 'set', port, 'master', 'switch')
  const address = (host: Namespace, link: string, ip: string) =>
    host.run('ip', 'address', 'add', `${ip}/24`, 'dev', link)
  await address(us, 'lan', '192.0.2.1')
  await address(holder, 'eth0', '192.0.2.9')
  await address(holder, 'eth0', '192.0.2.10')
  await address(router, 'switch', '192.0.2.254')
  await address(router, 'far', '198.51.100.254')
  await address(far, 'eth0', '198.51.100.9')
  await us.run('ip', 'route', 'add', 'default', 'via', '192.0.2.254')
  await far.run('ip', 'route', 'add', 'default', 'via', '198.51.100.254')
  await router.run('sysctl', '-qw', 'net.ipv4.ip_forward=1')
  await us.run(
    'sysctl',
    '-qw',
    'net.ipv4.neigh.lan.base_reachable_time_ms=1000',
    'net.ipv4.neigh.lan.delay_first_probe_time=1'
  )
  // A host that says nothing of closed ports.
  await holder.run('ip', 'rule', 'add', 'from', '192.0.2.10', 'to', '192.0.2.1', 'prohibit')
  return { us, holder }
}

t.test('who holds an address', async (t) => {
  const { us } = await aNetwork(t)
  const stale = (ip: string, mac: string) =>
    us.run('ip', 'neighbour', 'replace', ip, 'lladdr', mac, 'nud', 'stale', 'dev', 'lan')
  await stale('192.0.2.20', HOLDER)
  await stale('192.0.2.10', HOLDER)
  const probe = await startScript(
    us,
    FILE,
    { link: { interface: 'lan', address: '192.0.2.1' }, times: TIMES },
    {
      wrap: WITHOUT_CAPABILITIES
    }
  )
  t.teardown(() => probe.stop())
  let asked = 0
  const results = () => {
    const number = String(++asked)
    probe.tell(`results ${number}`)
    return probe.says('results', { number })
  }

  probe.tell(`192.0.2.8 ${MACHINE}`)
  probe.tell(`192.0.2.9 ${MACHINE}`)
  probe.tell(`192.0.2.10 ${MACHINE}`)
  probe.tell(`192.0.2.20 ${MACHINE}`)
  probe.tell(`198.51.100.9 ${MACHINE}`)
  probe.tell(`198.51.100.8 ${MACHINE}`)
  probe.tell(`203.0.113.9 ${MACHINE}`)
  await probe.says('conflict', { ip: '192.0.2.9', mac: HOLDER })
  await sleep(TIMES.settle + 1500)
  const { found, counters } = await results()
  t.same(
    found,
    { '192.0.2.9': HOLDER, '192.0.2.10': HOLDER, '198.51.100.9': null },
    'a host; a silent one that the table knew; one behind a router; and nobody where the table has a host that left'
  )
  t.same(counters, { probed: 7, skipped: 0, found: 3 })

  await t.test('the machine itself holds it', async (t) => {
    probe.tell(`192.0.2.9 ${MACHINE} ${HOLDER}`)
    await sleep(1500)
    const { found } = await results()
    t.notMatch(found, { '192.0.2.9': HOLDER }, 'what was found before is no longer so')
  })

  await t.test('more at once than it will look after', async (t) => {
    for (let host = 100; host < 180; host++) probe.tell(`192.0.2.${host} ${MACHINE}`)
    for (let host = 100; host < 110; host++) probe.tell(`192.0.2.${host} ${MACHINE}`)
    await sleep(500)
    t.match(await results(), { counters: { probed: 8 + 64, skipped: 16 } })
    await sleep(TIMES.ask + 1000)
    probe.tell(`192.0.2.9 ${MACHINE}`)
    await probe.says('conflict', { ip: '192.0.2.9' })
    t.match(await results(), { counters: { probed: 8 + 64 + 1 } }, 'and then there is room again')
  })
})
