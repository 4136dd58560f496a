import t from 'tap'
import { planImport, readInventory, type ImportFacts } from '../../src/decide/inventory.ts'
import type { Change } from '../../src/domain/change.ts'
import type { AppError } from '../../src/domain/error.ts'
import { aNode, aPort, NOW } from '../support/builders.ts'

const MACHINE = {
  name: 'ctl-1',
  pm_type: 'ipmi',
  pm_addr: '10.0.0.1',
  pm_user: 'admin',
  pm_password: 'secret',
  mac: ['52:54:00:00:00:01']
}
const without = (key: string) => Object.fromEntries(Object.entries(MACHINE).filter(([name]) => name !== key))

t.test('files that are read', async (t) => {
  const cases: Record<string, [unknown, object]> = {
    'instackenv.json': [
      { nodes: [MACHINE] },
      {
        name: 'ctl-1',
        driverInfo: { ipmi_address: '10.0.0.1', ipmi_username: 'admin', ipmi_password: 'secret' },
        ports: [{ address: '52:54:00:00:00:01', pxe_enabled: true }]
      }
    ],
    'nodes.json, a list': [[MACHINE], { name: 'ctl-1' }],
    'an empty name for the type of long ago': [[{ ...MACHINE, pm_type: 'pxe_ipmitool' }], { name: 'ctl-1' }],
    'any _ipmitool': [[{ ...MACHINE, pm_type: 'agent_ipmitool' }], {}],
    'numbers as numbers': [
      [{ ...MACHINE, cpu: 4, memory: 8192, disk: 100, pm_port: 6230 }],
      { properties: { cpus: 4, memory_mb: 8192, local_gb: 100 }, driverInfo: { ipmi_port: 6230 } }
    ],
    'numbers as text': [
      [{ ...MACHINE, cpu: '4', memory: '8192', disk: '100', pm_port: '6230' }],
      { properties: { cpus: 4, memory_mb: 8192, local_gb: 100 }, driverInfo: { ipmi_port: 6230 } }
    ],
    'amd64 as x86_64': [[{ ...MACHINE, arch: 'amd64' }], { properties: { cpu_arch: 'x86_64' } }],
    'MACs in any notation': [
      [{ ...MACHINE, mac: ['52-54-00-AA-BB-CC'] }],
      { ports: [{ address: '52:54:00:aa:bb:cc' }] }
    ],
    'several MACs: the first one boots': [
      [{ ...MACHINE, mac: ['52:54:00:00:00:01', '52:54:00:00:00:02'] }],
      { ports: [{ pxe_enabled: true }, { pxe_enabled: false }] }
    ],
    'one MAC as text': [
      [{ ...MACHINE, mac: '52:54:00:00:00:01' }],
      { ports: [{ address: '52:54:00:00:00:01' }] }
    ],
    ports: [
      [
        {
          ...without('mac'),
          ports: [
            {
              address: '52:54:00:00:00:01',
              physical_network: 'ctlplane',
              local_link_connection: { switch_id: 'aa', port_id: '1' }
            }
          ]
        }
      ],
      {
        ports: [
          {
            address: '52:54:00:00:00:01',
            physical_network: 'ctlplane',
            local_link_connection: { switch_id: 'aa', port_id: '1' }
          }
        ]
      }
    ],
    'capabilities as text': [
      [{ ...MACHINE, capabilities: 'boot_mode:uefi,profile:control' }],
      { properties: { capabilities: 'boot_mode:uefi,profile:control' } }
    ],
    'capabilities as an object': [
      [{ ...MACHINE, capabilities: { boot_mode: 'bios', a: 1 } }],
      { properties: { capabilities: 'boot_mode:bios,a:1' } }
    ],
    'profile joins the capabilities': [
      [{ ...MACHINE, capabilities: 'a:b', profile: 'compute' }],
      { properties: { capabilities: 'a:b,profile:compute' } }
    ],
    root_device: [
      [{ ...MACHINE, root_device: { serial: 'S1' } }],
      { properties: { root_device: { serial: 'S1' } } }
    ],
    resource_class: [[{ ...MACHINE, resource_class: 'baremetal' }], { resourceClass: 'baremetal' }],
    'a comment': [{ nodes: [{ ...MACHINE, _comment: 'rack 1' }], _comment: 'x' }, { name: 'ctl-1' }],
    'keys that mean nothing here are named': [
      [{ ...MACHINE, kernel_id: 'x', deploy_interface: 'direct', platform: 'p' }],
      { ignored: ['kernel_id', 'deploy_interface', 'platform'] }
    ],
    'no name': [[without('name')], { where: 'node 0' }],
    "the file of Ironic's client": [
      {
        nodes: [
          {
            uuid: '6E6F6465-0000-4000-8000-000000000001',
            name: 'ctl-1',
            driver: 'ipmi',
            driver_info: { ipmi_address: '10.0.0.1', ipmi_cipher_suite: '3' },
            properties: { cpus: 8, cpu_arch: 'arm64' },
            extra: { rack: 1 },
            resource_class: 'baremetal',
            ports: [{ address: '52:54:00:00:00:01', pxe_enabled: true }]
          }
        ],
        chassis: []
      },
      {
        uuid: '6e6f6465-0000-4000-8000-000000000001',
        driverInfo: { ipmi_cipher_suite: '3' },
        properties: { cpus: 8, cpu_arch: 'aarch64' },
        extra: { rack: 1 }
      }
    ],
    'a password of 20 bytes': [[{ ...MACHINE, pm_password: 'x'.repeat(20) }], {}]
  }
  for (const [name, [file, expected]] of Object.entries(cases))
    t.match(readInventory(file)[0], expected, name)
})

t.test('files that are refused, each fault with its place', async (t) => {
  const cases: Record<string, [unknown, RegExp]> = {
    'no object at all': ['nodes', /an inventory is/],
    'no nodes': [{}, /"nodes" is missing/],
    'nodes that are no list': [{ nodes: {} }, /"nodes" is missing or no list/],
    'an unknown key beside nodes': [{ nodes: [], 'ssh-user': 'x' }, /unknown key "ssh-user"/],
    'a node that is no object': [[7], /node 0: is not an object/],
    'an unknown key': [[{ ...MACHINE, pm_adr: 'x' }], /node 0 \(ctl-1\): unknown key "pm_adr"/],
    'a key that every object inherits': [[{ ...MACHINE, toString: 'x' }], /unknown key "toString"/],
    'no type': [[without('pm_type')], /pm_type is missing/],
    redfish: [[{ ...MACHINE, pm_type: 'redfish' }], /pm_type: "redfish" is not supported/],
    'a virtual BMC by SSH': [[{ ...MACHINE, pm_type: 'pxe_ssh' }], /pm_type: "pxe_ssh" is not supported/],
    'no BMC address': [[without('pm_addr')], /pm_addr is missing/],
    'an empty BMC address': [[{ ...MACHINE, pm_addr: '' }], /pm_addr: is empty/],
    'a BMC address that is no text': [[{ ...MACHINE, pm_addr: ['10.0.0.1'] }], /pm_addr: must be text/],
    'a port out of range': [[{ ...MACHINE, pm_port: 70000 }], /pm_port 70000 is not a port/],
    'a port that is no number': [[{ ...MACHINE, pm_port: 'ipmi' }], /pm_port: "ipmi" is not a whole number/],
    'a password of 21 bytes': [
      [{ ...MACHINE, pm_password: 'x'.repeat(21) }],
      /pm_password is longer than the 20 bytes/
    ],
    'a user of 17 bytes': [[{ ...MACHINE, pm_user: 'x'.repeat(17) }], /pm_user is longer than the 16 bytes/],
    'no MAC': [[without('mac')], /has no MAC/],
    'a MAC that is none': [[{ ...MACHINE, mac: ['52:54:00'] }], /mac\[0\]: "52:54:00" is not a MAC address/],
    'ports without address': [[{ ...without('mac'), ports: [{}] }], /ports\[0\]: nothing is not a MAC/],
    'ports that are no list': [[{ ...without('mac'), ports: {} }], /ports: must be a list/],
    'an unknown key in a port': [
      [{ ...without('mac'), ports: [{ address: '52:54:00:00:00:01', speed: 1 }] }],
      /ports\[0\]: unknown key "speed"/
    ],
    'half a switch port': [
      [
        {
          ...without('mac'),
          ports: [{ address: '52:54:00:00:00:01', local_link_connection: { switch_id: 'a' } }]
        }
      ],
      /ports\[0\]: local_link_connection lacks port_id/
    ],
    'cpus in words': [[{ ...MACHINE, cpu: 'four' }], /cpu: "four" is not a whole number/],
    'half a GiB': [[{ ...MACHINE, disk: 0.5 }], /disk: 0\.5 is not a whole number/],
    'capabilities without colon': [[{ ...MACHINE, capabilities: 'uefi' }], /capabilities has "uefi"/],
    'a boot mode that is none': [
      [{ ...MACHINE, capabilities: 'boot_mode:efi' }],
      /boot_mode efi must be bios or uefi/
    ],
    'root_device that is no object': [
      [{ ...MACHINE, root_device: '/dev/sda' }],
      /root_device must be an object/
    ],
    'a name with a space': [[{ ...MACHINE, name: 'ctl 1' }], /name: name "ctl 1" may have only/],
    'a uuid that is none': [[{ ...MACHINE, uuid: '1' }], /uuid: "1" is not a UUID/],
    'a driver we have not': [
      [{ driver: 'redfish', driver_info: {}, ports: [] }],
      /driver: "redfish" is not supported/
    ],
    'both kinds in one node': [[{ ...MACHINE, driver: 'ipmi' }], /unknown key "pm_type"/],
    'a MAC twice': [
      [MACHINE, { ...MACHINE, name: 'b', pm_addr: '10.0.0.2' }],
      /node 1 \(b\): MAC 52:54:00:00:00:01 stands at node 0 \(ctl-1\) too/
    ],
    'a BMC twice, once with its port': [
      [MACHINE, { ...MACHINE, name: 'b', pm_port: 623, mac: ['52:54:00:00:00:02'] }],
      /BMC 10\.0\.0\.1:623 stands at/
    ],
    'a name twice': [
      [MACHINE, { ...MACHINE, pm_addr: '10.0.0.2', mac: ['52:54:00:00:00:02'] }],
      /name ctl-1 stands at/
    ]
  }
  for (const [name, [file, message]] of Object.entries(cases))
    t.throws(() => readInventory(file), { code: 'bad-inventory', message }, name)

  try {
    readInventory([{ ...MACHINE, cpu: 'x', colour: 1 }, 5, { ...MACHINE, mac: ['q'], pm_type: 'ilo' }])
    t.fail('it was accepted')
  } catch (error) {
    t.match(
      (error as AppError).detail['faults'],
      [/node 0.*cpu/, /node 0.*colour/, /node 1/, /node 2.*pm_type/, /node 2.*mac/],
      'all faults at once'
    )
    t.notMatch((error as AppError).message, /secret/)
  }
})

let counter = 0
const uuid = () => `00000000-0000-4000-8000-${String(++counter).padStart(12, '0')}`
const plan = (file: unknown, known: Partial<ImportFacts> = {}) =>
  planImport(readInventory(file), { nodes: [], ports: [], busy: new Set(), ...known }, uuid, NOW + 1)
const rows = (changes: Change[], table: 'node' | 'port') =>
  changes.flatMap((change) => ('put' in change && change.put === table ? [change.row] : []))

t.test('imports', async (t) => {
  const driverInfo = { ipmi_address: '10.0.0.1', ipmi_username: 'admin', ipmi_password: 'secret' }
  const node = aNode({ driverInfo, properties: { capabilities: 'boot_mode:uefi' } })
  const known = { nodes: [node], ports: [aPort()] }

  t.test('a new machine is enrolled, with its ports and an event', async (t) => {
    const { changes, result } = plan([MACHINE])
    t.match(result, { created: [{ name: 'ctl-1' }], updated: [], unchanged: [] })
    t.match(rows(changes, 'node'), [{ name: 'ctl-1', state: 'enroll', driverInfo }])
    t.match(rows(changes, 'port'), [{ address: '52:54:00:00:00:01', pxeEnabled: true, reservedIp: null }])
    t.match(changes.at(-1), { event: { kind: 'node-enrolled' } })
  })
  t.test('a machine without name is called after its boot NIC', async (t) => {
    t.match(plan([without('name')]).result, { created: [{ name: 'node-525400000001' }] })
  })
  t.test('the same again changes nothing', async (t) => {
    const { changes, result } = plan([MACHINE], known)
    t.match(result, { created: [], updated: [], unchanged: [{ uuid: node.uuid }] })
    t.same(changes, [])
  })
  for (const [by, entry] of Object.entries({
    'its MAC': { ...MACHINE, pm_addr: '10.0.0.9' },
    'its BMC address': { ...MACHINE, mac: ['52:54:00:00:00:09'] },
    'its BMC address with the usual port': { ...MACHINE, pm_port: 623, mac: ['52:54:00:00:00:09'] },
    'its uuid': { ...MACHINE, uuid: node.uuid, pm_addr: '10.0.0.9', mac: ['52:54:00:00:00:09'] }
  }))
    t.test(`a machine is known by ${by}`, async (t) => {
      const { changes, result } = plan([entry], known)
      t.match(result, { created: [], updated: [{ uuid: node.uuid }] })
      t.match(rows(changes, 'node'), [{ uuid: node.uuid, state: 'available' }])
    })
  t.test('an update says what changed and keeps what the file does not say', async (t) => {
    const { changes, result } = plan([{ ...MACHINE, pm_password: 'new', cpu: 4, name: 'renamed' }], known)
    t.same(result.updated[0]?.fields, ['name', 'driver_info', 'properties'])
    t.match(rows(changes, 'node'), [
      {
        name: 'renamed',
        driverInfo: { ipmi_password: 'new' },
        properties: { capabilities: 'boot_mode:uefi', cpus: 4 },
        updatedAt: NOW + 1
      }
    ])
    t.notMatch(JSON.stringify(result), /new/, 'no password in the result')
  })
  t.test('a port keeps its address and takes what the file says', async (t) => {
    const { changes, result } = plan(
      [{ ...without('mac'), ports: [{ address: '52:54:00:00:00:01', physical_network: 'b' }] }],
      known
    )
    t.same(result.updated[0]?.fields, ['port 52:54:00:00:00:01'])
    t.match(rows(changes, 'port'), [{ uuid: aPort().uuid, physicalNetwork: 'b', reservedIp: '192.0.2.100' }])
  })
  t.test('without a name in the file the enrolled one stays', async (t) => {
    t.match(plan([{ ...without('name'), cpu: 1 }], known).result, { updated: [{ name: 'ctl-1' }] })
  })

  const other = aNode({
    uuid: '6e6f6465-0000-4000-8000-000000000002',
    name: 'ctl-2',
    driverInfo: { ipmi_address: '10.0.0.2' }
  })
  const both = { nodes: [node, other], ports: [aPort()] }
  const conflicts: Record<string, [unknown, Partial<ImportFacts>, RegExp]> = {
    'a machine that is two': [
      [{ ...MACHINE, pm_addr: '10.0.0.2' }],
      both,
      /fits 2 enrolled nodes: ctl-2 \(BMC 10\.0\.0\.2:623\), ctl-1 \(MAC 52/
    ],
    'two entries that are one machine': [
      [
        { ...without('name'), pm_addr: '10.0.0.7' },
        { ...without('name'), mac: ['52:54:00:00:00:07'] }
      ],
      both,
      /node 1: is the same enrolled node as node 0/
    ],
    'a name that is taken': [
      [{ ...MACHINE, name: 'ctl-2' }],
      both,
      /name ctl-2 belongs to another enrolled node/
    ],
    'BMC access of a machine at work': [
      [{ ...MACHINE, pm_password: 'x' }],
      { ...known, busy: new Set([node.uuid]) },
      /while an order is open/
    ]
  }
  for (const [name, [file, facts, message]] of Object.entries(conflicts))
    t.throws(() => plan(file, facts), { code: 'bad-inventory', message }, name)
  t.match(
    plan([{ ...MACHINE, cpu: 9 }], { ...known, busy: new Set([node.uuid]) }).result,
    { updated: [{ fields: ['properties'] }] },
    'what is no danger to an order may change'
  )
})
