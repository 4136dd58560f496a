// A backup of yesterday is restored: it knows nothing of two hundred clients that live. As many newcomers get addresses, none of them one of
// theirs. The backup's own clients keep what they have.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { aHostAndRoom, ask, seedling, serve } from '../support/served.ts'
import { crowdIn } from './crowding.ts'

const [SERVER, RELAY] = ['10.77.0.1', '10.77.255.254']
const CLIENTS = 200

t.test('an old backup', { timeout: 180_000 }, async (t) => {
  const { host, room, folder } = await aHostAndRoom(t)
  await host.run('ip', 'address', 'add', `${SERVER}/16`, 'dev', 'eth0')
  await room.run('ip', 'address', 'add', `${RELAY}/16`, 'dev', 'eth0')
  const file = join(folder, 'seedling.json')
  const config = JSON.parse(readFileSync(file, 'utf8')) as { network: object }
  const discovery = { start: '10.77.64.0', end: '10.77.66.255', perSecond: 1000 }
  const subnets = [{ cidr: '10.77.0.0/16', pool: { start: '10.77.16.0', end: '10.77.16.255' }, discovery }]
  writeFileSync(file, JSON.stringify({ ...config, network: { ...config.network, address: SERVER, subnets } }))
  const passphrase = join(folder, 'passphrase')
  writeFileSync(passphrase, 'correct horse battery', { mode: 0o600 })

  const before = serve(t, host, folder)
  await before.serves()
  const crowd = crowdIn(room, { server: SERVER, relay: RELAY, enrolled: 0, leases: 0, seed: 1 })
  await crowd('come', 20)
  const known = (await crowd('ledger')).length
  const backup = join(folder, 'yesterday.bak')
  await ask(folder, 'backup', backup, '--passphrase-file', passphrase)
  await crowd('come', CLIENTS)
  const living = await crowd('ledger')
  for (const { ip } of living) await room.run('ip', 'address', 'add', `${ip}/32`, 'dev', 'eth0')
  before.stop()
  await before.ended

  await seedling(folder, 'restore', backup, '--replace', '--passphrase-file', passphrase)
  const after = serve(t, host, folder)
  await after.serves()
  await crowd('come', CLIENTS)
  const { breaches, inherited } = await crowd('tell')
  t.same(breaches, [], 'nobody got an address that another has')
  t.equal(inherited, 0)
  const all = await crowd('ledger')
  t.ok(all.length >= living.length + CLIENTS, `${all.length} clients have a lease`)
  t.equal(new Set(all.map(({ ip }) => ip)).size, all.length, 'each its own')
  // RFC 2131, 4.3.2: who asks for an address of which nothing is stored hears nothing, and begins anew.
  await crowd('check')
  const { breaches: unheard } = await crowd('tell')
  const forgotten = new Set(living.slice(known).map(({ mac }) => mac))
  t.equal(unheard.length, forgotten.size, 'of whom the backup knows nothing')
  t.same(
    unheard.filter((text) => !forgotten.has(text.slice(0, 17))),
    [],
    'all others keep their address'
  )
  after.stop()
  t.equal((await after.ended).code, 0)
})
