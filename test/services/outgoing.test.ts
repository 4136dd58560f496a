// Whom the process turns to by itself: BMCs, as the operator gave them, and nobody else. Its system calls, of all threads and children.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { aNode, anOrder, aPort, NOW } from '../support/builders.ts'
import { run } from '../support/namespace.ts'
import { aHostAndRoom, ask, fill, serve } from '../support/served.ts'
import { writeDisk } from './images/disks.ts'

const [MAC, MACHINE, BMC] = ['52:54:00:00:01:00', '192.0.2.100', '192.0.2.77']
const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHUZYDkFcGEdZqqtM9SrxCHsZmcrIQCnQ5yq0wTAVuZ2 me\n'

t.test('nothing is asked of anybody who was not named', { timeout: 100_000 }, async (t) => {
  const { root, host, room, folder } = await aHostAndRoom(t, MAC)
  const node = aNode({
    driverInfo: { ipmi_address: BMC, ipmi_username: 'admin', ipmi_password: 'secret' },
    hardwareModel: 'a model'
  })
  fill(folder, [
    { put: 'node', row: node },
    { put: 'port', row: aPort({ nodeUuid: node.uuid, address: MAC, reservedIp: MACHINE }) },
    {
      put: 'order',
      row: anOrder({
        ...{ kind: 'inspect', imageId: null, instanceUuid: null, nodeUuid: node.uuid },
        ticks: { 'powered-off': NOW }
      })
    }
  ])
  const trace = join(root, 'trace')
  const seedling = serve(t, host, folder, {}, [
    'strace',
    '-D',
    '-f',
    '-qq',
    '-e',
    'trace=connect',
    '-o',
    trace
  ])
  await seedling.serves()
  await room.run('udhcpc', '-f', '-n', '-q', '-i', 'eth0', '-s', '/bin/true', '-t', '20', '-T', '1')
  await room.run('ip', 'address', 'add', `${MACHINE}/24`, 'dev', 'eth0')
  const curl = (url: string) => room.run('curl', '-s', '-f', '-m', '10', '-o', '/dev/null', url)
  await curl('tftp://192.0.2.1/undionly.kpxe')
  await curl(`http://192.0.2.1/boot/script?mac=${MAC}`)
  const [key, raw, image] = ['key.pub', 'raw', 'image'].map((name) => join(root, name)) as [
    string,
    string,
    string
  ]
  writeFileSync(key, KEY)
  writeDisk(raw)
  await run('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', raw, image)
  await ask(folder, 'keypair', 'add', 'me', key)
  await ask(folder, 'image', 'add', 'some', image)
  await ask(folder, 'support', join(root, 'support.gz'))
  await ask(folder, 'health').catch(() => '')
  const calls = () => readFileSync(trace, 'latin1').split('\n')
  for (let waited = 0; !calls().some((line) => line.includes(BMC)) && waited < 20_000; waited += 100)
    await sleep(100)
  seedling.stop()
  await seedling.ended

  const places = new Set(
    calls().flatMap((line) => {
      const [, family, rest = ''] = /connect\(\d+, \{sa_family=(AF_\w+), ?(.*)$/.exec(line) ?? []
      if (family === undefined || family === 'AF_UNIX') return []
      const address = /inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"/.exec(rest)
      const port = /htons\((\d+)\)/.exec(rest)?.[1]
      return [`${address?.[1] ?? address?.[2] ?? rest} ${port}`]
    })
  )
  t.ok(places.delete(`${BMC} 623`), 'the BMC')
  // Before an address is offered: does somebody on the link have it?
  places.delete(`${MACHINE} 33434`)
  t.same([...places], [], 'and nobody else')
})
