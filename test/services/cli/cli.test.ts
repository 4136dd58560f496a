// The command line as a child process (bench.ts): what it does.

import { truncateSync } from 'node:fs'
import t from 'tap'
import { AppError } from '../../../src/domain/error.ts'
import { KEY } from '../api/api-under-test.ts'
import { bench, machine } from './bench.ts'

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
