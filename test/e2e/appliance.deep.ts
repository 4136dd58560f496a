// The appliance as operators run it, in a virtual machine on the rack's LAN: set up by its seed, driven by SSH. It deploys a BIOS and a
// UEFI machine though its power is cut meanwhile, is restarted under load, upgraded, rolled back, and left with a slot that does not start.
// Takes some 15 minutes. What it measured is in its comments.

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { cutAppliance, sshToAppliance } from '../../scripts/lab/appliance.ts'
import { readCapture, startCapture, stopCapture } from '../../scripts/lab/capture.ts'
import { enrol, followToActive, nodeState, order } from '../../scripts/lab/deploy.ts'
import { findRack, putUp, root, takeDown, until } from '../../scripts/lab/lab.ts'
import { defaults } from '../../scripts/lab/plan.ts'
import { inNamespace, startDetached, stopRecorded } from '../../scripts/lab/process.ts'
import { api, seedPid, startSeed } from '../../scripts/lab/seed.ts'
import { buildAll } from './build.ts'

const NAME = 'apl'
const IMAGE = { name: 'tiny', file: join(root, '.cache/image/instance/tiny.qcow2') }
const BUILT = join(root, '.cache/image/appliance/seedling')
const MIB = 2 ** 20
/** Where clients that nobody enrolled get addresses: the load's, which comes through a relay on the operator's host. */
const CONFIG = {
  network: {
    subnets: [
      {
        cidr: '192.0.2.0/24',
        pool: { start: '192.0.2.100', end: '192.0.2.149' },
        discovery: { start: '192.0.2.150', end: '192.0.2.254', perSecond: 1000 },
        gateway: '192.0.2.1'
      }
    ]
  }
}
const LOAD = { perSecond: 3, seconds: 30, clients: 100, patienceSeconds: 120 }

t.setTimeout(3_000_000)
buildAll(IMAGE.name)
const built = spawnSync(join(root, 'image/appliance/build'), { encoding: 'utf8' })
if (built.status !== 0) throw new Error(`image/appliance/build failed: ${built.stdout}${built.stderr}`)
const left = findRack(NAME)
if (left) await takeDown(left)
const rack = await putUp({ ...defaults, name: NAME, appliance: true })
t.teardown(() => takeDown(rack))
const appliance = rack.appliance!
const names = rack.machines.map(({ name }) => name)

function ssh(command: string, input?: string): string {
  const [program = '', ...args] = sshToAppliance(rack, appliance, command)
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', timeout: 300_000, input })
  if (status !== 0) throw new Error(`${command}: ${stderr || stdout || `ended with ${status}`}`)
  return stdout.trim()
}
const inSeed = (...command: string[]) => inNamespace(rack.seed.namespace, command)
/** MiB that neither are free nor could be. */
const memoryInUse = (): number =>
  Number(ssh(`awk '/^MemTotal/{t=$2} /^MemAvailable/{a=$2} END{print int((t-a)/1024)}' /proc/meminfo`))

/** Waits until the appliance has ended by itself (it reboots), and starts it as its firmware would. */
async function afterReboot(): Promise<void> {
  await until(() => seedPid(rack) === undefined, 'the appliance does not reboot', {
    patienceMs: 180_000,
    everyMs: 500
  })
  await startSeed(rack)
}
const slot = () => /seedling\.slot=(.)/.exec(ssh('cat /proc/cmdline'))?.[1]
const kept = (): Promise<true> =>
  until(
    () =>
      ssh('systemctl show -p ActiveState,Result seedling-slot').includes('ActiveState=inactive') || undefined,
    'the slot is neither kept nor left',
    { patienceMs: 300_000, everyMs: 2000 }
  )

// What is heard on the other link, from before its power-on to the end.
const other = {
  pcap: join(rack.dir, 'other.pcap'),
  log: join(rack.dir, 'other.log'),
  pidFile: join(rack.dir, 'other.pid')
}
startDetached(
  inNamespace(rack.lan.namespace, [
    'tcpdump',
    '-Z',
    'root',
    '-U',
    '-i',
    appliance.bmc.bridge,
    '-w',
    other.pcap
  ]),
  other
)
await startCapture(rack)
// A client that asks every second, from the beginning.
const client = spawn(
  'ip',
  inSeed(
    'busybox',
    'udhcpc',
    '-f',
    '-q',
    '-i',
    rack.seed.lan.link,
    '-t',
    '300',
    '-T',
    '1',
    '-s',
    '/bin/true'
  ).slice(1),
  {
    stdio: 'ignore'
  }
)
const powerOn = Date.now()
await startSeed(rack, CONFIG)
await until(() => client.exitCode !== null || undefined, 'the client got no address', { patienceMs: 60_000 })

t.test('it is small, and offers an address soon after its power-on', async (t) => {
  const size = statSync(`${BUILT}.qcow2`).size / MIB
  t.ok(size <= 1024, `${size.toFixed(0)} MiB`)
  const offer = readCapture(rack.capture.pcap).find(({ from }) => from.port === 67 && from.ip === '192.0.2.1')
  t.ok(offer, 'it has made an offer')
  t.comment(`power-on to first offer: ${((offer!.at - powerOn) / 1000).toFixed(1)} s`)
  t.comment(ssh('systemd-analyze time'))
})

t.test('it is as closed as its unit says', async (t) => {
  t.match(ssh('systemctl show -p ActiveState,NRestarts,WatchdogUSec seedling'), /ActiveState=active/)
  const said = ssh('systemd-analyze security --no-pager seedling.service | tail -n 1')
  const figure = Number(/: ([\d.]+) /.exec(said)?.[1])
  t.ok(figure <= 2, said)
  t.equal(ssh('systemctl --failed --no-legend'), '', 'no unit has failed')
  const pid = ssh('systemctl show -p MainPID --value seedling')
  t.match(ssh(`grep Cap /proc/${pid}/status`), /CapEff:\t0{16}\nCapBnd:\t0{16}/, 'no capability is kept')
  t.equal(ssh('touch /usr/x 2>&1 || true'), "touch: cannot touch '/usr/x': Read-only file system")
  t.match(ssh('getent shadow root'), /^root:\*/, 'no password')
  const lines = ssh('journalctl -u seedling -o cat --no-pager _TRANSPORT=stdout').split('\n')
  t.ok(lines.length > 1)
  for (const line of lines) t.ok(JSON.parse(line), 'the journal has JSON lines')
})

t.test('the API: by SSH, and with the token only', async (t) => {
  const status = (...more: string[]) => {
    const [program = '', ...args] = inSeed(
      'curl',
      '-s',
      '-o',
      '/dev/null',
      '-w',
      '%{http_code}',
      ...more,
      `http://${appliance.bmc.address}:6385/v1/nodes`
    )
    return spawnSync(program, args, { encoding: 'utf8' }).stdout
  }
  const shown = /API token \(shown this once[^:]*: ([0-9a-f]{64})/.exec(
    readFileSync(appliance.console, 'utf8')
  )?.[1]
  t.ok(shown, 'it was shown on the console')
  t.equal(status(), '401')
  t.equal(status('-H', `authorization: Bearer ${shown}`), '200')
})

t.test(
  'both machines are active, though the power of the appliance is cut while disks are written',
  async (t) => {
    await enrol(rack, IMAGE)
    const confined = ssh('journalctl -u seedling -o cat --no-pager | grep "qemu-img runs"')
    t.match(confined, /jail/, 'images are converted in their jail under the unit, too')
    await order(rack, names, IMAGE)
    let most = 0
    const sample = setInterval(() => {
      try {
        most = Math.max(most, memoryInUse())
      } catch {
        // Its power is cut.
      }
    }, 5000)
    t.teardown(() => clearInterval(sample))
    type Told = { events: { kind: string }[] }
    await until(
      async () =>
        (await api<Told>(rack, 'GET', `/v1/events?node=${names[0]}&limit=1000`)).events.some(({ kind }) =>
          /write|image/.test(kind)
        ) || undefined,
      'no disk is written',
      { patienceMs: 600_000, everyMs: 200 }
    )
    const states = await Promise.all(names.map((name) => nodeState(rack, name)))
    t.ok(
      states.every(({ provision_state: state }) => state !== 'active'),
      'they are in mid-deploy'
    )
    await cutAppliance(rack)
    await startSeed(rack)
    await followToActive(rack, names)
    for (const name of names) t.equal((await nodeState(rack, name)).provision_state, 'active')
    t.equal(ssh('journalctl --list-boots --quiet | wc -l'), '2', 'the journal from before is there')
    t.ok(most > 0 && most <= 512, `${most} MiB in use at most`)
  }
)

t.test('no exchange is lost when the service is restarted under load', async (t) => {
  const load = spawn(
    'ip',
    inSeed(
      'perfdhcp',
      '-4',
      '-g',
      'single',
      '-r',
      `${LOAD.perSecond}`,
      '-p',
      `${LOAD.seconds + 40}`,
      '-R',
      `${LOAD.clients}`,
      '-b',
      'mac=00:0c:01:00:00:00',
      '-d',
      `${LOAD.patienceSeconds}`,
      '-W',
      '180000000',
      // Of either exchange: it waits until as many answers as both are there.
      '-n',
      `${LOAD.perSecond * LOAD.seconds}`,
      '-n',
      `${LOAD.perSecond * LOAD.seconds}`,
      '-l',
      '192.0.2.2',
      '192.0.2.1'
    ).slice(1)
  )
  const output = text(load.stdout)
  const ended = once(load, 'close')
  await new Promise((resolve) => setTimeout(resolve, 8000))
  ssh('systemctl restart seedling')
  await ended
  const said = await output
  const count = (exchange: string, what: string) =>
    Number(new RegExp(`Statistics for: ${exchange}\\*\\*\\*[\\s\\S]*?${what}: (\\d+)`).exec(said)?.[1])
  for (const exchange of ['DISCOVER-OFFER', 'REQUEST-ACK']) {
    const sent = count(exchange, 'sent packets')
    t.ok(sent >= LOAD.perSecond * LOAD.seconds * 0.8, `${exchange}: ${sent} sent`)
    t.equal(count(exchange, 'received packets'), sent, `${exchange}: all answered\n${said}`)
  }
})

t.test('another network by one command, which holds after a restart', async (t) => {
  ssh('seedling appliance network gateway=192.0.2.9')
  t.match(
    ssh('cat /etc/seedling/seedling.json'),
    /"gateway": "192.0.2.1"/,
    'what the seed has said of the subnets goes before'
  )
  t.equal(
    ssh('seedling appliance network pool=192.0.2.1-192.0.2.9 2>&1 || true').includes('own address'),
    true
  )
  ssh('systemctl restart seedling-network')
  t.match(ssh('ip -4 -o address show lan0'), /192\.0\.2\.1\/24/)
})

t.test('an upgrade is kept, and rolled back by one command', async (t) => {
  t.equal(slot(), 'a')
  const [program = '', ...args] = sshToAppliance(rack, appliance, 'cat >/var/tmp/new.root')
  spawnSync(program, args, { input: readFileSync(`${BUILT}.root`), maxBuffer: 1 << 30 })
  t.throws(
    () => ssh('echo nothing >/var/tmp/bad; seedling-upgrade /var/tmp/bad'),
    /is no root file system of the appliance/
  )
  ssh('seedling-upgrade /var/tmp/new.root')
  await afterReboot()
  t.equal(slot(), 'b')
  await kept()
  t.match(ssh('mount /boot/efi; cat /boot/efi/EFI/debian/grubenv; umount /boot/efi'), /slot=b\n/)
  t.equal((await nodeState(rack, names[0]!)).provision_state, 'active', 'its state came along')
  t.match(ssh('cat /var/lib/appliance/settings.json'), /"gateway": "192.0.2.9"/, 'and so did its settings')
  // As if this version had changed the schema at its start; what happened since is gone with it.
  ssh('systemctl stop seedling')
  const changed = `
    const db = require('better-sqlite3')('/var/lib/seedling/seedling.db')
    const schema = db.pragma('user_version', { simple: true })
    db.exec("VACUUM INTO '/var/lib/seedling/seedling.db.schema-" + schema + "'")
    db.pragma('user_version = ' + (schema + 1))
    db.close()`
  ssh('cd /opt/seedling && node_modules/.bin/node -', changed)
  ssh('cd /var/lib/seedling && chown --reference=seedling.db seedling.db.schema-*')
  t.match(ssh('seedling-upgrade --rollback'), /the state is that of before the upgrade/)
  await afterReboot()
  t.equal(slot(), 'a')
  t.equal((await nodeState(rack, names[0]!)).provision_state, 'active')
})

t.test('what does not start is left again', async (t) => {
  // The kernel of the other slot cannot be loaded any more.
  ssh(
    'mount /boot/efi; /usr/lib/seedling/grub-env slot=a try=b | dd of=/boot/efi/EFI/debian/grubenv conv=notrunc,fsync status=none; umount /boot/efi; ' +
      'dd if=/dev/zero of=/dev/disk/by-partlabel/root-b bs=1M count=300 conv=fsync status=none; systemctl reboot'
  )
  await afterReboot()
  t.equal(slot(), 'a')
})

t.test('not one DHCP packet was on the other link', async (t) => {
  await stopRecorded(other.pidFile)
  const packets = readCapture(other.pcap)
  t.ok(
    packets.some(({ to }) => to.port === 623),
    'the BMCs were spoken to there'
  )
  t.same(
    packets.filter(({ from, to }) => [67, 68].includes(from.port) || [67, 68].includes(to.port)),
    []
  )
  await stopCapture(rack)
})
