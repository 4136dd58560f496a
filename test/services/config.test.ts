import t from 'tap'
import { checkConfig, loadConfig } from '../../services/config.ts'

const good = () => ({
  dataDir: 'data',
  network: {
    interface: 'lan0',
    address: '192.0.2.1',
    subnets: [{ cidr: '192.0.2.0/24', pool: { start: '192.0.2.100', end: '192.0.2.199' } }]
  },
  api: { socket: 'api.sock' },
  boot: { kernel: 'vmlinuz', ramdisk: 'ramdisk.img', loaders: 'ipxe' }
})

t.test('boot loaders may be in several folders', async (t) => {
  const of = (loaders: unknown) =>
    checkConfig({ ...good(), boot: { ...good().boot, loaders } }, '/etc/seedling').boot.loaders
  t.same(of('ipxe'), ['/etc/seedling/ipxe'])
  t.same(of(['ipxe', '/srv/shim']), ['/etc/seedling/ipxe', '/srv/shim'])
  for (const bad of [[], [1], '', 7]) t.throws(() => of(bad), { code: 'bad-config' })
})

t.test('a short file is filled in, with paths relative to it', async (t) => {
  const config = checkConfig(good(), '/etc/seedling')
  t.equal(config.tftp.singlePort, false)
  t.equal(checkConfig({ ...good(), tftp: { singlePort: true } }, '/etc').tftp.singlePort, true)
  t.match(config, {
    dataDir: '/etc/seedling/data',
    http: { port: 80 },
    api: { address: null, port: 6385, socket: '/etc/seedling/api.sock' },
    network: { subnets: [{ gateway: null, dns: [], leaseSeconds: 3600 }] },
    deploy: { attempts: 3 }
  })
})

t.test('kernel and ramdisk of other architectures stand beside those of x86_64', async (t) => {
  const boot = (aarch64?: object) => ({ ...good().boot, ...(aarch64 ? { aarch64 } : {}) })
  const x86_64 = { kernel: '/etc/vmlinuz', ramdisk: '/etc/ramdisk.img' }
  t.same(checkConfig(good(), '/etc').boot.ramdisks, { x86_64 })
  t.same(
    checkConfig({ ...good(), boot: boot({ kernel: 'arm/Image', ramdisk: '/r' }) }, '/etc').boot.ramdisks,
    {
      x86_64,
      aarch64: { kernel: '/etc/arm/Image', ramdisk: '/r' }
    }
  )
  t.throws(
    () => checkConfig({ ...good(), boot: boot({ kernel: 'arm/Image' }) }, '/etc'),
    /"boot\.aarch64\.ramdisk" is missing/
  )
})

t.test('what the network is, in full', async (t) => {
  const full = good()
  Object.assign(full.network, { dhcp: { mode: 'proxy', tolerate: ['192.0.2.2'] } })
  full.network.subnets = [
    {
      cidr: '192.0.2.0/24',
      name: 'rack-1',
      discovery: { start: '192.0.2.200', end: '192.0.2.210' },
      routes: [{ network: '10.0.0.0/8', router: '192.0.2.254' }],
      options: { 150: { ip: '192.0.2.1' } }
    } as never
  ]
  t.match(checkConfig(full, '/').network, {
    dhcp: { mode: 'proxy', exclusive: true, tolerate: ['192.0.2.2'], probeConflicts: true },
    subnets: [
      {
        name: 'rack-1',
        pool: null,
        discovery: { leaseSeconds: 120, perSecond: 20 },
        routes: [{ network: '10.0.0.0/8', router: '192.0.2.254' }],
        options: { 150: 'c0000201' }
      }
    ]
  })
})

t.test('all faults are told at once', async (t) => {
  const bad = { ...good(), netwrk: {}, boot: { kernel: 'k', loaders: 'l', colour: 1 }, http: { port: 99999 } }
  try {
    checkConfig(bad, '/', 'seedling.json')
    t.fail('must be refused')
  } catch (error) {
    const { code, message } = error as { code: string; message: string }
    t.equal(code, 'bad-config')
    t.match(message, /^seedling\.json: 4 faults\n/)
    t.match(message, /unknown key "netwrk"; remove it or correct its spelling/)
    t.match(message, /unknown key "boot\.colour"/)
    t.match(message, /"boot\.ramdisk" is missing/)
    t.match(message, /"http\.port"/)
  }
})

const network: Record<string, { change: (config: ReturnType<typeof good>) => void; says: RegExp }> = {
  'a pool outside its subnet': {
    change: (c) => (c.network.subnets[0]!.pool.end = '192.0.3.1'),
    says: /pool\.end/
  },
  'a pool upside down': {
    change: (c) => (c.network.subnets[0]!.pool = { start: '192.0.2.50', end: '192.0.2.40' }),
    says: /starts .* after it ends/
  },
  'a pool with our own address': {
    change: (c) => (c.network.subnets[0]!.pool.start = '192.0.2.1'),
    says: /own address 192\.0\.2\.1/
  },
  'host bits in a network': {
    change: (c) => (c.network.subnets[0]!.cidr = '192.0.2.1/24'),
    says: /host bits/
  },
  'an address in no subnet': { change: (c) => (c.network.address = '198.51.100.1'), says: /none of/ },
  'a discovery pool inside the pool of enrolled machines': {
    change: (c) =>
      Object.assign(c.network.subnets[0]!, { discovery: { start: '192.0.2.150', end: '192.0.2.250' } }),
    says: /"network\.subnets\.0\.discovery" overlaps "network\.subnets\.0\.pool"/
  },
  'a server without a pool': {
    change: (c) => Object.assign(c.network.subnets[0]!, { pool: undefined }),
    says: /"network\.subnets\.0\.pool" is missing/
  },
  'two subnets on the same addresses': {
    change: (c) =>
      c.network.subnets.push({ cidr: '192.0.2.0/25', pool: { start: '192.0.2.2', end: '192.0.2.9' } }),
    says: /subnets\.1\.cidr" 192\.0\.2\.0\/25 overlaps/
  },
  'two subnets of one name': {
    change: (c) => {
      Object.assign(c.network.subnets[0]!, { name: 'a' })
      const pool = { start: '10.0.0.2', end: '10.0.0.9' }
      c.network.subnets.push({ cidr: '10.0.0.0/24', pool, name: 'a' } as never)
    },
    says: /name of another subnet/
  },
  'an option that the protocol sets': {
    change: (c) => Object.assign(c.network.subnets[0]!, { options: { 54: { ip: '192.0.2.9' } } }),
    says: /"network\.subnets\.0\.options\.54" cannot be set/
  },
  'a relay in the pool': {
    change: (c) => Object.assign(c.network.subnets[0]!, { relays: ['192.0.2.120'] }),
    says: /contains the relay 192\.0\.2\.120/
  },
  'an octet over 255': { change: (c) => (c.network.address = '192.0.2.256'), says: /not an IPv4 address/ }
}
for (const [sentence, { change, says }] of Object.entries(network))
  t.test(`${sentence} is refused`, async (t) => {
    const config = good()
    change(config)
    t.throws(() => checkConfig(config, '/'), { code: 'bad-config', message: says })
  })

t.test('a file that is not there or not JSON', async (t) => {
  const folder = t.testdir({ 'broken.json': '{ "dataDir": ' })
  t.throws(() => loadConfig(`${folder}/none.json`), { code: 'bad-config', message: /cannot read/ })
  t.throws(() => loadConfig(`${folder}/broken.json`), { code: 'bad-config', message: /not JSON/ })
})
