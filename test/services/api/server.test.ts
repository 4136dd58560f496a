// The two doors, and the stream of events through them.

import { request } from 'node:http'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { startApi } from '../../../services/api/server.ts'
import type { Change } from '../../../src/domain/change.ts'
import { aNode } from '../../support/builders.ts'
import { anApi, fault, someDeps } from './api-under-test.ts'

const TOKEN = 'a'.repeat(64)

t.test('the network door wants a token', async (t) => {
  const api = anApi({}, { kind: 'network', token: TOKEN })
  t.teardown(() => api.close())
  const get = (headers: Record<string, string>) => api.ask('GET', '/v1/nodes', undefined, headers)
  t.equal((await get({})).status, 401)
  t.equal((await get({ authorization: `Bearer ${TOKEN.slice(1)}` })).status, 401)
  t.equal((await get({ authorization: `Basic ${TOKEN}` })).status, 401)
  t.equal((await get({ 'x-auth-token': 'notused' })).status, 401)
  t.equal((await get({ authorization: `Bearer ${TOKEN}` })).status, 200)
  t.equal((await get({ 'x-auth-token': TOKEN })).status, 200)
  t.equal((await api.ask('POST', '/v1/nodes', { driver: 'ipmi' })).status, 401)
  t.equal(api.rows()['node'], 0)
  const rebound = await get({ authorization: `Bearer ${TOKEN}`, host: 'evil.example' })
  t.match([rebound.status, fault(rebound).faultstring], [421, /"evil.example" is not this machine/])
  for (const host of ['192.0.2.1:6385', 'localhost', '[::1]:6385'])
    t.equal((await get({ authorization: `Bearer ${TOKEN}`, host })).status, 200, host)
})

t.test('bodies are JSON, say so, and are not too large', async (t) => {
  const api = anApi()
  t.teardown(() => api.close())
  const post = (payload: string, type: string) =>
    api.ask('POST', '/v1/nodes', payload, { 'content-type': type })
  t.equal((await post('{"driver":"ipmi"}', 'text/plain')).status, 415)
  t.equal((await post('{"driver":"ipmi"}', 'application/x-www-form-urlencoded')).status, 415)
  t.equal((await post('{"driver":', 'application/json')).status, 400)
  t.equal((await post('{"__proto__":{"driver":"ipmi"}}', 'application/json')).status, 400)
  t.equal((await post(`"${'x'.repeat(2 ** 20)}"`, 'application/json')).status, 413)
  t.equal((await post('{"driver":"ipmi"}', 'application/octet-stream')).status, 400)
  t.equal(
    (await api.ask('GET', '/v1/nodes', undefined, { 'x-auth-token': 'anything' })).status,
    200,
    'no token at the socket'
  )
  t.equal(api.rows()['node'], 0)
})

t.test('an error of our own is logged and tells nothing', async (t) => {
  const api = anApi()
  t.teardown(() => api.close())
  api.deps.facts.leases = () => {
    throw new Error('inner detail')
  }
  const answer = await api.ask('GET', '/v1/dhcp/leases')
  t.equal(answer.status, 500)
  t.notMatch(answer.body.error_message, /inner detail/)
})

t.test('listening', async (t) => {
  const bench = someDeps({ api: { socket: 'run/api.sock', address: '127.0.0.1', port: 16386 } })
  const { socket } = bench.deps.config.api
  const api = await startApi(bench.deps)
  t.equal(statSync(socket).mode & 0o777, 0o600, 'the socket is for its owner only')
  const file = join(bench.deps.config.dataDir, 'api-token')
  const token = readFileSync(file, 'utf8').trim()
  t.match(token, /^[0-9a-f]{64}$/)
  t.equal(statSync(file).mode & 0o777, 0o600)
  const ask = (options: object) =>
    new Promise<number>((resolve, reject) =>
      request({ path: '/v1/nodes', ...options }, (answer) =>
        resolve((answer.resume(), answer.statusCode ?? 0))
      )
        .on('error', reject)
        .end()
    )
  t.equal(await ask({ socketPath: socket }), 200)
  t.equal(await ask({ host: '127.0.0.1', port: 16386 }), 401)
  t.equal(await ask({ host: '127.0.0.1', port: 16386, headers: { authorization: `Bearer ${token}` } }), 200)
  await t.rejects(
    startApi(bench.deps),
    { code: 'bad-config', message: /in use by another program/ },
    'a second one is refused'
  )
  t.equal(await ask({ socketPath: socket }), 200, 'and has not taken the socket of the first')
  await api.close()

  const again = await startApi(bench.deps)
  t.equal(readFileSync(file, 'utf8').trim(), token, 'the token stays')
  await again.close()
  writeFileSync(file, 'short\n')
  await t.rejects(startApi(bench.deps), /does not hold a token/)
  bench.remove()
})

t.test('events: pages, and a stream of what is new and what repeats', async (t) => {
  const bench = someDeps()
  const api = await startApi(bench.deps)
  t.teardown(async () => {
    await api.close()
    bench.remove()
  })
  const node = aNode()
  const seen = (power: 'on' | 'off', nodeUuid: string | null = node.uuid): Change => ({
    event: { kind: 'power-seen', at: Date.now(), nodeUuid, orderId: null, subject: power, detail: { power } }
  })
  bench.change([{ put: 'node', row: node }, seen('off'), seen('on', null)])

  let text = ''
  let ended = false
  const follow = (path: string, headers = {}) =>
    request({ socketPath: bench.deps.config.api.socket, path, headers }, (answer) => {
      t.match(answer.headers, {
        'content-type': 'text/event-stream',
        'x-openstack-ironic-api-maximum-version': '1.78'
      })
      answer.on('data', (part: Buffer) => (text += part.toString())).on('close', () => (ended = true))
    })
      .on('error', () => {})
      .end()
  const until = async (pattern: RegExp) => {
    for (let n = 0; n < 100 && !pattern.test(text); n++)
      await new Promise((resolve) => setTimeout(resolve, 50))
    t.match(text, pattern)
  }
  follow('/v1/events?follow=1&after=0&node=ctl-1')
  await until(/id: 1\nevent: power-seen\ndata: {"id":1,/)
  bench.change([seen('off'), seen('off')])
  await until(/"repeats":3/)
  bench.change([seen('on')])
  await until(/id: 3\nevent: power-seen\ndata: {"id":3,.*"node_name":"ctl-1"/)
  t.notMatch(text, /"id":2,/, 'what is of no node is not of this node')
  t.equal(text.match(/"id":3,/g)?.length, 1, 'once')

  const first = text
  text = ''
  follow('/v1/events?follow=true&node=ctl-1', { 'last-event-id': '1' })
  await until(/"id":3,/)
  t.notMatch(text, /"id":1,/, 'goes on where it was')
  t.ok(first.length > 0)

  const page = (query: string) =>
    new Promise<{ events: { id: number }[] }>((resolve) =>
      request({ socketPath: bench.deps.config.api.socket, path: `/v1/events${query}` }, (answer) => {
        let body = ''
        answer
          .on('data', (part: Buffer) => (body += part.toString()))
          .on('end', () => resolve(JSON.parse(body)))
      }).end()
    )
  t.match(await page('?after=1&limit=1'), { events: [{ id: 2 }] })
  t.equal((await page('?node=ctl-1')).events.length, 2)
  await api.close()
  for (let n = 0; n < 40 && !ended; n++) await new Promise((resolve) => setTimeout(resolve, 50))
  t.ok(ended, 'a stop ends the streams')
})
