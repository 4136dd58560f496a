// The reads. Every question a decision needs answered is a function here; nobody else writes SQL that reads.

import type { StoredEvent } from '../../src/domain/event.ts'
import type { Image, KeyPair } from '../../src/domain/image.ts'
import type { Instance } from '../../src/domain/instance.ts'
import type { Node, Port } from '../../src/domain/node.ts'
import type { Order } from '../../src/domain/order.ts'
import { FIRST_STANDING, type Standing } from '../../src/domain/standing.ts'
import type { ClockMark, Lease, Subnet } from '../../src/domain/subnet.ts'
import { formatIp, parseIp, type Ip, type Mac } from '../../src/wire/address.ts'
import type { Store } from './open.ts'
import { fromRow } from './rows.ts'
import { SECRET_DRIVER_INFO } from './secrets.ts'

/** What is known of the machine behind a MAC; all null for a stranger. `order` is the node's latest, open or not. */
export type MachineFacts = {
  port: Port | null
  node: Node | null
  order: Order | null
  instance: Instance | null
  image: Image | null
}

export type Facts = ReturnType<typeof createFacts>

export function createFacts(store: Store) {
  const { db } = store
  const one = <T>(sql: string) => {
    const statement = db.prepare(sql)
    return (...keys: unknown[]): T | null => fromRow<T>(statement.get(...keys))
  }
  const many = <T>(sql: string) => {
    const statement = db.prepare(sql)
    return (...keys: unknown[]): T[] => statement.all(...keys).map((row) => fromRow<T>(row) as T)
  }

  const unsealed = (node: Node | null): Node | null => {
    if (!node) return null
    const driverInfo: Record<string, unknown> = { ...node.driverInfo }
    for (const key of SECRET_DRIVER_INFO) {
      const value = driverInfo[key]
      if (typeof value === 'string') driverInfo[key] = store.sealer.open(value)
    }
    return { ...node, driverInfo }
  }

  const nodeByUuid = one<Node>('SELECT * FROM node WHERE uuid = ?')
  const nodeByName = one<Node>('SELECT * FROM node WHERE name = ?')
  const allNodes = many<Node>('SELECT * FROM node ORDER BY created_at, rowid')
  const nodesByBmc = many<Node>(`SELECT * FROM node WHERE json_extract(driver_info, '$.ipmi_address') = ?`)
  const loaderOfModel = db
    .prepare(
      `SELECT boot_loader FROM node WHERE hardware_model = ? AND boot_loader IS NOT NULL
       ORDER BY updated_at DESC LIMIT 1`
    )
    .pluck()
  const portByMac = one<Port>('SELECT * FROM port WHERE address = ?')
  const portByUuid = one<Port>('SELECT * FROM port WHERE uuid = ?')
  const portByIp = one<Port>('SELECT * FROM port WHERE reserved_ip = ?')
  const portsOfNode = many<Port>('SELECT * FROM port WHERE node_uuid = ? ORDER BY created_at, rowid')
  const allPorts = many<Port>('SELECT * FROM port ORDER BY created_at, rowid')
  const latestOrder = one<Order>(
    'SELECT * FROM "order" WHERE node_uuid = ? ORDER BY created_at DESC, rowid DESC LIMIT 1'
  )
  const orderById = one<Order>('SELECT * FROM "order" WHERE id = ?')
  const orderByToken = one<Order>('SELECT * FROM "order" WHERE token = ?')
  const ordersOfNode = many<Order>('SELECT * FROM "order" WHERE node_uuid = ? ORDER BY created_at, rowid')
  const openOrders = many<Order>('SELECT * FROM "order" WHERE state = \'open\' ORDER BY created_at, rowid')
  const ordersOfKind = many<Order>('SELECT * FROM "order" WHERE kind = ? ORDER BY created_at, rowid')
  const instanceByUuid = one<Instance>('SELECT * FROM instance WHERE uuid = ?')
  const instanceByToken = one<Instance>('SELECT * FROM instance WHERE token = ?')
  const imageById = one<Image>('SELECT * FROM image WHERE id = ?')
  const imageByName = one<Image>('SELECT * FROM image WHERE name = ?')
  const allImages = many<Image>('SELECT * FROM image ORDER BY name')
  const imageUses = db.prepare('SELECT count(*) AS uses FROM instance WHERE image_id = ?')
  const keypairByName = one<KeyPair>('SELECT * FROM keypair WHERE name = ?')
  const allKeypairs = many<KeyPair>('SELECT * FROM keypair ORDER BY name')
  const leaseByIp = one<Lease>('SELECT * FROM lease WHERE ip = ?')
  const leasesOfMac = many<Lease>('SELECT * FROM lease WHERE mac = ?')
  const allLeases = many<Lease>('SELECT * FROM lease ORDER BY ip')
  const standing = one<Standing>('SELECT * FROM standing WHERE id = 1')
  const clockMark = one<ClockMark>('SELECT * FROM clock WHERE id = 1')
  const reservedIps = db.prepare('SELECT reserved_ip, address FROM port WHERE reserved_ip IS NOT NULL').raw()
  const enrolledMacs = db.prepare('SELECT address FROM port').pluck()
  /** What every packet asks, read once and kept until a row of it changes. */
  type Remembered = { version: number; macs: Set<Mac>; ips: Map<Ip, Mac>; machines: Map<Mac, MachineFacts> }
  let memory: Remembered = { version: -1, macs: new Set(), ips: new Map(), machines: new Map() }
  function remembered(): Remembered {
    const version = store.version()
    if (memory.version !== version)
      memory = {
        version,
        macs: new Set(enrolledMacs.all() as Mac[]),
        ips: new Map(reservedIps.all() as [Ip, Mac][]),
        machines: new Map()
      }
    return memory
  }
  const leasedIps = db.prepare('SELECT ip FROM lease WHERE expires_at > ?').pluck()
  const eventsAfter = many<StoredEvent>('SELECT * FROM event WHERE id > ? ORDER BY id LIMIT ?')
  const eventsOfNode = many<StoredEvent>(
    'SELECT * FROM event WHERE node_uuid = ? AND id > ? ORDER BY id LIMIT ?'
  )
  const eventsChanged = many<StoredEvent>('SELECT * FROM event WHERE last_at >= ? ORDER BY id LIMIT ?')

  const machineOf = (port: Port | null): MachineFacts => {
    const node = port ? unsealed(nodeByUuid(port.nodeUuid)) : null
    const order = node ? latestOrder(node.uuid) : null
    // A deploy under way is about its own instance; every other order leaves the one that runs.
    const deploying = order?.state === 'open' && order.kind === 'deploy'
    const instanceUuid = deploying ? order.instanceUuid : (node?.instanceUuid ?? null)
    const instance = instanceUuid ? instanceByUuid(instanceUuid) : null
    return { port, node, order, instance, image: instance ? imageById(instance.imageId) : null }
  }

  /** Kept in memory, and so the same object for all who ask until a row of it changes. */
  const machineByMac = (mac: Mac | undefined): MachineFacts => {
    const { macs, machines } = remembered()
    if (mac === undefined || !macs.has(mac)) return machineOf(null)
    let machine = machines.get(mac)
    if (!machine) {
      machine = machineOf(portByMac(mac))
      machines.set(mac, machine)
    }
    return machine
  }

  return {
    machineByMac: (mac: Mac) => machineByMac(mac),
    /** By reserved address; the same objects. */
    machineByIp: (ip: Ip) => machineByMac(remembered().ips.get(ip)),
    /** The boot loader that last worked for a machine of this hardware model; null: none is known. */
    loaderOfModel: (model: string | null) =>
      model === null ? null : ((loaderOfModel.get(model) as string | undefined) ?? null),
    nodeByUuid: (uuid: string) => unsealed(nodeByUuid(uuid)),
    nodeByName: (name: string) => unsealed(nodeByName(name)),
    /** The nodes whose BMC has this address (there may be several behind different ports). */
    nodesByBmc: (address: string) => nodesByBmc(address).map((node) => unsealed(node) as Node),
    /** By UUID or name, as Ironic's API addresses nodes. */
    node: (ident: string) => unsealed(nodeByUuid(ident) ?? nodeByName(ident)),
    nodes: () => allNodes().map((node) => unsealed(node) as Node),
    portByMac,
    portByIp,
    portByUuid,
    portsOfNode,
    ports: () => allPorts(),
    latestOrder,
    orderById,
    orderByToken,
    ordersOfNode,
    openOrders: () => openOrders(),
    ordersOfKind,
    instanceByUuid,
    instanceByToken,
    imageById,
    imageByName,
    images: () => allImages(),
    imageInUse: (id: string) => (imageUses.get(id) as { uses: number }).uses > 0,
    keypairByName,
    keypairs: () => allKeypairs(),
    leaseByIp,
    /** Every address that this MAC was ever promised and nobody since. */
    leasesOfMac,
    leases: () => allLeases(),
    clockMark: () => clockMark(),
    standing: () => standing() ?? FIRST_STANDING,
    /** Whether a port with this MAC is enrolled; from memory, so that it costs next to nothing. */
    isEnrolled(mac: Mac): boolean {
      return remembered().macs.has(mac)
    },
    /** All of them, from memory. */
    enrolledMacs: (): ReadonlySet<Mac> => remembered().macs,
    /** Whether a port has this address; from memory too. */
    isReserved: (ip: Ip): boolean => remembered().ips.has(ip),
    /** The lowest address of the pool that nobody has reserved or holds a lease on; null when the pool is used up. `leaseNow` in ms on the lease clock. */
    freeAddress({ pool }: Pick<Subnet, 'pool'>, leaseNow: number): Ip | null {
      if (pool === null) return null
      const taken = new Set([...remembered().ips.keys(), ...(leasedIps.all(leaseNow) as Ip[])])
      const end = parseIp(pool.end) ?? 0
      for (let value = parseIp(pool.start) ?? 1; value <= end; value++) {
        const ip = formatIp(value)
        if (!taken.has(ip)) return ip
      }
      return null
    },
    /** Events numbered above `after`, oldest first. */
    events: (after: number, limit: number) => eventsAfter(after, limit),
    eventsOfNode: (nodeUuid: string, after: number, limit: number) => eventsOfNode(nodeUuid, after, limit),
    /** Events added or repeated since `since` (ms), for followers. */
    eventsChangedSince: (since: number, limit: number) => eventsChanged(since, limit)
  }
}
