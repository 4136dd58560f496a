// Secrets that can be told from everything else, through all that Seedling does with a machine, and then looked for wherever they must not be: in
// the log at its most talkative, in events and answers of the API, in the document for support, in the exports of the hand-over, in backups, in
// the database, in what other users of the host see of processes, and on the wire.

import { spawnSync } from 'node:child_process'
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'
import t from 'tap'
import { run } from '../support/namespace.ts'
import { aHostAndRoom, ask, dataOf, serve } from '../support/served.ts'
import { anInventory } from '../support/builders.ts'
import { startIpmiSim } from './bmc/ipmi-sim.ts'

const MAC = '52:54:00:00:01:00'
/** The first address of the range. */
const MACHINE = '192.0.2.100'

/** With characters that encodings change. At most 20 bytes, as IPMI has it. */
const BMC_PASSWORD = 'Kana+ri/7%x&Qz~1'
const WRONG_PASSWORD = 'Spatz+ri/8%x&Qz~2'
const PASSPHRASE = 'Zeisig+ein/9%langes&Wort~3'
const USER_DATA = 'Fink+auf/3%dem&Dach~4'

/** What a secret may look like. */
function encodings(secret: string): Map<string, Buffer> {
  const bytes = Buffer.from(secret)
  const found = new Map([
    ['as it is', bytes],
    ['in JSON', Buffer.from(JSON.stringify(secret).slice(1, -1))],
    ['in hex', Buffer.from(bytes.toString('hex'))],
    ['in a URL', Buffer.from(encodeURIComponent(secret))],
    ['in UTF-16', Buffer.from(secret, 'utf16le')]
  ])
  // In base64 it looks different at each of three places; its ends depend on what stands beside it.
  for (const before of [0, 1, 2]) {
    const text = Buffer.concat([Buffer.alloc(before), bytes])
      .toString('base64')
      .replace(/=+$/, '')
    found.set(`in base64 (${before})`, Buffer.from(text.slice(before === 0 ? 0 : 4, -4)))
  }
  return found
}

/** In which of its forms the secret is there. */
const traces = (place: Buffer, secret: string): string[] => {
  const text = Buffer.from(place.toString('latin1').toLowerCase(), 'latin1')
  return [...encodings(secret)]
    .filter(([name, form]) =>
      name === 'in hex' || name === 'in a URL'
        ? text.includes(form.toString('latin1').toLowerCase(), 0, 'latin1')
        : place.includes(form)
    )
    .map(([name]) => name)
}

t.test('the search finds what it looks for', async (t) => {
  for (const [name, form] of encodings(BMC_PASSWORD))
    t.ok(
      traces(Buffer.concat([Buffer.from('xx'), form, Buffer.from('yy')]), BMC_PASSWORD).includes(name),
      name
    )
  for (const before of ['', 'a', 'ab', 'abc'])
    t.not(
      traces(Buffer.from(Buffer.from(`${before}${BMC_PASSWORD}z`).toString('base64')), BMC_PASSWORD).length,
      0
    )
  t.same(traces(Buffer.from('nothing of the kind'), BMC_PASSWORD), [])
})

/** 1 MiB with an MBR: one Linux partition from sector 64 on. */
function aDiskImage(): Buffer {
  const disk = Buffer.alloc(2 ** 20)
  // Something that looks like a boot loader.
  disk.set([0xeb, 0x63, 0x90], 0)
  disk.set([0x80, 0, 0, 0, 0x83, 0, 0, 0], 446)
  disk.writeUInt32LE(64, 454)
  disk.writeUInt32LE(1984, 458)
  disk.writeUInt16LE(0xaa55, 510)
  return disk
}

/** Command lines and environments of every process that there is, as long as it looks. */
function watchProcesses() {
  const seen = new Set<string>()
  const look = () => {
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name)))
      for (const what of ['cmdline', 'environ'])
        try {
          seen.add(readFileSync(join('/proc', pid, what), 'latin1'))
        } catch {
          // It has ended.
        }
  }
  const timer = setInterval(look, 10)
  return () => {
    clearInterval(timer)
    return Buffer.from([...seen].join('\n'), 'latin1')
  }
}

t.test('no secret is where it must not be', { timeout: 180_000 }, async (t) => {
  const { root, host, room, folder } = await aHostAndRoom(t, MAC)
  await room.run('ip', 'address', 'add', `${MACHINE}/24`, 'dev', 'eth0')

  const processes = watchProcesses()
  const pcap = join(root, 'lan.pcap')
  const capture = host.spawn('tcpdump', ['-i', 'any', '-U', '-s', '0', '-w', pcap, 'udp', 'or', 'port', '80'])
  let started = false
  capture.stderr?.on('data', (text: Buffer) => (started ||= text.includes('listening')))
  while (!started) await sleep(20)

  const configFile = join(folder, 'seedling.json')
  const config = JSON.parse(readFileSync(configFile, 'utf8')) as Record<string, object>
  const api = { ...config['api'], address: '127.0.0.1', port: 6385 }
  writeFileSync(configFile, JSON.stringify({ ...config, api, log: { level: 'trace' } }))
  const sim = await startIpmiSim(t, [`true "admin" "${BMC_PASSWORD}" admin 10 md5`], {
    namespace: host,
    port: 9623
  })
  const served = serve(t, host, folder)
  await served.serves()

  const heard: string[] = []
  const tell = async (...args: string[]): Promise<string> => {
    const said = await ask(folder, ...args).catch((error: { stdout: string; stderr: string }) => {
      heard.push(error.stdout, error.stderr)
      return error.stderr
    })
    heard.push(said)
    return said
  }
  const file = (name: string, text: string): string => {
    writeFileSync(join(root, name), text, { mode: 0o600 })
    return join(root, name)
  }
  const inventory = (password: string): string =>
    file(
      'inventory.json',
      JSON.stringify({
        nodes: [
          {
            name: 'ctl-1',
            driver: 'ipmi',
            driver_info: {
              ipmi_address: '127.0.0.1',
              ipmi_port: sim.port,
              ipmi_username: 'admin',
              ipmi_password: password
            },
            properties: { cpu_arch: 'x86_64' },
            ports: [{ address: MAC }]
          }
        ]
      })
    )
  const until = async (what: string, word: RegExp, ...args: string[]) => {
    for (let tries = 0; tries < 300; tries++) {
      if (word.test(await tell(...args))) return
      await sleep(100)
    }
    t.fail(`${what}: ${await tell('node', 'show', 'ctl-1')} ${await tell('events')}`)
  }

  // A password that is refused, then the right one.
  await tell('node', 'import', inventory(WRONG_PASSWORD))
  await until('it is refused', /enroll/, 'node', 'list')
  await tell('node', 'import', inventory(BMC_PASSWORD))
  await until('the machine is available', /available/, 'node', 'list')

  writeFileSync(join(root, 'tiny.raw'), aDiskImage())
  await tell('image', 'add', 'tiny', join(root, 'tiny.raw'))
  t.match(await tell('image', 'list'), /tiny/, heard.join('\n'))
  await tell('node', 'deploy', 'ctl-1', '--image', 'tiny', '--user-data', file('user-data', USER_DATA))
  await until('it is on', /power on/, 'node', 'power', 'status', 'ctl-1')
  const get = (path: string, ...more: string[]) => room.run('curl', '-s', ...more, `http://192.0.2.1${path}`)
  let token: string | undefined
  for (let tries = 0; token === undefined && tries < 300; tries++, await sleep(100))
    token = /seedling\.token=([0-9a-f]{64})/.exec(await get(`/boot/script?mac=${MAC}`))?.[1]
  if (token === undefined) throw new Error(`no token: ${await get(`/boot/script?mac=${MAC}`)}`)
  const interfaces = [{ ...anInventory().interfaces[0], mac: MAC }]
  const hello = file('hello', JSON.stringify({ ...anInventory(), bootInterface: MAC, interfaces }))
  const json = ['-H', 'content-type: application/json']
  const authorized = ['-H', `authorization: Bearer ${token}`]
  const task = await get('/agent/hello', ...authorized, ...json, '--data', `@${hello}`)
  t.match(JSON.parse(task), { task: 'deploy' }, task)
  t.ok((await get('/agent/config-drive', ...authorized)).length > 0)
  t.match(
    await get(
      '/agent/hello',
      '-H',
      `authorization: Bearer ${'0'.repeat(64)}`,
      ...json,
      '--data',
      `@${hello}`
    ),
    /401|token/
  )

  // Everything that the API answers, with everything that names this machine or this deployment.
  const apiToken = readFileSync(join(dataOf(folder), 'api-token'), 'utf8').trim()
  const uuid = (JSON.parse(await tell('node', 'show', 'ctl-1', '--json')) as { uuid: string }).uuid
  const paths = readdirSync(join(import.meta.dirname, '../../services/api')).flatMap((name) =>
    [
      ...readFileSync(join(import.meta.dirname, '../../services/api', name), 'utf8').matchAll(
        /'(\/v1\/[^'?]+)'/g
      )
    ].map(([, path]) => path as string)
  )
  t.ok(paths.length > 40, `${paths.length} paths`)
  for (const path of new Set(paths)) {
    if (path.endsWith('/console')) continue
    const asked = path
      .replace(':mac', MAC)
      .replace(':uuid', uuid)
      .replace(/:[a-z]+/g, 'ctl-1')
    heard.push(
      await run(
        'curl',
        '-s',
        '-m',
        '20',
        '--unix-socket',
        join(folder, 'api.sock'),
        `http://localhost${asked}`
      )
    )
  }
  heard.push(
    await host.run(
      'curl',
      '-s',
      '-H',
      `authorization: Bearer ${'1'.repeat(64)}`,
      `http://127.0.0.1:${api.port}/v1/nodes`
    )
  )

  t.match(await tell('bmc', 'check', 'ctl-1'), /./)
  const support = join(root, 'support.json.gz')
  await tell('support', support)
  const document = gunzipSync(readFileSync(support))
  t.match(JSON.parse(document.toString()), {
    health: { checks: [{ name: 'database', ok: true }] },
    nodes: [{ uuid }],
    dhcp: {},
    log: Object
  })
  t.ok((JSON.parse(document.toString()) as { events: unknown[] }).events.length > 5)
  t.match(await tell('support', support), /is there already/)
  const backup = join(root, 'state.backup')
  await tell('backup', backup, '--passphrase-file', file('passphrase', PASSPHRASE))
  const exports = join(root, 'exports')
  await tell('handoff', 'plan', 'ctl-1', '--export', 'ironic', '--out', exports)

  served.stop()
  const { said } = await served.ended
  capture.kill('SIGTERM')
  await new Promise((resolve) => capture.once('close', resolve))

  const files = (from: string): Buffer => {
    const found = spawnSync('find', [from, '-type', 'f'], { encoding: 'utf8' })
      .stdout.split('\n')
      .filter(Boolean)
    return Buffer.concat(found.map((path) => readFileSync(path)))
  }
  const database = Buffer.concat(
    readdirSync(dataOf(folder))
      .filter((name) => /\.db/.test(name))
      .map((name) => readFileSync(join(dataOf(folder), name)))
  )
  t.ok(said.includes('ctl-1') && database.length > 0 && readFileSync(pcap).length > 10_000)
  const places = new Map<string, Buffer>([
    ['the log', Buffer.from(said)],
    ['answers and messages', Buffer.from(heard.join('\n'))],
    ['support', document],
    ['processes', processes()],
    ['exports', files(exports)],
    ['a backup', readFileSync(backup)],
    ['the database', database],
    ['the wire', readFileSync(pcap)]
  ])
  const secrets = new Map<string, { value: string; known?: readonly string[] }>([
    ['the password of the BMC', { value: BMC_PASSWORD }],
    ['a password that was wrong', { value: WRONG_PASSWORD }],
    ['the passphrase', { value: PASSPHRASE }],
    // curl of this test has it on its command line, the machine gets it, and the database knows it by itself.
    ['the token of the agent', { value: token, known: ['processes', 'the wire', 'the database'] }],
    ['the token of the API', { value: apiToken }],
    ['user data', { value: USER_DATA, known: ['the wire', 'the database'] }]
  ])
  for (const [place, bytes] of places) t.ok(bytes.length > 100, `there is something in ${place}`)
  for (const [name, { value, known = [] }] of secrets)
    for (const [place, bytes] of places)
      if (!known.includes(place)) t.same(traces(bytes, value), [], `${name} is not in ${place}`)
})
