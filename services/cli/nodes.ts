// What the `node` and `deployment` commands do.

import { readFileSync } from 'node:fs'
import { CliError, type Client, type Json } from './client.ts'
import { eventWords, type ShownEvent } from './event-words.ts'
import { clock, day, record, table } from './format.ts'
import { cardLines } from './quirk-card.ts'
import { eventLine, followEvents, lastEventId } from './timeline.ts'

export type Out = { line(text: string): void; json(value: unknown): void; asJson: boolean }

type NodeJson = Json & {
  uuid: string
  name: string | null
  provision_state: string
  last_error: string | null
  power_state: string | null
}

type Imported = { uuid: string; name: string | null; fields: string[]; ignored: string[] }

/** Where a node is in the API. */
export const nodePath = (ident: string) => `/v1/nodes/${encodeURIComponent(ident)}`
const label = (node: { name: string | null; uuid: string }) => node.name ?? node.uuid

export async function listNodes(client: Client, out: Out): Promise<void> {
  const answer = await client.ask('GET', '/v1/nodes/detail')
  if (out.asJson) return out.json(answer)
  const nodes = answer['nodes'] as NodeJson[]
  if (nodes.length === 0)
    return out.line('No nodes yet; import an inventory with "seedling node import FILE".')
  const titles = ['NAME', 'STATE', 'POWER', 'MAINTENANCE', 'UUID', 'LAST ERROR']
  nodes.sort((a, b) => label(a).localeCompare(label(b), undefined, { numeric: true }))
  const rows = nodes.map((node) => [
    node.name,
    node.provision_state,
    node.power_state?.replace('power ', '') ?? '?',
    node['maintenance'] ? 'yes' : '',
    node.uuid,
    node.last_error
  ])
  out.line(table(titles, rows))
}

export async function showNode(client: Client, out: Out, ident: string): Promise<void> {
  const node = (await client.ask('GET', nodePath(ident))) as NodeJson
  const { ports } = await client.ask('GET', `${nodePath(ident)}/ports/detail`)
  if (out.asJson) return out.json({ ...node, ports })
  // What is the same for every node, or empty, is of no interest at a terminal; --json shows it all.
  const dull =
    /(_interface|^links|^ports|^states|^portgroups|^volume|^conductor|^conductor_group|^driver_internal_info)$/
  const filled = Object.entries(node).filter(
    ([key, value]) =>
      !dull.test(key) &&
      value !== null &&
      value !== false &&
      JSON.stringify(value) !== '{}' &&
      JSON.stringify(value) !== '[]'
  )
  out.line(record(Object.fromEntries(filled)))
  const rows = (ports as Json[]).map((port) => [
    port['address'],
    (port['internal_info'] as Json)['reserved_ip'],
    port['pxe_enabled'] ? 'yes' : 'no',
    port['physical_network']
  ])
  const card = (node['driver_internal_info'] as Json)['quirk_card']
  if (card) out.line('\nBMC\n' + cardLines(card as Json))
  out.line('\n' + table(['PORT', 'ADDRESS', 'BOOTS', 'NETWORK'], rows))
}

/** Reads a JSON file of the operator; CliError with what is wrong with it. */
export function readJson(file: string): unknown {
  const text = readText(file)
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new CliError(`${file} is not JSON: ${(error as Error).message}`)
  }
}

export function readText(file: string): string {
  return readBytes(file).toString('utf8')
}

export function readBytes(file: string): Buffer {
  try {
    return readFileSync(file)
  } catch (error) {
    throw new CliError(`cannot read ${file}: ${(error as Error).message}`)
  }
}

/** Imports the file; then, unless told not to, takes every node that is not yet `available` there, and tells how each fared. */
export async function importNodes(
  client: Client,
  out: Out,
  file: string,
  provide: boolean
): Promise<boolean> {
  const inventory = readJson(file)
  const result = (await client.ask('POST', '/v1/inventory', inventory)) as Record<string, Imported[]>
  const { created = [], updated = [], unchanged = [] } = result
  if (!out.asJson) {
    const rows = [
      ...created.map((node) => [label(node), 'created', '']),
      ...updated.map((node) => [label(node), 'updated', node.fields.join(', ')]),
      ...unchanged.map((node) => [label(node), 'unchanged', ''])
    ]
    if (rows.length === 0) out.line(`${file} lists no nodes.`)
    else out.line(table(['NODE', 'RESULT', 'CHANGED'], rows))
    for (const node of [...created, ...updated])
      if (node.ignored.length > 0)
        out.line(`${label(node)}: of no meaning here and not kept: ${node.ignored.join(', ')}`)
  }
  if (!provide) {
    if (out.asJson) out.json(result)
    return true
  }
  const failed = await makeAvailable(client, out, [...created, ...updated, ...unchanged])
  if (out.asJson) out.json({ ...result, failed })
  return failed.length === 0
}

/** manage, then provide, for those in `enroll` or `manageable`; the others are left as they are. Answers those that failed. */
async function makeAvailable(
  client: Client,
  out: Out,
  nodes: readonly Imported[]
): Promise<{ uuid: string; name: string | null; error: string }[]> {
  const failed: { uuid: string; name: string | null; error: string }[] = []
  const waiting = new Map<string, Imported>()
  let after = await lastEventId(client)
  const say = (node: Imported, text: string) => {
    if (!out.asJson) out.line(`${label(node)}: ${text}`)
  }
  const provision = (node: Imported, target: string) =>
    client.ask('PUT', `${nodePath(node.uuid)}/states/provision`, { target })
  /** Answers whether there is more to wait for. */
  const step = async (node: Imported, shown: NodeJson, begun: boolean): Promise<boolean> => {
    if (shown.provision_state === 'enroll' && !begun) await provision(node, 'manage')
    else if (shown.provision_state === 'enroll')
      throw new CliError(shown.last_error ?? 'the BMC could not be verified')
    else if (shown.provision_state === 'manageable') {
      await provision(node, 'provide')
      say(node, `available (power is ${shown.power_state?.replace('power ', '') ?? 'not known'})`)
      return false
    } else if (shown.provision_state !== 'verifying') return false
    return true
  }
  const attempt = async (node: Imported, shown: NodeJson, begun: boolean): Promise<void> => {
    try {
      if (await step(node, shown, begun)) waiting.set(node.uuid, node)
      else waiting.delete(node.uuid)
    } catch (error) {
      if (!(error instanceof CliError)) throw error
      waiting.delete(node.uuid)
      failed.push({ uuid: node.uuid, name: node.name, error: error.message })
      say(node, `NOT available: ${error.message}`)
    }
  }
  const states = async () => {
    const { nodes: all } = await client.ask('GET', '/v1/nodes/detail')
    return new Map((all as NodeJson[]).map((node) => [node.uuid, node]))
  }
  const first = await states()
  for (const node of nodes) {
    const shown = first.get(node.uuid)
    if (shown) await attempt(node, shown, false)
  }
  while (waiting.size > 0) {
    await new Promise((resolve) => setTimeout(resolve, 300))
    const { events } = (await client.ask('GET', `/v1/events?after=${after}`)) as { events: ShownEvent[] }
    for (const event of events) {
      after = event.id
      const node = waiting.get(event.node_uuid ?? '')
      if (node && event.kind === 'bmc-trouble') say(node, eventWords(event))
    }
    const now = await states()
    for (const node of [...waiting.values()]) {
      const shown = now.get(node.uuid)
      if (shown) await attempt(node, shown, true)
      else waiting.delete(node.uuid)
    }
  }
  return failed
}

export type DeployOptions = {
  image: string
  key: string[]
  userData?: string
  hostname?: string
  metadata?: string
  wait?: boolean
  despiteForeignDhcp?: boolean
}

type Deployment = Json & { uuid: string; node_name: string | null; node_uuid: string }

/** Orders the deployments; with `wait`, shows what happens until every one has ended. False when one failed. */
export async function deployNodes(
  client: Client,
  out: Out,
  nodes: string[],
  options: DeployOptions
): Promise<boolean> {
  const body = {
    nodes,
    image: options.image,
    key_names: options.key,
    ...(options.userData === undefined ? {} : { user_data: readBytes(options.userData).toString('base64') }),
    ...(options.hostname === undefined ? {} : { hostname: options.hostname }),
    ...(options.metadata === undefined ? {} : { metadata: readJson(options.metadata) })
  }
  const after = options.wait ? await lastEventId(client) : 0
  const path = `/v1/deployments${options.despiteForeignDhcp ? '?despite_foreign_dhcp=true' : ''}`
  const answer = await client.ask('POST', path, body)
  const deployments = answer['deployments'] as Deployment[]
  if (!options.wait) {
    if (out.asJson) out.json(answer)
    else
      for (const { uuid, node_name, node_uuid } of deployments)
        out.line(
          `${node_name ?? node_uuid}: deployment ${uuid} ordered; watch it with "seedling event follow"`
        )
    return true
  }
  const ok = await watch(client, out, deployments, after)
  if (out.asJson) {
    const ended = await Promise.all(
      deployments.map(({ uuid }) => client.ask('GET', `/v1/deployments/${uuid}`))
    )
    out.json({ deployments: ended })
  }
  return ok
}

async function watch(
  client: Client,
  out: Out,
  deployments: readonly Deployment[],
  after: number
): Promise<boolean> {
  const open = new Set(deployments.map(({ uuid }) => uuid))
  const nodes = new Set(deployments.map((deployment) => deployment.node_uuid))
  const width = Math.max(...deployments.map(({ node_name, node_uuid }) => (node_name ?? node_uuid).length))
  const written = new Map<string, string>()
  let ok = true
  for await (const event of followEvents(client, after)) {
    if (!nodes.has(event.node_uuid ?? '')) continue
    if (!out.asJson && (event.kind !== 'write-progress' || further(event, written)))
      out.line(eventLine(event, width))
    const ended =
      event.kind === 'order-done' || event.kind === 'order-failed' || event.kind === 'order-cancelled'
    if (!ended || !open.delete(event.order_id ?? '')) continue
    if (event.kind !== 'order-done') ok = false
    if (open.size === 0) break
  }
  return ok
}

/** Is this progress by another tenth? Nobody reads a line for each percent. */
function further(event: ShownEvent, written: Map<string, string>): boolean {
  if (event.kind !== 'write-progress') return true
  const { stage, done, total } = event.detail
  const tenth = `${stage} ${total > 0 ? Math.floor((10 * done) / total) : 0}`
  const key = event.order_id ?? ''
  if (written.get(key) === tenth) return false
  written.set(key, tenth)
  return true
}

/** One provision verb for each node; with `wait`, until the state is reached. All are tried; false when one failed. */
export async function provisionNodes(
  client: Client,
  out: Out,
  nodes: string[],
  target: string,
  wait: boolean
): Promise<boolean> {
  return each(out, nodes, async (ident) => {
    await client.ask('PUT', `${nodePath(ident)}/states/provision`, { target })
    return wait ? settled(client, ident) : ''
  })
}

/** One power verb for each node; `timeout` in seconds, for the soft ones. With `wait`, until it is done. */
export async function powerNodes(
  client: Client,
  out: Out,
  nodes: string[],
  target: string,
  { timeout, wait }: { timeout?: string; wait?: boolean }
): Promise<boolean> {
  if (timeout !== undefined && !/^[1-9]\d{0,4}$/.test(timeout))
    throw new CliError(`--timeout ${timeout} is no number of seconds`)
  return each(out, nodes, async (ident) => {
    const body = timeout === undefined ? { target } : { target, timeout: Number(timeout) }
    await client.ask('PUT', `${nodePath(ident)}/states/power`, body)
    if (wait) await settled(client, ident)
    return wait ? `${target}: done` : target
  })
}

export async function deleteNodes(client: Client, out: Out, nodes: string[]): Promise<boolean> {
  return each(out, nodes, async (ident) => {
    await client.ask('DELETE', nodePath(ident))
    return 'deleted'
  })
}

/** Does something for each; tells who failed and why, and goes on. */
async function each(out: Out, idents: string[], work: (ident: string) => Promise<string>): Promise<boolean> {
  const results: Json[] = []
  for (const ident of idents) {
    try {
      const done = await work(ident)
      results.push({ node: ident, ok: true, ...(done ? { state: done } : {}) })
      if (!out.asJson) out.line(`${ident}: ${done || 'accepted'}`)
    } catch (error) {
      if (!(error instanceof CliError)) throw error
      results.push({ node: ident, ok: false, error: error.message })
      if (!out.asJson) process.stderr.write(`seedling: ${ident}: ${error.message}\n`)
    }
  }
  if (out.asJson) out.json(results)
  return results.every(({ ok }) => ok)
}

/** Waits until nothing goes on at the node; CliError with last_error when it did not end well. */
export async function settled(client: Client, ident: string): Promise<string> {
  for (;;) {
    const node = (await client.ask('GET', nodePath(ident))) as NodeJson
    if (node['reservation'] === null) {
      if (node.last_error !== null) throw new CliError(node.last_error)
      return node.provision_state
    }
    await new Promise((resolve) => setTimeout(resolve, 300))
  }
}

export async function listDeployments(client: Client, out: Out): Promise<void> {
  const answer = await client.ask('GET', '/v1/deployments')
  if (out.asJson) return out.json(answer)
  const rows = (answer['deployments'] as Deployment[]).map((deployment) => [
    deployment.node_name ?? deployment.node_uuid,
    deployment['image_name'] ?? deployment['image_id'],
    deployment['hostname'],
    deployment['state'],
    deployment['attempt'],
    deployment['waiting_for'] ?? (deployment['failure'] as Json | null)?.['message'],
    day(deployment['created_at'] as string),
    deployment['finished_at'] ? clock(deployment['finished_at'] as string) : null
  ])
  out.line(
    table(['NODE', 'IMAGE', 'HOSTNAME', 'STATE', 'ATTEMPT', 'WAITS FOR / FAILED', 'ORDERED', 'ENDED'], rows)
  )
}
