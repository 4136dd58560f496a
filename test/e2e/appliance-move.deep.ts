// The appliance moves into another virtual machine while two machines are being deployed, as image/appliance/README.md tells: a second one is started
// beside it with its card on the LAN unplugged, takes the state of the first, and is plugged in. Both machines finish, nobody is answered twice.
// Takes some ten minutes.

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'
import { cutAppliance, sshToAppliance, startAppliance } from '../../scripts/lab/appliance.ts'
import { readCapture, startCapture, stopCapture } from '../../scripts/lab/capture.ts'
import { enrol, order } from '../../scripts/lab/deploy.ts'
import { findRack, putUp, root, takeDown, until } from '../../scripts/lab/lab.ts'
import { defaults, type RackPlan } from '../../scripts/lab/plan.ts'
import { run, stopRecorded } from '../../scripts/lab/process.ts'
import { api, startSeed } from '../../scripts/lab/seed.ts'
import type { StoredEvent } from '../../src/domain/event.ts'
import { buildAll } from './build.ts'
import { checkAnswers, checkFinish } from './two-seedlings.ts'

const NAME = 'apm'
const IMAGE = { name: 'tiny', file: join(root, '.cache/image/instance/tiny.qcow2') }
const PASSPHRASE = 'correct horse battery'

t.setTimeout(3_000_000)
buildAll(IMAGE.name)
run([join(root, 'image/appliance/build')])
const left = findRack(NAME)
if (left) await takeDown(left)
const rack = await putUp({ ...defaults, name: NAME, diskGiB: 1, appliance: true })
t.teardown(() => takeDown(rack))
const names = rack.machines.map(({ name }) => name)
const ip = (line: string) => run(['ip', '-n', rack.lan.namespace, ...line.split(' ')])

const at = (file: string) => join(rack.dir, file)
const first = rack.appliance!
/** The other virtual machine: alike, but for its cards and its address among the BMCs. */
const next: RackPlan = {
  ...rack,
  seed: { ...rack.seed, log: at('next.log'), pidFile: at('next.pid'), apiSocket: at('next.sock') },
  appliance: {
    ...first,
    disk: at('next.qcow2'),
    seedDisk: at('next-seed.img'),
    seedFolder: at('next-seed'),
    console: at('next.console.log'),
    lan: { ...first.lan, mac: '52:54:00:5e:ee:11', tap: 'tap-next' },
    bmc: { ...first.bmc, mac: '52:54:00:5e:ee:12', tap: 'tap-next-b', address: '198.18.0.4' },
    tunnel: { log: at('next-tunnel.log'), pidFile: at('next-tunnel.pid') }
  }
}

function ssh(to: RackPlan, command: string, input?: Buffer): Buffer {
  const [program = '', ...args] = sshToAppliance(to, to.appliance!, command)
  const { status, stdout, stderr } = spawnSync(program, args, { timeout: 300_000, input, maxBuffer: 2 ** 30 })
  if (status !== 0)
    throw new Error(`${command}: ${stderr.toString() || stdout.toString() || `ended with ${status}`}`)
  return stdout
}
const events = async (of: RackPlan) =>
  (await api<{ events: StoredEvent[] }>(of, 'GET', '/v1/events?limit=1000')).events

t.test('it moves in mid-deploy', async (t) => {
  await startCapture(rack)
  await startSeed(rack)
  await enrol(rack, IMAGE)
  const { lan, bmc, tunnel } = next.appliance!
  for (const { tap } of [lan, bmc]) ip(`tuntap add ${tap} mode tap`)
  ip(`link set ${lan.tap} up`)
  ip(`link set ${bmc.tap} master ${bmc.bridge} up`)
  t.teardown(async () => {
    await stopRecorded(tunnel.pidFile)
    await cutAppliance(next)
  })
  await startAppliance(next, next.appliance!)
  ssh(next, 'systemctl stop seedling')

  await order(rack, names, IMAGE)
  await until(
    async () => (await events(rack)).some(({ kind, detail }) => kind === 'write-progress' && detail.done > 0),
    'no machine came to write',
    { patienceMs: 600_000, everyMs: 250 }
  )
  const began = Date.now()
  const config = '--config /etc/seedling/seedling.json'
  // What machines reported to the old one after the backup would be in no state; so it stops, and they call again until somebody answers.
  ssh(rack, 'systemctl stop seedling "seedling-*.socket"')
  const backup = `seedling backup /run/move.bak ${config} --images --passphrase-file /dev/stdin`
  ssh(rack, `echo "${PASSPHRASE}" | ${backup}`)
  ssh(next, 'umask 077; cat >/run/move.bak', ssh(rack, 'cat /run/move.bak'))
  const restore = `seedling restore /run/move.bak ${config} --replace --up-to-date --passphrase-file /dev/stdin`
  ssh(next, `echo "${PASSPHRASE}" | ${restore}`)
  ip(`link set ${first.lan.tap} nomaster`)
  ip(`link set ${lan.tap} master ${rack.lan.bridge}`)
  ssh(next, 'systemctl start seedling || { journalctl -u seedling -n 40 -o cat --no-pager >&2; exit 1; }')
  t.comment(`${((Date.now() - began) / 1000).toFixed(1)} s from the stop until the restored one serves`)

  await checkFinish(t, next)
  await stopCapture(rack)
  checkAnswers(t, readCapture(rack.capture.pcap), first.lan.mac, lan.mac, names.length)

  // Somebody forgets, and starts the old one.
  ip(`link set ${first.lan.tap} master ${rack.lan.bridge}`)
  ssh(rack, 'systemctl start seedling || true')
  const show = ssh(rack, 'systemctl show -p ActiveState,ExecMainStatus seedling').toString()
  for (const line of ['ActiveState=failed', 'ExecMainStatus=78']) t.match(show, line, 'it ends for good')
  t.match(
    ssh(rack, 'journalctl -u seedling -o cat --no-pager').toString(),
    /this state is out of date.*Both hosts have that address: take it, or this host, off the LAN/
  )
  const sockets = ssh(rack, 'systemctl list-units --no-legend "seedling-*.socket"').toString()
  t.equal(sockets, '', 'no packet starts it again')
})
