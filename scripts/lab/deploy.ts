// The main job on the rack, as an operator would do it: enrol the machines, add key and image, order the deployment,
// and tell how it goes until every machine is active.
import { createHash } from 'node:crypto'
import { createReadStream, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { RackPlan } from './plan.ts'
import { run } from './process.ts'
import { api, followEvents, seedling, writeInventory } from './seed.ts'
import { say } from './step.ts'

export type SampleImage = {
  /** Its name in Seedling. */
  name: string
  file: string
}

/** What of Ironic's node resource is of interest here. */
export type NodeState = {
  name: string
  provision_state: string
  power_state: string | null
  last_error: string | null
}

const keyName = 'rack'
const patienceMs = 30 * 60_000

export const nodeState = (rack: RackPlan, name: string): Promise<NodeState> =>
  api(rack, 'GET', `/v1/nodes/${name}`)

/** Enrols the machines and adds the rack's own SSH key and the image; repeats nothing that is done. */
export async function enrol(rack: RackPlan, image: SampleImage): Promise<void> {
  writeInventory(rack)
  await seedling(rack, 'node', 'import', rack.inventory)
  if (!existsSync(rack.sshKey))
    run(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', 'rack', '-f', rack.sshKey])
  await seedling(rack, 'keypair', 'add', keyName, `${rack.sshKey}.pub`)
  await addImage(rack, image)
}

/** Adds the image unless that very file was added under its name before. */
async function addImage(rack: RackPlan, { name, file }: SampleImage): Promise<void> {
  const record = join(rack.dir, `${name}.sha256`)
  const hash = await sha256(file)
  const { images } = await api<{ images: { name: string }[] }>(rack, 'GET', '/v1/images')
  const there = images.some((image) => image.name === name)
  if (there && existsSync(record) && readFileSync(record, 'utf8') === hash) return
  await seedling(rack, 'image', 'add', name, file)
  writeFileSync(record, hash)
}

async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(file), hash)
  return hash.digest('hex')
}

/** Orders the image for the machines named; `userData` is a file. */
export async function order(
  rack: RackPlan,
  nodes: readonly string[],
  image: SampleImage,
  userData?: string
): Promise<void> {
  const extra = userData ? ['--user-data', userData] : []
  await seedling(rack, 'node', 'deploy', ...nodes, '--image', image.name, '--key', keyName, ...extra)
}

/**
 * Waits until every machine is active, telling each event as it happens.
 * @throws Error naming the machines that failed, why, and their last events
 */
export async function followToActive(rack: RackPlan, nodes: readonly string[]): Promise<void> {
  const deadline = Date.now() + patienceMs
  const stopFollowing = followEvents(rack, say)
  try {
    for (;;) {
      const states = await Promise.all(nodes.map((name) => nodeState(rack, name)))
      const failed = states.filter(({ provision_state: state }) => / failed$|^error$/.test(state))
      if (failed.length > 0) throw await failure(rack, failed)
      const waiting = states.filter(({ provision_state: state }) => state !== 'active')
      if (waiting.length === 0) return
      if (Date.now() > deadline) throw await failure(rack, waiting)
      await sleep(1000)
    }
  } finally {
    stopFollowing()
  }
}

async function failure(rack: RackPlan, nodes: readonly NodeState[]): Promise<Error> {
  const lines: string[] = []
  for (const { name, provision_state: state, last_error: reason } of nodes) {
    const events = (await seedling(rack, 'event', 'list', '--node', name)).trimEnd().split('\n').slice(-8)
    lines.push(
      `${name} is "${state}", not active: ${reason ?? 'it took too long'}`,
      ...events.map((event) => `    ${event}`)
    )
    lines.push(`    console: ${rack.machines.find((machine) => machine.name === name)?.consoleLog}`)
  }
  return new Error([...lines, `Seedling's log: ${rack.seed.log}; the rack's: ${rack.daemon.log}`].join('\n'))
}
