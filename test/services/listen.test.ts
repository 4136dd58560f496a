import { spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, get, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { inheritedSockets, listenDatagrams, listenOptions, listenStream } from '../../services/listen.ts'
import { addNamespace, connect, type Namespace } from '../support/namespace.ts'
import { WATCH_TIMES } from '../../src/decide/dhcp-watch.ts'
import { startScript, type Script, type ScriptHow } from '../support/script.ts'
import { aNode, aPort } from '../support/builders.ts'
import { WITHOUT_KOFFI } from '../support/without-koffi.ts'
import { serveIn, type ServeHow, type Serving } from './dhcp/serving.ts'

const folder = mkdtempSync(join(tmpdir(), 'seedling-listen-'))
t.teardown(() => rmSync(folder, { recursive: true }))

t.test('what systemd passed', async (t) => {
  const given = (env: Record<string, string>) => () => inheritedSockets(env, 42)
  const three = { LISTEN_PID: '42', LISTEN_FDS: '3', LISTEN_FDNAMES: 'tftp:dhcp:http' }
  t.same([...given(three)()], [['tftp', 3], ['dhcp', 4], ['http', 5]]) // prettier-ignore
  t.equal(given({})().size, 0, 'nothing')
  t.equal(given({ ...three, LISTEN_PID: '41' })().size, 0, 'meant for another process')
  t.equal(given({ ...three, LISTEN_FDS: 'x' })().size, 0, 'not a number')
  const wrong = { ...three, LISTEN_FDNAMES: 'tftp:dhcpd:http' }
  t.throws(given(wrong), { code: 'bad-config', message: /"dhcpd".*FileDescriptorName=.*proxydhcp/ })
  const twice = { ...three, LISTEN_FDNAMES: 'http:dhcp:http' }
  t.throws(given(twice), { code: 'bad-config', message: /two sockets named "http"/ })
  t.throws(given({ ...three, LISTEN_FDS: '4' }), { code: 'bad-config' }, 'one without a name')
})

t.test('stream servers take what systemd passed, else their own place', async (t) => {
  const own = { host: '127.0.0.1', port: 8080 }
  t.same(listenOptions('http', own, new Map()), own)
  t.same(listenOptions('http', own, new Map([['http', 7]])), { fd: 7 })
  t.same(listenOptions('http', own, new Map([['api', 7]])), own)
})

const server = (t: Test): Server => {
  const made = createServer((_, response) => response.end('here'))
  t.teardown(() => made.close())
  return made
}

t.test('a taken port is told by its address', async (t) => {
  const first = server(t)
  await listenStream(first, { host: '127.0.0.1', port: 0 })
  const { port } = first.address() as { port: number }
  await t.rejects(listenStream(server(t), { host: '127.0.0.1', port }), {
    code: 'bad-config',
    message: `TCP 127.0.0.1:${port} is in use by another program; stop that one first`
  })
  await t.rejects(listenStream(server(t), { host: '203.0.113.77', port: 0 }), {
    code: 'bad-config',
    message: /does not have that address/
  })
})

t.test('a Unix socket that nobody serves is replaced, one that is served is not', async (t) => {
  const path = join(folder, 'api.sock')
  // A process that was killed leaves its socket behind.
  const left = spawn(process.execPath, [
    '-e',
    `require('net').createServer().listen('${path}', () => console.log())`
  ])
  await new Promise((resolve) => left.stdout.once('data', resolve))
  left.kill('SIGKILL')
  await new Promise((resolve) => left.once('exit', resolve))

  await listenStream(server(t), { path })
  const status = await new Promise((resolve, reject) => {
    get({ socketPath: path }, (response) => resolve(response.resume().statusCode)).once('error', reject)
  })
  t.equal(status, 200)
  await t.rejects(listenStream(server(t), { path }), { code: 'bad-config', message: /in use/ })
})

t.test('what comes before anybody listens is kept, in order', async (t) => {
  const socket = await listenDatagrams('tftp', { address: '127.0.0.1', port: 0 }, new Map())
  const client = createSocket('udp4')
  t.teardown(() => {
    socket.close()
    client.close()
  })
  const { port } = socket.address()
  const send = (text: string) =>
    new Promise((resolve) => client.send(text, port, '127.0.0.1', () => resolve(null)))
  for (let number = 0; number < 50; number++) await send(`${number}`)
  // Many turns of the event loop, in which Node reads the socket.
  await sleep(100)
  const heard: string[] = []
  socket.on('message', (bytes) => heard.push(`${bytes}`))
  await send('later')
  while (!heard.includes('later')) await once(socket, 'message')
  t.same(heard, [...Array.from({ length: 50 }, (_, number) => `${number}`), 'later'])
})

t.test('a datagram port', async (t) => {
  const socket = await listenDatagrams('tftp', { address: '127.0.0.1', port: 0 }, new Map())
  t.teardown(() => socket.close())
  t.equal(socket.address().address, '127.0.0.1')
  const { port } = socket.address()
  await t.rejects(listenDatagrams('tftp', { address: '127.0.0.1', port }, new Map()), {
    code: 'bad-config',
    message: new RegExp(`UDP 127.0.0.1:${port} is in use`)
  })
})

// DHCP, in namespaces: the safety rule.

const LINK = { interface: 'lan', address: '192.0.2.1' }
/** A host with the link `lan`, its address, and on request another link; `far` is at the other ends. */
async function aHost(t: Test, links: 'one link' | 'two links'): Promise<{ host: Namespace; far: Namespace }> {
  const host = await addNamespace('host')
  const far = await addNamespace('far')
  t.teardown(() => Promise.all([host.remove(), far.remove()]))
  await connect([host, 'lan'], [far, 'lan'])
  await host.run('ip', 'address', 'add', '192.0.2.1/24', 'dev', 'lan')
  if (links === 'two links') {
    await connect([host, 'office'], [far, 'office'])
    await host.run('ip', 'address', 'add', '198.51.100.1/24', 'dev', 'office')
  }
  return { host, far }
}

const serving = async (t: Test, host: Namespace, how: ServeHow = {}, link = LINK): Promise<Serving> => {
  const server = await serveIn(host, { link }, how)
  t.teardown(() => server.stop())
  return server
}

/** One DISCOVER of a stranger, who is not answered. */
const discover = (t: Test, far: Namespace, link: string) =>
  t.rejects(far.run('udhcpc', '-i', link, '-n', '-q', '-t', '1', '-T', '1', '-s', '/bin/true'))

/** Runs its arguments with one UDP socket passed as systemd does, bound to `device` unless that is empty. */
const passing = (device: string, name = 'dhcp', port = 67): string[] => [
  'perl',
  '-MSocket',
  '-MPOSIX',
  '-e',
  `BEGIN { $^F = 9 }
   socket(my $socket, AF_INET, SOCK_DGRAM, 0) or die $!;
   if (my $device = shift) { setsockopt($socket, SOL_SOCKET, 25, pack("a*x", $device)) or die $! }
   setsockopt($socket, SOL_SOCKET, SO_REUSEADDR, 1) or die $!;
   bind($socket, sockaddr_in(${port}, INADDR_ANY)) or die $!;
   POSIX::dup2(fileno($socket), 3) or die $!;
   @ENV{qw(LISTEN_PID LISTEN_FDS LISTEN_FDNAMES)} = ($$, 1, '${name}');
   exec @ARGV`,
  device
]

t.test('DHCP refuses a link that is not what the configuration says', async (t) => {
  const { host } = await aHost(t, 'two links')
  const refused: Record<string, { link: typeof LINK; message: RegExp }> = {
    'no such interface': {
      link: { ...LINK, interface: 'lan7' },
      message: /network\.interface "lan7" does not exist here; there is (lan, office|office, lan)/
    },
    'an address of another link': {
      link: { ...LINK, address: '198.51.100.1' },
      message: /198\.51\.100\.1 is not on lan \(it has 192\.0\.2\.1\)/
    }
  }
  for (const [name, { link, message }] of Object.entries(refused))
    await t.rejects(serveIn(host, { link }), { message }, name)
  await host.run('ip', 'link', 'set', 'lan', 'down')
  await t.rejects(serveIn(host, { link: LINK }), { message: /no address, or is down/ }, 'a link that is down')
})

t.test('a host with two links hears DHCP on the configured one only', async (t) => {
  const { host, far } = await aHost(t, 'two links')
  const server = await serving(t, host)
  await discover(t, far, 'office')
  await discover(t, far, 'lan')
  await server.logged({ type: 'discover', reason: 'not-enrolled' })
  await t.rejects(serveIn(host, { link: LINK }), { message: /:67 on lan is in use by another program/ })
  t.match(await server.stop(), { received: 1, answered: 0 })
})

t.test('without koffi', async (t) => {
  const two = await aHost(t, 'two links')
  const node = ['--import', WITHOUT_KOFFI]
  const refusal = /cannot be held to lan.*also has office.*koffi/
  await t.rejects(
    serveIn(two.host, { link: LINK }, { node }),
    { message: refusal },
    'two links are one too many'
  )

  const one = await aHost(t, 'one link')
  const server = await serving(t, one.host, { node })
  await discover(t, one.far, 'lan')
  await server.logged({ type: 'discover', reason: 'not-enrolled' })
  await t.rejects(serveIn(one.host, { link: LINK }, { node }), {
    message: /:67 is in use by another program/
  })
})

t.test('a socket from systemd', async (t) => {
  const { host, far } = await aHost(t, 'two links')
  const start = (device: string, given: Partial<ServeHow> = {}, link = LINK) =>
    serveIn(host, { link }, { wrap: passing(device), ...given })
  await t.rejects(start(''), { message: /also has office.*BindToDevice=lan/ }, 'not bound to a link')
  await t.rejects(start('office'), { message: /bound the dhcp socket to office: put BindToDevice=lan/ })
  const unchecked = { node: ['--import', WITHOUT_KOFFI] }
  await t.rejects(start('lan', unchecked), { message: /koffi, so that it can be checked/ })
  await host.run('ip', 'address', 'add', '192.0.2.2/24', 'dev', 'lan')
  const second = { ...LINK, address: '192.0.2.2' }
  await t.rejects(start('lan', {}, second), {
    message: /would come from 192\.0\.2\.1, the first address of lan/
  })

  const server = await serving(t, host, { wrap: passing('lan') })
  await discover(t, far, 'lan')
  await discover(t, far, 'office')
  await server.logged({ type: 'discover', reason: 'not-enrolled' })
  t.match(await server.stop(), { received: 1 })
})

t.test('answers come from our address, whichever the link has first', async (t) => {
  const ways: Record<string, ServeHow> = { koffi: {}, 'no koffi': { node: ['--import', WITHOUT_KOFFI] } }
  for (const [name, how] of Object.entries(ways)) {
    const { host, far } = await aHost(t, 'one link')
    await host.run('ip', 'address', 'add', '192.0.2.2/24', 'dev', 'lan')
    await far.run('ip', 'link', 'set', 'lan', 'address', aPort().address)
    const link = { ...LINK, address: '192.0.2.2' }
    const machines = [{ node: aNode(), ports: [aPort()] }]
    const server = await serveIn(host, { link, machines }, how)
    t.teardown(() => server.stop())
    const program = `const socket = require('dgram').createSocket({ type: 'udp4', reuseAddr: true })
      socket.on('message', (_, { address, port }) => console.log(address + ':' + port)).bind(68, () => console.log())`
    const client = far.spawn(process.execPath, ['-e', program])
    const lines: string[] = []
    client.stdout?.on('data', (chunk: Buffer) => lines.push(...chunk.toString().trim().split('\n')))
    await once(client.stdout as NodeJS.ReadableStream, 'data')
    await far.run('udhcpc', '-i', 'lan', '-n', '-q', '-t', '3', '-T', '1', '-s', '/bin/true')
    client.kill()
    await once(client, 'exit')
    t.same(lines.filter(Boolean), ['192.0.2.2:67', '192.0.2.2:67'], name)
  }
})

// The clients' port, where servers answer.

const WATCH = join(import.meta.dirname, 'dhcp/watch-host.ts')
const TIMES = { ...WATCH_TIMES, start: 500 }

const watching = async (t: Test, host: Namespace, how: ScriptHow = {}): Promise<Script> => {
  const script = await startScript(host, WATCH, { link: LINK, times: TIMES }, how)
  t.teardown(() => script.stop())
  return script
}

/** Broadcasts from the address to port 68; no answer of a server. */
async function broadcast(from: Namespace, address: string, bytes: number): Promise<void> {
  const program = `const socket = require('dgram').createSocket('udp4')
    socket.bind(0, '${address}', () => { socket.setBroadcast(true)
      socket.send(Buffer.alloc(${bytes}), 68, '255.255.255.255', () => socket.close()) })`
  await from.run(process.execPath, '-e', program)
}

t.test('on the clients’ port all are heard but ourselves', async (t) => {
  const ways: Record<string, ScriptHow> = { koffi: {}, systemd: { wrap: passing('lan', 'dhcp-client', 68) } }
  for (const [name, how] of Object.entries(ways)) {
    const { host, far } = await aHost(t, 'two links')
    await far.run('ip', 'address', 'add', '192.0.2.9/24', 'dev', 'lan')
    await far.run('ip', 'address', 'add', '198.51.100.9/24', 'dev', 'office')
    const watch = await watching(t, host, how)
    await broadcast(host, '192.0.2.1', 1)
    await broadcast(far, '198.51.100.9', 2)
    await broadcast(far, '192.0.2.9', 3)
    await watch.says('3 bytes are too few for DHCP (at byte 3)', { from: '192.0.2.9' })
    t.same(watch.log.filter(({ msg }) => msg.includes('too few')).length, 1, name)
  }
  const { host } = await aHost(t, 'two links')
  await t.rejects(watching(t, host, { wrap: passing('office', 'dhcp-client', 68) }), {
    message: /bound the dhcp-client socket to office: put BindToDevice=lan/
  })
})

t.test('a DHCP client of the host, on another link, and the watch do not disturb each other', async (t) => {
  const { host, far } = await aHost(t, 'two links')
  await host.run('ip', 'address', 'flush', 'dev', 'office')
  await far.run('ip', 'address', 'add', '198.51.100.9/24', 'dev', 'office')
  const server = far.spawn('dnsmasq', [
    ...['--no-daemon', '--conf-file=/dev/null', '--port=0', '--user=root', '--no-ping', '--interface=office'],
    ...[
      '--bind-interfaces',
      '--dhcp-range=198.51.100.50,198.51.100.60',
      `--dhcp-leasefile=${join(folder, 'leases')}`
    ]
  ])
  t.teardown(() => server.kill())
  const files = ['-lf', join(folder, 'dhclient.leases'), '-pf', join(folder, 'dhclient.pid')]
  const clients = {
    udhcpc: ['-f', '-i', 'office', '-s', '/bin/true'],
    dhclient: ['-d', '-1', '-sf', '/bin/true', ...files, 'office']
  }
  const start = async (program: string, args: string[]) => {
    const client = host.spawn(program, args)
    t.teardown(() => client.kill())
    let said = ''
    client.stderr?.on('data', (chunk: Buffer) => (said += chunk.toString()))
    while (!/lease of .* obtained|bound to/.test(said)) await sleep(20)
    return async () => {
      client.kill()
      await once(client, 'close')
    }
  }
  for (const [name, args] of Object.entries(clients)) {
    const stop = await start(name, args)
    const watch = await watching(t, host)
    await watch.says('status', { state: 'alone' })
    await stop()
    const stopAgain = await start(name, args)
    const faults = watch.log.filter(({ level }) => Number(level) > 30)
    t.same(faults, [], name)
    await stopAgain()
    await watch.stop()
  }
})
