// What stands in the way of giving a machine away, and the 121 cases that were tried against a real Ironic: each that can arise from what we store is
// impossible at enrolment or named by the plan before anything is sent.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { BootDeviceSetting } from '../../src/domain/bmc.ts'
import { newNode, newPort, patchNode } from '../../src/decide/enrolment.ts'
import { planHandoff, type HandoffFacts } from '../../src/decide/handoff-plan.ts'
import { nextHandoffStep, type HandoffStep, type RemoteNode } from '../../src/decide/handoff-step.ts'
import { ironicNode, ironicPort } from '../../src/decide/handoff-export.ts'
import type { HandoffOptions } from '../../src/domain/handoff.ts'
import type { Node, Port } from '../../src/domain/node.ts'
import {
  anImage,
  anInstance,
  anInventory,
  aNode,
  anOrder,
  aPort,
  aSubnet,
  NOW,
  someHandoffOptions
} from '../support/builders.ts'

const OPTIONS = someHandoffOptions()

type One = HandoffFacts['nodes'][number]
const ready = (given: Partial<Node> = {}, more: Partial<One> = {}): One => ({
  node: aNode({
    state: 'active',
    powerState: 'on',
    inventory: anInventory(),
    instanceUuid: anInstance().uuid,
    ...given
  }),
  ports: [aPort()],
  orders: [anOrder({ kind: 'deploy', state: 'done' })],
  instance: anInstance(),
  image: anImage(),
  bootDevice: null,
  ...more
})
const plan = (nodes: One[], options: Partial<HandoffOptions> = {}) =>
  planHandoff({ nodes, subnets: [aSubnet()] }, { ...OPTIONS, ...options })
const codes = (one: One, options: Partial<HandoffOptions> = {}) =>
  plan([one], options).nodes[0]?.blockers.map(({ code }) => code)

t.test('a machine that would not boot from its disk', async (t) => {
  const fault = (given: Partial<BootDeviceSetting>) => {
    const bootDevice = { device: 'none', persistent: false, efi: false, valid: true, ...given } as const
    return plan([ready({}, { bootDevice })]).nodes[0]?.blockers.map(({ message }) => message)
  }
  t.match(fault({ device: 'pxe', persistent: true }), [/boot from "pxe" at every start/])
  t.match(fault({ device: 'cdrom' }), [/boot from "cdrom" at its next start; .*seedling node boot-device/])
  for (const fine of [
    { device: 'pxe', valid: false },
    { device: 'none' },
    { device: 'disk', persistent: true }
  ] as const)
    t.same(fault(fine), [])
  const bootDevice = { unknown: 'the BMC does not answer' }
  t.match(plan([ready({}, { bootDevice })]).nodes[0]?.blockers, [
    { code: 'boot-device-unknown', message: /is not known: the BMC does not answer/ }
  ])
})

t.test('a machine that runs its instance can go, with all that its new owner needs', async (t) => {
  const [planned] = plan([ready()]).nodes
  t.same(planned?.blockers, [])
  t.match(planned?.export, {
    driverInfo: {
      ipmi_address: '127.0.0.1',
      ipmi_username: 'admin',
      ipmi_password: 'secret',
      ipmi_cipher_suite: '3'
    },
    properties: { cpu_arch: 'x86_64', capabilities: /boot_mode:/ },
    resourceClass: 'baremetal',
    instanceInfo: {
      image_source: /^http:\/\/images\.example\/.*\.raw$/,
      image_os_hash_algo: 'sha256',
      image_os_hash_value: anImage().sha256
    },
    reservations: [{ mac: aPort().address, ip: aPort().reservedIp }]
  })
  t.equal(ironicNode(planned!.export)['automated_clean'], false, 'cleaning wipes')
})

t.test('what stands in the way, each with what to do', async (t) => {
  const cases: [string[], One][] = [
    [['order-open'], ready({}, { orders: [anOrder({ kind: 'deploy', state: 'open' })] })],
    [['not-active'], ready({ state: 'available' }, { orders: [] })],
    [['maintenance'], ready({ maintenance: true })],
    [['power-unknown'], ready({ powerState: null })],
    [['power-off'], ready({ powerState: 'off' })],
    [['bmc-missing'], ready({ driverInfo: { ipmi_username: 'a', ipmi_password: 'b' } })],
    [['bmc-missing', 'bmc-missing'], ready({ driverInfo: { ipmi_address: '192.0.2.9' } })],
    [['no-ports'], ready({}, { ports: [] })],
    [['image-missing'], ready({}, { image: null, instance: null })],
    [['name'], ready({ name: 'a b' })],
    [['properties'], ready({ properties: { cpus: 'four' } })],
    [['cpu-arch'], ready({ properties: { cpu_arch: 'vax' } })]
  ]
  for (const [expected, one] of cases) {
    t.same(codes(one), expected)
    for (const { message } of plan([one]).nodes[0]?.blockers ?? []) t.ok(message.length > 20, message)
  }
  t.same(codes(ready(), { imageUrl: null }), ['image-missing'], 'nobody said where the image will be')
  const two = plan([ready(), ready({ uuid: '6e6f6465-0000-4000-8000-000000000002', name: 'ctl-2' })]).nodes
  t.same(
    two.map(({ blockers }) => blockers.map(({ code }) => code)),
    [['bmc-shared'], ['bmc-shared']]
  )
})

// The tried cases

type Verdict =
  /** Refused when it is enrolled or changed. */
  | { enrolment: () => unknown }
  /** Named by the plan. */
  | { plan: One; code: string }
  /** Taken by Ironic, and right. */
  | { accepted: One }
  /** What is sent, or done next, is another thing. */
  | { instead: () => boolean }
  /** Nothing we send has it; the reason. */
  | { never: string }

const body = (given: object) => () => newNode({ name: 'ctl-1', driver: 'ipmi', ...given }, aNode().uuid, NOW)
const port = (given: object) => () =>
  newPort({ address: '52:54:00:00:00:01', ...given }, aPort().uuid, aNode().uuid, NOW)
const info = (given: object) => ready({ driverInfo: { ...aNode().driverInfo, ...given } })
const image = (instanceInfo: Node['instanceInfo']) => ready({ instanceInfo }, { image: null, instance: null })
const never = (why: string): Verdict => ({ never: why })
const sent = (one: One) => ironicNode(plan([one]).nodes[0]!.export)
/** What a commit does where Ironic has it so, active or on its way there. */
const instead = (given: Partial<RemoteNode>, is: (step: HandoffStep) => boolean): Verdict => {
  const node = plan([ready()]).nodes[0]!.export
  const there = {
    ...(ironicNode(node) as Pick<RemoteNode, 'uuid' | 'name' | 'driver'>),
    ...{ driver_info: node.driverInfo, instance_info: node.instanceInfo },
    ...{ provision_state: 'enroll', target_provision_state: null, power_state: 'power on', last_error: null },
    ...{ maintenance: false, maintenance_reason: null, protected: false },
    ...given
  }
  const ports = { [aPort().address]: { node_uuid: node.uuid } }
  return { instead: () => is(nextHandoffStep(node, { node: there, ports }, null, { nova: false })) }
}
const OWN_PORTS: readonly Port[] = [aPort()]

const VERDICTS: Readonly<Record<string, Verdict>> = {
  'plain, complete': { accepted: ready() },
  'same again: uuid, name and MAC taken': instead(
    {},
    (step) => step.do === 'provision' && step.target === 'manage'
  ),
  'same name, new uuid': never("check names it (undone.test.ts); commit stops at the 409 in Ironic's words"),
  'same MAC, new node': {
    instead: () => {
      const remote = { node: null, ports: { [aPort().address]: { node_uuid: 'another' } } }
      return nextHandoffStep(plan([ready()]).nodes[0]!.export, remote, null, { nova: false }).do === 'stop'
    }
  },
  'same BMC, new node': { plan: ready(), code: 'bmc-shared' },
  'no uuid': { instead: () => sent(ready())['uuid'] === aNode().uuid },
  'uuid not a uuid': { enrolment: body({ uuid: 'machine-7' }) },
  'uuid upper case': { instead: () => body({ uuid: aNode().uuid.toUpperCase() })().uuid === aNode().uuid },
  'no name': { accepted: ready({ name: null }) },
  'name with underscore': { accepted: ready({ name: 'a_b' }) },
  'name with space': { enrolment: body({ name: 'a b' }) },
  'name that is a uuid': { enrolment: body({ name: 'ae16c1da-0bcb-4cf6-ae00-0721d0fb00c0' }) },
  'name upper case and dots': { accepted: ready({ name: 'A.b' }) },
  'no driver': { instead: () => sent(ready())['driver'] === 'ipmi' },
  'driver pxe_ipmitool (old name)': { enrolment: body({ driver: 'pxe_ipmitool' }) },
  'driver redfish, not enabled': { enrolment: body({ driver: 'redfish' }) },
  'no resource_class': {
    instead: () => sent(ready({ resourceClass: null }))['resource_class'] === 'baremetal'
  },
  'no properties': {
    instead: () => {
      const { cpu_arch: arch, capabilities } = sent(ready({ properties: {} }))[
        'properties'
      ] as Node['properties']
      return arch === 'x86_64' && String(capabilities).startsWith('boot_mode:')
    }
  },
  'properties.cpus as text': { enrolment: body({ properties: { cpus: 'four' } }) },
  'properties.memory_mb 0': { accepted: ready({ properties: { memory_mb: 0 } }) },
  'capabilities as object': { enrolment: body({ properties: { capabilities: { boot_mode: 'uefi' } } }) },
  'capabilities malformed': { enrolment: body({ properties: { capabilities: 'boot_mode' } }) },
  'cpu_arch amd64': { accepted: ready({ properties: { cpu_arch: 'amd64' } }) },
  'no ports': { plan: ready({}, { ports: [] }), code: 'no-ports' },
  'MAC upper case': {
    instead: () => port({ address: '52:54:00:AA:00:01' })().address === '52:54:00:aa:00:01'
  },
  'MAC with dashes': {
    instead: () => port({ address: '52-54-00-aa-00-01' })().address === '52:54:00:aa:00:01'
  },
  'MAC malformed': { enrolment: port({ address: '52:54:00' }) },
  'port pxe_enabled false': { accepted: ready({}, { ports: [aPort({ pxeEnabled: false })] }) },
  'port local_link_connection partial': {
    enrolment: port({ local_link_connection: { switch_id: 'aa:bb:cc:dd:ee:ff' } })
  },
  'port local_link_connection full': {
    accepted: ready(
      {},
      { ports: [aPort({ localLinkConnection: { switch_id: 'aa:bb:cc:dd:ee:ff', port_id: 'Gi1' } })] }
    )
  },
  'port with unknown key': { enrolment: port({ ip_address: '192.0.2.1' }) },
  'no driver_info': { plan: ready({ driverInfo: {} }), code: 'bmc-missing' },
  'no ipmi_address': { plan: info({ ipmi_address: undefined }), code: 'bmc-missing' },
  'no ipmi_username': { plan: info({ ipmi_username: undefined }), code: 'bmc-missing' },
  'no ipmi_password': { plan: info({ ipmi_password: undefined }), code: 'bmc-missing' },
  'wrong password': { plan: ready({ powerState: null }), code: 'power-unknown' },
  'nobody at the BMC port': { plan: ready({ powerState: null }), code: 'power-unknown' },
  'BMC host name unknown': { plan: ready({ powerState: null }), code: 'power-unknown' },
  'ipmi_port as text': { accepted: info({ ipmi_port: '623' }) },
  'ipmi_port 99999': { enrolment: body({ driver_info: { ...aNode().driverInfo, ipmi_port: 99999 } }) },
  'ipmi_protocol_version 1.5': { accepted: info({ ipmi_protocol_version: '1.5' }) },
  'ipmi_priv_level BOSS': { plan: info({ ipmi_priv_level: 'BOSS' }), code: 'bmc-driver-info' },
  'unknown driver_info key': {
    instead: () => !('mine' in (sent(info({ mine: 1 }))['driver_info'] as object))
  },
  'password ******': { enrolment: body({ driver_info: { ...aNode().driverInfo, ipmi_password: '******' } }) },
  'password with quote, space and umlaut': { plan: info({ ipmi_password: '"ö x' }), code: 'bmc-driver-info' },
  'no instance_info': { plan: image({}), code: 'image-missing' },
  'image without checksum': {
    plan: image({ image_source: 'http://images.example/a.raw' }),
    code: 'image-missing'
  },
  'image_checksum md5 only': {
    accepted: image({
      image_source: 'http://images.example/a.raw',
      image_checksum: 'd41d8cd98f00b204e9800998ecf8427e'
    })
  },
  'image server answers nobody': never('only a rebuild asks; the plan shows the address'),
  'image is a Glance id, no Glance': {
    plan: image({ image_source: '11111111-2222-4333-8444-555555555555' }),
    code: 'image-missing'
  },
  'image glance://id, no Glance': { plan: image({ image_source: 'glance://1' }), code: 'image-missing' },
  'image file:///nowhere': { plan: image({ image_source: 'file:///nowhere' }), code: 'image-missing' },
  'image ftp://': { plan: image({ image_source: 'ftp://images.example/a' }), code: 'image-missing' },
  'image name without scheme': { plan: image({ image_source: 'debian' }), code: 'image-missing' },
  'image with kernel and ramdisk': {
    accepted: image({
      image_source: 'http://images.example/a.raw',
      image_checksum: 'x',
      kernel: 'http://images.example/k',
      ramdisk: 'http://images.example/r'
    })
  },
  'boot_iso and image_source': {
    plan: image({
      image_source: 'http://images.example/a',
      image_checksum: 'x',
      boot_iso: 'http://images.example/i'
    }),
    code: 'image-missing'
  },
  'same MAC in two of ours': never('a MAC is unique here'),
  'adopt straight from enroll': instead({}, (step) => step.do === 'provision' && step.target === 'manage'),
  'manage twice': instead(
    { provision_state: 'manageable' },
    (step) => step.do === 'provision' && step.target === 'adopt'
  ),
  'provide then adopt (from available)': instead(
    { provision_state: 'available' },
    (step) => step.do === 'stop'
  ),
  'in maintenance before adopt': { plan: ready({ maintenance: true }), code: 'maintenance' },
  'machine is off': { plan: ready({ powerState: 'off' }), code: 'power-off' },
  'made to fail, then repaired and adopted again': instead(
    { provision_state: 'adopt failed' },
    (step) => step.do === 'provision' && step.target === 'adopt'
  ),
  'adopt an active node': instead({ provision_state: 'active' }, (step) => step.do === 'patch'),
  'maintenance at create': { instead: () => !('maintenance' in sent(ready({ maintenance: true }))) },
  'extra with 100 kB': { accepted: ready({ extra: { much: 'x'.repeat(100_000) } }) }
}

/** Whole families of cases that are about fields or verbs that we never send. */
const FAMILIES: [RegExp, string][] = [
  [
    /^client: /,
    "what the client's file may hold: the export of it is fed to the real client (handoff-export.test.ts, ironic.deep.ts)"
  ],
  [/^ {3}/, 'part of the case before it'],
  [
    /interface |^boot interface|^network |^management noop|^power fake|^fake|^manual-management|^deploy (ramdisk|interface)/,
    'no interface is named: the defaults of the target hold'
  ],
  [/instance_uuid/, "instance_uuid is not sent: it is Nova's"],
  [/ at create$|^network_data|^conductor_group/, 'a field that is not sent'],
  [/version/, 'the version that is asked for is fixed, and 1.51'],
  [
    /on an active node|of an active node|an active node$|unknown target/,
    'nothing is changed on an active node but "protected"'
  ]
]

t.test('each of the cases that were tried', async (t) => {
  const fixture = join(import.meta.dirname, '../fixtures/ironic/adoption-cases.json')
  const tried = JSON.parse(readFileSync(fixture, 'utf8')) as { case: string; result: unknown }[]
  t.equal(tried.length, 121)
  for (const { case: name } of tried) {
    const verdict = VERDICTS[name]
    if (!verdict) {
      const family = FAMILIES.find(([pattern]) => pattern.test(name))
      t.ok(family, `${name}: ${family?.[1] ?? 'nobody says what becomes of it'}`)
    } else if ('enrolment' in verdict)
      t.throws(verdict.enrolment, { code: 'bad-request' }, `${name}: impossible here`)
    else if ('plan' in verdict) {
      const nodes =
        verdict.code === 'bmc-shared'
          ? [verdict.plan, ready({ uuid: '6e6f6465-0000-4000-8000-000000000009', name: 'other' })]
          : [verdict.plan]
      t.ok(
        plan(nodes).nodes[0]?.blockers.some(({ code }) => code === verdict.code),
        `${name}: ${verdict.code}`
      )
    } else if ('accepted' in verdict)
      t.same(plan([verdict.accepted]).nodes[0]?.blockers, [], `${name}: taken, and right`)
    else if ('instead' in verdict) t.ok(verdict.instead(), `${name}: we do it otherwise`)
    else t.ok(verdict.never, `${name}: ${verdict.never}`)
  }
})

t.test('what is sent has only keys that Ironic takes', async (t) => {
  const [planned] = plan([ready({ description: 'x', owner: 'y' }, { ports: OWN_PORTS })]).nodes
  const taken = [
    'uuid',
    'name',
    'driver',
    'driver_info',
    'properties',
    'resource_class',
    'extra',
    'automated_clean'
  ]
  t.same(
    Object.keys(ironicNode(planned!.export)).filter((key) => !taken.includes(key)),
    []
  )
  t.same(Object.keys(ironicPort(planned!.export.ports[0]!)).sort(), ['address', 'pxe_enabled', 'uuid'])
  const driverInfo = planned!.export.driverInfo
  t.same(
    Object.keys(driverInfo).filter((key) => !key.startsWith('ipmi_') && !key.startsWith('deploy_')),
    []
  )
  t.throws(() => patchNode(aNode(), [{ op: 'replace', path: '/driver', value: 'redfish' }], NOW))
})
