// The last step of a hand-over in the real process: its ports are given up at once, stay so after it was killed, and metadata can still be read.

import type { ChildProcess } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createApply } from '../../../services/store/apply.ts'
import { openStore } from '../../../services/store/open.ts'
import { aHandover, anImage, anInstance, aNode, aPort } from '../../support/builders.ts'
import { addNamespace, connect, run, type Namespace } from '../../support/namespace.ts'

const MAIN = join(import.meta.dirname, '../../../services/main.ts')
const MACHINE = { mac: '52:54:00:00:00:01', ip: '192.0.2.2' }

t.setTimeout(180_000)

/** A folder with a configuration and a state in which the only machine is handed over. */
function aState(t: Test): string {
  // A short path: a socket's name has 108 bytes.
  const folder = mkdtempSync(join(tmpdir(), 'finish-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  mkdirSync(join(folder, 'loaders'))
  for (const file of ['vmlinuz', 'ramdisk.img', 'loaders/undionly.kpxe'])
    writeFileSync(join(folder, file), file)
  const subnets = [
    {
      cidr: '192.0.2.0/24',
      pool: { start: '192.0.2.100', end: '192.0.2.199' },
      discovery: { start: '192.0.2.200', end: '192.0.2.220' }
    }
  ]
  const config = {
    dataDir: 'data',
    network: { interface: 'eth0', address: '192.0.2.1', subnets },
    api: { socket: 'api.sock' },
    boot: { kernel: 'vmlinuz', ramdisk: 'ramdisk.img', loaders: 'loaders' },
    bmc: { pollSeconds: 0 }
  }
  writeFileSync(join(folder, 'seedling.json'), JSON.stringify(config))
  const store = openStore(join(folder, 'data'))
  const handover = aHandover({
    finishedAt: 2,
    after: { power: 'power on', provisionState: 'active', deployValid: true, restartedAt: null }
  })
  const instance = anInstance()
  store.commit(() =>
    createApply(store)([
      { put: 'image', row: anImage() },
      { put: 'node', row: aNode({ state: 'active', instanceUuid: instance.uuid, handover }) },
      { put: 'instance', row: instance },
      { put: 'port', row: aPort({ address: MACHINE.mac, reservedIp: MACHINE.ip }) }
    ])
  )
  store.close()
  return folder
}

async function serve(t: Test, host: Namespace, folder: string): Promise<ChildProcess> {
  const child = host.spawn(process.execPath, [MAIN, 'serve', '--config', join(folder, 'seedling.json')])
  t.teardown(() => void child.kill('SIGKILL'))
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (bytes: Buffer) => (said += bytes.toString()))
  while (!said.includes('"msg":"serving"')) {
    if (child.exitCode !== null) throw new Error(said)
    await sleep(20)
  }
  return child
}

t.test('nothing but metadata is left, also after a kill', async (t) => {
  const [host, machine] = [await addNamespace('host'), await addNamespace('machine')]
  t.teardown(async () => {
    for (const namespace of [host, machine]) await namespace.remove()
  })
  await connect([host, 'eth0'], [machine, 'eth0'], MACHINE.mac)
  await host.run('ip', 'address', 'add', '192.0.2.1/24', 'dev', 'eth0')
  await machine.run('ip', 'address', 'add', `${MACHINE.ip}/24`, 'dev', 'eth0')
  const folder = aState(t)
  const seedling = (...args: string[]) =>
    run(process.execPath, MAIN, ...args, '--socket', join(folder, 'api.sock'))
  const ports = async () =>
    [...(await host.run('ss', '-Hlun')).matchAll(/:(\d+) /g)]
      .map(([, port]) => Number(port))
      .filter((port) => [67, 68, 69].includes(port))
  const get = async (path: string, ...more: string[]) =>
    machine.run('curl', '-s', '-m', '20', '-w', ' %{http_code}', ...more, `http://192.0.2.1${path}`)

  let child = await serve(t, host, folder)
  const open = await ports()
  t.ok(open.includes(67) && open.includes(69), 'before it, both are served')
  t.match(await get('/latest/meta-data/instance-id'), `${anInstance().uuid} 200`)
  t.match(await seedling('handoff', 'finish'), /Only metadata is answered here/)

  const landed = async (when: string) => {
    while ((await ports()).length > 0) await sleep(50)
    t.match(
      await get('/latest/meta-data/instance-id'),
      `${anInstance().uuid} 200`,
      `${when}: metadata is read`
    )
    for (const path of [
      `/boot/script?mac=${MACHINE.mac}`,
      '/%62oot/script',
      '/boot/loader/undionly.kpxe',
      '/grub/x'
    ])
      t.match(await get(path), / 410$/, `${when}: ${path}`)
    t.match(await get('/metadata/x/signal', '-X', 'POST', '-d', 'x'), / 410$/, `${when}: nothing is reported`)
    t.match(await seedling('handoff', 'status'), /These still ask for it/)
  }
  await landed('at once')
  const gone = new Promise((resolve) => child.once('close', resolve))
  child.kill('SIGKILL')
  await gone

  const capture = machine.spawn('tcpdump', ['-i', 'eth0', '-n', '-U', '-w', join(folder, 'pcap'), 'udp'])
  let heard = ''
  capture.stderr?.on('data', (bytes: Buffer) => (heard += bytes.toString()))
  while (!heard.includes('listening on')) {
    if (capture.exitCode !== null) throw new Error(heard)
    await sleep(20)
  }
  child = await serve(t, host, folder)
  await landed('after a kill')
  await sleep(3000)
  const ended = new Promise((resolve) => capture.once('close', resolve))
  capture.kill('SIGINT')
  await ended
  t.equal(await run('tcpdump', '-n', '-r', join(folder, 'pcap')), '', 'not one datagram, no probe either')
  const stopped = new Promise((resolve) => child.once('close', resolve))
  child.kill('SIGTERM')
  t.equal(await stopped, 0, 'it still ends in good order')
})
