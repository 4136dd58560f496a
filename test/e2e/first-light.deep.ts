// The real image on the virtual rack: what an operator sees in the instances after a deployment, and after a reboot with the
// network first. Takes some minutes.

import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { readCapture, startCapture, stopCapture } from '../../scripts/lab/capture.ts'
import { enrol, followToActive, order } from '../../scripts/lab/deploy.ts'
import { findRack, putUp, root, takeDown, until } from '../../scripts/lab/lab.ts'
import { defaults } from '../../scripts/lab/plan.ts'
import { inNamespace } from '../../scripts/lab/process.ts'
import { api, startSeed } from '../../scripts/lab/seed.ts'
import type { StoredEvent } from '../../src/domain/event.ts'
import { checkLan } from './boot-path.ts'
import { buildAll } from './build.ts'

const NAME = 'real'
const IMAGE = { name: 'debian', file: join(root, '.cache/image/instance/debian.qcow2') }
const BOOT = { patienceMs: 600_000, everyMs: 2000 }

t.setTimeout(3_000_000)
buildAll(IMAGE.name)
const left = findRack(NAME)
if (left) await takeDown(left)
const rack = await putUp({ ...defaults, name: NAME })
t.teardown(() => takeDown(rack))
const names = rack.machines.map(({ name }) => name)

type Told = StoredEvent & { node_name: string | null }
const events = async (node: string): Promise<Told[]> =>
  (await api<{ events: Told[] }>(rack, 'GET', `/v1/events?node=${node}&limit=1000`)).events

const leases = async () =>
  (await api<{ leases: { mac: string; ip: string }[] }>(rack, 'GET', '/v1/dhcp/leases')).leases

async function ssh(node: string, command: string): Promise<string> {
  const { mac } = rack.machines.find(({ name }) => name === node)!
  const ip = (await leases()).find((lease) => lease.mac === mac)!.ip
  const options = [
    'StrictHostKeyChecking=no',
    'UserKnownHostsFile=/dev/null',
    'LogLevel=ERROR',
    'ConnectTimeout=10',
    'BatchMode=yes'
  ]
  const [program = '', ...args] = inNamespace(rack.seed.namespace, [
    'ssh',
    '-i',
    rack.sshKey,
    ...options.flatMap((option) => ['-o', option]),
    `debian@${ip}`,
    command
  ])
  return spawnSync(program, args, { encoding: 'utf8', timeout: 60_000 }).stdout.trim()
}

const userData = join(rack.dir, 'user-data')
writeFileSync(
  userData,
  '#cloud-config\nwrite_files:\n  - path: /etc/seedling-was-here\n    content: user data applied\n'
)

await startSeed(rack)
await enrol(rack, IMAGE)
await startCapture(rack)
await order(rack, names, IMAGE, userData)
await followToActive(rack, names)

for (const name of names) {
  t.test(`${name}: log-in with the enrolled key; hostname and user data are applied`, async (t) => {
    await until(
      async () => (await ssh(name, 'cloud-init status')) === 'status: done',
      `${name}: cloud-init is not done`,
      BOOT
    )
    t.equal(await ssh(name, 'hostname'), name)
    t.equal(await ssh(name, 'cat /etc/seedling-was-here'), 'user data applied')
  })

  t.test(
    `${name}: os-collect-config polled, os-refresh-config ran, its signal is in the timeline`,
    async (t) => {
      await until(
        async () => (await events(name)).some(({ kind }) => kind === 'configuration-signalled'),
        `${name} did not signal`,
        BOOT
      )
      const told = await events(name)
      t.ok(
        told.some(
          ({ kind, detail }) =>
            kind === 'metadata-read' && (detail as { dialect: string }).dialect === 'request'
        )
      )
      t.match(told.find(({ kind }) => kind === 'configuration-signalled')?.detail, { status: 'SUCCESS' })
    }
  )

  t.test(`${name}: rebooted by its own system, it boots its own disk and is served nothing`, async (t) => {
    const before = (await events(name)).at(-1)?.id ?? 0
    const boot = await ssh(name, 'cat /proc/sys/kernel/random/boot_id')
    await ssh(name, 'sudo systemctl reboot')
    const again = await until(
      async () => {
        const id = await ssh(name, 'cat /proc/sys/kernel/random/boot_id')
        return id !== '' && id !== boot ? id : undefined
      },
      `${name} did not come back`,
      BOOT
    )
    t.not(again, boot)
    const served = (await events(name)).filter(
      ({ id, kind, detail }) =>
        id > before &&
        (kind === 'file-served' ||
          (kind === 'dhcp-answered' && (detail as { bootFile: string | null }).bootFile !== null))
    )
    t.same(served, [])
    t.equal(await ssh(name, 'hostname'), name)
  })
}

t.test('all the while each machine had one address and nobody was sent to another boot server', async (t) => {
  await stopCapture(rack)
  checkLan(t, rack, readCapture(rack.capture.pcap))
})
