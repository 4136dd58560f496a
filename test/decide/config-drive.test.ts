import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { configDrive, shellQuote } from '../../src/decide/config-drive.ts'
import { aNode, anInstance, anInventory, aPort } from '../support/builders.ts'

const SECOND = aPort({
  uuid: '706f7274-0000-4000-8000-000000000002',
  address: '52:54:00:00:00:02',
  reservedIp: null
})
const nic = (mac: string) => ({ name: 'x', mac, carrier: true, driver: null, speedMbps: null })

function drive(given: Partial<Parameters<typeof configDrive>[0]> = {}): Map<string, string> {
  const files = configDrive({
    instance: anInstance({
      publicKeys: { default: 'ssh-ed25519 AAAA' },
      userData: Buffer.from('#cloud-config\n').toString('base64'),
      metadata: { rack: 'r1', depth: { not: 'text' } }
    }),
    node: aNode({
      inventory: anInventory({ interfaces: [nic('52:54:00:00:00:01'), nic('52:54:00:00:00:02')] })
    }),
    ports: [aPort(), SECOND],
    url: 'http://192.0.2.1',
    ...given
  })
  return new Map(files.map(({ path, content }) => [path, Buffer.from(content, 'base64').toString()]))
}
const parsed = (files: Map<string, string>, path: string) => JSON.parse(files.get(path) ?? 'null')

t.test('the files', async (t) => {
  t.same([...drive().keys()].sort(), [
    'ec2/latest/meta-data.json',
    'ec2/latest/user-data',
    ...['2015-10-15', '2018-08-27', 'latest'].flatMap((version) =>
      ['meta_data.json', 'network_data.json', 'user_data', 'vendor_data.json'].map(
        (name) => `openstack/${version}/${name}`
      )
    )
  ])
  const without = [...drive({ instance: anInstance() }).keys()]
  t.notOk(
    without.some((path) => /user.data/.test(path)),
    'no user data, no file of it'
  )
})

t.test('identity', async (t) => {
  const files = drive()
  t.match(parsed(files, 'openstack/latest/meta_data.json'), {
    uuid: anInstance().uuid,
    name: 'ctl-1',
    hostname: 'ctl-1',
    'local-hostname': 'ctl-1',
    public_keys: { default: 'ssh-ed25519 AAAA' },
    keys: [{ name: 'default', type: 'ssh', data: 'ssh-ed25519 AAAA' }],
    meta: { rack: 'r1', seedling_node: aNode().uuid, depth: undefined }
  })
  t.equal(files.get('openstack/latest/user_data'), '#cloud-config\n')
  t.match(parsed(files, 'ec2/latest/meta-data.json'), {
    'instance-id': anInstance().uuid,
    'public-keys': { '0': { _name: '0=default', 'openssh-key': 'ssh-ed25519 AAAA' } }
  })
})

t.test('network: a link for every port, DHCP on the one that boots', async (t) => {
  t.match(parsed(drive(), 'openstack/latest/network_data.json'), {
    links: [
      { id: 'port-0', type: 'phy', ethernet_mac_address: '52:54:00:00:00:01' },
      { id: 'port-1', type: 'phy', ethernet_mac_address: '52:54:00:00:00:02' }
    ],
    networks: [{ link: 'port-0', type: 'ipv4_dhcp' }]
  })
  const booting = { ...SECOND, reservedIp: '192.0.2.101' }
  t.match(
    parsed(
      drive({
        node: aNode({ inventory: anInventory({ bootInterface: booting.address }) }),
        ports: [aPort({ reservedIp: '192.0.2.100' }), booting]
      }),
      'openstack/latest/network_data.json'
    ),
    { networks: [{ link: 'port-1' }] },
    'the ramdisk knows which'
  )
  t.match(
    parsed(drive({ node: aNode({ inventory: anInventory() }) }), 'openstack/latest/network_data.json').links,
    [{ ethernet_mac_address: '52:54:00:00:00:01' }],
    'a link that the machine does not have would cost it its network'
  )
  t.match(
    parsed(drive({ ports: [] }), 'openstack/latest/network_data.json'),
    { links: [], networks: [] },
    'no port, no network'
  )
})

/** Runs the vendor script with its paths moved into a folder; what `systemctl` was called with. */
function runVendorScript(folder: string, script: string, installed: boolean): string {
  mkdirSync(join(folder, 'bin'))
  mkdirSync(join(folder, 'etc'))
  const tool = (name: string, body: string) =>
    writeFileSync(join(folder, 'bin', name), `#!/bin/sh\n${body}\n`, { mode: 0o755 })
  tool('systemctl', `echo "$@" >>${join(folder, 'systemctl')}`)
  tool('mv', 'exec /bin/mv "$@"')
  if (installed) tool('os-collect-config', 'exit 0')
  writeFileSync(join(folder, 'systemctl'), '')
  execFileSync(
    '/bin/sh',
    ['-c', script.replaceAll(' /etc/', ` ${folder}/etc/`).replaceAll('>/etc/', `>${folder}/etc/`)],
    {
      env: { PATH: join(folder, 'bin') }
    }
  )
  return readFileSync(join(folder, 'systemctl'), 'utf8')
}

t.test('vendor data points os-collect-config at its document', async (t) => {
  const script = parsed(drive(), 'openstack/latest/vendor_data.json')['cloud-init']
  t.match(script, /^#!\/bin\/sh\n/)
  const folder = t.testdir({})
  t.equal(runVendorScript(folder, script, true), '--no-block restart os-collect-config\n')
  const file = join(folder, 'etc', 'os-collect-config.conf')
  t.equal(
    readFileSync(file, 'utf8'),
    `[DEFAULT]
command = os-refresh-config
collectors = request
min_polling_interval = 5
polling_interval = 30

[request]
metadata_url = http://192.0.2.1/metadata/${anInstance().token}/request
`
  )
  t.equal(statSync(file).mode & 0o777, 0o600, 'the token is nobody else’s')
})

t.test('and leaves images without it alone', async (t) => {
  const script = parsed(drive(), 'openstack/latest/vendor_data.json')['cloud-init']
  const folder = t.testdir({})
  t.equal(runVendorScript(folder, script, false), '')
  t.throws(() => statSync(join(folder, 'etc', 'os-collect-config.conf')), { code: 'ENOENT' })
})

t.test('shell words', async (t) => {
  for (const text of ["it's", '$(reboot)', '`x`', '\\', 'a b\nc', '']) {
    t.equal(execFileSync('/bin/sh', ['-c', `printf %s ${shellQuote(text)}`], { encoding: 'utf8' }), text)
  }
})
