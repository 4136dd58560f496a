// The state moves to another host while two machines are being deployed: a backup of the running Seedling, restored on a host that takes
// over its address. Both machines finish, and nobody is answered twice, whether the old Seedling was killed or still runs.

import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { readCapture, startCapture, stopCapture } from '../../scripts/lab/capture.ts'
import { enrol, order } from '../../scripts/lab/deploy.ts'
import { findRack, putUp, root, takeDown, until } from '../../scripts/lab/lab.ts'
import { defaults, type RackPlan } from '../../scripts/lab/plan.ts'
import { inNamespace, run } from '../../scripts/lab/process.ts'
import { api, seedConfig, seedling, seedPid, startSeed, stopSeed } from '../../scripts/lab/seed.ts'
import { METADATA_ADDRESS } from '../../src/decide/dhcp-reply.ts'
import type { StoredEvent } from '../../src/domain/event.ts'
import { checkLan } from './boot-path.ts'
import { buildAll } from './build.ts'
import { addHost } from './host.ts'
import { checkAnswers, checkFinish } from './two-seedlings.ts'

const NAME = 'move'
const IMAGE = { name: 'tiny', file: join(root, '.cache/image/instance/tiny.qcow2') }
const NEXT = `seedling-${NAME}-next`
const BOOT = { patienceMs: 600_000, everyMs: 250 }

t.setTimeout(3_600_000)
buildAll(IMAGE.name)

const ip = (line: string) => run(['ip', ...line.split(' ')])
const events = async (rack: RackPlan) =>
  (await api<{ events: StoredEvent[] }>(rack, 'GET', '/v1/events?limit=1000')).events

/** Another host for Seedling, with the address of the first on the machines' LAN, and one of its own on the BMCs' network. */
function addNext(rack: RackPlan): RackPlan {
  const { seed } = rack
  const at = (file: string) => join(rack.dir, file)
  const namespace = NEXT
  addHost(rack, namespace, { lan: seed.lan.address, bmcs: '198.18.0.3' })
  ip(`-n ${namespace} address add ${seed.management.address}/32 dev lo`)
  ip(`-n ${namespace} address add ${METADATA_ADDRESS}/32 dev ${seed.lan.link}`)
  hearOwnAddress(namespace, seed.lan.link)
  return {
    ...rack,
    seed: {
      ...seed,
      namespace,
      config: at('next.json'),
      dataDir: at('next-data'),
      log: at('next.log'),
      pidFile: at('next.pid'),
      apiSocket: at('next.sock')
    }
  }
}

/** As systemd/seedling-dhcp-client.socket does. */
const hearOwnAddress = (namespace: string, link: string) =>
  run(inNamespace(namespace, ['sysctl', '-qw', `net.ipv4.conf.${link}.accept_local=1`]))

const macOf = ({ namespace, lan }: RackPlan['seed']) =>
  run(inNamespace(namespace, ['cat', `/sys/class/net/${lan.link}/address`])).trim()

for (const old of ['killed', 'still running'] as const)
  t.test(`the old one is ${old}`, async (t) => {
    const left = findRack(NAME)
    if (left) await takeDown(left)
    // A run that was cut off may have left it.
    spawnSync('ip', ['netns', 'delete', NEXT])
    const rack = await putUp({ ...defaults, name: NAME, diskGiB: 1 })
    t.teardown(() => takeDown(rack))
    hearOwnAddress(rack.seed.namespace, rack.seed.lan.link)
    const names = rack.machines.map(({ name }) => name)
    await startSeed(rack)
    await enrol(rack, IMAGE)
    await startCapture(rack)
    await order(rack, names, IMAGE)
    await until(
      async () =>
        (await events(rack)).some(({ kind, detail }) => kind === 'write-progress' && detail.done > 0),
      'no machine came to write',
      BOOT
    )

    const passphrase = join(rack.dir, 'passphrase')
    writeFileSync(passphrase, 'correct horse battery', { mode: 0o600 })
    const file = join(rack.dir, 'seedling.bak')
    const began = Date.now()
    await seedling(rack, 'backup', file, '--images', '--passphrase-file', passphrase)
    if (old === 'killed') {
      await stopSeed(rack, 'SIGKILL')
      ip(`-n ${rack.seed.namespace} link set ${rack.seed.lan.link} down`)
    }
    const next = addNext(rack)
    t.teardown(() => dropHost(next))
    writeFileSync(next.seed.config, JSON.stringify(seedConfig(next)))
    const restored = ['--config', next.seed.config, '--up-to-date', '--passphrase-file', passphrase]
    await seedling(next, 'restore', file, ...restored)
    await startSeed(next)
    t.comment(`${Date.now() - began} ms from the backup until the restored one serves`)

    if (old === 'still running') {
      await until(() => seedPid(rack) === undefined, 'the old one goes on', { patienceMs: 60_000 })
      t.match(
        readFileSync(rack.seed.log, 'utf8'),
        /this state is out of date.*Both hosts have that address: take it, or this host, off the LAN/
      )
      // As it says: it has ended, but its kernel still answers for the address.
      ip(`-n ${rack.seed.namespace} link set ${rack.seed.lan.link} down`)
    }
    await checkFinish(t, next)
    await stopCapture(rack)
    const packets = readCapture(rack.capture.pcap)
    checkLan(t, rack, packets)
    checkAnswers(t, packets, macOf(rack.seed), macOf(next.seed), names.length)
  })

async function dropHost(next: RackPlan): Promise<void> {
  await stopSeed(next)
  ip(`netns delete ${next.seed.namespace}`)
}
