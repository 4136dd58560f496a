// What an installed system is told about itself, in every dialect from the same rows; and what its asking means: that it lives.

import { createHash } from 'node:crypto'
import type { Change } from '../domain/change.ts'
import type { Instance } from '../domain/instance.ts'
import { capabilities, type Node, type Port } from '../domain/node.ts'
import { checkEc2, type Ec2Tree } from '../wire/ec2.ts'
import { machineEvent, printable, type BootFacts } from './boot-file.ts'
import { bootPlan } from './gate.ts'

export type MetadataFacts = BootFacts & {
  /** What is to run, or runs, on the node. */
  instance: Instance | null
}

export type Dialect = 'ec2' | 'request' | 'openstack'

/**
 * `stranger`: no enrolled machine, or no such token. `superseded`: the token is of an instance that its node no longer is.
 * `not-now`: the machine has no installed system to tell anything to.
 */
export type MetadataRefusal = 'stranger' | 'superseded' | 'not-now'

export type MetadataVerdict =
  | { serve: true; instance: Instance; node: Node; port: Port; changes: Change[] }
  | { serve: false; refusal: MetadataRefusal; reason: string }

/**
 * May whoever asks read the metadata? `facts` are those of the asking address, or of the node whose instance has the `token`. `firstRead`: nobody
 * has read this dialect of this instance before, as far as is remembered; polls come every few seconds and only the first is an event.
 */
export function decideMetadata(
  asked: { dialect: Dialect; token?: string; address: string; firstRead: boolean },
  facts: MetadataFacts,
  now: number
): MetadataVerdict {
  const allowed = admit(facts, asked.token)
  if (!allowed.serve) return allowed
  const changes = signOfLife(facts, now)
  if (asked.firstRead) {
    const { dialect, address } = asked
    changes.unshift(...machineEvent(facts, now, 'metadata-read', dialect, { dialect, address }))
  }
  return { ...allowed, changes }
}

/** The gate: only a machine that is to boot its own disk has a system that may be told what it is. */
function admit(facts: MetadataFacts, token?: string): MetadataVerdict {
  const { node, port, instance } = facts
  if (!node || !port) return { serve: false, refusal: 'stranger', reason: 'not enrolled' }
  if (token !== undefined && instance?.token !== token)
    return { serve: false, refusal: 'superseded', reason: 'this instance is no more' }
  // What was handed over runs from its own disk, and asks here until it has another place to ask.
  const plan = node.handover ? null : bootPlan(facts)
  if (plan && plan.boot !== 'local-disk') return { serve: false, refusal: 'not-now', reason: plan.reason }
  if (!instance) return { serve: false, refusal: 'not-now', reason: 'nothing was deployed here' }
  return { serve: true, instance, node, port, changes: [] }
}

/** Who reads metadata after the image was written is the installed system: the last line of the checklist. */
function signOfLife(facts: MetadataFacts, now: number): Change[] {
  const { order } = facts
  if (order?.state !== 'open' || order.kind !== 'deploy') return []
  if (order.ticks['image-written'] === undefined || order.ticks['instance-up'] !== undefined) return []
  return [
    { tick: 'instance-up', orderId: order.id, attempt: order.attempt, at: now },
    ...machineEvent(facts, now, 'milestone-reached', 'instance-up', {
      milestone: 'instance-up',
      by: 'metadata'
    })
  ]
}

/** A completion signal as os-refresh-config's hook, cfn-signal or a software deployment sends it. */
export type Signal = { status: string; reason: string | null; data: string | null }

/** Any body → signal. Never fails: the sender would repeat for ever what is not answered with 200. */
export function readSignal(body: Uint8Array): Signal {
  const text = new TextDecoder().decode(body)
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return { status: 'UNKNOWN', reason: 'the signal is not JSON', data: cut(text, 4000) }
  }
  if (typeof json !== 'object' || json === null)
    return { status: 'UNKNOWN', reason: 'the signal is not an object', data: cut(text, 4000) }
  const field = (...names: string[]): string | null => {
    for (const name of names) {
      const value = (json as Record<string, unknown>)[name]
      if (value !== undefined && value !== null)
        return typeof value === 'string' ? value : JSON.stringify(value)
    }
    return null
  }
  const code = field('deploy_status_code')
  const given =
    field('Status', 'status') ?? (code === null ? 'UNKNOWN' : Number(code) === 0 ? 'SUCCESS' : 'FAILURE')
  return {
    status: printable(given, 20).toUpperCase(),
    reason: cut(field('Reason', 'reason', 'deploy_stderr'), 1000),
    data: cut(field('Data', 'data', 'deploy_stdout'), 4000)
  }
}

function cut<T extends string | null>(text: T, longest: number): T {
  return text !== null && text.length > longest ? ((text.slice(0, longest) + '…') as T) : text
}

/** `repeated`: the same signal as last time, as far as is remembered: a hook that runs again says the same again. */
export function decideSignal(
  asked: { token: string; signal: Signal; repeated: boolean },
  facts: MetadataFacts,
  now: number
): MetadataVerdict {
  const allowed = admit(facts, asked.token)
  if (!allowed.serve) return allowed
  const { signal } = asked
  const changes = signOfLife(facts, now)
  // The subject is one of three, so that an instance that makes up statuses fills three lines a minute and no more.
  const subject = signal.status === 'SUCCESS' || signal.status === 'FAILURE' ? signal.status : 'other'
  if (!asked.repeated) changes.push(...machineEvent(facts, now, 'configuration-signalled', subject, signal))
  return { ...allowed, changes }
}

/** The EC2 tree below `meta-data/`. */
export function ec2Tree(instance: Instance, node: Node, port: Port): Ec2Tree {
  const keys = Object.entries(instance.publicKeys)
  return checkEc2({
    'ami-id': instance.imageId,
    'ami-launch-index': '0',
    hostname: instance.hostname,
    'instance-action': 'none',
    'instance-id': instance.uuid,
    'instance-type': oneLine(node.resourceClass ?? 'baremetal'),
    'local-hostname': instance.hostname,
    ...(port.reservedIp === null ? {} : { 'local-ipv4': port.reservedIp }),
    mac: port.address,
    placement: { 'availability-zone': 'seedling' },
    ...(keys.length === 0
      ? {}
      : {
          'public-keys': Object.fromEntries(
            keys.map(([name, key], index) => [
              // What stands in a list is one line, and a slash would read as a folder.
              `${index}=${oneLine(name).replace(/[/=]/g, '_')}`,
              { 'openssh-key': oneLine(key) }
            ])
          )
        })
  })
}

function oneLine(text: string): string {
  return text.replace(/[\r\n]+/g, ' ').trim()
}

/** The instance's own URLs on our machine-facing port; `url` without a slash at the end. */
export function instanceUrls(
  instance: Pick<Instance, 'token'>,
  url: string
): { request: string; signal: string } {
  const base = `${url}/metadata/${instance.token}`
  return { request: `${base}/request`, signal: `${base}/signal` }
}

/**
 * The document of the `request` collector: the operator's own, then ours over it. The stock template renders os-collect-config's own
 * configuration from the key `os-collect-config`, so a wrong or missing URL there cuts the instance off for good: of the operator's words only
 * the intervals are taken, the rest is generated from what the instance was given at first.
 */
export function requestDocument(
  instance: Instance,
  node: Node,
  port: Port,
  url: string
): Record<string, unknown> {
  const { request, signal } = instanceUrls(instance, url)
  const { 'os-collect-config': collect, ...given } = instance.metadata
  const document = {
    ...given,
    'instance-id': instance.uuid,
    'local-hostname': instance.hostname,
    hostname: instance.hostname,
    'local-ipv4': port.reservedIp,
    'public-keys': Object.fromEntries(
      Object.entries(instance.publicKeys).map(([name, key], index) => [
        String(index),
        { name, 'openssh-key': key }
      ])
    ),
    'completion-signal': signal,
    'completion-handle': signal,
    'os-collect-config': {
      ...intervals(collect),
      collectors: ['request'],
      request: { metadata_url: request }
    }
  }
  return {
    ...document,
    seedling: {
      node: node.uuid,
      name: node.name,
      capabilities: capabilities(node),
      // Changes with every change of the document, and so makes the client run its hooks again.
      revision: createHash('sha256').update(JSON.stringify(document)).digest('hex').slice(0, 16)
    }
  }
}

function intervals(given: unknown): Record<string, number> {
  const found: Record<string, number> = {}
  if (typeof given !== 'object' || given === null) return found
  for (const name of ['polling_interval', 'min_polling_interval']) {
    const value = Number((given as Record<string, unknown>)[name])
    if (value >= 1 && value <= 3600) found[name] = value
  }
  return found
}

/**
 * What is wrong with an operator's document, one line a fault; to be asked when an instance is ordered. Each of these ends the client on the
 * machine with a traceback, again at every poll.
 */
export function metadataFaults(metadata: unknown): string[] {
  if (typeof metadata !== 'object' || metadata === null || Array.isArray(metadata))
    return ['the metadata must be a JSON object']
  const deployments = (metadata as Record<string, unknown>)['deployments']
  if (deployments === undefined) return []
  if (!Array.isArray(deployments)) return ['"deployments" must be a list']
  const faults: string[] = []
  deployments.forEach((deployment: unknown, index) => {
    const where = `"deployments.${index}"`
    if (typeof deployment !== 'object' || deployment === null || Array.isArray(deployment))
      return void faults.push(`${where} must be an object`)
    const { name, config } = deployment as Record<string, unknown>
    if (typeof name !== 'string' || !/^[^/\0]{1,200}$/.test(name) || name === '.' || name === '..')
      faults.push(`${where} needs a "name" without a slash: it becomes a file name on the machine`)
    if (config === undefined) faults.push(`${where} needs a "config"`)
  })
  return faults
}
