// Real Seedlings with one state on one LAN, each a process in a namespace of its own: exactly one of them goes on.

import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createFacts } from '../../services/store/facts.ts'
import { openStore } from '../../services/store/open.ts'
import { FENCED_EXIT } from '../../src/domain/standing.ts'
import { aNode, aPort } from '../support/builders.ts'
import { addNamespace, connect, type Namespace } from '../support/namespace.ts'
import { aFolder, ask, dataOf, fill, seedling, serve } from '../support/served.ts'

const MAC = '52:54:00:00:01:00'

/** Two hosts on a switch, 192.0.2.1 and 192.0.2.2, both with the same MAC, as after a copy of a VM. */
async function twoHosts(t: Test): Promise<[Namespace, Namespace]> {
  const lan = await addNamespace('lan')
  const hosts = [await addNamespace('one'), await addNamespace('two')] as const
  t.teardown(async () => {
    for (const namespace of [lan, ...hosts]) await namespace.remove()
  })
  await lan.run('ip', 'link', 'add', 'switch', 'type', 'bridge')
  await lan.run('ip', 'link', 'set', 'switch', 'up')
  for (const [index, host] of hosts.entries()) {
    await connect([lan, `port${index}`], [host, 'eth0'], MAC)
    await lan.run('ip', 'link', 'set', `port${index}`, 'master', 'switch')
    await host.run('ip', 'address', 'add', `192.0.2.${index + 1}/24`, 'dev', 'eth0')
    // As systemd/seedling-dhcp-client.socket does.
    await host.run('sysctl', '-qw', 'net.ipv4.conf.eth0.accept_local=1')
  }
  return [...hosts]
}

function enrol(folder: string): void {
  const node = aNode({ state: 'manageable' })
  fill(folder, [
    { put: 'node', row: node },
    { put: 'port', row: aPort({ nodeUuid: node.uuid }) }
  ])
}

function look(folder: string) {
  const store = openStore(dataOf(folder))
  const facts = createFacts(store)
  const found = { standing: facts.standing(), events: facts.events(0, 100) }
  store.close()
  return found
}

/** Two hosts, and for each a folder; the first one's state has a machine. */
async function aPlace(t: Test) {
  const root = mkdtempSync(join(tmpdir(), 'succession-'))
  t.teardown(() => rmSync(root, { recursive: true }))
  const [one, two] = await twoHosts(t)
  const first = aFolder(root, 'first', '192.0.2.1')
  enrol(first)
  return { root, one, two, first, second: aFolder(root, 'second', '192.0.2.2') }
}

const DEAF = /would not be noticed: sysctl net\.ipv4\.conf\.eth0\.accept_local=1/

t.setTimeout(180_000)

t.test(
  'a restored state goes on, and the one that it replaces ends, for good, until it is told otherwise',
  async (t) => {
    const { root, one, two, first: before, second: after } = await aPlace(t)
    writeFileSync(join(root, 'passphrase'), 'correct horse battery')
    const secret = ['--passphrase-file', join(root, 'passphrase')]

    const old = serve(t, one, before)
    await old.serves()
    const file = join(root, 'backup')
    await ask(before, 'backup', file, ...secret)
    await seedling(after, 'restore', file, '--up-to-date', ...secret)
    const next = serve(t, two, after)
    const { code, said } = await old.ended
    t.equal(code, FENCED_EXIT)
    t.match(said, /out of date: it goes on in the Seedling at 192\.0\.2\.2/)
    t.notMatch(said, DEAF)
    t.notMatch(said, /Both hosts have that address/)
    await next.serves()

    const again = await serve(t, one, before).ended
    t.equal(again.code, FENCED_EXIT)
    t.match(again.said, /seedling unfence/)
    const { standing, events } = look(before)
    t.match(standing, { fenced: { address: '192.0.2.2', epoch: Number } })
    t.equal(events.filter(({ kind }) => kind === 'fenced').length, 1)

    t.match(await seedling(before, 'unfence'), /the latest state again/)
    const back = serve(t, one, before)
    t.equal((await next.ended).code, FENCED_EXIT)
    await back.serves()
  }
)

t.test('one that was off meanwhile notices before it serves', async (t) => {
  const { one, two, first: before, second: after } = await aPlace(t)
  cpSync(dataOf(before), dataOf(after), { recursive: true })
  fill(after, [{ put: 'standing', row: { id: 1, epoch: 1, fenced: null, finishedAt: null } }])
  const next = serve(t, two, after)
  await next.serves()
  const { code, said } = await serve(t, one, before).ended
  t.equal(code, FENCED_EXIT)
  t.notMatch(said, /"msg":"serving"/)

  next.stop()
  await next.ended
})

t.test('of a VM and its copy, MAC and address and all, the one that was there first goes on', async (t) => {
  const { root, one, two, first } = await aPlace(t)
  await two.run('ip', 'address', 'flush', 'dev', 'eth0')
  await two.run('ip', 'address', 'add', '192.0.2.1/24', 'dev', 'eth0')
  const copy = aFolder(root, 'copy', '192.0.2.1')
  cpSync(dataOf(first), dataOf(copy), { recursive: true })
  const original = serve(t, one, first)
  await original.serves()
  const { code, said } = await serve(t, two, copy).ended
  t.equal(code, 1)
  t.match(said, /another Seedling with this very state, at 192\.0\.2\.1/)
  t.notMatch(said, /"msg":"serving"/)
  original.stop()
  t.equal((await original.ended).code, 0)
  t.equal(look(copy).standing.fenced, null)
})

t.test('a host whose kernel would drop what a copy sends is told of', async (t) => {
  const { one, first } = await aPlace(t)
  await one.run('sysctl', '-qw', 'net.ipv4.conf.eth0.accept_local=0')
  const served = serve(t, one, first)
  await served.serves()
  served.stop()
  t.match((await served.ended).said, DEAF)
})
