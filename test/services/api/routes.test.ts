// Every route of the API, as the running server has them, at the door on the network: without the token nothing is answered but a refusal, whatever the
// request pretends to be. A route that is added is tested from its first day.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import t from 'tap'
import { buildApi } from '../../../services/api/server.ts'
import { someDeps } from './api-under-test.ts'

const TOKEN = 'a'.repeat(64)

/** "GET /v1/nodes/{x}" for every method and path. */
function routesOf(app: ReturnType<typeof buildApi>, ident = 'x'): { method: string; url: string }[] {
  const found: { method: string; url: string }[] = []
  const stack: string[] = []
  for (const line of app.printRoutes({ commonPrefix: false }).split('\n')) {
    const match = /^(.*?)[├└]── (\S+)(?: \((.*)\))?/.exec(line)
    if (!match) continue
    const depth = (match[1] as string).length / 4
    stack.length = depth
    stack.push(match[2] as string)
    for (const method of match[3]?.split(', ') ?? [])
      found.push({
        method,
        url: stack
          .join('')
          .replace(/:[a-z]+/gi, ident)
          .replace('*', ident)
      })
  }
  return found
}

t.test('at the network door', async (t) => {
  const { deps, remove } = someDeps()
  t.teardown(remove)
  const app = buildApi(deps, { kind: 'network', token: TOKEN })
  await app.ready()
  const routes = routesOf(app).filter(({ method }) => method !== 'HEAD')
  t.ok(routes.length > 50, `${routes.length} routes`)
  for (const known of [
    'GET /v1/nodes',
    'POST /v1/backup',
    'GET /v1/health',
    'POST /v1/handoff',
    'PUT /v1/nodes/x/states/provision'
  ])
    t.ok(
      routes.some(({ method, url }) => `${method} ${url}` === known),
      known
    )

  const own = { host: '127.0.0.1' }
  const bearer = { authorization: `Bearer ${TOKEN}` }
  const forged: Record<string, [Record<string, string>, number]> = {
    'no token': [own, 401],
    'a wrong token': [{ ...own, authorization: `Bearer ${'b'.repeat(64)}` }, 401],
    'the token as another scheme': [{ ...own, authorization: `Basic ${TOKEN}` }, 401],
    'the token in the address only': [own, 401],
    'a name of elsewhere': [{ host: 'seedling.attacker.example', ...bearer }, 421],
    'a name of elsewhere with our address in it': [{ host: '127.0.0.1.attacker.example', ...bearer }, 421],
    'a number of elsewhere as a name': [{ host: '2130706433.attacker.example', ...bearer }, 421],
    'a page of elsewhere': [{ ...own, ...bearer, origin: 'http://attacker.example' }, 403],
    'a page that says it is from nowhere': [{ ...own, ...bearer, origin: 'null' }, 403],
    'a page of the same machine': [{ ...own, ...bearer, origin: 'http://127.0.0.1:6385' }, 403],
    'what a browser sends for another site': [{ ...own, ...bearer, 'sec-fetch-site': 'cross-site' }, 403],
    'what a browser sends for a neighbour': [{ ...own, ...bearer, 'sec-fetch-site': 'same-site' }, 403]
  }
  for (const [how, [headers, status]] of Object.entries(forged)) {
    const wrong: string[] = []
    for (const { method, url } of routes) {
      const answer = await app.inject({
        method: method as 'GET',
        url: how.includes('address only') ? `${url}?token=${TOKEN}` : url,
        headers
      })
      if (answer.statusCode !== status) wrong.push(`${method} ${url}: ${answer.statusCode}`)
      if (answer.headers['access-control-allow-origin'] !== undefined)
        wrong.push(`${method} ${url} lets pages in`)
    }
    t.same(wrong, [], `${how}: ${status} from all`)
  }
})

t.test('what changes something takes JSON that says so, and is never a GET', async (t) => {
  const { deps, remove } = someDeps()
  t.teardown(remove)
  const app = buildApi(deps)
  await app.ready()
  const before = deps.store.version()
  for (const { method, url } of routesOf(app)) {
    if (method === 'GET' && !url.includes('/stream')) await app.inject({ method, url })
    if (!['POST', 'PUT', 'PATCH'].includes(method) || url.startsWith('/v1/images/')) continue
    for (const type of [
      'text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x'
    ]) {
      const answer = await app.inject({
        method: method as 'POST',
        url,
        headers: { 'content-type': type },
        payload: '{"target":"deleted"}'
      })
      if (answer.statusCode !== 415) t.fail(`${method} ${url} as ${type}: ${answer.statusCode}`)
    }
  }
  t.equal(deps.store.version(), before, 'nothing was changed')
})

t.test('bombs are refused quickly', async (t) => {
  const { deps, remove } = someDeps()
  t.teardown(remove)
  const app = buildApi(deps)
  const bombs: [string, string][] = [
    ['too large', JSON.stringify({ name: 'x'.repeat(3 * 2 ** 20) })],
    ['too deep', `${'['.repeat(200_000)}${']'.repeat(200_000)}`],
    ['a prototype', '{"__proto__": {"admin": true}, "driver": "ipmi"}'],
    ['a constructor', '{"constructor": {"prototype": {"admin": true}}, "driver": "ipmi"}'],
    ['many keys', `{${Array.from({ length: 50_000 }, (_, index) => `"k${index}":1`).join(',')}}`]
  ]
  for (const [how, payload] of bombs)
    for (const url of ['/v1/nodes', '/v1/handoff', '/v1/backup']) {
      const answer = await app.inject({
        method: 'POST',
        url,
        headers: { 'content-type': 'application/json' },
        payload
      })
      t.ok(answer.statusCode >= 400 && answer.statusCode < 500, `${how} at ${url}: ${answer.statusCode}`)
    }
  t.equal(({} as Record<string, unknown>)['admin'], undefined)
  t.equal(deps.facts.nodes().length, 0)
})

t.test('a password comes out nowhere: not from any route, the database, the log or an error', async (t) => {
  const canary = 'Kanarienvogel+17'
  const forms = [
    canary,
    Buffer.from(canary).toString('base64'),
    Buffer.from(canary).toString('hex'),
    encodeURIComponent(canary),
    Buffer.from(canary, 'utf16le').toString('latin1')
  ]
  const spilt = (text: string): string[] => forms.filter((form) => text.includes(form))
  const { deps, remove } = someDeps()
  t.teardown(remove)
  const lines: string[] = []
  const log = pino({ level: 'trace' }, { write: (line: string) => void lines.push(line) })
  const app = buildApi({ ...deps, log })
  await app.ready()
  const driverInfo = { ipmi_address: '192.0.2.9', ipmi_username: 'admin', ipmi_password: canary }
  const made = await app.inject({
    method: 'POST',
    url: '/v1/nodes',
    payload: { name: 'ctl-1', driver: 'ipmi', driver_info: driverInfo }
  })
  t.equal(made.statusCode, 201)
  t.same(spilt(made.body), [])
  // Faults quote what they are about.
  for (const payload of [
    { driver: 'ipmi', driver_info: { ...driverInfo, ipmi_port: 'x' } },
    { driver: 'ipmi', driver_info: { ipmi_password: [canary] } },
    { nodes: [{ pm_password: canary }] }
  ])
    for (const url of ['/v1/nodes', '/v1/inventory'])
      t.same(spilt((await app.inject({ method: 'POST', url, payload })).body), [], url)
  let asked = 0
  for (const { method, url } of routesOf(app, 'ctl-1')) {
    if (method !== 'GET' || url.includes('/stream')) continue
    asked++
    const answer = await app.inject({ method, url })
    t.same(spilt(`${answer.body}${JSON.stringify(answer.headers)}`), [], url)
  }
  t.ok(asked > 30, `${asked} routes`)
  const plan = await app.inject({ method: 'POST', url: '/v1/handoff/plan', payload: { export: 'plain' } })
  t.same(spilt(plan.body), [])
  t.same(spilt(lines.join('\n')), [], 'the log, at its most talkative')
  for (const file of ['seedling.db', 'seedling.db-wal'])
    t.same(spilt(readFileSync(join(deps.config.dataDir, file), 'latin1')), [], file)
})
