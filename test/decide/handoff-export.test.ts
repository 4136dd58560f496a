// Exports, each read by the program it is for where Debian has it.

import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { EXPORTS } from '../../src/decide/handoff-export.ts'
import { planHandoff } from '../../src/decide/handoff-plan.ts'
import { readInventory } from '../../src/decide/inventory.ts'
import {
  anImage,
  anInstance,
  anInventory,
  aNode,
  aPort,
  aSubnet,
  someHandoffOptions
} from '../support/builders.ts'

const plan = planHandoff(
  {
    nodes: [1, 2].map((number) => ({
      node: aNode({
        uuid: `6e6f6465-0000-4000-8000-00000000000${number}`,
        name: `ctl-${number}`,
        description: "the operator's own",
        driverInfo: {
          ipmi_address: `198.18.0.1${number}`,
          ipmi_username: 'admin',
          ipmi_password: 'pass$word'
        },
        state: 'active',
        powerState: 'on',
        inventory: anInventory()
      }),
      ports: [
        aPort({
          uuid: `706f7274-0000-4000-8000-00000000000${number}`,
          address: `52:54:00:00:00:0${number}`,
          reservedIp: `192.0.2.10${number}`
        })
      ],
      orders: [],
      instance: anInstance({ hostname: `ctl-${number}` }),
      image: anImage(),
      bootDevice: null
    })),
    subnets: [
      aSubnet({
        cidr: '192.0.2.0/24',
        gateway: '192.0.2.254',
        dns: ['192.0.2.53'],
        domain: 'rack.example',
        mtu: 1400
      })
    ]
  },
  someHandoffOptions({ deployKernel: 'http://images.example/k' })
)

t.test('DHCP servers read their part', async (t) => {
  const folder = t.testdir({})
  const check = (name: string, content: string, command: string[]) => {
    const file = join(folder, name)
    writeFileSync(file, content)
    const { status, stdout, stderr } = spawnSync(command[0] as string, [...command.slice(1), file], {
      encoding: 'utf8'
    })
    t.equal(status, 0, `${command.join(' ')}: ${stdout}${stderr}`.trim().slice(0, 300))
  }
  const kea = JSON.parse(EXPORTS.kea(plan)['kea-dhcp4.json'] as string) as {
    Dhcp4: { subnet4: { reservations: object[] }[] }
  }
  t.match(kea.Dhcp4.subnet4[0]?.reservations, [
    { 'hw-address': '52:54:00:00:00:01', 'ip-address': '192.0.2.101', hostname: 'ctl-1' },
    {}
  ])
  check('kea.json', JSON.stringify(kea), ['kea-dhcp4', '-t'])
  const dnsmasq = EXPORTS.dnsmasq(plan)['dnsmasq.conf'] as string
  t.match(dnsmasq, /dhcp-host=52:54:00:00:00:02,192\.0\.2\.102,ctl-2/)
  check('dnsmasq.conf', dnsmasq, ['dnsmasq', '--test', '-C'])
  t.match(
    EXPORTS.dhcpd(plan)['dhcpd.conf'],
    /hardware ethernet 52:54:00:00:00:01;\n {2}fixed-address 192\.0\.2\.101;/
  )
})

t.test('scripts are scripts', async (t) => {
  for (const script of [EXPORTS.ironic(plan)['adopt.sh'], EXPORTS.neutron(plan)['neutron.sh']]) {
    const { status, stderr } = spawnSync('sh', ['-n'], { input: script as string, encoding: 'utf8' })
    t.equal(status, 0, stderr)
  }
  t.match(EXPORTS.ironic(plan)['adopt.sh'], /--description 'the operator'\\''s own'/)
  t.match(
    EXPORTS.neutron(plan)['neutron.sh'],
    /port create 'ctl-1' .* --mac-address 52:54:00:00:00:01 --fixed-ip subnet=seedling-1,ip-address=192\.0\.2\.101/
  )
})

t.test('the inventory comes back as it went', async (t) => {
  const read = readInventory(JSON.parse(EXPORTS.instackenv(plan)['instackenv.json'] as string))
  t.match(read, [{ name: 'ctl-1' }, { name: 'ctl-2' }])
})

t.test("Ironic's file has no key that its client refuses; the rest is beside it", async (t) => {
  const files = EXPORTS.ironic(plan)
  const { nodes } = JSON.parse(files['nodes.json'] as string) as { nodes: Record<string, unknown>[] }
  for (const node of nodes)
    t.same(
      ['instance_info', 'traits', 'description', 'owner'].filter((key) => key in node),
      []
    )
  t.match(JSON.parse(files['then.json'] as string), {
    [nodes[0]?.['uuid'] as string]: { instance_info: { image_os_hash_algo: 'sha256' } }
  })
})

t.test('Metal3: taken as it runs, its password in a Secret', async (t) => {
  const documents = (EXPORTS.metal3(plan)['baremetalhosts.yaml'] as string)
    .split('---\n')
    .filter((text) => text !== '')
    .map((text) => JSON.parse(text) as { kind: string; spec?: object; stringData?: object })
  t.same(
    documents.map(({ kind }) => kind),
    ['Secret', 'BareMetalHost', 'Secret', 'BareMetalHost']
  )
  t.match(documents[1]?.spec, {
    externallyProvisioned: true,
    online: true,
    bootMACAddress: '52:54:00:00:00:01',
    bmc: { address: 'ipmi://198.18.0.11:623' }
  })
})

t.test('bifrost and plain', async (t) => {
  t.match(JSON.parse(EXPORTS.bifrost(plan)['baremetal.json'] as string), {
    'ctl-1': { driver: 'ipmi', nics: [{ mac: '52:54:00:00:00:01' }], ipv4_address: '192.0.2.101' }
  })
  t.match(JSON.parse(EXPORTS.plain(plan)['handoff.yaml'] as string), {
    nodes: [{ uuid: plan.nodes[0]?.uuid }, {}],
    subnets: [{ cidr: '192.0.2.0/24' }]
  })
})
