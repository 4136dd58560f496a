// What would be given to whom, and what stands in the way: rows → plan. Ironic's adoption checks hardly anything, and what is wrong shows months
// later, at the first rebuild (services/handoff/README.md); so all that can be known here is said before anything is sent.

import type { BootDeviceSetting } from '../domain/bmc.ts'
import { cpuArch, type Node, type Port } from '../domain/node.ts'
import type { HandoffBlocker, HandoffNode, HandoffOptions, HandoffPlan } from '../domain/handoff.ts'
import type { Image } from '../domain/image.ts'
import type { Instance } from '../domain/instance.ts'
import type { Order } from '../domain/order.ts'
import type { Subnet } from '../domain/subnet.ts'
import { bmcKey, nameFault, propertyFaults } from './enrolment.ts'
import { shown } from './provision-state.ts'

export type HandoffFacts = {
  nodes: readonly {
    node: Node
    ports: readonly Port[]
    orders: readonly Order[]
    instance: Instance | null
    image: Image | null
    /** As its BMC has it now, or why that is not known; null: it was not asked. */
    bootDevice: BootDeviceSetting | { unknown: string } | null
  }[]
  subnets: readonly Subnet[]
}

/** What Ironic's ipmi driver reads; whatever else is in our `driver_info` means nothing to it. */
const DRIVER_INFO = [
  'ipmi_address',
  'ipmi_port',
  'ipmi_username',
  'ipmi_password',
  'ipmi_cipher_suite',
  'ipmi_priv_level',
  'ipmi_hex_kg_key',
  'ipmi_protocol_version'
]
const PRIVILEGES = ['ADMINISTRATOR', 'OPERATOR', 'USER', 'CALLBACK']

export function planHandoff(facts: HandoffFacts, options: HandoffOptions): HandoffPlan {
  const bmcs = new Map<string, number>()
  for (const { node } of facts.nodes) {
    const key = bmcKey(node.driverInfo)
    if (key) bmcs.set(key, (bmcs.get(key) ?? 0) + 1)
  }
  return {
    nodes: facts.nodes.map((one) => ({
      uuid: one.node.uuid,
      name: one.node.name,
      export: exported(one, options),
      blockers: blockers(one, options, bmcs)
    })),
    subnets: facts.subnets.map(({ cidr, gateway, dns, domain, mtu, pool }) => ({
      cidr,
      gateway,
      dns,
      domain,
      mtu,
      pool
    }))
  }
}

type One = HandoffFacts['nodes'][number]

function exported({ node, ports, instance, image }: One, options: HandoffOptions): HandoffNode {
  const arch = cpuArch(node)
  const driverInfo: Record<string, unknown> = {}
  for (const key of DRIVER_INFO)
    if (node.driverInfo[key] !== undefined) driverInfo[key] = node.driverInfo[key]
  // ipmitool, which Ironic runs, loses seconds on asking for the suites where none is named, and fails with some BMCs.
  const suite = node.driverInfo['ipmi_cipher_suite'] ?? node.quirkCard?.way?.suite ?? 3
  driverInfo['ipmi_cipher_suite'] = String(suite)
  if (options.deployKernel) driverInfo['deploy_kernel'] = options.deployKernel
  if (options.deployRamdisk) driverInfo['deploy_ramdisk'] = options.deployRamdisk
  return {
    uuid: node.uuid,
    name: node.name,
    driver: 'ipmi',
    driverInfo,
    properties: {
      ...numbers(node.properties),
      ...(arch ? { cpu_arch: arch } : {}),
      capabilities: withBootMode(node)
    },
    resourceClass: node.resourceClass ?? options.resourceClass,
    extra: {
      ...node.extra,
      seedling: {
        hostname: instance?.hostname ?? null,
        image: image?.name ?? null,
        installed_at: instance?.createdAt ?? null
      }
    },
    description: node.description,
    owner: node.owner,
    ports: ports.map(({ uuid, address, pxeEnabled, physicalNetwork, localLinkConnection }) => ({
      uuid,
      address,
      pxeEnabled,
      physicalNetwork,
      localLinkConnection
    })),
    instanceInfo: image
      ? {
          image_source: `${options.imageUrl ?? 'http://set-image-url.invalid'}/${encodeURIComponent(image.name)}.raw`,
          image_os_hash_algo: 'sha256',
          image_os_hash_value: image.sha256,
          image_disk_format: 'raw'
        }
      : { ...node.instanceInfo },
    reservations: ports
      .filter(({ reservedIp }) => reservedIp !== null)
      .map(({ address, reservedIp }) => ({
        mac: address,
        ip: reservedIp as string,
        hostname: instance?.hostname ?? null
      }))
  }
}

/** Counts as numbers: Ironic takes them as text too, and does sums with them later. */
function numbers(properties: Node['properties']): Record<string, unknown> {
  const result: Record<string, unknown> = { ...properties }
  for (const key of ['cpus', 'memory_mb', 'local_gb'])
    if (typeof result[key] === 'string') result[key] = Number(result[key])
  return result
}

function withBootMode(node: Node): string {
  const told = typeof node.properties['capabilities'] === 'string' ? node.properties['capabilities'] : ''
  if (/(^|,)boot_mode:/.test(told) || !node.inventory) return told
  return [told, `boot_mode:${node.inventory.bootMode}`].filter((part) => part !== '').join(',')
}

function blockers(
  { node, ports, orders, image, bootDevice }: One,
  options: HandoffOptions,
  bmcs: ReadonlyMap<string, number>
): HandoffBlocker[] {
  const found: HandoffBlocker[] = []
  const add = (code: HandoffBlocker['code'], message: string) => void found.push({ code, message })
  const open = orders.find(({ state }) => state === 'open')
  const { state } = shown(node, orders)

  if (open)
    add(
      'order-open',
      `its order "${open.kind}" is under way; wait for its end, or end it: seedling node undeploy`
    )
  else if (state !== 'active')
    add(
      'not-active',
      `it is "${state}"; only machines that run their instance can be adopted: deploy it, or leave it to the other side's own enrolment`
    )
  if (node.handover) add('handed-over', `it is on its way to ${node.handover.target}, or there`)
  if (node.maintenance)
    add(
      'maintenance',
      `it is in maintenance${node.maintenanceReason ? ` (${node.maintenanceReason})` : ''}; take it out first: seedling node set NODE --maintenance false`
    )
  if (node.powerState === null)
    add(
      'power-unknown',
      'its power state is not known, and the other side enforces what it finds; ask: seedling node power status'
    )
  else if (node.powerState === 'off')
    add(
      'power-off',
      'it is off, and would be kept off by the other side; switch it on first: seedling node power on'
    )

  if (bootDevice !== null && 'unknown' in bootDevice)
    add('boot-device-unknown', `where its next start would be from is not known: ${bootDevice.unknown}`)
  else if (bootDevice?.valid && bootDevice.device !== 'none' && bootDevice.device !== 'disk')
    add(
      'boot-device',
      `its BMC has it boot from "${bootDevice.device}" ${bootDevice.persistent ? 'at every start' : 'at its next start'}; set that to the disk: seedling node boot-device`
    )

  const {
    ipmi_address: address,
    ipmi_username: user,
    ipmi_password: password,
    ipmi_port: port,
    ipmi_priv_level: level
  } = node.driverInfo
  if (typeof address !== 'string' || address === '')
    add('bmc-missing', 'its BMC has no address (ipmi_address)')
  else if ((bmcs.get(bmcKey(node.driverInfo) as string) ?? 0) > 1)
    add(
      'bmc-shared',
      `another machine has the same BMC ${address}; one of them is wrong, and Ironic would not notice`
    )
  if (typeof user !== 'string' || user === '')
    add('bmc-missing', 'its BMC has no user name (ipmi_username); ipmitool does not log in without')
  if (typeof password !== 'string' || password === '')
    add('bmc-missing', 'its BMC has no password (ipmi_password)')
  else {
    if (password === '******')
      add('bmc-driver-info', 'its BMC password is the mask ******, not a password; set the real one')
    // As measured: Ironic's ipmitool driver mangles it on its way.
    if (!/^[\x21-\x7e]*$/.test(password) || /["'\\]/.test(password))
      add(
        'bmc-driver-info',
        "its BMC password has blanks, quotes or letters beyond ASCII, with which Ironic's ipmitool does not log in; set a plainer one: seedling bmc … or the BMC's own page"
      )
  }
  if (port !== undefined && !(Number(port) >= 1 && Number(port) <= 65535))
    add('bmc-driver-info', `ipmi_port ${String(port)} is no port`)
  if (level !== undefined && !PRIVILEGES.includes(String(level)))
    add('bmc-driver-info', `ipmi_priv_level ${String(level)} must be one of ${PRIVILEGES.join(', ')}`)

  if (ports.length === 0)
    add('no-ports', 'it has no network port; Ironic adopts it all the same, and cannot deploy it ever after')
  const wrongName = node.name === null ? null : nameFault(node.name)
  if (wrongName) add('name', wrongName)
  for (const fault of propertyFaults(node.properties)) add('properties', fault)
  if (cpuArch(node) === null)
    add(
      'cpu-arch',
      `cpu_arch ${String(node.properties['cpu_arch'])} is none that is known; x86_64 or aarch64`
    )
  // What Nova deploys it describes itself.
  if (!options.nova) found.push(...imageBlockers(node, image, options))
  return found
}

function imageBlockers(node: Node, image: Image | null, options: HandoffOptions): HandoffBlocker[] {
  const found: HandoffBlocker[] = []
  const add = (message: string) => void found.push({ code: 'image-missing', message })
  const source = node.instanceInfo['image_source']
  if (!image && source !== undefined && node.instanceInfo['boot_iso'] !== undefined)
    add('instance_info has both image_source and boot_iso, of which Ironic takes one only')
  if (!image && (typeof source !== 'string' || !/^(https?|file):\/\//.test(source)))
    add(
      'no image of it is known, so it could never be rebuilt; set instance_info/image_source and its sha256'
    )
  else if (image && options.imageUrl === null)
    add(
      `say where the other side will find the image ${image.name}: --image-url BASE (it asks BASE/${image.name}.raw only when it rebuilds)`
    )
  else if (
    !image &&
    node.instanceInfo['image_os_hash_value'] === undefined &&
    node.instanceInfo['image_checksum'] === undefined
  )
    add(
      'its image has no checksum (instance_info/image_os_hash_algo and image_os_hash_value); a rebuild would fail'
    )
  return found
}
