import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { connect, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { metadataRoutes } from '../../../services/metadata/routes.ts'
import { configDrive } from '../../../src/decide/config-drive.ts'
import { aNode, anInstance, NOW } from '../../support/builders.ts'
import { aPlace, RAMDISK_WINDOW, WRITTEN, type Given } from '../../support/machine-facing.ts'

const run = promisify(execFile)
const TOKEN = anInstance().token

const INSTANCE = {
  publicKeys: { default: 'ssh-ed25519 AAAA me' },
  userData: Buffer.from('#!/bin/sh\necho \xff\n', 'latin1').toString('base64'),
  metadata: { role: { controller: true }, deployments: [{ name: 'first', config: { a: 1 } }] }
}
const GIVEN: Given = { ...WRITTEN, instance: INSTANCE }

async function anApp(t: Test, given: Given = GIVEN) {
  const place = aPlace(t, given)
  const woken: string[] = []
  const app = Fastify()
  await app.register(
    metadataRoutes({ ...place.deps, url: 'http://192.0.2.1', wake: (uuid) => woken.push(uuid) })
  )
  t.teardown(() => app.close())
  const get = (url: string, remoteAddress = '127.0.0.1') => app.inject({ method: 'GET', url, remoteAddress })
  return { ...place, app, get, woken }
}

t.test('the tree, by the asking address', async (t) => {
  const { get, events, woken } = await anApp(t)
  const root = await get('/latest/meta-data/')
  t.equal(root.statusCode, 200)
  t.match(root.headers['content-type'], 'text/plain')
  t.match(root.body, /^ami-id\n[^]*\npublic-keys\/$/)
  t.equal((await get('/latest/meta-data')).body, root.body, 'with and without the slash')
  for (const version of ['2009-04-04', '2021-03-23', '1.0'])
    t.equal((await get(`/${version}/meta-data/instance-id`)).body, anInstance().uuid, version)
  t.equal((await get('/latest/meta-data/public-keys/0/openssh-key')).body, 'ssh-ed25519 AAAA me')
  t.equal((await get('/latest/meta-data/nothing')).statusCode, 404)
  t.equal((await get('/newest/meta-data/')).statusCode, 404)
  t.ok(
    (await get('/latest/user-data')).rawPayload.equals(Buffer.from('#!/bin/sh\necho \xff\n', 'latin1')),
    'user data as it is'
  )
  t.same(events(), ['metadata-read ec2', 'milestone-reached instance-up'], 'told once')
  t.equal(woken.length, 1, 'the conductor is told once')
})

t.test('no user data is 404, which every client takes for none', async (t) => {
  const { get } = await anApp(t, { ...WRITTEN, instance: { userData: null } })
  t.equal((await get('/latest/user-data')).statusCode, 404)
})

t.test('the document, by the token, from anywhere', async (t) => {
  const { get, app, events, deps } = await anApp(t)
  const answer = await get(`/metadata/${TOKEN}/request`, '10.9.9.9')
  t.equal(answer.statusCode, 200)
  t.match(answer.json(), { 'instance-id': anInstance().uuid, role: { controller: true } })
  const head = await app.inject({
    method: 'HEAD',
    url: `/metadata/${TOKEN}/request`,
    remoteAddress: '127.0.0.1'
  })
  t.equal(head.statusCode, 200)
  t.equal(head.headers['last-modified'], undefined, 'a date would make the client keep an old document')
  t.equal((await get(`/metadata/${'c'.repeat(64)}/request`)).statusCode, 404)
  t.equal((await get(`/metadata/${'c'.repeat(9999)}/request`)).statusCode, 414)
  t.same(events(), ['metadata-read request', 'milestone-reached instance-up'])
  t.equal(deps.facts.openOrders()[0]?.ticks['instance-up'], NOW)
})

t.test('before the image is written nobody reads, and nothing is ticked', async (t) => {
  const { get, app, events } = await anApp(t, { ...RAMDISK_WINDOW, instance: INSTANCE })
  for (const url of ['/latest/meta-data/', '/latest/user-data', `/metadata/${TOKEN}/request`])
    t.equal((await get(url)).statusCode, 404, url)
  const signal = { method: 'POST', url: `/metadata/${TOKEN}/signal`, payload: '{}' } as const
  t.equal((await app.inject(signal)).statusCode, 404)
  t.same(events(), [])
})

t.test('signals of every sender are 200, and told once', async (t) => {
  const { app, events } = await anApp(t)
  const url = `/metadata/${TOKEN}/signal`
  const send = async (method: 'PUT' | 'POST', payload: string, type?: string) =>
    (await app.inject({ method, url, payload, headers: type === undefined ? {} : { 'content-type': type } }))
      .statusCode
  const body = '{"Status":"SUCCESS","Reason":"","UniqueId":"x","Data":""}'
  t.equal(await send('POST', body, 'application/json'), 200)
  for (const type of [
    undefined,
    '',
    'text/plain',
    'application/x-www-form-urlencoded',
    'nonsense',
    'application/json'
  ])
    t.equal(await send('PUT', body, type), 200, `content type ${type}`)
  t.equal(await send('POST', '', 'application/json'), 200, 'no body')
  t.equal(await send('POST', '{', 'application/json'), 200, 'half a body')
  t.same(events(), [
    'milestone-reached instance-up',
    'configuration-signalled SUCCESS',
    'configuration-signalled other'
  ])
})

// --- the real client --------------------------------------------------------------------------------------------------

async function collecting(t: Test, given: Given = GIVEN) {
  const app = await anApp(t, given)
  await app.app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.app.server.address() as AddressInfo
  const base = `http://127.0.0.1:${port}`
  /** os-collect-config with a fresh cache; the JSON it prints. */
  const collect = async (collector: string, ...args: string[]) => {
    const folder = t.testdir({ empty: '' })
    const { stdout } = await run(
      'os-collect-config',
      [
        ...['--config-file', join(folder, 'empty'), '--cachedir', join(folder, 'cache')],
        ...['--backup-cachedir', join(folder, 'backup'), ...args, '--print', collector]
      ],
      { timeout: 60_000 }
    )
    return JSON.parse(stdout)
  }
  return { ...app, base, port, collect }
}

t.test('os-collect-config reads the whole tree', { timeout: 60_000 }, async (t) => {
  const { base, collect, events } = await collecting(t)
  const { ec2 } = await collect('ec2', '--ec2-metadata-url', `${base}/latest/meta-data`)
  t.match(ec2, {
    'instance-id': anInstance().uuid,
    'local-hostname': 'ctl-1',
    'local-ipv4': '127.0.0.1',
    placement: { 'availability-zone': 'seedling' },
    'public-keys': { '0': { 'openssh-key': 'ssh-ed25519 AAAA me' } }
  })
  t.same(events(), ['metadata-read ec2', 'milestone-reached instance-up'])
})

t.test('os-collect-config reads the document and its deployments', { timeout: 60_000 }, async (t) => {
  const { base, collect, events } = await collecting(t)
  const url = ['--request-metadata-url', `${base}/metadata/${TOKEN}/request`]
  const found = await collect('request', ...url)
  t.match(found, {
    request: {
      'instance-id': anInstance().uuid,
      role: { controller: true },
      'completion-signal': `http://192.0.2.1/metadata/${TOKEN}/signal`,
      'os-collect-config': { request: { metadata_url: `http://192.0.2.1/metadata/${TOKEN}/request` } }
    },
    first: { a: 1 }
  })
  t.same(await collect('request', ...url), found, 'the same again')
  t.same(events(), ['metadata-read request', 'milestone-reached instance-up'])
})

t.test(
  'os-collect-config runs on the configuration that the config-drive brings',
  { timeout: 60_000 },
  async (t) => {
    const { base, deps } = await collecting(t)
    const folder = t.testdir({})
    const files = configDrive({ instance: anInstance(INSTANCE), node: aNode(), ports: [], url: base })
    const vendorData = files.find(({ path }) => path === 'openstack/latest/vendor_data.json')
    const script: string = JSON.parse(Buffer.from(vendorData?.content ?? '', 'base64').toString())[
      'cloud-init'
    ]
    // Only the file's own words; the machine's paths are not for a test.
    const conf = [...script.matchAll(/^ {2}'(.*)' \\$/gm)].map((match) => match[1]).join('\n')
    t.match(conf, /^\[DEFAULT\]\ncommand = os-refresh-config\n[^]*metadata_url = http:/)
    writeFileSync(
      join(folder, 'occ.conf'),
      conf.replace(
        'command = os-refresh-config',
        `command = ${folder}/hook\ncachedir = ${folder}/cache\nbackup_cachedir = ${folder}/backup`
      )
    )
    writeFileSync(join(folder, 'hook'), `#!/bin/sh\nIFS=:\ncat $OS_CONFIG_FILES >${folder}/seen\n`, {
      mode: 0o755
    })
    await run('os-collect-config', ['--config-file', join(folder, 'occ.conf'), '--one-time'], {
      timeout: 60_000
    })
    t.match(readFileSync(join(folder, 'seen'), 'utf8'), anInstance().uuid)
    t.equal(deps.facts.openOrders()[0]?.ticks['instance-up'], NOW)
  }
)

t.test('cfn-signal’s empty content type', async (t) => {
  const { port, events } = await collecting(t)
  const socket = connect(port, '127.0.0.1')
  const body = '{"Status":"FAILURE","Reason":"it broke"}'
  socket.write(
    `PUT /metadata/${TOKEN}/signal HTTP/1.1\r\nHost: x\r\nContent-Type: \r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`
  )
  const [answer] = (await once(socket, 'data')) as [Buffer]
  t.match(String(answer), /^HTTP\/1\.1 200 /)
  t.match(events(), ['milestone-reached instance-up', 'configuration-signalled FAILURE'])
  socket.destroy()
})

t.test('a form, as curl sends one', async (t) => {
  const { base } = await collecting(t)
  const { stdout } = await run('curl', [
    '-sS',
    '-X',
    'POST',
    '-d',
    'a=b',
    `${base}/metadata/${TOKEN}/signal`,
    '-w',
    '%{http_code}'
  ])
  t.equal(stdout, '200')
})
