// Every kind of event in words for people.

import type { EventDetail, EventKind } from '../../src/domain/event.ts'
import { bytes, printed, span } from './format.ts'

/** An event as the API gives it. */
export type ShownEvent = {
  [K in EventKind]: {
    id: number
    kind: K
    at: string
    last_at: string
    repeats: number
    node_uuid: string | null
    node_name: string | null
    order_id: string | null
    detail: EventDetail[K]
  }
}[EventKind]

const MILESTONE: Readonly<Record<EventDetail['milestone-reached']['milestone'], string>> = {
  'bmc-verified': 'the BMC is verified',
  'bmc-examined': 'the BMC is examined',
  'powered-off': 'the machine is off',
  'powered-on': 'the machine is on',
  'network-seen': 'the machine boots from the network',
  'agent-seen': 'the deploy ramdisk runs',
  'image-written': 'the image is on the disk, verified',
  'instance-up': 'the installed system is up'
}

const POWER_ACT = { 'power-on': 'power on', 'power-off': 'power off', 'soft-off': 'shut down' } as const
const DELAY: Readonly<Record<EventDetail['boot-delayed']['cause'], string>> = {
  'port-blocked':
    'its switch port was blocked, most likely by the spanning tree protocol: make it an edge port (portfast)',
  'packets-lost': 'the network loses packets: look at cable, transceiver and switch port',
  'link-lost': 'look at cable, transceiver and switch port',
  'path-mtu': "large packets do not come through: set the subnet's mtu to what the network carries"
}

const percent = (done: number, total: number) => (total > 0 ? `${Math.floor((100 * done) / total)} %` : '0 %')
const HANDOFF_STEPS = {
  'let-go': 'we are silent to it and its BMC from now on',
  created: 'it is enrolled there',
  managed: 'its BMC answers there',
  adopted: 'it is active there',
  done: 'active, valid and protected there',
  'taken-back': 'taken back, it is ours again',
  finished: 'nothing but metadata is answered from now on'
} as const

const reasonOf = (reason: string | null) => (reason ? `: ${reason}` : '')

const WORDS: { readonly [K in EventKind]: (detail: EventDetail[K]) => string } = {
  'node-enrolled': ({ name }) => `enrolled${name ? ` as ${name}` : ''}`,
  'node-updated': ({ fields }) => `changed: ${fields.join(', ')}`,
  'node-removed': ({ name }) => `deleted${name ? ` (${name})` : ''}`,
  'order-started': ({ order }) => `${order} ordered`,
  'attempt-started': ({ attempt, reason }) => `attempt ${attempt} begins: ${reason}`,
  'milestone-reached': ({ milestone, by }) => `✓ ${MILESTONE[milestone]} (${by})`,
  'order-done': ({ order, seconds }) => `${order} done in ${span(seconds * 1000)}`,
  'order-failed': ({ code, message, milestone }) => `FAILED at ${milestone} (${code}): ${message}`,
  'order-cancelled': ({ order, reason }) => `${order} cancelled: ${reason}`,
  'power-asked': ({ act, read }) => `BMC told: ${POWER_ACT[act]}${read ? `, as it read ${read}` : ''}`,
  'power-seen': ({ power }) => `power is ${power}`,
  'boot-device-set': ({ asked, kept, device, valid }) =>
    kept
      ? `boot device: ${asked}`
      : `boot device: asked ${asked}, but the BMC says ${valid ? device : 'none'}`,
  'bmc-examined': ({ findings }) =>
    findings.length === 0
      ? 'the exam of the BMC found nothing amiss'
      : `the exam of the BMC found: ${findings.map(({ kind, message }) => `${kind}: ${message}`).join('. ')}`,
  'bmc-trouble': ({ code, message }) => `BMC trouble (${code}): ${message}`,
  'dhcp-answered': ({ type, ip, client, bootFile, reason }) =>
    `DHCP ${type} ${ip} to ${client}${bootFile ? `, boot file ${bootFile}` : ', no boot file'} (${reason})`,
  'dhcp-ignored': ({ type, client, reason }) => `DHCP ${type} of ${client} not answered: ${reason}`,
  'address-conflict': ({ ip, holder, times }) =>
    holder
      ? `${ip} is in use by ${holder}, which is not this machine; find that one, or give this machine another address`
      : `${ip} was declined ${times} times in a row: somebody else uses it`,
  'boot-file-changed': ({ client, visits, from, to }) =>
    to
      ? `${client} came ${visits} times and got no further with ${from ?? 'nothing'}; now it is told ${to}`
      : `${client} came ${visits} times and got no further; it is told no boot file any more in this attempt`,
  'boot-delayed': ({ client, cause, evidence }) => `${client} is slow to boot: ${evidence}; ${DELAY[cause]}`,
  'loader-silent': ({ loader, seconds, reason, next }) =>
    `${loader} was fetched and nothing followed for ${span(seconds * 1000)}: ${reason}; ` +
    (next ? `next is ${next}` : 'no other is left'),
  'foreign-dhcp': ({ state, servers }) => {
    const names = servers.map(({ address, mac, kind }) => `${address} (${mac ?? 'MAC unknown'}, ${kind})`)
    return state === 'seen'
      ? `another DHCP server is on the link: ${names.join(', ')}; Seedling stands down until it is gone`
      : 'the other DHCP server is gone; Seedling serves again'
  },
  'file-served': ({ protocol, name, bytes: size, milliseconds }) =>
    `${name} served by ${protocol.toUpperCase()}: ${bytes(size)} in ${span(milliseconds)}`,
  'file-refused': ({ protocol, name, reason }) => `${name} refused by ${protocol.toUpperCase()}: ${reason}`,
  'script-served': ({ plan, reason }) => `boot script: ${plan} (${reason})`,
  'agent-seen': ({ bootMode, secureBoot, interface: nic, disks, memoryMiB, clockSkewSeconds }) =>
    `the ramdisk reports: ${bootMode.toUpperCase()}${secureBoot ? ' with Secure Boot' : ''}, ${disks} disk${disks === 1 ? '' : 's'}, ` +
    `${memoryMiB} MiB memory${nic ? `, booted from ${nic}` : ''}` +
    (clockSkewSeconds !== null && Math.abs(clockSkewSeconds) > 5
      ? `, clock off by ${clockSkewSeconds} s`
      : ''),
  'disk-chosen': ({ path, size, serial, reason }) =>
    `disk ${path}, ${bytes(size)}${serial ? `, serial ${serial}` : ''} (${reason})`,
  'write-progress': ({ stage, done, total }) =>
    `${stage} the disk: ${percent(done, total)} of ${bytes(total)}`,
  'image-written': ({ digest }) => `image written and read back (${digest.slice(0, 12)}…)`,
  'agent-failed': ({ code, message }) => `the ramdisk reports a failure (${code}): ${message}`,
  'metadata-read': ({ dialect, address }) => `metadata read (${dialect}) from ${address}`,
  'configuration-signalled': ({ status, reason, data }) =>
    `configuration signal: ${status}${reasonOf(reason)}${reasonOf(data)}`,
  'console-recorded': ({ recording, attempt, bytes: size, trouble }) =>
    size > 0
      ? `console of attempt ${attempt} recorded: ${bytes(size)} (--recording ${recording})${reasonOf(trouble)}`
      : `console of attempt ${attempt} not recorded${reasonOf(trouble)}`,
  'image-added': ({ name, size }) => `image ${name} added: ${bytes(size)}`,
  'image-removed': ({ name }) => `image ${name} deleted`,
  'keypair-added': ({ name }) => `key pair ${name} added`,
  handoff: ({ target, step, note }) => `hand-over to ${target}: ${HANDOFF_STEPS[step]}${reasonOf(note)}`,
  fenced: ({ address, epoch }) =>
    `this state goes on in another Seedling, ${address}, since ${new Date(epoch).toISOString()}: this one is out of date and ends`,
  'state-restored': ({ at, upToDate, cancelled }) =>
    `restored from the state of ${new Date(at).toISOString()}` +
    (upToDate
      ? ', all goes on'
      : `; every machine is in maintenance${cancelled > 0 ? `, orders cancelled: ${cancelled}` : ''}`)
}

/** What happened, in one line without its time; how often it came, when more than once. */
export function eventWords(event: ShownEvent): string {
  const words = (WORDS[event.kind] as ((detail: unknown) => string) | undefined)?.(event.detail)
  // A server newer than this client may know more kinds.
  const text = printed(words ?? `${event.kind} ${JSON.stringify(event.detail)}`)
  return event.repeats > 1 && event.kind !== 'write-progress' ? `${text} (${event.repeats} times)` : text
}
