// `seedling handoff` as a child process: what it writes, and how it logs in.

import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { aNode, aPort } from '../../support/builders.ts'
import { bench } from './bench.ts'

t.test('an export with secrets is for its owner only, also where a file was before', async (t) => {
  const b = await bench(t)
  b.change([
    { put: 'node', row: aNode({ state: 'active', powerState: 'on' }) },
    { put: 'port', row: aPort() }
  ])
  const out = join(b.folder, 'out')
  const file = join(out, 'nodes.json')
  mkdirSync(out)
  writeFileSync(file, 'old', { mode: 0o644 })
  const plan = () => b.run('handoff', 'plan', '--export', 'ironic', '--secrets', '--out', out)
  t.match(
    await plan(),
    { code: 1, out: /ctl-1: no image of it is known/ },
    'the exit code tells that it cannot go'
  )
  t.match(readFileSync(file, 'utf8'), /"ipmi_password": "secret"/)
  t.equal(statSync(file).mode & 0o777, 0o600)
})

t.test('logs in as clouds.yaml says', async (t) => {
  const asked: unknown[] = []
  const keystone = createServer((request, reply) => {
    void text(request).then((body) => {
      asked.push([request.method, request.url, JSON.parse(body)])
      reply.writeHead(401).end(JSON.stringify({ error: { message: 'who are you?' } }))
    })
  }).listen(0, '127.0.0.1')
  await once(keystone, 'listening')
  t.teardown(() => keystone.close())
  const b = await bench(t)
  const auth_url = `http://127.0.0.1:${(keystone.address() as AddressInfo).port}/v3`
  const secret = { application_credential_id: 'id', application_credential_secret: 'secret' }
  const clouds = {
    one: { auth_type: 'v3applicationcredential', auth: { auth_url, ...secret } },
    two: { auth: { auth_url, username: 'me', password: '1', project_name: 'p', user_domain_name: 'd' } }
  }
  process.env['OS_CLIENT_CONFIG_FILE'] = b.file('clouds.yaml', { clouds })
  t.teardown(() => delete process.env['OS_CLIENT_CONFIG_FILE'])
  const check = (cloud: string) =>
    b.run('handoff', 'check', '--target', 'http://ironic.example', '--target-cloud', cloud)
  t.match(await check('one'), { code: 1, err: /Keystone at .* gives no token: who are you\?/ })
  t.match(await check('two'), { code: 1, err: /gives no token/ })
  t.match(await check('three'), { code: 1, err: /clouds\.yaml has no "auth" of a cloud three/ })
  const identity = (value: object, scope?: object) => [
    ...['POST', '/v3/auth/tokens'],
    { auth: { identity: value, ...(scope ? { scope } : {}) } }
  ]
  const user = { name: 'me', domain: { name: 'd' }, password: '1' }
  t.same(asked, [
    identity({ methods: ['application_credential'], application_credential: { id: 'id', secret: 'secret' } }),
    identity({ methods: ['password'], password: { user } }, { project: { name: 'p', domain: { name: 'd' } } })
  ])
})
