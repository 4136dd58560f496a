// Seeds as they lie on a disc, and the console's questions.

import { PassThrough } from 'node:stream'
import t from 'tap'
import { askSettings } from '../../../services/appliance/dialogue.ts'
import { readSeed } from '../../../services/appliance/seed.ts'
import { readSettings, writeSettings } from '../../../services/appliance/write.ts'
import { checkSettings } from '../../../src/decide/appliance-settings.ts'

const LINKS = [
  { name: 'eth0', mac: '52:54:00:00:00:01', carrier: true },
  { name: 'eth1', mac: '52:54:00:00:00:02', carrier: true }
]
const USER_DATA = `#cloud-config
ssh_authorized_keys: ["ssh-ed25519 AAAA me"]
seedling:
  interface: eth0
  address: 192.0.2.1/24
  pool: 192.0.2.100-192.0.2.199
`

t.test('NoCloud', async (t) => {
  const folder = t.testdir({ 'user-data': USER_DATA, 'meta-data': 'instance-id: x\nlocal-hostname: seed\n' })
  t.match(checkSettings(readSeed(folder), LINKS, 'seed'), { hostname: 'seed', lan: { address: '192.0.2.1' } })
})

t.test('config-drive', async (t) => {
  const folder = t.testdir({
    openstack: {
      latest: {
        user_data: USER_DATA,
        'meta_data.json': JSON.stringify({ hostname: 'seed.novalocal', public_keys: { a: 'ssh-rsa BBBB' } })
      }
    }
  })
  t.match(checkSettings(readSeed(folder), LINKS, 'seed'), {
    hostname: 'seed',
    keys: ['ssh-ed25519 AAAA me', 'ssh-rsa BBBB']
  })
})

t.test('what is no seed is refused with file and line', async (t) => {
  const refused = (text: string, expected: RegExp) =>
    t.throws(() => readSeed(t.testdir({ 'user-data': text })), expected)
  refused('seedling: [1\n', /user-data of the seed: .*line 2/)
  refused('seedling: {a: 1}\nseedling: {b: 2}\n', /user-data of the seed: .*unique/)
  refused('a: &a [1]\nseedling: {dns: [*a, *a]}\n', /user-data of the seed: .*alias/i)
  refused('x'.repeat(2 ** 20 + 1), /larger than 1 MiB/)
})

t.test('settings are on disk as a whole, or not at all', async (t) => {
  const folder = t.testdir({})
  t.equal(readSettings(folder), null)
  const seed = readSeed(t.testdir({ 'user-data': USER_DATA }))
  const settings = checkSettings(seed, LINKS, 'seed')
  const impossible = { ...settings, config: { deploy: { attempts: 99 } } }
  await t.rejects(writeSettings(impossible, folder), /deploy\.attempts/)
  t.equal(readSettings(folder), null, 'nothing was written')
  await writeSettings(settings, folder)
  t.same(readSettings(folder), settings)
})

/** A person who answers each question in turn; what was shown comes back with the settings. */
async function answering(answers: string[], servers: Record<string, string[]> = {}) {
  const input = new PassThrough()
  const output = new PassThrough()
  let shown = ''
  output.setEncoding('utf8').on('data', (text: string) => {
    shown += text
    if (text.endsWith(': ')) input.write(`${answers.shift() ?? ''}\n`)
  })
  const settings = await askSettings({
    input,
    output,
    links: LINKS,
    servers: async ({ name }) => servers[name] ?? [],
    before: {},
    signal: new AbortController().signal
  })
  return { settings, shown, unused: answers.length }
}

t.test('the questions, with what is proposed', async (t) => {
  const { settings, shown } = await answering([
    '2',
    '',
    '10.0.0.1/24',
    '',
    '',
    '198.18.0.1/24',
    '',
    '',
    'yes'
  ])
  t.match(settings, {
    lan: { mac: LINKS[1]!.mac, address: '10.0.0.1' },
    mode: 'server',
    pool: { start: '10.0.0.128', end: '10.0.0.254' },
    links: [{ mac: LINKS[0]!.mac, addresses: ['198.18.0.1/24'] }]
  })
  t.match(shown, /eth0 {2}52:54:00:00:00:01 {2}no DHCP server answers/)
})

t.test('another DHCP server is told of, and listening is proposed', async (t) => {
  const { settings, shown } = await answering(['1', '', '', '', '', '', '', 'yes'], { eth0: ['192.0.2.7'] })
  t.match(shown, /eth0 .* 192\.0\.2\.7\n/)
  t.match(shown, /Two do not go together/)
  t.equal(settings.mode, 'listen')
})

t.test('what cannot be is told, and asked again', async (t) => {
  const wrong = ['1', '', '192.0.2.1/24', '192.0.9.1-192.0.9.9', '', '', '']
  const right = ['1', '', '', '192.0.2.10-192.0.2.20', '', '', '', 'yes']
  const { settings, shown } = await answering([...wrong, ...right])
  t.match(shown, /That cannot be: pool .* is not within/)
  t.equal(settings.pool.start, '192.0.2.10')
})
