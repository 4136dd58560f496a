// What can be known of a hand-over beforehand, asked of the target itself and of the LAN; each line a finding, and `PROBLEM` begins those that stand in the way.

import { setTimeout as sleep } from 'node:timers/promises'
import { ironicNode } from '../../src/decide/handoff-export.ts'
import { HANDED_OVER, NO_DRIVER } from '../../src/decide/handoff-step.ts'
import { AppError } from '../../src/domain/error.ts'
import type { HandoffNode, HandoffPlan } from '../../src/domain/handoff.ts'
import type { Ip, Mac } from '../../src/wire/address.ts'
import type { Ironic } from './ironic.ts'

/** What other DHCP servers offer a MAC; `ip` null: a boot file only. */
export type DhcpAnswers = ReadonlyMap<Mac, readonly { server: Ip; ip: Ip | null }[]>

export type CheckDeps = {
  nova: boolean
  /** Whether the target is to log in to each BMC. */
  bmcs: boolean
  /** null: nobody was asked. */
  answers: DhcpAnswers | null
  addressOf: (mac: Mac) => Ip | null
}

/** Machines looked at together: a conductor logs in to some five BMCs a second. */
const AT_ONCE = 32
const LOOK_EVERY_MILLISECONDS = 500
const REMOVALS = 20
/** Ironic itself asks a BMC that does not answer for a minute; whoever asks us hears something sooner. */
const LOG_IN_PATIENCE_MILLISECONDS = 30_000

export async function checkTarget(
  ironic: Ironic,
  url: string,
  nodes: HandoffPlan['nodes'],
  deps: CheckDeps
): Promise<string[]> {
  const { maximum, drivers } = await ironic.about()
  const findings = [`Ironic at ${url} speaks API version ${maximum}`]
  for (const driver of deps.nova ? ['ipmi', NO_DRIVER] : ['ipmi'])
    if (!drivers.includes(driver))
      findings.push(
        `PROBLEM: no conductor there has the driver "${driver}" (there is ${drivers.join(', ') || 'none'})`
      )
  for (let first = 0; first < nodes.length; first += AT_ONCE)
    findings.push(
      ...(
        await Promise.all(nodes.slice(first, first + AT_ONCE).map((one) => checkNode(ironic, one, deps)))
      ).flat()
    )
  if (!deps.bmcs)
    findings.push(
      'Whether the same BMC passwords work from there is not known: --bmcs has Ironic log in to each; else "manage", the second step of a commit, shows it.'
    )
  if (deps.answers === null)
    findings.push('Other DHCP servers were not asked: in mode "listen" nothing is sent.')
  findings.push(
    'Nothing is cleaned or switched: adoption does neither, automated cleaning is switched off for each node that a commit makes, and the nodes are protected at its end.'
  )
  return findings
}

async function checkNode(
  ironic: Ironic,
  { export: node, blockers }: HandoffPlan['nodes'][number],
  { bmcs, answers, addressOf }: CheckDeps
): Promise<string[]> {
  const label = node.name ?? node.uuid
  const found = blockers.map(({ message }) => `PROBLEM: ${label}: ${message}`)
  const there = await ironic.node(node.uuid)
  const named = node.name === null ? null : await ironic.node(node.name)
  if (there) found.push(`${label}: is there already, "${there.provision_state}"; a commit goes on from that`)
  if (named && named.uuid !== node.uuid)
    found.push(`PROBLEM: ${label}: the name is taken there, by node ${named.uuid}`)
  for (const { address } of node.ports) {
    const holder = await ironic.portByAddress(address)
    if (holder && holder.node_uuid !== node.uuid)
      found.push(`PROBLEM: ${label}: its MAC ${address} is taken there, by node ${holder.node_uuid}`)
    if (answers) found.push(...dhcpFindings(label, address, addressOf(address), answers.get(address) ?? []))
  }
  // What stands in the way comes first.
  if (blockers.length > 0) return found
  if (bmcs && !there) {
    const fault = await logInFault(ironic, node)
    found.push(
      fault === null
        ? `${label}: Ironic has logged in to its BMC`
        : `PROBLEM: ${label}: Ironic cannot log in to its BMC: ${fault}`
    )
  }
  return found
}

function dhcpFindings(
  label: string,
  mac: Mac,
  address: Ip | null,
  answers: readonly { server: Ip; ip: Ip | null }[]
) {
  if (address === null && answers.length === 0) return []
  if (answers.length === 0)
    return [
      `${label}: no other DHCP server answers its MAC ${mac} yet; it keeps ${address} until its lease ends, so give the next server its reservation first`
    ]
  return answers.map(({ server, ip }) =>
    ip === address
      ? `${label}: the DHCP server ${server} has its address ${ip} ready`
      : `PROBLEM: ${label}: the DHCP server ${server} answers its MAC ${mac} with ${ip ?? 'a boot file'}, and its address is ${address ?? 'not ours'}; reserve that there`
  )
}

/**
 * Has Ironic read the machine's power, by a node that is deleted again; in maintenance, so that nothing is enforced meanwhile, and in ours, so that a commit
 * could go on from what is left of it. null: it can.
 */
async function logInFault(ironic: Ironic, node: HandoffNode): Promise<string | null> {
  const { uuid } = node
  let fault: string | null
  try {
    // Without the name, which may be another's.
    await ironic.createNode(ironicNode({ ...node, name: null }))
    await ironic.setMaintenance(uuid, HANDED_OVER)
    await ironic.provision(uuid, 'manage')
    fault = await manageFault(ironic, uuid)
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    fault = error.message
  }
  return (await isRemoved(ironic, uuid))
    ? fault
    : `${fault ?? 'it can'}; but its record there could not be deleted yet`
}

async function manageFault(ironic: Ironic, uuid: string): Promise<string | null> {
  const until = performance.now() + LOG_IN_PATIENCE_MILLISECONDS
  for (;;) {
    await sleep(LOOK_EVERY_MILLISECONDS)
    const there = await ironic.node(uuid)
    if (there?.provision_state === 'manageable') return null
    if (there?.provision_state === 'enroll') return there.last_error ?? 'no reason given'
    if (performance.now() > until) return 'no answer yet after half a minute'
  }
}

/** A node that is being looked at is locked for a moment. */
async function isRemoved(ironic: Ironic, uuid: string): Promise<boolean> {
  for (let tries = 0; tries < REMOVALS; tries++) {
    try {
      await ironic.deleteNode(uuid)
      return true
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      await sleep(LOOK_EVERY_MILLISECONDS)
    }
  }
  return false
}
