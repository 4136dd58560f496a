// The command line as a child process (bench.ts): what it refuses, and how it says so.

import t from 'tap'
import { bench, machine } from './bench.ts'

t.test('what is wrong is said, with exit code 1, and nothing is half-done', async (t) => {
  const b = await bench(t)
  await b.run('node', 'import', b.file('i.json', [machine(1)]))
  await b.run('image', 'add', 'tiny', b.file('tiny.raw', 'x'))
  const before = b.rows()
  const cases: Record<string, [string[], RegExp]> = {
    'a malformed inventory': [
      ['node', 'import', b.file('bad.json', { nodes: [{ pm_typ: 'ipmi' }, machine(1, { mac: ['zz'] })] })],
      /unknown key "pm_typ"[\s\S]*node 1 \(ctl-1\): mac\[0\]: "zz" is not a MAC/
    ],
    'a file that is no JSON': [['node', 'import', b.file('no.json', '{')], /is not JSON/],
    'a file that is not there': [['node', 'import', '/nowhere'], /cannot read \/nowhere/],
    'an unknown image': [['node', 'deploy', 'ctl-1', '--image', 'huge'], /no image "huge"; there is tiny/],
    'an unknown key': [['node', 'deploy', 'ctl-1', '--image', 'tiny', '--key', 'you'], /no key pair "you"/],
    'an unknown node': [['node', 'deploy', 'ctl-9', '--image', 'tiny'], /Node ctl-9 could not be found/],
    'one good and one unknown node': [
      ['node', 'deploy', 'ctl-1', 'ctl-9', '--image', 'tiny'],
      /ctl-9 could not be found/
    ],
    'a verb in the wrong state': [
      ['node', 'undeploy', 'ctl-1'],
      /"deleted" is not possible for node ctl-1 in state "available"/
    ],
    'a private key': [
      ['keypair', 'add', 'me', b.file('id', '-----BEGIN OPENSSH PRIVATE KEY-----\n')],
      /private key/
    ],
    'no server': [['node', 'list', '--socket', '/nowhere/api.sock'], /does not run here/],
    'an address without its token': [['node', 'list', '--api', 'http://127.0.0.1:1'], /--token-file/]
  }
  for (const [name, [args, message]] of Object.entries(cases)) {
    const { code, err, out } = await b.run(...args)
    t.equal(code, 1, `${name}: ${out}`)
    t.match(err, message, name)
  }
  t.match(await b.run('node', 'power', 'up', 'ctl-1'), {
    code: 2,
    err: /Allowed\s+choices are status, on, off, reboot/
  })
  t.match(await b.run('nonsense'), { code: 2, err: /unknown command/ })
  t.match(await b.run('--help'), { code: 0, out: /seedling serve/ })
  t.same(b.rows(), before)
})
