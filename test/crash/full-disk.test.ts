// The disk with the state is full: nothing is acknowledged that could not be stored, what is stored goes on, and when there is room again so does the
// rest, by itself.

import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { aNode, anOrder, aPort, NOW } from '../support/builders.ts'
import { run } from '../support/namespace.ts'
import { aHostAndRoom, dataOf, fill, serve } from '../support/served.ts'

/** It has a lease when the disk becomes full. */
const KNOWN = { mac: '52:54:00:00:01:00', ip: '192.0.2.100' }
/** It comes while the disk is full. */
const NEW = { mac: '52:54:00:00:01:01', ip: '192.0.2.101' }
const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHUZYDkFcGEdZqqtM9SrxCHsZmcrIQCnQ5yq0wTAVuZ2'

t.test('a full disk', { timeout: 120_000 }, async (t) => {
  const { host, room, folder } = await aHostAndRoom(t, KNOWN.mac)
  const dataDir = dataOf(folder)
  mkdirSync(dataDir)
  await run('mount', '-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', dataDir)
  t.teardown(() => run('umount', dataDir))
  const other = join(dataDir, 'other')
  const nodes = [KNOWN, NEW].map((_, index) =>
    aNode({
      uuid: `6e6f6465-0000-4000-8000-00000000000${index}`,
      name: `n${index}`,
      driverInfo: { ipmi_address: `198.18.0.${index + 1}`, ipmi_username: 'a', ipmi_password: 'b' },
      state: 'available'
    })
  )
  fill(folder, [
    ...nodes.map((row) => ({ put: 'node' as const, row })),
    ...[KNOWN, NEW].map(({ mac, ip }, index) => ({
      put: 'port' as const,
      row: aPort({
        uuid: `706f7274-0000-4000-8000-00000000000${index}`,
        nodeUuid: nodes[index]!.uuid,
        address: mac,
        reservedIp: ip
      })
    })),
    {
      put: 'order',
      row: anOrder({
        ...{ kind: 'inspect', imageId: null, instanceUuid: null, nodeUuid: nodes[0]!.uuid },
        ticks: { 'powered-off': NOW }
      })
    }
  ])
  const seedling = serve(t, host, folder)
  await seedling.serves()
  const pid = (await run('ip', 'netns', 'pids', host.name)).trim()

  const lease = async ({ mac, ip }: typeof KNOWN, tries: number) => {
    await room.run('ip', 'address', 'flush', 'dev', 'eth0')
    await room.run('ip', 'link', 'set', 'eth0', 'address', mac)
    const times = ['-t', String(tries), '-T', '1']
    await room.run('udhcpc', '-f', '-n', '-q', '-i', 'eth0', '-s', '/bin/true', ...times)
    await room.run('ip', 'address', 'add', `${ip}/24`, 'dev', 'eth0')
  }
  let keys = 0
  /** The status that a new key pair is answered with. */
  const addKey = () => {
    const body = JSON.stringify({ name: `key-${keys++}`, public_key: `${KEY} ${'x'.repeat(500)}` })
    const json = ['-H', 'Content-Type: application/json', '-d', body]
    const socket = ['--unix-socket', join(folder, 'api.sock'), 'http://seedling/v1/keypairs']
    return run('curl', '-s', '-o', '/dev/null', '-w', '%{http_code}', ...json, ...socket)
  }
  const script = () =>
    room.run(
      ...['curl', '-s', '-m', '5', '-o', '/dev/null', '-w', '%{http_code}'],
      `http://192.0.2.1/boot/script?mac=${KNOWN.mac}`
    )
  const load = (name: string) =>
    room.run('curl', '-s', '-m', '3', '-o', '/dev/null', `tftp://192.0.2.1/${name}`)
  const alive = () => existsSync(`/proc/${pid}`)

  await lease(KNOWN, 20)
  t.equal(await addKey(), '201')
  t.equal(await script(), '200')
  for (const name of ['undionly.kpxe', 'autoexec.ipxe']) await t.resolves(load(name))

  t.throws(
    () => {
      for (let part = 0; ; part++) writeFileSync(`${other}-${part}`, Buffer.alloc(part < 64 ? 2 ** 17 : 4096))
    },
    { code: 'ENOSPC' }
  )
  let status = '201'
  // What is left of the log of writes is used up first.
  for (let tries = 0; status === '201' && tries < 2000; tries++) status = await addKey()
  t.equal(status, '507', 'operators are told')
  await t.rejects(lease(NEW, 3), 'a lease that cannot be stored is none')
  await t.resolves(lease(KNOWN, 3), 'who has a lease keeps it')
  await t.resolves(load('undionly.kpxe'), 'what changes nothing is done')
  await t.rejects(load('autoexec.ipxe'), 'what cannot be written down is not')
  t.equal(await script(), '507', 'a machine is told to come again')
  t.equal(await addKey(), '507')
  t.ok(alive(), 'and it has gone on all the time')

  await run('find', dataDir, '-name', 'other-*', '-delete')
  const began = performance.now()
  await t.resolves(lease(NEW, 10), 'there is room again')
  t.ok(performance.now() - began < 10_000, `${Math.round(performance.now() - began)} ms`)
  t.equal(await addKey(), '201')
  await lease(KNOWN, 10)
  t.equal(await script(), '200')
  await t.resolves(load('autoexec.ipxe'))
  t.ok(alive())
  seedling.stop()
  t.equal((await seedling.ended).code, 0)
})
