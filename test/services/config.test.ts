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

t.test('a short file is filled in, with paths relative to it', async (t) => {
  const config = checkConfig(good(), '/etc/seedling')
  t.match(config, {
    dataDir: '/etc/seedling/data',
    http: { port: 80 },
    api: { address: null, port: 6385, socket: '/etc/seedling/api.sock' },
    network: { subnets: [{ gateway: null, dns: [], leaseSeconds: 3600 }] },
    deploy: { attempts: 3 }
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
