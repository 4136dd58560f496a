// Settings of the appliance, as seeds, kernel arguments and people give them.

import t from 'tap'
import {
  checkSettings,
  givenAgain,
  proposedPool,
  settingsFromKernel,
  settingsFromSeed,
  type GivenSettings
} from '../../src/decide/appliance-settings.ts'
import { applianceFiles } from '../../src/decide/appliance-files.ts'
import { AppError } from '../../src/domain/error.ts'
import { checkConfig } from '../../services/config.ts'

const LAN = { name: 'eth0', mac: '52:54:00:00:00:01', carrier: true }
const OTHER = { name: 'eth1', mac: '52:54:00:00:00:02', carrier: false }
const LINKS = [LAN, OTHER]
const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB me@here'
const FULL: GivenSettings = {
  hostname: 'seed',
  interface: 'eth0',
  address: '192.0.2.1/24',
  pool: '192.0.2.100-192.0.2.199',
  gateway: '192.0.2.254',
  dns: ['192.0.2.53'],
  links: [{ interface: 'eth1', address: '198.18.0.1/24', gateway: '198.18.0.254' }],
  keys: [KEY]
}

function faultsOf(given: GivenSettings, links = LINKS): string[] {
  try {
    checkSettings(given, links, 'the seed')
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    return error.detail['faults'] as string[]
  }
  return []
}

t.test('a whole set, and the same given again', async (t) => {
  const settings = checkSettings(FULL, LINKS, 'the seed')
  t.same(settings, {
    hostname: 'seed',
    lan: { mac: LAN.mac, address: '192.0.2.1', prefix: 24 },
    pool: { start: '192.0.2.100', end: '192.0.2.199' },
    gateway: '192.0.2.254',
    dns: ['192.0.2.53'],
    mode: 'server',
    links: [{ mac: OTHER.mac, addresses: ['198.18.0.1/24'], gateway: '198.18.0.254' }],
    api: '198.18.0.1',
    keys: [KEY],
    config: {}
  })
  const renamed = [
    { ...LAN, name: 'lan0' },
    { ...OTHER, name: 'net1' }
  ]
  t.same(checkSettings(givenAgain(settings), renamed, 'itself'), settings)
})

t.test('what is enough on a host with one link', async (t) => {
  const settings = checkSettings(
    { address: '10.0.0.1/16', pool: '10.0.1.0 - 10.0.1.255' },
    [LAN],
    'kernel arguments'
  )
  t.equal(settings.lan.mac, LAN.mac)
  t.equal(settings.api, null, 'the API is not heard on the machines LAN unless told so')
})

t.test('every fault is told, each with what to do', async (t) => {
  const cases: [GivenSettings, RegExp, typeof LINKS?][] = [
    [{ ...FULL, interface: 'eth7' }, /eth7 is no network card of this host; there is eth0 \(52:54/],
    [{ ...FULL, interface: undefined }, /interface is missing.*eth1/],
    [{ ...FULL, address: '192.0.2.1' }, /address must be .*prefix length/],
    [{ ...FULL, address: '192.0.2.256/24' }, /address must be/],
    [{ ...FULL, address: '192.0.2.1/0' }, /address must be/],
    [{ ...FULL, pool: undefined }, /pool is missing/],
    [{ ...FULL, pool: '192.0.2.199-192.0.2.100' }, /the lower first/],
    [{ ...FULL, pool: '192.0.3.100-192.0.3.199' }, /not within the network of 192\.0\.2\.1\/24/],
    [{ ...FULL, pool: '192.0.2.1-192.0.2.9' }, /own address in it/],
    [{ ...FULL, gateway: 'router' }, /gateway must be an IPv4 address/],
    [{ ...FULL, dns: ['192.0.2'] }, /dns must be/],
    [{ ...FULL, mode: 'on' }, /server, proxy or listen/],
    [{ ...FULL, hostname: 'a b' }, /hostname must be/],
    [{ ...FULL, links: [{ interface: 'eth0', address: '198.18.0.1/24' }] }, /eth0 is the machines' LAN/],
    [{ ...FULL, links: [{ interface: 'eth1' }] }, /no DHCP client runs here/],
    [
      { ...FULL, links: [{ interface: 'eth1', address: '198.18.0.1/24', vlan: 3 }] },
      /unknown setting "vlan"/
    ],
    [{ ...FULL, api: '203.0.113.1' }, /api 203\.0\.113\.1 is no address of this appliance/],
    [{ ...FULL, keys: ['password'] }, /not an SSH public key: "password"/],
    [{ ...FULL, keys: [`${KEY}\nssh-rsa AAAA`] }, /not an SSH public key/],
    [{ ...FULL, pols: 'x' } as GivenSettings, /unknown setting "pols"; there are hostname/]
  ]
  for (const [given, expected] of cases) {
    const faults = faultsOf(given)
    t.equal(faults.length, 1, `${expected}: ${faults.join(' | ')}`)
    t.match(faults[0], expected)
  }
  t.equal(faultsOf({ ...FULL, pool: 'x', gateway: 'y', mode: 'z' }).length, 3, 'all at once')
})

t.test('kernel arguments', async (t) => {
  t.same(settingsFromKernel('BOOT_IMAGE=/vmlinuz root=PARTLABEL=root-a ro seedling.slot=a quiet'), {})
  t.same(
    settingsFromKernel(
      'ro seedling.interface=eth0 seedling.address=192.0.2.1/24 seedling.pool=192.0.2.100-192.0.2.199 ' +
        'seedling.dns=192.0.2.53,192.0.2.54 seedling.link=eth1,198.18.0.1/24,198.18.0.254 seedling.key=ssh-ed25519,AAAA'
    ),
    {
      interface: 'eth0',
      address: '192.0.2.1/24',
      pool: '192.0.2.100-192.0.2.199',
      dns: ['192.0.2.53', '192.0.2.54'],
      links: [{ interface: 'eth1', address: '198.18.0.1/24', gateway: '198.18.0.254' }],
      keys: ['ssh-ed25519 AAAA']
    }
  )
})

t.test('seeds', async (t) => {
  t.same(
    settingsFromSeed({ hostname: 'x' }, {}, undefined),
    {},
    'a seed that is not for Seedling says nothing'
  )
  const own = { interface: 'lan', pool: '192.0.2.100-192.0.2.199' }
  const seed = settingsFromSeed(
    { seedling: own, ssh_authorized_keys: [KEY] },
    { 'local-hostname': 'seed.example.com', public_keys: { me: KEY } },
    {
      network: {
        version: 2,
        ethernets: {
          lan: { match: { macaddress: LAN.mac }, addresses: ['192.0.2.1/24'] },
          eth1: { addresses: ['198.18.0.1/24'], routes: [{ to: 'default', via: '198.18.0.254' }] }
        }
      }
    }
  )
  const settings = checkSettings(seed, LINKS, 'the seed')
  t.match(settings, {
    hostname: 'seed',
    lan: { mac: LAN.mac, address: '192.0.2.1' },
    links: [{ mac: OTHER.mac, gateway: '198.18.0.254' }],
    keys: [KEY]
  })
  const refused = (network: unknown) => () => settingsFromSeed({ seedling: own }, {}, network)
  t.throws(refused({ version: 1 }), /version 2/)
  t.throws(refused({ version: 2, ethernets: { eth0: { dhcp4: true } } }), /no DHCP client runs here/)
})

t.test('a pool is proposed that can be', async (t) => {
  for (const address of ['192.0.2.1', '192.0.2.200', '10.1.2.3'])
    for (const prefix of [8, 16, 24, 28, 30]) {
      const pool = proposedPool({ address, prefix })
      if (prefix === 30) continue
      t.same(
        faultsOf({ ...FULL, gateway: undefined, address: `${address}/${prefix}`, pool }),
        [],
        `${address}/${prefix}: ${pool}`
      )
    }
  t.equal(proposedPool({ address: '192.0.2.1', prefix: 31 }), '')
})

t.test('the files: a configuration that is one, and addresses in order', async (t) => {
  const settings = checkSettings({ ...FULL, config: { deploy: { attempts: 5 } } }, LINKS, 'the seed')
  const files = applianceFiles(settings)
  const config = checkConfig(JSON.parse(files['seedling.json']!), '/')
  t.equal(config.network.interface, 'lan0')
  t.equal(config.network.subnets[0]?.cidr, '192.0.2.0/24')
  t.equal(config.api.address, '198.18.0.1')
  t.equal(config.deploy.attempts, 5)
  t.equal(files['links'], `${LAN.mac} lan0\n${OTHER.mac} net1\n`)
  const [first] = files['network.ip']!.split('\n')
  t.equal(first, 'address add 192.0.2.1/24 broadcast + dev lan0', 'answers bear the first address')
  t.match(files['network.ip'], /route replace default via 198\.18\.0\.254 dev net1/)
  t.equal(files['sshd.conf'], 'ListenAddress 198.18.0.1\n', 'not on the machines LAN')
  const alone = applianceFiles(
    checkSettings({ address: '10.0.0.1/8', pool: '10.1.0.0-10.1.0.9' }, [LAN], 'x')
  )
  t.ok(checkConfig(JSON.parse(alone['seedling.json']!), '/'))
  t.match(alone['where'], /only here.*\n.*nobody may log in/s)
})
