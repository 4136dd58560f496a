// Inventory files → nodes and ports. Read are instackenv.json ({"nodes": […]}), the older nodes.json (a list), and the file that
// Ironic's own client creates nodes from. The whole file is checked and every fault told at once; an import is an upsert: a node
// is known by any of its MACs, its BMC's address or its UUID.

import { bmcAccess } from '../domain/bmc-access.ts'
import type { Change } from '../domain/change.ts'
import { AppError } from '../domain/error.ts'
import type { Node, Port } from '../domain/node.ts'
import { parseMac, type Mac } from '../wire/address.ts'
import {
  bmcKey,
  changedFields,
  FIXED_NODE,
  FIXED_PORT,
  isObject,
  isUuid,
  linkFaults,
  nameFault,
  newNode,
  newPort,
  nodeDocument,
  portDocument,
  propertyFaults,
  shownValue,
  withDriverInfo
} from './enrolment.ts'

/** One node of a file. What the file does not say is absent, so that an update leaves it alone. */
export type Enrolment = {
  /** "node 2 (ctl-3)": how messages name it. */
  where: string
  uuid?: string
  name?: string
  driverInfo: Record<string, unknown>
  properties: Record<string, unknown>
  extra: Record<string, unknown>
  resourceClass?: string
  description?: string
  owner?: string
  ports: EnrolmentPort[]
  /** Keys that are of the format but mean nothing here. */
  ignored: string[]
}

export type EnrolmentPort = { address: Mac } & Record<string, unknown>

export type ImportedNode = { uuid: string; name: string | null; fields: string[]; ignored: string[] }

export type ImportResult = { created: ImportedNode[]; updated: ImportedNode[]; unchanged: ImportedNode[] }

/** What the import is held against: all nodes and ports, and the nodes for which an order is open. */
export type ImportFacts = { nodes: readonly Node[]; ports: readonly Port[]; busy: ReadonlySet<string> }

type Say = (message: string) => void
type Field = (value: unknown, node: Enrolment, say: Say) => void

const into =
  (part: 'driverInfo' | 'properties', key: string, convert: (value: unknown, say: Say) => unknown): Field =>
  (value, node, say) => {
    node[part][key] = convert(value, say)
  }
const ignored =
  (key: string): Field =>
  (_value, node) => {
    node.ignored.push(key)
  }
const nothing: Field = () => {}

/** What both kinds of file call the same. */
const COMMON: Readonly<Record<string, Field>> = {
  name: (value, node, say) => {
    node.name = text(value, say)
    const fault = nameFault(node.name)
    if (fault) say(fault)
  },
  uuid: (value, node, say) => {
    if (isUuid(value)) node.uuid = value.toLowerCase()
    else say(`${shownValue(value)} is not a UUID`)
  },
  resource_class: (value, node, say) => {
    node.resourceClass = text(value, say)
  },
  description: (value, node, say) => {
    node.description = text(value, say)
  },
  owner: (value, node, say) => {
    node.owner = text(value, say)
  },
  ports: (value, node, say) => {
    if (!Array.isArray(value)) return say('must be a list of {"address": MAC}')
    value.forEach((port: unknown, index) => readPort(port, node, (message) => say(`[${index}]: ${message}`)))
  },
  _comment: nothing
}

/** A node of instackenv.json and nodes.json. */
const INSTACKENV: Readonly<Record<string, Field>> = {
  ...COMMON,
  pm_type: (value, _node, say) => {
    if (typeof value !== 'string' || !(value === 'ipmi' || /^\w+_ipmitool$/.test(value)))
      say(`${shownValue(value)} is not supported; Seedling drives BMCs by "ipmi" (old name "pxe_ipmitool")`)
  },
  pm_addr: into('driverInfo', 'ipmi_address', text),
  pm_port: into('driverInfo', 'ipmi_port', wholeNumber),
  pm_user: into('driverInfo', 'ipmi_username', text),
  pm_password: into('driverInfo', 'ipmi_password', text),
  mac: (value, node, say) => {
    const list: unknown = typeof value === 'string' ? [value] : value
    if (!Array.isArray(list)) return say('must be a list of MAC addresses')
    // The first one is the NIC that boots (nodes.json); the others are known but get no boot file.
    list.forEach((address: unknown, index) =>
      readPort({ address, pxe_enabled: index === 0 }, node, (message) => say(`[${index}]: ${message}`))
    )
  },
  cpu: into('properties', 'cpus', wholeNumber),
  memory: into('properties', 'memory_mb', wholeNumber),
  disk: into('properties', 'local_gb', wholeNumber),
  arch: into('properties', 'cpu_arch', architecture),
  capabilities: (value, node, say) => addCapabilities(node, capabilityText(value, say)),
  profile: (value, node, say) => addCapabilities(node, `profile:${text(value, say)}`),
  root_device: into('properties', 'root_device', (value) => value),
  platform: ignored('platform'),
  kernel_id: ignored('kernel_id'),
  ramdisk_id: ignored('ramdisk_id'),
  conductor_group: ignored('conductor_group'),
  ...Object.fromEntries(interfaceNames().map((name) => [name, ignored(name)]))
}

/** A node of the file that `baremetal create` takes. */
const CREATE_FILE: Readonly<Record<string, Field>> = {
  ...COMMON,
  driver: (value, _node, say) => {
    if (value !== 'ipmi') say(`${shownValue(value)} is not supported; Seedling has "ipmi"`)
  },
  driver_info: (value, node, say) => {
    if (isObject(value)) Object.assign(node.driverInfo, value)
    else say('must be an object')
  },
  properties: (value, node, say) => {
    if (!isObject(value)) return say('must be an object')
    Object.assign(node.properties, value)
    if (typeof value['cpu_arch'] === 'string')
      node.properties['cpu_arch'] = architecture(value['cpu_arch'], say)
  },
  extra: (value, node, say) => {
    if (isObject(value)) node.extra = value
    else say('must be an object')
  },
  portgroups: (value, _node, say) => {
    if (!Array.isArray(value) || value.length > 0)
      say('port groups are not supported; list the ports in "ports"')
  },
  ...Object.fromEntries(Object.keys(FIXED_NODE).map((name) => [name, ignored(name)]))
}

/**
 * Reads and checks a parsed file. AppError `bad-inventory` with every fault, each with the node's index (from 0) and the field.
 */
export function readInventory(json: unknown): Enrolment[] {
  const faults: string[] = []
  const list = nodeList(json, faults)
  const nodes = list.map((given, index) => readNode(given, index, faults))
  checkDuplicates(nodes, faults)
  refuse(faults)
  return nodes
}

/**
 * What an import changes. New ports that boot have no `reservedIp` yet: whoever knows the address plan adds it. `uuid` gives a
 * new random UUID at every call. AppError `bad-inventory` with every conflict; nothing is half-decided.
 */
export function planImport(
  entries: readonly Enrolment[],
  facts: ImportFacts,
  uuid: () => string,
  now: number
): { changes: Change[]; result: ImportResult } {
  const faults: string[] = []
  const changes: Change[] = []
  const result: ImportResult = { created: [], updated: [], unchanged: [] }
  const known = index(facts)
  const claimed = new Map<string, string>()
  for (const entry of entries) {
    const matches = matching(entry, known)
    if (matches.size > 1) {
      const found = [...matches].map(([node, by]) => `${node.name ?? node.uuid} (${by})`)
      faults.push(
        `${entry.where}: fits ${matches.size} enrolled nodes: ${found.join(', ')}; correct the file or delete one`
      )
      continue
    }
    const [match] = matches.keys()
    if (match) {
      const other = claimed.get(match.uuid)
      if (other)
        faults.push(`${entry.where}: is the same enrolled node as ${other}: ${match.name ?? match.uuid}`)
      claimed.set(match.uuid, entry.where)
    }
    const node = match ?? newNode({ driver: 'ipmi', uuid: entry.uuid }, uuid(), now)
    const row = merged(entry, node)
    // A name that was made up here gives way to whatever is enrolled; one that the file gives does not.
    const namesake = row.name === null ? undefined : known.byName.get(row.name)
    if (namesake && namesake.uuid !== row.uuid)
      faults.push(`${entry.where}: name ${row.name} belongs to another enrolled node (${namesake.uuid})`)
    const fields = match ? changedFields(nodeDocument(node), nodeDocument(row)) : []
    if (match && fields.includes('driver_info') && facts.busy.has(match.uuid))
      faults.push(
        `${entry.where}: its BMC access cannot change while an order is open; wait for it or abort it`
      )
    const ports = mergedPorts(entry, row.uuid, known.portByMac, uuid, now)
    fields.push(...ports.map((port) => `port ${port.address}`))
    const told = { uuid: row.uuid, name: row.name, fields, ignored: entry.ignored }
    if (match && fields.length === 0) {
      result.unchanged.push(told)
      continue
    }
    ;(match ? result.updated : result.created).push(match ? told : { ...told, fields: [] })
    changes.push({ put: 'node', row: match ? { ...row, updatedAt: now } : row })
    for (const port of ports) changes.push({ put: 'port', row: port })
    changes.push({ event: enrolmentEvent(row, match ? fields : null, now) })
  }
  refuse(faults)
  return { changes, result }
}

/** The event that tells of a new node (`fields` null) or a changed one. */
export function enrolmentEvent(
  node: Node,
  fields: string[] | null,
  now: number
): Extract<Change, { event: unknown }>['event'] {
  const common = { at: now, nodeUuid: node.uuid, orderId: null }
  return fields
    ? { kind: 'node-updated', ...common, subject: fields.join(','), detail: { fields } }
    : { kind: 'node-enrolled', ...common, subject: node.uuid, detail: { name: node.name } }
}

function nodeList(json: unknown, faults: string[]): unknown[] {
  if (Array.isArray(json)) return json
  if (!isObject(json)) {
    faults.push('an inventory is {"nodes": […]} or a list of nodes')
    return []
  }
  for (const [key, value] of Object.entries(json)) {
    if (key === 'nodes' || key === '_comment') continue
    if (key === 'chassis' && Array.isArray(value) && value.length === 0) continue
    faults.push(`unknown key ${shownValue(key)} beside "nodes"; remove it`)
  }
  const nodes = json['nodes']
  if (Array.isArray(nodes)) return nodes
  faults.push('"nodes" is missing or no list')
  return []
}

function readNode(given: unknown, index: number, faults: string[]): Enrolment {
  const name = isObject(given) && typeof given['name'] === 'string' ? given['name'] : null
  const where = `node ${index}${name === null ? '' : ` (${name})`}`
  const node: Enrolment = { where, driverInfo: {}, properties: {}, extra: {}, ports: [], ignored: [] }
  const say = (message: string) => faults.push(`${where}: ${message}`)
  if (!isObject(given)) {
    say('is not an object')
    return node
  }
  const ironic = 'driver' in given
  const fields = ironic ? CREATE_FILE : INSTACKENV
  const before = faults.length
  for (const [key, value] of Object.entries(given)) {
    const field = fields[key]
    if (!Object.hasOwn(fields, key) || !field)
      say(`unknown key ${shownValue(key)}; remove it or correct its spelling`)
    else
      field(value, node, (message) =>
        say(message.startsWith('[') ? `${key}${message}` : `${key}: ${message}`)
      )
  }
  if (!ironic && !('pm_type' in given)) say('pm_type is missing; "ipmi" is what Seedling supports')
  if (node.ports.length === 0 && !('mac' in given) && !('ports' in given))
    say('has no MAC: give "ports" or "mac"; without the MAC of its boot NIC the machine cannot be recognised')
  for (const fault of propertyFaults(node.properties)) say(ironic ? fault : inFileWords(fault))
  // The rest of the BMC's rules are only worth telling when its fields could be read at all.
  if (faults.length === before || bmcKey(node.driverInfo) === null)
    for (const fault of bmcFaults(node, where)) say(ironic ? fault : inFileWords(fault))
  return node
}

function readPort(given: unknown, node: Enrolment, say: Say): void {
  if (!isObject(given)) return say('must be an object with an "address"')
  const allowed = ['address', 'uuid', 'pxe_enabled', 'physical_network', 'local_link_connection', 'extra']
  for (const [key, value] of Object.entries(given))
    if (!allowed.includes(key) && !(key in FIXED_PORT && (value === null || value === FIXED_PORT[key])))
      say(`unknown key ${shownValue(key)}`)
  const address = typeof given['address'] === 'string' ? parseMac(given['address']) : undefined
  if (address === undefined) return say(`${shownValue(given['address'])} is not a MAC address`)
  if (given['uuid'] !== undefined && !isUuid(given['uuid']))
    say(`uuid ${shownValue(given['uuid'])} is not a UUID`)
  if (given['pxe_enabled'] !== undefined && typeof given['pxe_enabled'] !== 'boolean')
    say('pxe_enabled must be true or false')
  const network = given['physical_network']
  if (network !== undefined && network !== null && typeof network !== 'string')
    say('physical_network must be text')
  if (given['extra'] !== undefined && !isObject(given['extra'])) say('extra must be an object')
  const link = given['local_link_connection']
  if (link !== undefined && !isObject(link)) say('local_link_connection must be an object')
  else for (const fault of linkFaults(link ?? {})) say(fault)
  const port: EnrolmentPort = { address }
  for (const key of allowed) if (key !== 'address' && given[key] !== undefined) port[key] = given[key]
  node.ports.push(port)
}

function bmcFaults(node: Enrolment, name: string): string[] {
  try {
    bmcAccess({ driver: 'ipmi', driverInfo: node.driverInfo, name, uuid: name })
    return []
  } catch (error) {
    if (error instanceof AppError) return error.detail['faults'] as string[]
    throw error
  }
}

/** Ironic's names in a fault → the names that stand in an instackenv file. */
function inFileWords(fault: string): string {
  const words: readonly (readonly [string, string])[] = [
    ['ipmi_address', 'pm_addr'],
    ['ipmi_port', 'pm_port'],
    ['ipmi_username', 'pm_user'],
    ['ipmi_password', 'pm_password'],
    ['properties/cpus', 'cpu'],
    ['properties/memory_mb', 'memory'],
    ['properties/local_gb', 'disk'],
    ['properties/', '']
  ]
  return words.reduce((message, [ours, theirs]) => message.replaceAll(ours, theirs), fault)
}

function checkDuplicates(nodes: readonly Enrolment[], faults: string[]): void {
  const seen = new Map<string, string>()
  const once = (what: string, node: Enrolment) => {
    const other = seen.get(what)
    if (other === undefined) seen.set(what, node.where)
    else faults.push(`${node.where}: ${what} stands at ${other} too`)
  }
  for (const node of nodes) {
    if (node.name !== undefined) once(`name ${node.name}`, node)
    if (node.uuid !== undefined) once(`uuid ${node.uuid}`, node)
    const bmc = bmcKey(node.driverInfo)
    if (bmc !== null) once(`BMC ${bmc}`, node)
    for (const port of node.ports) once(`MAC ${port.address}`, node)
  }
}

function index({ nodes, ports }: ImportFacts) {
  const byUuid = new Map(nodes.map((node) => [node.uuid, node]))
  const byName = new Map(nodes.flatMap((node) => (node.name === null ? [] : [[node.name, node] as const])))
  const byBmc = new Map<string, Node>()
  for (const node of nodes) {
    const key = bmcKey(node.driverInfo)
    if (key !== null) byBmc.set(key, node)
  }
  return { byUuid, byName, byBmc, portByMac: new Map(ports.map((port) => [port.address, port])) }
}

/** Enrolled nodes that this entry may be, each with what it is known by. */
function matching(entry: Enrolment, known: ReturnType<typeof index>): Map<Node, string> {
  const found = new Map<Node, string>()
  const add = (node: Node | undefined, by: string) => {
    if (node && !found.has(node)) found.set(node, by)
  }
  if (entry.uuid !== undefined) add(known.byUuid.get(entry.uuid), `uuid ${entry.uuid}`)
  const bmc = bmcKey(entry.driverInfo)
  if (bmc !== null) add(known.byBmc.get(bmc), `BMC ${bmc}`)
  for (const { address } of entry.ports) {
    const port = known.portByMac.get(address)
    if (port) add(known.byUuid.get(port.nodeUuid), `MAC ${address}`)
  }
  return found
}

function merged(entry: Enrolment, node: Node): Node {
  return {
    ...node,
    name: entry.name ?? node.name ?? defaultName(entry),
    ...withDriverInfo(node, { ...node.driverInfo, ...entry.driverInfo }),
    properties: { ...node.properties, ...entry.properties },
    extra: { ...node.extra, ...entry.extra },
    resourceClass: entry.resourceClass ?? node.resourceClass,
    description: entry.description ?? node.description,
    owner: entry.owner ?? node.owner
  }
}

/** Ports that are new or that the file changes. Ports that the file does not name stay. */
function mergedPorts(
  entry: Enrolment,
  nodeUuid: string,
  portByMac: ReadonlyMap<Mac, Port>,
  uuid: () => string,
  now: number
): Port[] {
  const ports: Port[] = []
  for (const given of entry.ports) {
    const known = portByMac.get(given.address)
    if (!known) {
      ports.push(newPort(given, uuid(), nodeUuid, now))
      continue
    }
    const says = { ...portDocument(known), ...given, uuid: known.uuid }
    const row = newPort(says, known.uuid, nodeUuid, known.createdAt)
    if (changedFields(portDocument(known), portDocument(row)).length > 0)
      ports.push({ ...row, reservedIp: known.reservedIp, updatedAt: now })
  }
  return ports
}

/** `node-525400123456`, after the MAC of the NIC that boots: the one name that is the same in every import of a file. */
function defaultName(entry: Enrolment): string {
  const boot = entry.ports.find((port) => port['pxe_enabled'] !== false) ?? entry.ports[0]
  return `node-${boot?.address.replaceAll(':', '')}`
}

function text(value: unknown, say: Say): string {
  if (typeof value === 'string' && value !== '') return value
  if (typeof value === 'number') return String(value)
  say(value === '' ? 'is empty' : 'must be text')
  return ''
}

function wholeNumber(value: unknown, say: Say): number {
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value
  if (typeof number === 'number' && Number.isInteger(number) && number >= 0) return number
  say(`${shownValue(value)} is not a whole number`)
  return 0
}

const SAME_ARCHITECTURE: Readonly<Record<string, string>> = {
  amd64: 'x86_64',
  x64: 'x86_64',
  arm64: 'aarch64'
}

function architecture(value: unknown, say: Say): string {
  const name = text(value, say)
  return SAME_ARCHITECTURE[name] ?? name
}

function capabilityText(value: unknown, say: Say): string {
  if (typeof value === 'string') return value
  if (isObject(value))
    return Object.entries(value)
      .map(([key, word]) => `${key}:${String(word)}`)
      .join(',')
  say('must be text such as "boot_mode:uefi" or an object')
  return ''
}

function addCapabilities(node: Enrolment, added: string): void {
  const before = node.properties['capabilities']
  node.properties['capabilities'] = typeof before === 'string' && before !== '' ? `${before},${added}` : added
}

function interfaceNames(): string[] {
  return Object.keys(FIXED_NODE).filter((name) => name.endsWith('_interface'))
}

function refuse(faults: readonly string[]): void {
  if (faults.length === 0) return
  throw new AppError(
    'bad-inventory',
    `The inventory has ${faults.length} fault${faults.length > 1 ? 's' : ''}; nothing was changed:\n  ${faults.join('\n  ')}`,
    { faults }
  )
}
