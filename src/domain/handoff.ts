// Giving machines to the real cloud: what is given, what stands in the way, and how far it has come.

import type { Ip, Mac } from '../wire/address.ts'

/** Everything that another owner is told of a machine, in Ironic's words. `driverInfo` has the real password, or none. */
export type HandoffNode = {
  uuid: string
  name: string | null
  driver: 'ipmi'
  driverInfo: Readonly<Record<string, unknown>>
  properties: Readonly<Record<string, unknown>>
  resourceClass: string
  extra: Readonly<Record<string, unknown>>
  description: string | null
  owner: string | null
  ports: readonly {
    uuid: string
    address: Mac
    pxeEnabled: boolean
    physicalNetwork: string | null
    localLinkConnection: Readonly<Record<string, unknown>>
  }[]
  instanceInfo: Readonly<Record<string, unknown>>
  /** The addresses that its MACs keep. */
  reservations: readonly { mac: Mac; ip: Ip; hostname: string | null }[]
}

export type HandoffBlockerCode =
  | 'order-open'
  | 'not-active'
  | 'maintenance'
  | 'handed-over'
  | 'power-unknown'
  | 'power-off'
  | 'boot-device'
  | 'boot-device-unknown'
  | 'bmc-missing'
  | 'bmc-shared'
  | 'bmc-driver-info'
  | 'no-ports'
  | 'name'
  | 'properties'
  | 'image-missing'
  | 'cpu-arch'

/** Why a machine cannot be given away now, and what to do about it. */
export type HandoffBlocker = { code: HandoffBlockerCode; message: string }

export type HandoffPlan = {
  nodes: readonly {
    uuid: string
    name: string | null
    export: HandoffNode
    blockers: readonly HandoffBlocker[]
  }[]
  /** Address plans, for whoever serves DHCP next. */
  subnets: readonly {
    cidr: string
    gateway: Ip | null
    dns: readonly Ip[]
    domain: string | null
    mtu: number | null
    pool: { start: Ip; end: Ip } | null
  }[]
}

/** How machines are described to whoever takes them. */
export type HandoffOptions = {
  /** Where the images will be for rebuilds: `<base>/<name>.raw`. null: nowhere yet, which the plan says. */
  imageUrl: string | null
  /** Kernel and ramdisk of the target's own agent, for rebuilds; null: its configuration has them. */
  deployKernel: string | null
  deployRamdisk: string | null
  /** Nova sees no machine without one. */
  resourceClass: string
  /** The cloud has Nova, which knows only machines that it has deployed itself: it is let do so with a driver that does nothing. */
  nova: boolean
}

/** How far a machine has come on its way to another owner. From the first step on we are silent to it and its BMC. */
export type Handover = {
  /** The API of the Ironic that takes it. */
  target: string
  /** How to log in there, sealed (services/store/secrets.ts). */
  login: string
  options: HandoffOptions
  /** It is on its way back. */
  undoing: boolean
  startedAt: number
  /** When it was seen there as active, with its power on, protected and valid. */
  finishedAt: number | null
  /** What holds it up; null: nothing. */
  trouble: string | null
  /** As it was with us. */
  before: { power: string | null; provisionState: string; imageSha256: string | null }
  /** As it is there, at the end. */
  after: {
    power: string | null
    provisionState: string
    deployValid: boolean
    /** When it was heard to start anew since it was let go, ms; null: it was not. */
    restartedAt: number | null
  } | null
}
