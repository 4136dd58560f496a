// What happened, for people and the API; never read back to decide. A machine's events are its boot timeline.

import type { BootDeviceSetting, PowerState } from './bmc.ts'
import type { Asked, Failure, Milestone, OrderKind } from './order.ts'
import type { Finding } from './quirk-card.ts'

/**
 * What keeps a machine from booting at once: `port-blocked` (its switch port does not forward yet), `packets-lost`, `link-lost` (the cable, or the
 * other end of it), `path-mtu` (large packets do not come through).
 */
export type BootDelayCause = 'port-blocked' | 'packets-lost' | 'link-lost' | 'path-mtu'

/** Every kind with its detail. Closed: a new kind is a new line here. */
export type EventDetail = {
  'node-enrolled': { name: string | null }
  'node-updated': { fields: string[] }
  'node-removed': { name: string | null }
  'order-started': { order: OrderKind }
  'attempt-started': { attempt: number; reason: string }
  'milestone-reached': { milestone: Milestone; by: string }
  'order-done': { order: OrderKind; seconds: number }
  'order-failed': Failure
  'order-cancelled': { order: OrderKind; reason: string }
  /** `read` and `readAt` (ms): the reading that made it necessary. */
  'power-asked': { act: Asked['act']; read: PowerState; readAt: number }
  'power-seen': { power: PowerState }
  'boot-device-set': BootDeviceSetting & { asked: string; kept: boolean }
  'bmc-examined': { findings: Finding[] }
  'bmc-trouble': { code: string; message: string }
  'dhcp-answered': { type: string; ip: string; client: string; bootFile: string | null; reason: string }
  'dhcp-ignored': { type: string; client: string; reason: string }
  /** `holder`: the MAC that answers at the address; null: the machine itself found it in use. */
  'address-conflict': { ip: string; holder: string | null; times: number }
  /** The same stage of booting came again and again with nothing after it, so another boot file is tried; null: none is left. */
  'boot-file-changed': { client: string; visits: number; from: string | null; to: string | null }
  /** `client`: the program that was kept waiting. */
  'boot-delayed': { client: string; cause: BootDelayCause; evidence: string }
  /** A boot loader was fetched whole and nothing followed, so another one is tried. */
  'loader-silent': { loader: string; seconds: number; reason: string; next: string | null }
  'foreign-dhcp': { state: 'seen' | 'gone'; servers: { address: string; mac: string | null; kind: string }[] }
  'file-served': { protocol: 'tftp' | 'http'; name: string; bytes: number; milliseconds: number }
  'file-refused': { protocol: 'tftp' | 'http'; name: string; reason: string }
  'script-served': { plan: string; reason: string }
  'agent-seen': {
    bootMode: string
    secureBoot: boolean
    interface: string | null
    disks: number
    memoryMiB: number
    clockSkewSeconds: number | null
  }
  'disk-chosen': { path: string; size: number; serial: string | null; reason: string }
  'write-progress': { stage: string; done: number; total: number }
  'image-written': { digest: string }
  'agent-failed': { code: string; message: string; evidence: string | null }
  'metadata-read': { dialect: 'ec2' | 'request' | 'openstack'; address: string }
  'configuration-signalled': { status: string; reason: string | null; data: string | null }
  /** What the serial console said in one attempt; `omitted` of the `bytes` are no longer kept. `trouble`: why some is missing. */
  'console-recorded': {
    recording: string
    attempt: number
    bytes: number
    omitted: number
    trouble: string | null
  }
  'image-added': { name: string; size: number; digest: string }
  'image-removed': { name: string }
  'keypair-added': { name: string }
  /** `step`: what was just reached. */
  handoff: {
    target: string
    step: 'let-go' | 'created' | 'managed' | 'adopted' | 'done' | 'taken-back' | 'finished'
    note: string | null
  }
  /** A later Seedling with our state was seen on the link, at that address. */
  fenced: { address: string; epoch: number }
  /** `at`: when the backup was made, ms. `upToDate`: the operator said that nothing has happened since. */
  'state-restored': { at: number; upToDate: boolean; cancelled: number }
}

export type EventKind = keyof EventDetail

export type Event = {
  [K in EventKind]: {
    kind: K
    at: number
    nodeUuid: string | null
    orderId: string | null
    /** What the event is about within its kind; the same kind and subject of a node within a minute raises `repeats`. */
    subject: string
    detail: EventDetail[K]
  }
}[EventKind]

/** An event as stored: numbered, with how often it came within its minute and when last. */
export type StoredEvent = Event & { id: number; repeats: number; lastAt: number }
