// The command line as a child process against a real API on a Unix socket, with the real conductor behind it; only the BMC is a level.

import { spawn } from 'node:child_process'
import { truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { startApi } from '../../../services/api/server.ts'
import { startConductor } from '../../../services/conductor/conductor.ts'
import type { Bmc, PowerState } from '../../../src/domain/bmc.ts'
import { AppError } from '../../../src/domain/error.ts'
import { KEY, someDeps } from '../api/api-under-test.ts'

const MAIN = join(import.meta.dirname, '../../../services/main.ts')

/** A BMC that does as it is told; user "wrong" cannot log in. */
function levelBmc(): (node: { uuid: string; driverInfo: Readonly<Record<string, unknown>> }) => Bmc {
  const levels = new Map<string, PowerState>()
  return ({ uuid, driverInfo }) => ({
    async powerState() {
      if (driverInfo['ipmi_username'] === 'wrong')
        throw new AppError(
          'bmc-auth',
          `the BMC at ${String(driverInfo['ipmi_address'])} refuses user "wrong"`
        )
      return levels.get(uuid) ?? 'off'
    },
    async powerOn() {
      levels.set(uuid, 'on')
    },
    async powerOff() {
      levels.set(uuid, 'off')
    },
    async bootDevice() {
      return { device: 'none', persistent: false, efi: false, valid: false }
    },
    async setBootDevice(device, { persistent, efi }) {
      return { device, persistent, efi, valid: true }
    }
  })
}

async function bench(t: { teardown(work: () => Promise<void>): unknown }) {
  const bench = someDeps()
  const conductor = startConductor({
    ...bench.deps,
    limits: {
      attempts: 1,
      agentSeconds: 60,
      writeStallSeconds: 60,
      instanceSeconds: 60,
      minimumOffSeconds: 0
    },
    bmc: levelBmc(),
    pollSeconds: 0
  })
  const api = await startApi({ ...bench.deps, wake: conductor.wake })
  t.teardown(async () => {
    await api.close()
    await conductor.close()
    bench.remove()
  })
  const socket = bench.deps.config.api.socket
  const start = (...args: string[]) => {
    const child = spawn(process.execPath, [MAIN, ...args], {
      env: { ...process.env, SEEDLING_SOCKET: socket, TZ: 'UTC' }
    })
    const seen = { out: '', err: '' }
    child.stdout.on('data', (part: Buffer) => (seen.out += part.toString()))
    child.stderr.on('data', (part: Buffer) => (seen.err += part.toString()))
    const ended = new Promise<{ code: number | null; out: string; err: string }>((resolve) =>
      child.on('close', (code) => resolve({ code, ...seen }))
    )
    return { child, seen, ended }
  }
  return {
    ...bench,
    start,
    run: (...args: string[]) => start(...args).ended,
    file(name: string, content: unknown) {
      const path = join(bench.folder, name)
      writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content))
      return path
    }
  }
}

const machine = (n: number, given = {}) => ({
  name: `ctl-${n}`,
  pm_type: 'ipmi',
  pm_addr: `10.0.0.${n}`,
  pm_user: 'admin',
  pm_password: 'secret',
  mac: [`52:54:00:00:00:0${n}`],
  capabilities: 'boot_mode:uefi',
  ...given
})

t.test('from an inventory to an ordered deployment', async (t) => {
  const b = await bench(t)
  const file = b.file('instackenv.json', { nodes: [machine(1), machine(2)] })
  const imported = await b.run('node', 'import', file)
  t.equal(imported.code, 0, imported.err)
  t.match(imported.out, /ctl-1 +created[\s\S]*ctl-1: available \(power is off\)/)
  t.match(
    b.deps.facts.nodes().map(({ state }) => state),
    ['available', 'available']
  )

  const again = await b.run('node', 'import', file)
  t.equal(again.code, 0)
  t.match(again.out, /ctl-2 +unchanged/)

  const list = await b.run('node', 'list')
  t.match(list.out, /NAME +STATE +POWER[\s\S]*ctl-1 +available +off/)
  t.equal(JSON.parse((await b.run('node', 'list', '--json')).out).nodes.length, 2)
  const show = await b.run('node', 'show', 'ctl-1')
  t.match(show.out, /ipmi_password":"\*\*\*\*\*\*"/)
  t.notMatch(show.out, /secret/)
  t.match(show.out, /52:54:00:00:00:01 +192\.0\.2\.100 +yes/)

  t.match(await b.run('keypair', 'add', 'me', b.file('me.pub', KEY)), { code: 0, out: /me: SHA256:/ })
  t.match(await b.run('keypair', 'list'), { code: 0, out: /me +SHA256:/ })
  t.match(await b.run('image', 'add', 'tiny', b.file('tiny.raw', 'x'.repeat(100_000))), {
    code: 0,
    out: /^tiny: /
  })
  t.match(await b.run('image', 'list'), { code: 0, out: /tiny +97\.7 KiB/ })

  const deployed = await b.run(
    'node',
    'deploy',
    'ctl-1',
    '--image',
    'tiny',
    '--key',
    'me',
    '--hostname',
    'web',
    '--user-data',
    b.file('ud', '#cloud-config\n'),
    '--metadata',
    b.file('md', { a: 1 })
  )
  t.match(deployed, { code: 0, out: /ctl-1: deployment .* ordered/ })
  const [order] = b.deps.facts.ordersOfKind('deploy')
  t.match(b.deps.facts.instanceByUuid(order?.instanceUuid ?? ''), {
    hostname: 'web',
    publicKeys: { me: /^ssh-ed25519/ },
    userData: Buffer.from('#cloud-config\n').toString('base64'),
    metadata: { a: 1 }
  })
  t.match(await b.run('deployment', 'list'), {
    code: 0,
    out: /ctl-1 +tiny +web +open +1 +(powered-o|agent-seen)/
  })
  t.match(await b.run('image', 'delete', 'nope'), { code: 1, err: /no image "nope"; there is tiny/ })
  t.match(await b.run('lease', 'list'), { code: 0, out: /ADDRESS/ })

  const undeployed = await b.run('node', 'undeploy', 'ctl-1', '--wait')
  t.match(undeployed, { code: 0, out: /ctl-1: available/ })
  const events = await b.run('event', 'list', '--node', 'ctl-1')
  t.match(
    events.out,
    /enrolled as ctl-1[\s\S]*manage ordered[\s\S]*✓ the BMC is verified[\s\S]*deploy ordered[\s\S]*undeploy done/
  )
  t.match(events.out, /\d\d:\d\d:\d\d +\+\d/)
  t.match(await b.run('node', 'delete', 'ctl-1', 'ctl-2'), { code: 0, out: /ctl-2: deleted/ })
})

t.test('trouble with a BMC is told for its node, the others go on', async (t) => {
  const b = await bench(t)
  const file = b.file('i.json', [machine(1), machine(2, { pm_user: 'wrong' })])
  const { code, out } = await b.run('node', 'import', file)
  t.equal(code, 1)
  t.match(out, /ctl-1: available/)
  t.match(out, /ctl-2: NOT available: .*refuses user "wrong"/)
  t.match(await b.run('node', 'manage', 'ctl-2', '--wait'), { code: 1, err: /ctl-2: .*refuses user "wrong"/ })
  const only = await b.run('node', 'import', b.file('j.json', [machine(3)]), '--no-provide', '--json')
  t.match(JSON.parse(only.out), { created: [{ name: 'ctl-3' }] })
  t.equal(b.deps.facts.nodeByName('ctl-3')?.state, 'enroll')
})

t.test('waiting shows the way and ends with the order', async (t) => {
  const b = await bench(t)
  await b.run('node', 'import', b.file('i.json', [machine(1)]))
  await b.run('image', 'add', 'tiny', b.file('tiny.raw', 'x'))
  const follower = b.start('event', 'follow')
  const { seen, ended } = b.start('node', 'deploy', 'ctl-1', '--image', 'tiny', '--wait')
  // The machine never calls: end it as the ramdisk would.
  while (!/the machine is on/.test(seen.out)) await new Promise((resolve) => setTimeout(resolve, 50))
  const order = b.deps.facts.latestOrder(b.deps.facts.nodeByName('ctl-1')?.uuid ?? '')
  if (!order) throw new Error('no order')
  const at = Date.now()
  const failure = { milestone: 'agent-seen' as const, code: 'timeout', message: 'nobody called', at }
  b.change([
    { put: 'order', row: { ...order, state: 'failed', failure, finishedAt: at } },
    {
      event: {
        kind: 'order-failed',
        at,
        nodeUuid: order.nodeUuid,
        orderId: order.id,
        subject: 'timeout',
        detail: failure
      }
    }
  ])
  const { code, out } = await ended
  t.equal(code, 1, 'a failed deployment is a failed command')
  t.match(
    out,
    /deploy ordered[\s\S]*✓ the machine is off[\s\S]*✓ the machine is on[\s\S]*FAILED at agent-seen \(timeout\): nobody called/
  )
  while (!/FAILED/.test(follower.seen.out)) await new Promise((resolve) => setTimeout(resolve, 50))
  follower.child.kill()
  await follower.ended
  t.match(await b.run('node', 'list'), { out: /deploy failed/ })
})

t.test('an upload that is refused half-way ends at once', async (t) => {
  const b = await bench(t)
  b.deps.images.add = async (name, stream) => {
    // As the image store does: looks at the beginning, and leaves the stream as it is.
    await stream.iterator({ destroyOnReturn: false }).next()
    throw new AppError('image-refused', `image ${name} is refused: it is a gzip archive`)
  }
  const file = b.file('large', '')
  truncateSync(file, 300e6)
  const began = Date.now()
  const { code, err } = await b.run('image', 'add', 'x', file)
  t.ok(Date.now() - began < 30_000, 'without waiting for the connection to time out')
  t.equal(code, 1)
  t.match(err, /image x is refused: it is a gzip archive/)
  t.equal(b.rows()['image'], 0)
})

t.test('what is wrong is said, with exit code 1, and nothing is half-done', async (t) => {
  const b = await bench(t)
  await b.run('node', 'import', b.file('i.json', [machine(1)]))
  await b.run('image', 'add', 'tiny', b.file('tiny.raw', 'x'))
  const before = b.rows()
  const cases: Record<string, [string[], RegExp]> = {
    'a malformed inventory': [
      ['node', 'import', b.file('bad.json', { nodes: [{ pm_typ: 'ipmi' }, machine(1, { mac: ['zz'] })] })],
      /unknown key "pm_typ"[\s\S]*node 1 \(ctl-1\): mac\[0\]: "zz" is not a MAC/
    ],
    'a file that is no JSON': [['node', 'import', b.file('no.json', '{')], /is not JSON/],
    'a file that is not there': [['node', 'import', '/nowhere'], /cannot read \/nowhere/],
    'an unknown image': [['node', 'deploy', 'ctl-1', '--image', 'huge'], /no image "huge"; there is tiny/],
    'an unknown key': [['node', 'deploy', 'ctl-1', '--image', 'tiny', '--key', 'you'], /no key pair "you"/],
    'an unknown node': [['node', 'deploy', 'ctl-9', '--image', 'tiny'], /Node ctl-9 could not be found/],
    'one good and one unknown node': [
      ['node', 'deploy', 'ctl-1', 'ctl-9', '--image', 'tiny'],
      /ctl-9 could not be found/
    ],
    'a verb in the wrong state': [
      ['node', 'undeploy', 'ctl-1'],
      /"deleted" is not possible for node ctl-1 in state "available"/
    ],
    'a private key': [
      ['keypair', 'add', 'me', b.file('id', '-----BEGIN OPENSSH PRIVATE KEY-----\n')],
      /private key/
    ],
    'no server': [['node', 'list', '--socket', '/nowhere/api.sock'], /does not run here/],
    'an address without its token': [['node', 'list', '--api', 'http://127.0.0.1:1'], /--token-file/]
  }
  const ended = Object.entries(cases).map(async ([name, [args, message]]) => {
    const { code, err, out } = await b.run(...args)
    t.equal(code, 1, `${name}: ${out}`)
    t.match(err, message, name)
  })
  await Promise.all(ended)
  t.match(await b.run('node', 'power', 'up', 'ctl-1'), {
    code: 2,
    err: /Allowed choices are on, off, reboot/
  })
  t.match(await b.run('nonsense'), { code: 2, err: /unknown command/ })
  t.match(await b.run('--help'), { code: 0, out: /seedling serve/ })
  t.same(b.rows(), before)
})
