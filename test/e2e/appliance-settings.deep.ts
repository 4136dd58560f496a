// The first settings of the appliance, in a virtual machine each: from a NoCloud disc, from a config-drive, from kernel arguments typed in its
// boot menu, and from its dialogue on the serial port. Without a rack.
// Takes some 5 minutes.

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { root } from '../../scripts/lab/lab.ts'
import { run } from '../../scripts/lab/process.ts'

const IMAGE = join(root, '.cache/image/appliance/seedling.qcow2')
const LAN = '52:54:00:5e:ee:01'
const OTHER = '52:54:00:5e:ee:02'
const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f admin'
/** Emulated, and beside other tests. */
const PATIENCE_MILLISECONDS = 300_000
/** After which a key that shows nothing is taken for lost. */
const KEY_PATIENCE_MILLISECONDS = 20_000
/** After which what a key shows is taken for drawn. */
const QUIET_MILLISECONDS = 250

const SETTINGS = {
  hostname: 'seed',
  ssh_authorized_keys: [KEY],
  seedling: {
    interface: LAN,
    address: '192.0.2.1/24',
    pool: '192.0.2.100-192.0.2.199',
    links: [{ interface: OTHER, address: '198.18.0.1/24' }]
  }
}
// JSON is YAML.
const USER_DATA = `#cloud-config\n${JSON.stringify(SETTINGS)}\n`

t.setTimeout(3_000_000)
const built = spawnSync(join(root, 'image/appliance/build'), { encoding: 'utf8' })
if (built.status !== 0) throw new Error(`image/appliance/build failed: ${built.stdout}${built.stderr}`)

function newFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'appliance-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  return folder
}

/** A new appliance and its serial port. */
async function powerOn(t: Test, ...more: string[]) {
  const folder = newFolder(t)
  const at = (file: string) => join(folder, file)
  run(['qemu-img', 'create', '-q', '-f', 'qcow2', '-b', IMAGE, '-F', 'qcow2', at('disk')])
  const machine = spawn('qemu-system-x86_64', [
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-machine', 'q35,graphics=off'],
    ...['-cpu', 'qemu64,svm=off', '-accel', 'tcg,tb-size=256', '-smp', '2', '-m', '1024'],
    ...['-drive', `if=virtio,format=qcow2,file=${at('disk')},cache=unsafe`, '-device', 'virtio-rng-pci'],
    // Nobody is at the other end of the LAN; on the other link QEMU answers DHCP.
    ...[
      '-netdev',
      'socket,id=lan,udp=127.0.0.1:9,localaddr=127.0.0.1:0',
      '-netdev',
      'user,id=other,restrict=on'
    ],
    ...['-device', `virtio-net-pci,netdev=lan,mac=${LAN},romfile=`],
    ...['-device', `virtio-net-pci,netdev=other,mac=${OTHER},romfile=`],
    ...['-chardev', `socket,id=serial,path=${at('serial')},server=on,wait=on`, '-serial', 'chardev:serial'],
    ...more
  ])
  t.teardown(async () => {
    machine.kill('SIGKILL')
    if (machine.exitCode === null && machine.signalCode === null) await once(machine, 'close')
  })
  return openSerial(at('serial'))
}

async function openSerial(path: string) {
  const serial = await new Promise<Socket>((resolve, reject) => {
    const deadline = performance.now() + 10_000
    const attempt = () => {
      const socket = connect(path, () => resolve(socket))
      socket.on('error', (error) => (performance.now() < deadline ? setTimeout(attempt, 50) : reject(error)))
    }
    attempt()
  })
  let heard = ''
  let read = 0
  serial.setEncoding('latin1').on('data', (text: string) => (heard += text))
  return {
    /** Waits for what it says next, and passes it over. */
    async hear(what: RegExp): Promise<RegExpExecArray> {
      const deadline = performance.now() + PATIENCE_MILLISECONDS
      for (;;) {
        const found = what.exec(heard.slice(read))
        if (found) {
          read += found.index + found[0].length
          return found
        }
        if (performance.now() > deadline) throw new Error(`${what} was not heard in:\n${heard.slice(-3000)}`)
        await sleep(100)
      }
    },
    /** Key by key, each when what the one before shows is there, and once more when it shows nothing: GRUB loses keys while it draws. */
    async type(keys: string): Promise<void> {
      for (const key of keys)
        for (const before = heard.length; heard.length === before;) {
          serial.write(key, 'latin1')
          const deadline = performance.now() + KEY_PATIENCE_MILLISECONDS
          while (heard.length === before && performance.now() < deadline) await sleep(20)
          for (let shown = -1; shown !== heard.length; await sleep(QUIET_MILLISECONDS)) shown = heard.length
        }
    }
  }
}
type Serial = Awaited<ReturnType<typeof openSerial>>

function disc(t: Test, label: string, files: Record<string, string>): string[] {
  const folder = newFolder(t)
  for (const [file, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, 'tree', file)), { recursive: true })
    writeFileSync(join(folder, 'tree', file), content)
  }
  const iso = join(folder, 'seed.iso')
  run(['genisoimage', '-quiet', '-V', label, '-J', '-r', '-o', iso, join(folder, 'tree')])
  return [
    '-drive',
    `if=none,id=disc,format=raw,media=cdrom,readonly=on,file=${iso}`,
    '-device',
    'ide-cd,drive=disc'
  ]
}

/** What the console says in the end. */
async function serves(t: Test, { hear }: Serial, from?: string): Promise<void> {
  if (from) t.ok(await hear(new RegExp(`settings taken from ${from}\\s`)), `from ${from}`)
  await hear(/Seedling is up\./)
  t.ok(await hear(/Machines: 192\.0\.2\.1\/24\s/))
  t.ok(await hear(/API: +http:\/\/198\.18\.0\.1:6385\s/))
  t.ok(await hear(/SSH: +root@198\.18\.0\.1\s/))
  t.ok(await hear(/API token \(shown this once[^:]*: [0-9a-f]{64}\s/))
}

t.test('a NoCloud disc', async (t) => {
  const seed = disc(t, 'cidata', { 'user-data': USER_DATA, 'meta-data': 'instance-id: one\n' })
  await serves(t, await powerOn(t, ...seed), 'the seed cidata')
})

t.test('a config-drive', async (t) => {
  const seed = disc(t, 'config-2', {
    'openstack/latest/user_data': USER_DATA,
    'openstack/latest/meta_data.json': '{"uuid":"5eed0000-0000-4000-8000-000000000001"}'
  })
  await serves(t, await powerOn(t, ...seed), 'the seed config-2')
})

t.test('kernel arguments, typed in the boot menu', async (t) => {
  const serial = await powerOn(t)
  const typed = [
    `seedling.interface=${LAN}`,
    'seedling.address=192.0.2.1/24',
    'seedling.pool=192.0.2.100-192.0.2.199',
    `seedling.link=${OTHER},198.18.0.1/24`,
    `seedling.key=${KEY.replaceAll(' ', ',')}`
  ]
  await serial.hear(/version before/)
  await serial.type('e')
  await serial.hear(/start \$boot/)
  // Down to that line, the third, to its end; and start it.
  await serial.type(`\x0e\x0e\x05 ${typed.join(' ')}\x18`)
  await serves(t, serial, 'kernel arguments')
})

t.test('the dialogue', async (t) => {
  const serial = await powerOn(t)
  const answer = async (question: RegExp, text: string) => {
    await serial.hear(question)
    await serial.type(`${text}\r`)
  }
  t.ok(await serial.hear(new RegExp(`eth0 +${LAN} +no DHCP server answers`)), 'cards, and who answers there')
  t.ok(await serial.hear(new RegExp(`eth1 +${OTHER} +10\\.0\\.2\\.2\\s`)), 'which is QEMU, there')
  await answer(/Which one is on the machines' LAN \[1\]: /, '')
  await answer(/Mode: server, listen or proxy \[server\]: /, '')
  await answer(/Seedling's own address there \[192\.0\.2\.1\/24\]: /, '192.0.2.300/24')
  await answer(/Addresses for machines, first-last/, '192.0.2.100-192.0.2.199')
  await answer(/Router that machines are told of, or none \[none\]: /, '')
  await answer(/Address on eth1 \(BMCs, operators\), or none \[none\]: /, '198.18.0.1/24')
  await answer(/Router there, or none \[none\]: /, '')
  await answer(/SSH public key of an administrator, or none \[none\]: /, KEY)
  t.ok(
    await serial.hear(/address must be an IPv4 address .*192\.0\.2\.300/),
    'what is wrong is told, and asked again'
  )
  await answer(/Which one is on the machines' LAN \[1\]: /, '')
  await answer(/Mode: server, listen or proxy \[server\]: /, '')
  await answer(/Seedling's own address there/, '192.0.2.1/24')
  await answer(/Addresses for machines, first-last/, '192.0.2.100-192.0.2.199')
  await answer(/Router that machines are told of, or none \[none\]: /, '')
  await answer(/Address on eth1 \(BMCs, operators\), or none \[198\.18\.0\.1\/24\]: /, '')
  await answer(/Router there, or none \[none\]: /, '')
  await answer(/SSH public key of an administrator, or none \(1 there\) \[none\]: /, '')
  await answer(/Take this \[yes\]: /, '')
  await serves(t, serial)
})
