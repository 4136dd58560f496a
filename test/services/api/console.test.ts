import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import pino from 'pino'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { startApi } from '../../../services/api/server.ts'
import { startBmcs } from '../../../services/bmc/bmcs.ts'
import { SOL_TIMING } from '../../../src/decide/sol.ts'
import { bmcAccess } from '../../../src/domain/bmc-access.ts'
import type { ConsoleListener } from '../../../src/domain/console.ts'
import { aNode, anOrder } from '../../support/builders.ts'
import { startFakeBmc } from '../../support/fake-bmc.ts'
import { anApi, fault, someDeps } from './api-under-test.ts'

/** Seedling's API with both doors open, and one node with a BMC of ours. */
async function room(t: Test) {
  const bmc = await startFakeBmc()
  const bench = someDeps({ api: { address: '127.0.0.1', port: 16_000 + (process.pid % 10_000) } })
  const log = pino({ level: 'silent' })
  const bmcs = startBmcs({
    now: () => performance.now(),
    random: randomBytes,
    log,
    solTiming: { ...SOL_TIMING, keepAlive: 200 }
  })
  bench.around.openConsole = async (node, ...rest) => bmcs.console(bmcAccess(node), ...rest)
  const { address, port, username, password } = bmc.access()
  const driverInfo = {
    ipmi_address: address,
    ipmi_port: port,
    ipmi_username: username,
    ipmi_password: password
  }
  bench.change([{ put: 'node', row: aNode({ name: 'ctl-1', driverInfo }) }])
  const api = await startApi(bench.deps)
  t.teardown(async () => {
    await api.close()
    await bench.consoles.close()
    await bmcs.close()
    await bmc.close()
    bench.remove()
  })
  return { ...bench, bmc, api }
}

type Viewer = { socket: WebSocket; heard: string; texts: Record<string, unknown>[]; code: number | null }

function view(socket: WebSocket): Viewer {
  const viewer: Viewer = { socket, heard: '', texts: [], code: null }
  socket.on('message', (data: Buffer, isBinary) => {
    if (isBinary) viewer.heard += data.toString()
    else viewer.texts.push(JSON.parse(data.toString()) as Record<string, unknown>)
  })
  socket.on('close', (code) => (viewer.code = code))
  socket.on('error', () => {})
  return viewer
}

const bySocket = (path: string) => ({ createConnection: () => connect(path) })

/** Over the Unix socket. */
function open({ config }: ReturnType<typeof someDeps>['deps'], path = '/v1/nodes/ctl-1/console'): Viewer {
  return view(new WebSocket(`ws://localhost${path}`, bySocket(config.api.socket)))
}

/** The status with which a WebSocket is refused; then the server ends the connection. */
async function refusal(socket: WebSocket): Promise<number | undefined> {
  socket.on('error', () => {})
  const [, response] = (await once(socket, 'unexpected-response')) as [unknown, IncomingMessage]
  response.resume()
  await once(response.socket, 'close')
  return response.statusCode
}

async function until(what: string, done: () => boolean): Promise<void> {
  const end = performance.now() + 20_000
  while (!done()) {
    if (performance.now() > end) throw new Error(`not so: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

t.test('both ways', async (t) => {
  const { deps, bmc } = await room(t)
  const viewer = open(deps, '/v1/nodes/ctl-1/console?write=true')
  await until('the console is open', () => bmc.sol.owner !== null)
  bmc.sol.say('login: ')
  await until('the prompt is heard', () => viewer.heard === 'login: ')
  viewer.socket.send(Buffer.from('root\r'))
  viewer.socket.send('{"break": true}')
  await until('it is typed', () => bmc.sol.typed === 'root\r<break>')
  viewer.socket.send('root')
  await until('what is no message is told', () => viewer.texts.length === 1)
  t.match(viewer.texts, [{ notice: /\{"break": true\}/ }])
  viewer.socket.close()
  await until('the session is closed', () => bmc.sessions() === 0)
})

t.test('viewers share one session; who only looks types nothing', async (t) => {
  const { deps, bmc } = await room(t)
  const first = open(deps, '/v1/nodes/ctl-1/console?write=true')
  await until('the console is open', () => bmc.sol.owner !== null)
  bmc.sol.say('before; ')
  await until('the first hears', () => first.heard !== '')
  const second = open(deps)
  await until('the second hears the last words', () => second.heard === 'before; ')
  bmc.sol.say('now')
  await until('both hear', () => first.heard === 'before; now' && second.heard === 'before; now')
  t.equal(bmc.sessions(), 1)
  second.socket.send(Buffer.from('x'))
  await until('it is told', () => second.texts.length > 0)
  t.match(second.texts, [{ notice: /reading only/ }])
  first.socket.send(Buffer.from('y'))
  await until('the first types', () => bmc.sol.typed !== '')
  t.equal(bmc.sol.typed, 'y')
  first.socket.close()
  await until('the first has left', () => first.code !== null)
  t.equal(bmc.sessions(), 1, 'the second is still there')
  second.socket.terminate()
  await until('the session is closed', () => bmc.sessions() === 0)
})

t.test('a connection that dies is opened again, and that is told', async (t) => {
  const { deps, bmc } = await room(t)
  const viewer = open(deps)
  await until('the console is open', () => bmc.sol.owner !== null)
  bmc.restart()
  await until('it is open again', () => bmc.sol.owner !== null)
  bmc.sol.say('back')
  await until('words come again', () => viewer.heard === 'back')
  t.match(viewer.texts, [{ notice: /no longer answers.*Trying again/ }, { notice: /open again/ }])
})

t.test('a console that another tool has', async (t) => {
  const { deps, bmc } = await room(t)
  bmc.faults.refuses = { 'Activate Payload': 0x80 }
  const refused = open(deps)
  await until('it ends', () => refused.code !== null)
  t.equal(refused.code, 1011)
  t.match(refused.texts, [{ error: { code: 'bmc-busy', message: /active in another session.*--steal/ } }])
  t.notOk(bmc.asked.includes('Deactivate Payload'), 'nothing is taken unasked')
  const stealing = open(deps, '/v1/nodes/ctl-1/console?steal=true')
  await until('it is taken when asked', () => bmc.asked.includes('Deactivate Payload'))
  bmc.faults.refuses = {}
  await until('the console is open', () => bmc.sol.owner !== null)
  stealing.socket.close()
})

t.test('a viewer that takes nothing is cut off; others go on', async (t) => {
  const { deps, around } = await room(t)
  let listener: ConsoleListener | undefined
  around.openConsole = async (_node, _options, given) => {
    listener = given
    return { write() {}, sendBreak() {}, async close() {} }
  }
  const slow = open(deps)
  const quick = open(deps)
  const both = [slow.socket, quick.socket]
  await until('both are there', () => both.every(({ readyState }) => readyState === WebSocket.OPEN))
  await until('the console is open', () => listener !== undefined)
  slow.socket.pause()
  const piece = Buffer.alloc(64 * 1024, 'x')
  for (let sent = 0; sent < 64; sent++) {
    listener?.heard(piece)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  await until('the quick one has all', () => quick.heard.length === 64 * piece.length)
  slow.socket.resume()
  await until('the slow one is cut off', () => slow.code !== null)
  t.ok(slow.heard.length < 2 * 2 ** 20, `${slow.heard.length} bytes came through`)
})

t.test('who may not come in, and what is no console', async (t) => {
  const { deps, bmc } = await room(t)
  const { address, port, socket } = deps.config.api
  const url = `ws://${address}:${port}/v1/nodes/ctl-1/console`
  t.equal(await refusal(new WebSocket(url)), 401, 'no token')
  t.equal(await refusal(new WebSocket(url, { headers: { authorization: 'Bearer wrong' } })), 401)
  const token = readFileSync(join(deps.config.dataDir, 'api-token'), 'utf8').trim()
  const headers = { authorization: `Bearer ${token}` }
  t.equal(
    await refusal(new WebSocket(url, { headers: { ...headers, host: 'evil.example' } })),
    421,
    'rebound name'
  )
  t.equal(await refusal(new WebSocket('ws://localhost/v1/nodes/nobody/console', bySocket(socket))), 404)
  const elsewhere = open(deps, '/v1/nodes')
  await until('what is no WebSocket is ended at once', () => elsewhere.code !== null)
  t.same([elsewhere.heard, elsewhere.texts], ['', []])
  for (const query of ['wirte=1', 'write=maybe']) {
    const asked = `ws://localhost/v1/nodes/ctl-1/console?${query}`
    t.equal(await refusal(new WebSocket(asked, bySocket(socket))), 400, query)
  }
  t.equal(bmc.asked.length, 0, 'no BMC was asked')
  const viewer = view(new WebSocket(url, { headers }))
  await until('the console is open', () => bmc.sol.owner !== null)
  bmc.sol.say('hello')
  await until('it is heard', () => viewer.heard === 'hello')
  const closed = once(viewer.socket, 'close')
  viewer.socket.close()
  await closed
})

t.test('a clean stop ends viewers', async (t) => {
  const { deps, bmc, api } = await room(t)
  const viewer = open(deps)
  await until('the console is open', () => bmc.sol.owner !== null)
  const startedAt = performance.now()
  await api.close()
  await until('it ends', () => viewer.code !== null)
  t.ok(performance.now() - startedAt < 2000)
})

t.test('without a WebSocket, and recordings', async (t) => {
  const { ask, change, recordings, close } = anApi()
  t.teardown(close)
  const order = anOrder({ attempt: 2, state: 'failed' })
  const [first, second] = [1, 2].map((attempt) => `${order.id}.${attempt}`) as [string, string]
  change([
    { put: 'node', row: aNode({ name: 'ctl-1' }) },
    { put: 'order', row: order }
  ])
  const refused = await ask('GET', '/v1/nodes/ctl-1/console')
  t.equal(refused.status, 400)
  t.match(fault(refused).faultstring, /WebSocket/)
  t.same((await ask('GET', '/v1/nodes/ctl-1/console/recordings')).body, { recordings: [] })
  const recording = recordings.open(second)
  recording.append(Buffer.from('Kernel panic \xff\r\n', 'latin1'))
  await recording.close()
  t.match((await ask('GET', '/v1/nodes/ctl-1/console/recordings')).body, {
    recordings: [
      { id: second, order_id: order.id, order: 'deploy', attempt: 2, size: 16, omitted: 0, open: false }
    ]
  })
  const text = await ask('GET', `/v1/nodes/ctl-1/console/recordings/${second}`)
  t.equal(text.status, 200)
  t.match(text.headers['content-type'], /^text\/plain/)
  t.match(text.body, /^Kernel panic/)
  for (const id of [first, 'nothing', '..%2f..%2fapi-token', `${order.id}.2%2f..`])
    t.equal((await ask('GET', `/v1/nodes/ctl-1/console/recordings/${id}`)).status, 404, id)
  const other = aNode({ uuid: '11111111-2222-4333-8444-555555555555', name: 'other' })
  change([{ put: 'node', row: other }])
  t.equal((await ask('GET', `/v1/nodes/other/console/recordings/${second}`)).status, 404, 'of another node')
})

t.test('whether a node is recorded', async (t) => {
  const { ask, change, close } = anApi()
  t.teardown(close)
  change([{ put: 'node', row: aNode({ name: 'ctl-1' }) }])
  const set = (value: unknown) =>
    ask('PATCH', '/v1/nodes/ctl-1', [{ op: 'add', path: '/extra/console', value }])
  for (const wrong of ['no', {}, { record: 'no' }, { record: true, more: 1 }]) {
    const refused = await set(wrong)
    t.equal(refused.status, 400)
    t.match(fault(refused).faultstring, /extra\.console must be/)
  }
  t.match(await set({ record: false }), { status: 200, body: { extra: { console: { record: false } } } })
})
