// Whole rows from a few words, for tests: everything not said has a plain value.

import type { OrderLimits } from '../../src/decide/order-deadline.ts'
import type { Handover, HandoffOptions } from '../../src/domain/handoff.ts'
import type { Image } from '../../src/domain/image.ts'
import type { Instance } from '../../src/domain/instance.ts'
import type { Disk, Inventory } from '../../src/domain/inventory.ts'
import type { Node, Port } from '../../src/domain/node.ts'
import type { Order } from '../../src/domain/order.ts'
import type { QuirkCard } from '../../src/domain/quirk-card.ts'
import type { Lease, Subnet } from '../../src/domain/subnet.ts'

export const NOW = 1_800_000_000_000

export function aNode(given: Partial<Node> = {}): Node {
  return {
    uuid: '6e6f6465-0000-4000-8000-000000000001',
    name: 'ctl-1',
    driver: 'ipmi',
    driverInfo: { ipmi_address: '127.0.0.1', ipmi_username: 'admin', ipmi_password: 'secret' },
    properties: { capabilities: 'boot_mode:uefi' },
    extra: {},
    instanceInfo: {},
    instanceUuid: null,
    resourceClass: null,
    description: null,
    owner: null,
    state: 'available',
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
    createdAt: NOW,
    updatedAt: null,
    ...given
  }
}

export function aPort(given: Partial<Port> = {}): Port {
  return {
    uuid: '706f7274-0000-4000-8000-000000000001',
    nodeUuid: '6e6f6465-0000-4000-8000-000000000001',
    address: '52:54:00:00:00:01',
    pxeEnabled: true,
    physicalNetwork: null,
    localLinkConnection: {},
    extra: {},
    reservedIp: '192.0.2.100',
    createdAt: NOW,
    updatedAt: null,
    ...given
  }
}

export function aSubnet(given: Partial<Subnet> = {}): Subnet {
  return {
    name: null,
    cidr: '192.0.2.0/24',
    pool: { start: '192.0.2.100', end: '192.0.2.200' },
    relays: [],
    gateway: '192.0.2.254',
    dns: ['192.0.2.53'],
    ntp: ['192.0.2.1'],
    domain: 'example.org',
    mtu: 1400,
    routes: [],
    options: {},
    leaseSeconds: 3600,
    discovery: null,
    ...given
  }
}

export function aLease(given: Partial<Lease> = {}): Lease {
  return {
    ip: '192.0.2.100',
    mac: '52:54:00:00:00:01',
    kind: 'reserved',
    state: 'bound',
    expiresAt: NOW + 3_600_000,
    clientId: null,
    declines: 0,
    hostname: null,
    updatedAt: NOW,
    ...given
  }
}

export function anOrder(given: Partial<Order> = {}): Order {
  return {
    id: '6f726465-0000-4000-8000-000000000001',
    kind: 'deploy',
    nodeUuid: '6e6f6465-0000-4000-8000-000000000001',
    imageId: '696d6167-0000-4000-8000-000000000001',
    instanceUuid: '696e7374-0000-4000-8000-000000000001',
    state: 'open',
    attempt: 1,
    token: 'a'.repeat(64),
    attemptStartedAt: NOW,
    notBefore: NOW,
    ticks: {},
    asked: null,
    reading: null,
    softSeconds: null,
    trouble: null,
    progress: null,
    loaderTrial: null,
    failure: null,
    createdAt: NOW,
    finishedAt: null,
    ...given
  }
}

/** How patient orders are; seconds. */
export function someLimits(given: Partial<OrderLimits> = {}): OrderLimits {
  return {
    attempts: 3,
    powerSeconds: 120,
    askAgainSeconds: 30,
    minimumOffSeconds: 5,
    rebootsPerHour: 12,
    networkSeconds: 400,
    agentSeconds: 600,
    writeStallSeconds: 300,
    instanceSeconds: 600,
    ...given
  }
}

export function aQuirkCard(given: Partial<QuirkCard> = {}): QuirkCard {
  return {
    examinedAt: NOW,
    identity: null,
    way: { suite: 17, privilege: 'administrator', quirk: null },
    suites: [{ id: 17, works: true }],
    acceptsSuiteZero: false,
    answersPing: true,
    sessions: { opened: 4, more: true },
    latency: { median: 1, worst: 2 },
    bootDevice: { truthful: true, keepsEfi: true, canBeKept: true, lapses: null },
    power: null,
    gap: 0,
    findings: [],
    ...given
  }
}

export function anImage(given: Partial<Image> = {}): Image {
  return {
    id: '696d6167-0000-4000-8000-000000000001',
    name: 'tiny',
    digest: 'd'.repeat(64),
    sha256: 'e'.repeat(64),
    size: 64 * 2 ** 20,
    chunkSize: 8 * 2 ** 20,
    storedSize: 20 * 2 ** 20,
    format: 'qcow2',
    createdAt: NOW,
    ...given
  }
}

export function anInstance(given: Partial<Instance> = {}): Instance {
  return {
    uuid: '696e7374-0000-4000-8000-000000000001',
    nodeUuid: '6e6f6465-0000-4000-8000-000000000001',
    imageId: '696d6167-0000-4000-8000-000000000001',
    hostname: 'ctl-1',
    publicKeys: {},
    userData: null,
    metadata: {},
    token: 'b'.repeat(64),
    createdAt: NOW,
    ...given
  }
}

export function aDisk(given: Partial<Disk> = {}): Disk {
  return {
    path: '/dev/vda',
    size: 4 * 2 ** 30,
    serial: 'S1',
    wwn: null,
    model: null,
    vendor: null,
    rotational: false,
    removable: false,
    readOnly: false,
    logicalSectorSize: 512,
    signatures: [],
    ...given
  }
}

export function anInventory(given: Partial<Inventory> = {}): Inventory {
  return {
    uuid: '6e6f6465-0000-4000-8000-000000000001',
    serial: 'SN1',
    vendor: 'Seedling',
    model: 'rack',
    bootMode: 'uefi',
    bootInterface: '52:54:00:00:00:01',
    arch: 'x86_64',
    secureBoot: false,
    cpus: 1,
    cpuModel: null,
    memoryMiB: 1024,
    interfaces: [
      { name: 'eth0', mac: '52:54:00:00:00:01', carrier: true, driver: 'virtio_net', speedMbps: null }
    ],
    disks: [aDisk()],
    clock: null,
    ...given
  }
}

export function someHandoffOptions(given: Partial<HandoffOptions> = {}): HandoffOptions {
  return {
    imageUrl: 'http://images.example',
    deployKernel: null,
    deployRamdisk: null,
    resourceClass: 'baremetal',
    nova: false,
    ...given
  }
}

export function aHandover(given: Partial<Handover> = {}): Handover {
  return {
    target: 'http://ironic.example',
    login: '{}',
    options: someHandoffOptions(),
    undoing: false,
    startedAt: NOW,
    finishedAt: null,
    trouble: null,
    before: { power: 'power on', provisionState: 'active', imageSha256: null },
    after: null,
    ...given
  }
}
