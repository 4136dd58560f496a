// Rows → the JSON of answers. Names, order and shapes of Ironic's own resources are Ironic's (captured in
// test/fixtures/ironic/exchanges); secrets are masked here and nowhere else.

import { FIXED_NODE, FIXED_PORT, MASK } from '../../src/decide/enrolment.ts'
import { shown } from '../../src/decide/provision-state.ts'
import type { StoredEvent } from '../../src/domain/event.ts'
import type { Image, KeyPair } from '../../src/domain/image.ts'
import type { Instance } from '../../src/domain/instance.ts'
import type { Node, Port } from '../../src/domain/node.ts'
import { CHECKLIST, nextMilestone, type Order } from '../../src/domain/order.ts'
import type { QuirkCard } from '../../src/domain/quirk-card.ts'
import type { Lease } from '../../src/domain/subnet.ts'
import { SECRET_DRIVER_INFO } from '../store/secrets.ts'

export type Json = Record<string, unknown>

/** The one who does the work; Ironic shows a conductor's name here. */
export const CONDUCTOR = 'seedling'

/** RFC 3339 in Ironic's way: microseconds and a numeric offset. */
export function time(at: number | null): string | null {
  return at === null ? null : new Date(at).toISOString().replace('Z', '000+00:00')
}

/** Ironic's pair of links; `base` is `http://host`. */
export function links(base: string, path: string): Json[] {
  return [
    { href: `${base}/v1/${path}`, rel: 'self' },
    { href: `${base}/${path}`, rel: 'bookmark' }
  ]
}

export function maskedDriverInfo(node: Pick<Node, 'driverInfo'>): Json {
  const masked: Json = { ...node.driverInfo }
  for (const key of SECRET_DRIVER_INFO) if (masked[key] !== undefined) masked[key] = MASK
  return masked
}

/** A node with all keys of Ironic's answer. `orders` are all of the node's, oldest first. */
export function nodeView(node: Node, orders: readonly Order[], base: string): Json {
  const { state, target, targetPower } = shown(node, orders)
  const latest = orders.at(-1)
  const inspection = orders.findLast((order) => order.kind === 'inspect')
  const path = `nodes/${node.uuid}`
  return {
    uuid: node.uuid,
    created_at: time(node.createdAt),
    updated_at: time(node.updatedAt),
    automated_clean: FIXED_NODE['automated_clean'],
    bios_interface: FIXED_NODE['bios_interface'],
    boot_interface: FIXED_NODE['boot_interface'],
    boot_mode: node.inventory?.bootMode ?? null,
    clean_step: {},
    conductor_group: FIXED_NODE['conductor_group'],
    console_enabled: false,
    console_interface: FIXED_NODE['console_interface'],
    deploy_interface: FIXED_NODE['deploy_interface'],
    deploy_step: latest?.state === 'open' && latest.kind === 'deploy' ? deployStep(latest) : {},
    description: node.description,
    driver: node.driver,
    driver_info: maskedDriverInfo(node),
    // What Seedling learned: how its BMC behaves, which machines are alike, and what boots them.
    driver_internal_info: learned(node),
    extra: node.extra,
    fault: null,
    inspection_finished_at: time(inspection?.state === 'done' ? inspection.finishedAt : null),
    inspection_started_at: time(inspection?.state === 'open' ? inspection.createdAt : null),
    inspect_interface: FIXED_NODE['inspect_interface'],
    instance_info: node.instanceInfo,
    instance_uuid: node.instanceUuid,
    last_error: node.lastError,
    lessee: FIXED_NODE['lessee'],
    maintenance: node.maintenance,
    maintenance_reason: node.maintenanceReason,
    management_interface: FIXED_NODE['management_interface'],
    name: node.name,
    network_data: FIXED_NODE['network_data'],
    network_interface: FIXED_NODE['network_interface'],
    owner: node.owner,
    power_interface: FIXED_NODE['power_interface'],
    power_state: node.powerState && `power ${node.powerState}`,
    properties: node.properties,
    protected: FIXED_NODE['protected'],
    protected_reason: FIXED_NODE['protected_reason'],
    provision_state: state,
    provision_updated_at: time(node.provisionUpdatedAt),
    raid_config: {},
    raid_interface: FIXED_NODE['raid_interface'],
    rescue_interface: FIXED_NODE['rescue_interface'],
    reservation: latest?.state === 'open' ? CONDUCTOR : null,
    resource_class: node.resourceClass,
    retired: FIXED_NODE['retired'],
    retired_reason: FIXED_NODE['retired_reason'],
    secure_boot: node.inventory?.secureBoot ?? null,
    storage_interface: FIXED_NODE['storage_interface'],
    target_power_state: targetPower,
    target_provision_state: target,
    target_raid_config: {},
    traits: [],
    vendor_interface: FIXED_NODE['vendor_interface'],
    links: links(base, path),
    conductor: CONDUCTOR,
    allocation_uuid: null,
    chassis_uuid: FIXED_NODE['chassis_uuid'],
    ports: links(base, `${path}/ports`),
    states: links(base, `${path}/states`),
    portgroups: links(base, `${path}/portgroups`),
    volume: links(base, `${path}/volume`)
  }
}

/** What an exam found out about a BMC. Spans are milliseconds, of power seconds. */
export function quirkCardView({
  examinedAt,
  acceptsSuiteZero,
  answersPing,
  bootDevice,
  ...card
}: QuirkCard): Json {
  return {
    examined_at: time(examinedAt),
    identity: card.identity && {
      manufacturer: card.identity.manufacturer,
      product: card.identity.product,
      firmware: card.identity.firmware,
      ipmi_version: card.identity.ipmiVersion,
      system_guid: card.identity.systemGuid
    },
    way: card.way && { cipher_suite: card.way.suite, privilege: card.way.privilege, quirk: card.way.quirk },
    cipher_suites: card.suites,
    accepts_suite_zero: acceptsSuiteZero,
    answers_ping: answersPing,
    sessions: card.sessions,
    latency: card.latency,
    boot_device: bootDevice && {
      truthful: bootDevice.truthful,
      keeps_efi: bootDevice.keepsEfi,
      can_be_kept: bootDevice.canBeKept,
      lapses: bootDevice.lapses
    },
    power: card.power && { on_seconds: card.power.onSeconds, off_seconds: card.power.offSeconds },
    gap: card.gap,
    findings: card.findings
  }
}

function learned({ quirkCard, hardwareModel, bootLoader }: Node): Json {
  return {
    ...(quirkCard !== null && { quirk_card: quirkCardView(quirkCard) }),
    ...(hardwareModel !== null && { hardware_model: hardwareModel }),
    ...(bootLoader !== null && { boot_loader: bootLoader })
  }
}

/** What is shown of each node of a plain list. */
export const NODE_SUMMARY = [
  'uuid',
  'instance_uuid',
  'maintenance',
  'power_state',
  'provision_state',
  'name',
  'links'
]

/** Ironic's place for "what is it doing": the milestone that is waited for, and how far the write has come. */
function deployStep(order: Order): Json {
  const { progress } = order
  return {
    interface: 'deploy',
    step: nextMilestone(order) ?? null,
    attempt: order.attempt,
    ...(progress ? { stage: progress.stage, done: progress.done, total: progress.total } : {})
  }
}

const STATES = [
  'console_enabled',
  'last_error',
  'power_state',
  'provision_state',
  'provision_updated_at',
  'raid_config',
  'target_power_state',
  'target_provision_state',
  'target_raid_config',
  'boot_mode',
  'secure_boot'
]

export function statesView(node: Node, orders: readonly Order[], base: string): Json {
  return pick(nodeView(node, orders, base), STATES)
}

export function portView(port: Port, base: string): Json {
  return {
    uuid: port.uuid,
    created_at: time(port.createdAt),
    updated_at: time(port.updatedAt),
    address: port.address,
    extra: port.extra,
    // Ironic's place for what the service itself knows of a port.
    internal_info: port.reservedIp === null ? {} : { reserved_ip: port.reservedIp },
    is_smartnic: FIXED_PORT['is_smartnic'],
    local_link_connection: port.localLinkConnection,
    physical_network: port.physicalNetwork,
    pxe_enabled: port.pxeEnabled,
    node_uuid: port.nodeUuid,
    links: links(base, `ports/${port.uuid}`),
    portgroup_uuid: FIXED_PORT['portgroup_uuid']
  }
}

export const PORT_SUMMARY = ['uuid', 'address', 'links']

export function imageView(image: Image, base: string): Json {
  return {
    id: image.id,
    name: image.name,
    disk_format: image.format,
    size: image.size,
    stored_size: image.storedSize,
    chunk_size: image.chunkSize,
    os_hash_algo: 'sha256',
    os_hash_value: image.sha256,
    digest: image.digest,
    created_at: time(image.createdAt),
    links: links(base, `images/${encodeURIComponent(image.name)}`)
  }
}

export function keypairView(keypair: KeyPair): Json {
  return {
    name: keypair.name,
    type: 'ssh',
    public_key: keypair.publicKey,
    fingerprint: keypair.fingerprint,
    created_at: time(keypair.createdAt)
  }
}

/** A deployment is a deploy order with what it installs. */
export function deploymentView(
  order: Order,
  node: Pick<Node, 'uuid' | 'name'> | null,
  instance: Instance | null,
  image: Image | null,
  base: string
): Json {
  return {
    uuid: order.id,
    node_uuid: order.nodeUuid,
    node_name: node?.name ?? null,
    instance_uuid: order.instanceUuid,
    hostname: instance?.hostname ?? null,
    image_id: order.imageId,
    image_name: image?.name ?? null,
    key_names: Object.keys(instance?.publicKeys ?? {}),
    state: order.state,
    attempt: order.attempt,
    milestones: CHECKLIST[order.kind].map((milestone) => ({
      name: milestone,
      reached_at: time(order.ticks[milestone] ?? null)
    })),
    waiting_for: order.state === 'open' ? (nextMilestone(order) ?? null) : null,
    progress: order.progress && { ...order.progress, at: time(order.progress.at) },
    trouble: order.trouble,
    failure: order.failure && { ...order.failure, at: time(order.failure.at) },
    created_at: time(order.createdAt),
    finished_at: time(order.finishedAt),
    links: links(base, `deployments/${order.id}`)
  }
}

/** Leases run on a clock of their own; its reader wants to know how long from now. */
export function leaseView(
  lease: Lease,
  { now, leaseNow }: { now: number; leaseNow: number },
  port: Port | null,
  node: Node | null
): Json {
  return {
    mac: lease.mac,
    ip: lease.ip,
    kind: lease.kind,
    state: lease.state === 'bound' && lease.expiresAt <= leaseNow ? 'expired' : lease.state,
    expires_at: time(now + lease.expiresAt - leaseNow),
    hostname: lease.hostname,
    node_uuid: node?.uuid ?? null,
    node_name: node?.name ?? null,
    reserved: port?.reservedIp === lease.ip,
    updated_at: time(lease.updatedAt)
  }
}

export function eventView(event: StoredEvent, nodeName: string | null): Json {
  return {
    id: event.id,
    kind: event.kind,
    at: time(event.at),
    last_at: time(event.lastAt),
    repeats: event.repeats,
    node_uuid: event.nodeUuid,
    node_name: nodeName,
    order_id: event.orderId,
    subject: event.subject,
    detail: event.detail
  }
}

export function pick(view: Json, fields: readonly string[]): Json {
  return Object.fromEntries(fields.map((field) => [field, view[field]]))
}
