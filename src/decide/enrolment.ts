// Nodes and ports as the operator writes them (Ironic's attribute names) → rows. All faults of a request are told at once.

import { bmcAccess } from '../domain/bmc-access.ts'
import { AppError } from '../domain/error.ts'
import type { Node, Port } from '../domain/node.ts'
import { applyJsonPatch, type PatchOperation } from '../wire/json-patch.ts'
import { parseMac } from '../wire/address.ts'
import { readNetworkOptions } from './network-options.ts'

/** What stands in answers where a secret would; given back to us, it means "as it was". */
export const MASK = '******'

/**
 * Attributes that Ironic's nodes have and that have one value here. Clients may give that value, and are refused any other:
 * better a clear no than a setting that does nothing.
 */
export const FIXED_NODE: Readonly<Record<string, unknown>> = {
  automated_clean: null,
  bios_interface: 'no-bios',
  boot_interface: 'ipxe',
  conductor_group: '',
  chassis_uuid: null,
  console_interface: 'no-console',
  deploy_interface: 'direct',
  inspect_interface: 'agent',
  lessee: null,
  management_interface: 'ipmitool',
  network_data: {},
  network_interface: 'noop',
  power_interface: 'ipmitool',
  protected: false,
  protected_reason: null,
  raid_interface: 'no-raid',
  rescue_interface: 'no-rescue',
  retired: false,
  retired_reason: null,
  storage_interface: 'noop',
  vendor_interface: 'no-vendor'
}

export const FIXED_PORT: Readonly<Record<string, unknown>> = { is_smartnic: false, portgroup_uuid: null }

/** A node's writable attributes under Ironic's names. */
export function nodeDocument(node: Node): Record<string, unknown> {
  return {
    name: node.name,
    driver: node.driver,
    driver_info: node.driverInfo,
    properties: node.properties,
    extra: node.extra,
    instance_info: node.instanceInfo,
    instance_uuid: node.instanceUuid,
    resource_class: node.resourceClass,
    description: node.description,
    owner: node.owner,
    maintenance: node.maintenance,
    maintenance_reason: node.maintenanceReason
  }
}

/** A port's writable attributes under Ironic's names. */
export function portDocument(port: Port): Record<string, unknown> {
  return {
    address: port.address,
    node_uuid: port.nodeUuid,
    pxe_enabled: port.pxeEnabled,
    physical_network: port.physicalNetwork,
    local_link_connection: port.localLinkConnection,
    extra: port.extra
  }
}

/** A new node in `enroll`. `uuid` is used unless the request brings one. AppError `bad-request`. */
export function newNode(body: Readonly<Record<string, unknown>>, uuid: string, now: number): Node {
  const blank: Node = {
    uuid,
    name: null,
    driver: 'ipmi',
    driverInfo: {},
    properties: {},
    extra: {},
    instanceInfo: {},
    instanceUuid: null,
    resourceClass: null,
    description: null,
    owner: null,
    state: 'enroll',
    powerState: null,
    powerStateAt: null,
    powerOns: [],
    quirkCard: null,
    lastError: null,
    maintenance: false,
    maintenanceReason: null,
    inventory: null,
    bootLoader: null,
    hardwareModel: null,
    provisionUpdatedAt: null,
    handover: null,
    createdAt: now,
    updatedAt: null
  }
  const { uuid: given, ...rest } = body
  const faults = given === undefined || isUuid(given) ? [] : [`uuid ${shownValue(given)} is not a UUID`]
  const document = { ...nodeDocument(blank), driver: undefined, ...rest }
  return writeNode(
    typeof given === 'string' ? { ...blank, uuid: given.toLowerCase() } : blank,
    document,
    faults
  )
}

/** The node after a JSON Patch; masked secrets stay what they were. AppError `bad-request`. */
export function patchNode(node: Node, operations: readonly PatchOperation[], now: number): Node {
  const document = patched(nodeDocument(node), FIXED_NODE, operations)
  return { ...writeNode(node, document, []), updatedAt: now }
}

/** A new port; `reservedIp` is chosen by whoever knows the address plan. AppError `bad-request`. */
export function newPort(
  body: Readonly<Record<string, unknown>>,
  uuid: string,
  nodeUuid: string,
  now: number
): Port {
  const blank: Port = {
    uuid,
    nodeUuid,
    address: '',
    pxeEnabled: true,
    physicalNetwork: null,
    localLinkConnection: {},
    extra: {},
    reservedIp: null,
    createdAt: now,
    updatedAt: null
  }
  const { uuid: given, ...rest } = body
  const faults = given === undefined || isUuid(given) ? [] : [`uuid ${shownValue(given)} is not a UUID`]
  const document = { ...portDocument(blank), ...rest, node_uuid: nodeUuid }
  return writePort(
    typeof given === 'string' ? { ...blank, uuid: given.toLowerCase() } : blank,
    document,
    faults
  )
}

/** The port after a JSON Patch. AppError `bad-request`. */
export function patchPort(port: Port, operations: readonly PatchOperation[], now: number): Port {
  const document = patched(portDocument(port), FIXED_PORT, operations)
  if (document['node_uuid'] !== port.nodeUuid)
    throw new AppError(
      'bad-request',
      'node_uuid cannot be changed; delete the port and create it at the other node'
    )
  return { ...writePort(port, document, []), updatedAt: now }
}

/** The attributes whose values differ, under Ironic's names. */
export function changedFields(
  before: Readonly<Record<string, unknown>>,
  after: Readonly<Record<string, unknown>>
): string[] {
  return Object.keys(after).filter((key) => canonical(before[key]) !== canonical(after[key]))
}

/** `address[:port]` of a node's BMC in one spelling; null when it has none. Two nodes must not share one. */
export function bmcKey(driverInfo: Readonly<Record<string, unknown>>): string | null {
  const address = driverInfo['ipmi_address']
  if (typeof address !== 'string' || address === '') return null
  return `${address.trim().toLowerCase()}:${Number(driverInfo['ipmi_port'] ?? 623)}`
}

/** The node with another `driver_info`; what is known of one BMC says nothing of another. */
export function withDriverInfo(
  node: Node,
  driverInfo: Readonly<Record<string, unknown>>
): Pick<Node, 'driverInfo' | 'quirkCard'> {
  const same = bmcKey(driverInfo) === bmcKey(node.driverInfo)
  return { driverInfo, quirkCard: same ? node.quirkCard : null }
}

export function isUuid(value: unknown): value is string {
  return typeof value === 'string' && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(value)
}

/** What is wrong with a node's name; null: nothing. Ironic's rule, so that the node can be handed over as it is. */
export function nameFault(name: string): string | null {
  if (isUuid(name)) return `name ${name} looks like a UUID`
  return /^[A-Za-z0-9._~-]{1,255}$/.test(name)
    ? null
    : `name ${shownValue(name)} may have only letters, digits and . _ ~ -`
}

function patched(
  document: Record<string, unknown>,
  fixed: Readonly<Record<string, unknown>>,
  operations: readonly PatchOperation[]
): Record<string, unknown> {
  const result = applyJsonPatch({ ...fixed, ...document }, operations)
  if ('fault' in result) throw new AppError('bad-request', `The patch does not fit: ${result.fault}`)
  const after = result.document
  // Removing an attribute puts it back to what a new node or port has.
  for (const key of Object.keys(document))
    if (!(key in after) && key !== 'driver' && key !== 'address') after[key] = EMPTY[key] ?? null
  for (const key of Object.keys(fixed)) if (!(key in after)) after[key] = fixed[key]
  return after
}

const EMPTY: Readonly<Record<string, unknown>> = {
  driver_info: {},
  properties: {},
  extra: {},
  instance_info: {},
  local_link_connection: {},
  maintenance: false,
  pxe_enabled: true
}

function writeNode(node: Node, document: Readonly<Record<string, unknown>>, faults: string[]): Node {
  const read = reader(document, faults)
  read.onlyKnown([...Object.keys(nodeDocument(node)), ...Object.keys(FIXED_NODE)], FIXED_NODE)
  const driver = document['driver']
  if (driver === undefined) faults.push('driver is missing; Seedling has "ipmi"')
  else if (driver !== 'ipmi')
    faults.push(`driver ${shownValue(driver)} is not supported; Seedling has "ipmi"`)
  const name = read.text('name')
  const wrongName = name === null ? null : nameFault(name)
  if (wrongName) faults.push(wrongName)
  const instanceUuid = read.text('instance_uuid')
  if (instanceUuid !== null && !isUuid(instanceUuid))
    faults.push(`instance_uuid ${shownValue(instanceUuid)} is not a UUID`)
  const result: Node = {
    ...node,
    name,
    ...withDriverInfo(node, unmasked(read.object('driver_info'), node.driverInfo, faults)),
    properties: read.object('properties'),
    extra: read.object('extra'),
    instanceInfo: read.object('instance_info'),
    instanceUuid: instanceUuid?.toLowerCase() ?? null,
    resourceClass: read.text('resource_class'),
    description: read.text('description'),
    owner: read.text('owner'),
    maintenance: read.flag('maintenance'),
    maintenanceReason: read.text('maintenance_reason')
  }
  // Only text is sealed at rest, and masked where it is shown.
  for (const key of ['ipmi_password', 'ipmi_hex_kg_key'])
    if (typeof (result.driverInfo[key] ?? '') === 'object') faults.push(`driver_info/${key} must be text`)
  faults.push(...propertyFaults(result.properties))
  const dhcp = result.extra['dhcp']
  if (isObject(dhcp)) readNetworkOptions(dhcp, 'extra.dhcp', faults)
  else if (dhcp !== undefined) faults.push('extra.dhcp must be an object such as {"mtu": 9000}')
  if (!isConsoleOptions(result.extra['console']))
    faults.push('extra.console must be {"record": true} or {"record": false}')
  if (faults.length === 0 && bmcKey(result.driverInfo) !== null) bmcAccess(result)
  return orFaults(result, faults)
}

function isConsoleOptions(given: unknown): boolean {
  if (given === undefined) return true
  return isObject(given) && Object.keys(given).join() === 'record' && typeof given['record'] === 'boolean'
}

function writePort(port: Port, document: Readonly<Record<string, unknown>>, faults: string[]): Port {
  const read = reader(document, faults)
  read.onlyKnown([...Object.keys(portDocument(port)), ...Object.keys(FIXED_PORT)], FIXED_PORT)
  const address = read.text('address') ?? ''
  const mac = parseMac(address)
  if (mac === undefined)
    faults.push(`address ${shownValue(address)} is not a MAC address such as 52:54:00:12:34:56`)
  const localLinkConnection = read.object('local_link_connection')
  faults.push(...linkFaults(localLinkConnection))
  return orFaults(
    {
      ...port,
      address: mac ?? '',
      pxeEnabled: read.flag('pxe_enabled'),
      physicalNetwork: read.text('physical_network'),
      localLinkConnection,
      extra: read.object('extra')
    },
    faults
  )
}

/** What is wrong with `properties`; shared with the import. */
export function propertyFaults(properties: Readonly<Record<string, unknown>>): string[] {
  const faults: string[] = []
  for (const key of ['cpus', 'memory_mb', 'local_gb']) {
    const value = properties[key]
    if (value === undefined || value === null) continue
    const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value
    if (typeof number !== 'number' || !Number.isInteger(number) || number < 0)
      faults.push(`properties/${key} ${shownValue(value)} is not a whole number`)
  }
  const capabilities = properties['capabilities']
  if (capabilities !== undefined && capabilities !== null) {
    if (typeof capabilities !== 'string')
      faults.push('properties/capabilities must be a string such as "boot_mode:uefi,profile:control"')
    else faults.push(...capabilityFaults(capabilities))
  }
  const rootDevice = properties['root_device']
  if (rootDevice !== undefined && rootDevice !== null && !isObject(rootDevice))
    faults.push('properties/root_device must be an object of hints such as {"serial": "…"}')
  return faults
}

function capabilityFaults(text: string): string[] {
  const faults: string[] = []
  for (const pair of text.split(',')) {
    const [key = '', value] = pair.split(':').map((part) => part.trim())
    if (pair.trim() === '') continue
    if (key === '' || value === undefined || value === '')
      faults.push(`capabilities has "${pair.trim()}"; each is "name:value"`)
    else if (key === 'boot_mode' && value !== 'bios' && value !== 'uefi')
      faults.push(`capabilities: boot_mode ${value} must be bios or uefi`)
  }
  return faults
}

/** Half a switch port is of no use to anybody, and Ironic refuses it. */
export function linkFaults(link: Readonly<Record<string, unknown>>): string[] {
  if (Object.keys(link).length === 0) return []
  return ['switch_id', 'port_id']
    .filter((key) => typeof link[key] !== 'string' || link[key] === '')
    .map((key) => `local_link_connection lacks ${key}`)
}

function unmasked(
  given: Record<string, unknown>,
  before: Readonly<Record<string, unknown>>,
  faults: string[]
): Record<string, unknown> {
  const result = { ...given }
  for (const [key, value] of Object.entries(given)) {
    if (value !== MASK) continue
    if (before[key] === undefined) faults.push(`driver_info/${key} is masked (${MASK}); give the real one`)
    else result[key] = before[key]
  }
  return result
}

function reader(document: Readonly<Record<string, unknown>>, faults: string[]) {
  return {
    onlyKnown(known: readonly string[], fixed: Readonly<Record<string, unknown>>): void {
      for (const [key, value] of Object.entries(document)) {
        if (!known.includes(key)) faults.push(`unknown attribute ${shownValue(key)}`)
        else if (key in fixed && value !== null && canonical(value) !== canonical(fixed[key]))
          faults.push(`${key} is always ${shownValue(fixed[key])} here, not ${shownValue(value)}`)
      }
    },
    text(key: string): string | null {
      const value = document[key] ?? null
      if (value === null || typeof value === 'string') return value
      faults.push(`${key} must be text`)
      return null
    },
    /** True and false also as the text that Ironic's client sends. */
    flag(key: string): boolean {
      const value = document[key] ?? false
      if (typeof value === 'boolean') return value
      if (typeof value === 'string' && /^(true|false)$/i.test(value)) return value.toLowerCase() === 'true'
      faults.push(`${key} must be true or false`)
      return false
    },
    object(key: string): Record<string, unknown> {
      const value = document[key] ?? {}
      if (isObject(value)) return value
      faults.push(`${key} must be an object`)
      return {}
    }
  }
}

function orFaults<T>(result: T, faults: readonly string[]): T {
  if (faults.length > 0) throw new AppError('bad-request', faults.join('; '), { faults })
  return result
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A value in a message: short, and never a secret's place to leak from. */
export function shownValue(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing'
  return text.length > 60 ? text.slice(0, 57) + '…' : text
}

/** JSON with sorted keys: equal values have equal text. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    isObject(part) ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1))) : part
  )
}
