import t from 'tap'
import { checkBase64, checkHostname, hostnameOf, readConfigDrive } from '../../src/decide/personality.ts'

t.test('host names', async (t) => {
  for (const name of ['a', 'web-1', 'WEB', '1', 'a.b.example', 'x'.repeat(63)])
    t.equal(checkHostname(name), name, name)
  for (const name of [
    '',
    '-a',
    'a-',
    'a_b',
    'a b',
    'a..b',
    '.a',
    'ä',
    'x'.repeat(64),
    Array(64).fill('abcd').join('.')
  ])
    t.throws(() => checkHostname(name), { code: 'bad-request' }, name)
})

t.test('the host name of a node that nobody named one for', async (t) => {
  const uuid = '6e6f6465-0000-4000-8000-000000000001'
  const cases: Record<string, [string | null, string]> = {
    'its own name': ['ctl-1', 'ctl-1'],
    'with what host names may not have left out': ['rack_1~a', 'rack-1-a'],
    'no dash at the ends of a part': ['-a-.-b-', 'a.b'],
    'its uuid when it has no name': [null, 'node-6e6f6465'],
    'its uuid when nothing of the name is left': ['~~', 'node-6e6f6465'],
    'parts of 63': ['x'.repeat(100), 'x'.repeat(63)]
  }
  for (const [why, [name, expected]] of Object.entries(cases)) {
    const hostname = hostnameOf({ name, uuid })
    t.equal(hostname, expected, why)
    t.equal(checkHostname(hostname), hostname, `${why}: is a host name`)
  }
})

t.test('base64', async (t) => {
  t.equal(checkBase64('IyE=', 'x'), 'IyE=')
  t.equal(checkBase64('Iy\nE=\n', 'x'), 'IyE=', 'in lines')
  for (const text of ['I', 'IyE', '#cloud-config', 'Iy=E'])
    t.throws(() => checkBase64(text, 'user_data'), /user_data must be base64/, text)
})

t.test('config drives', async (t) => {
  t.equal(readConfigDrive(undefined), null)
  t.equal(readConfigDrive(''), null)
  t.same(readConfigDrive({}), { hostname: null, publicKeys: {}, userData: null, metadata: {} })
  t.match(
    readConfigDrive({
      meta_data: { name: 'web', public_keys: { me: 'k' }, meta: { a: 1 }, launch_index: 0 }
    }),
    { hostname: 'web', publicKeys: { me: 'k' }, metadata: { a: 1 } }
  )
  t.match(
    readConfigDrive({ user_data: { write_files: [] } }),
    { userData: Buffer.from('{"write_files":[]}').toString('base64') },
    'user data as an object is sent as JSON'
  )
  const refused: Record<string, [unknown, RegExp]> = {
    'a ready-made drive': ['H4sIAAAA', /takes no ready-made one/],
    'a list': [[], /give it as JSON/],
    'an unknown key': [{ userdata: '' }, /unknown key "userdata"/],
    'network data': [{ network_data: { links: [] } }, /address from Seedling's DHCP/],
    'meta_data that is text': [{ meta_data: 'x' }, /meta_data must be an object/],
    'keys that are a list': [{ meta_data: { public_keys: ['k'] } }, /public_keys must be/],
    'a key that is no text': [{ meta_data: { public_keys: { me: 1 } } }, /public_keys must be/],
    'a host name that is none': [{ meta_data: { hostname: 'a b' } }, /not a host name/],
    'meta that is no object': [{ meta_data: { meta: 1 } }, /meta must be an object/]
  }
  for (const [name, [given, message]] of Object.entries(refused))
    t.throws(() => readConfigDrive(given), { code: 'bad-request', message }, name)
})
