// Carries machines over to Ironic, a few at a time, and goes on where it was cut off: what is on its way stands in the rows (node.handover), what has
// been done is looked up there each time. From the commit that sets the row we are silent to the machine and its BMC (gate, DHCP, serve.ts).

import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
  verify,
  type KeyObject
} from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import { nextHandoffStep, type Remote } from '../../src/decide/handoff-step.ts'
import { planHandoff, type HandoffOptions } from '../../src/decide/handoff-plan.ts'
import { provisionStateOf } from '../../src/decide/provision.ts'
import type { Handover, HandoffNode, HandoffPlan } from '../../src/domain/handoff.ts'
import type { Change } from '../../src/domain/change.ts'
import { AppError } from '../../src/domain/error.ts'
import type { EventDetail } from '../../src/domain/event.ts'
import type { Node } from '../../src/domain/node.ts'
import type { Config } from '../config.ts'
import type { Apply } from '../store/apply.ts'
import type { Facts } from '../store/facts.ts'
import type { Store } from '../store/open.ts'
import { createIronic, type Ironic } from './ironic.ts'

/** Machines on their way at once: one conductor is one thread. */
const AT_ONCE = 4
/** A session with a BMC is closed 3 s after its last command (services/bmc): only then are we really gone. */
const LET_GO_MILLISECONDS = 5000
const LOOK_EVERY_MILLISECONDS = 2000
const AFTER_TROUBLE_MILLISECONDS = 30_000
/** Ten polls of os-collect-config: who is silent for so long asks no more. */
const SILENCE_MILLISECONDS = 300_000

export type HandoffTarget = { url: string; token?: string; user?: string }

export type HandoffDeps = {
  /** When each node's instance last asked for its metadata in this run, ms. */
  asked: ReadonlyMap<string, number>
  config: Config
  store: Store
  facts: Facts
  apply: Apply
  log: Logger
  now: () => number
  /** Ends DHCP and TFTP for good; called when the hand-over is finished. */
  onFinish: () => void
}

export type Ending = {
  /** When serving was stopped, ms; null: it was not. */
  finishedAt: number | null
  /** Machines whose instances asked for metadata within the last ten polls. */
  stillAsking: string[]
  canSwitchOff: boolean
}

export type Handoff = ReturnType<typeof startHandoff>

export function startHandoff(deps: HandoffDeps) {
  const { config, store, facts, apply, now } = deps
  const log = deps.log.child({ service: 'handoff' })
  const file = join(config.dataDir, 'handoff.json')
  const running = new Map<string, Promise<void>>()
  const wakers = new Set<() => void>()
  let closed = false
  const startedAt = now()

  /** Where to and how, with the secret of it; kept for whoever goes on after a restart. */
  type Course = { target: HandoffTarget; options: HandoffOptions }
  const course = (): Course | null =>
    existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Course) : null

  function plan(idents: readonly string[], options: HandoffOptions): HandoffPlan {
    const wanted = idents.length > 0 ? idents.map((ident) => nodeNamed(ident)) : facts.nodes()
    return planHandoff({ nodes: wanted.map(factsOf), subnets: config.network.subnets }, options)
  }

  function factsOf(node: Node) {
    const instance = node.instanceUuid === null ? null : facts.instanceByUuid(node.instanceUuid)
    return {
      node,
      ports: facts.portsOfNode(node.uuid),
      orders: facts.ordersOfNode(node.uuid),
      instance,
      image: instance ? facts.imageById(instance.imageId) : null
    }
  }

  function nodeNamed(ident: string): Node {
    const node = facts.node(ident)
    if (!node) throw new AppError('not-found', `Node ${ident} could not be found`)
    return node
  }

  /** What the target itself says; each line a finding. */
  async function check(
    target: HandoffTarget,
    idents: readonly string[],
    options: HandoffOptions
  ): Promise<string[]> {
    const ironic = createIronic(target.url, target)
    const { maximum, drivers } = await ironic.about()
    const findings = [`Ironic at ${target.url} speaks API version ${maximum}`]
    if (!drivers.includes('ipmi'))
      findings.push(
        `PROBLEM: no conductor there has the driver "ipmi" (there is ${drivers.join(', ') || 'none'})`
      )
    for (const { export: node, blockers } of plan(idents, options).nodes) {
      const label = node.name ?? node.uuid
      for (const { message } of blockers) findings.push(`PROBLEM: ${label}: ${message}`)
      const [same, named] = [
        await ironic.node(node.uuid),
        node.name === null ? null : await ironic.node(node.name)
      ]
      if (same)
        findings.push(`${label}: is there already, "${same.provision_state}"; a commit goes on from that`)
      else if (named) findings.push(`PROBLEM: ${label}: the name is taken there, by node ${named.uuid}`)
      for (const { address } of node.ports) {
        const holder = await ironic.portByAddress(address)
        if (holder && holder.node_uuid !== node.uuid)
          findings.push(`PROBLEM: ${label}: its MAC ${address} is taken there, by node ${holder.node_uuid}`)
      }
    }
    findings.push(
      'Only "manage", the second step of a commit, proves that the same BMC passwords work from there; it reads the power state and sets nothing.'
    )
    findings.push(
      'Automated cleaning is switched off for each node that a commit makes; the nodes are protected at its end.'
    )
    return findings
  }

  /** Lets go of the machines and brings them over. AppError `wrong-state` naming every blocker; then nothing was done. */
  function commit(target: HandoffTarget, idents: readonly string[], options: HandoffOptions): string[] {
    if (facts.standing().finishedAt !== null)
      throw new AppError('wrong-state', 'the hand-over is finished; there is nothing left to hand over')
    const before = course()
    const onTheirWay = facts.nodes().some(({ handover }) => handover && handover.finishedAt === null)
    if (before && onTheirWay && before.target.url !== target.url)
      throw new AppError('wrong-state', `machines are on their way to ${before.target.url}; end that first`)
    const { nodes } = plan(idents, options)
    const chosen = nodes.filter(({ uuid }) => !facts.nodeByUuid(uuid)?.handover)
    const blocked = chosen.filter(({ blockers }) => blockers.length > 0)
    if (blocked.length > 0)
      throw new AppError(
        'wrong-state',
        `nothing was done: ${blocked.map(({ name, uuid, blockers }) => `${name ?? uuid}: ${blockers.map(({ message }) => message).join('; ')}`).join(' | ')}`
      )
    writeFileSync(file, JSON.stringify({ target, options } satisfies Course), { mode: 0o600, flush: true })
    store.commit(() => {
      for (const { uuid } of chosen) {
        const node = facts.nodeByUuid(uuid) as Node
        const { image } = factsOf(node)
        const handover: Handover = {
          target: target.url,
          startedAt: now(),
          finishedAt: null,
          trouble: null,
          before: {
            power: node.powerState && `power ${node.powerState}`,
            provisionState: provisionStateOf({ node, orders: facts.ordersOfNode(uuid) }),
            imageSha256: image?.sha256 ?? null
          },
          after: null
        }
        apply([
          { put: 'node', row: { ...node, handover } },
          told(uuid, { target: target.url, step: 'let-go', note: null })
        ])
      }
    })
    go()
    return chosen.map(({ name, uuid }) => name ?? uuid)
  }

  function go(): void {
    const open = facts.nodes().filter(({ handover }) => handover && handover.finishedAt === null)
    for (const { uuid } of open) {
      if (closed || running.size >= AT_ONCE) return
      if (running.has(uuid)) continue
      const carried = carry(uuid)
        .catch((error: unknown) => log.error({ err: error, node: uuid }, 'handing over failed here'))
        .finally(() => {
          running.delete(uuid)
          go()
        })
      running.set(uuid, carried)
    }
  }

  /** One machine, until it is there, taken back, or we stop. */
  async function carry(uuid: string): Promise<void> {
    let asked: 'manage' | 'adopt' | null = null
    for (;;) {
      const node = facts.nodeByUuid(uuid)
      const way = course()
      if (closed || !node?.handover || node.handover.finishedAt !== null || !way) return
      const since = now() - node.handover.startedAt
      if (since < LET_GO_MILLISECONDS) {
        await rest(LET_GO_MILLISECONDS - since)
        continue
      }
      const [one] = plan([uuid], way.options).nodes
      if (!one) return
      try {
        const ironic = createIronic(way.target.url, way.target)
        const remote = await look(ironic, one.export)
        // Taken back while we looked.
        if (!facts.nodeByUuid(uuid)?.handover) return
        const step = nextHandoffStep(one.export, remote, asked)
        if (step.do === 'stop') {
          trouble(uuid, step.trouble)
          asked = null
          await rest(AFTER_TROUBLE_MILLISECONDS)
          continue
        }
        trouble(uuid, null)
        if (step.do === 'wait') {
          await rest(LOOK_EVERY_MILLISECONDS)
          continue
        }
        if (step.do === 'create-node') await ironic.createNode(step.body)
        else if (step.do === 'create-port') await ironic.createPort(step.body)
        else if (step.do === 'patch') await ironic.patchNode(uuid, step.patch)
        else if (step.do === 'provision') {
          await ironic.provision(uuid, step.target)
          asked = step.target
          tell(uuid, step.target === 'manage' ? 'created' : 'managed')
          await rest(LOOK_EVERY_MILLISECONDS)
        } else if (await finish(uuid, ironic, remote)) return
      } catch (error) {
        if (!(error instanceof AppError)) throw error
        trouble(uuid, error.message)
        await rest(
          error.detail['passing'] === true ? LOOK_EVERY_MILLISECONDS * 2 : AFTER_TROUBLE_MILLISECONDS
        )
      }
    }
  }

  async function look(ironic: Ironic, node: HandoffNode): Promise<Remote> {
    const ports: Record<string, { node_uuid: string } | null> = {}
    for (const { address } of node.ports) ports[address] = await ironic.portByAddress(address)
    return { node: await ironic.node(node.uuid), ports }
  }

  /** Active and protected; is it good for more than that? True: it is done. */
  async function finish(uuid: string, ironic: Ironic, remote: Remote): Promise<boolean> {
    const fault = await ironic.deployFault(uuid)
    if (fault) {
      trouble(uuid, `it is active there, and could not be deployed again: ${fault}`)
      await rest(AFTER_TROUBLE_MILLISECONDS)
      return false
    }
    const after = {
      power: remote.node?.power_state ?? null,
      provisionState: remote.node?.provision_state ?? '',
      deployValid: true
    }
    store.commit(() => {
      const node = facts.nodeByUuid(uuid)
      if (!node?.handover) return
      const handover: Handover = { ...node.handover, finishedAt: now(), trouble: null, after }
      apply([
        { put: 'node', row: { ...node, handover } },
        told(uuid, { target: handover.target, step: 'done', note: null })
      ])
    })
    log.info({ node: uuid, ...after }, 'handed over')
    return true
  }

  /**
   * Takes a machine back: its record there is deleted without anything being done to the machine, and it is ours again. AppError when the target
   * does not let it go; then it stays where it is.
   */
  async function undo(ident: string): Promise<void> {
    const node = nodeNamed(ident)
    const way = course()
    if (facts.standing().finishedAt !== null)
      throw new AppError(
        'wrong-state',
        'the hand-over is finished, and that was its last step; to take machines back, restore a backup from before it'
      )
    if (!node.handover || !way)
      throw new AppError('wrong-state', `Node ${ident} is ours; there is nothing to take back`)
    const ironic = createIronic(way.target.url, way.target)
    const there = await ironic.node(node.uuid)
    if (there) {
      if (there.protected)
        await ironic.patchNode(node.uuid, [{ op: 'add', path: '/protected', value: false }])
      // In maintenance a record can be deleted in any state, and no power action is taken; "undeploy" would switch the machine off.
      await ironic.setMaintenance(node.uuid, 'taken back by Seedling')
      await ironic.deleteNode(node.uuid)
    }
    store.commit(() => {
      const row = facts.nodeByUuid(node.uuid)
      // What its power is now has to be looked at anew.
      if (row)
        apply([
          { put: 'node', row: { ...row, handover: null, powerState: null, powerStateAt: null } },
          told(node.uuid, { target: way.target.url, step: 'taken-back', note: null })
        ])
    })
    wake()
  }

  /**
   * The last step: no DHCP, no TFTP and no boot path for anybody, also after a restart; metadata is read for as long as somebody asks. Done twice it is
   * done once. AppError `wrong-state` naming the machines that are ours, or on their way; then nothing was done.
   */
  function finishAll(): Ending {
    if (facts.standing().finishedAt === null) {
      const nodes = facts.nodes()
      const open = nodes.filter(({ handover }) => !handover || handover.finishedAt === null)
      if (nodes.length === 0)
        throw new AppError('wrong-state', 'nothing was handed over, so there is nothing to finish')
      if (open.length > 0)
        throw new AppError(
          'wrong-state',
          `nothing was done: not handed over are ${open.map(({ name, uuid }) => name ?? uuid).join(', ')}; hand them over, or delete them here`
        )
      const target = nodes[0]?.handover?.target ?? ''
      store.commit(() =>
        apply([
          { put: 'standing', row: { ...facts.standing(), finishedAt: now() } },
          told(null, { target, step: 'finished', note: null })
        ])
      )
      log.warn('the hand-over is finished: nothing but metadata is answered from now on')
    }
    deps.onFinish()
    return ending()
  }

  /** How far the end is. Who asks is known for this run only, so after a start nobody counts as silent for a while. */
  function ending(): Ending {
    const stillAsking = state()
      .filter(({ uuid }) => now() - (deps.asked.get(uuid) ?? -Infinity) < SILENCE_MILLISECONDS)
      .map(({ name, uuid }) => name ?? uuid)
    const { finishedAt } = facts.standing()
    const listening = now() - Math.max(startedAt, finishedAt ?? 0)
    return {
      finishedAt,
      stillAsking,
      canSwitchOff: finishedAt !== null && stillAsking.length === 0 && listening >= SILENCE_MILLISECONDS
    }
  }

  function state() {
    return facts
      .nodes()
      .filter(({ handover }) => handover !== null)
      .map(({ uuid, name, handover }) => ({ uuid, name, ...(handover as Handover) }))
  }

  /** What was handed over, for people, signed; with all of them at their new owner the appliance has nothing left to do. */
  function report(): { text: string; signature: string; publicKey: string } {
    const rows = state()
    const ours = facts.nodes().filter(({ handover }) => handover === null)
    const line = ({
      name,
      uuid,
      before,
      after,
      startedAt,
      finishedAt,
      target,
      trouble
    }: (typeof rows)[number]) =>
      `${name ?? uuid}  ${uuid}\n  to      ${target}\n  began   ${time(startedAt)}\n  ended   ${finishedAt === null ? `not yet${trouble ? `: ${trouble}` : ''}` : time(finishedAt)}\n` +
      `  before  ${before.provisionState}, ${before.power ?? 'power unknown'}, image sha256 ${before.imageSha256 ?? 'unknown'}\n` +
      `  after   ${after ? `${after.provisionState}, ${after.power ?? 'power unknown'}, ${after.deployValid ? 'can be deployed' : 'cannot be deployed'}` : '-'}`
    const done = rows.length > 0 && ours.length === 0 && rows.every(({ finishedAt }) => finishedAt !== null)
    const { finishedAt: stoppedAt, stillAsking, canSwitchOff } = ending()
    const text = [
      `Hand-over by Seedling, ${time(now())}`,
      '',
      ...rows.map(line),
      '',
      ours.length > 0
        ? `Still Seedling's: ${ours.map(({ name, uuid }) => name ?? uuid).join(', ')}`
        : 'No machine is left here.',
      !done
        ? 'The hand-over is not complete.'
        : stillAsking.length > 0
          ? `Everything is handed over. These still ask here for their metadata, and get it: ${stillAsking.join(', ')}. Give them another place to ask before the appliance is switched off.`
          : stoppedAt === null
            ? 'Everything is handed over. What is left is to stop serving here: seedling handoff finish'
            : !canSwitchOff
              ? 'Everything is handed over, and only metadata is answered here. Whether anybody still asks for it is known in a few minutes.'
              : 'Everything is handed over, and nobody has asked for metadata for a while: the appliance can be switched off.',
      ''
    ].join('\n')
    const key = signingKey()
    const publicKey = createPublicKey(key).export({ type: 'spki', format: 'pem' }) as string
    return { text, signature: sign(null, Buffer.from(text), key).toString('base64'), publicKey }
  }

  function signingKey(): KeyObject {
    const path = join(config.dataDir, 'handoff-key.pem')
    if (!existsSync(path))
      writeFileSync(
        path,
        generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }),
        { mode: 0o600, flush: true }
      )
    return createPrivateKey(readFileSync(path))
  }

  function trouble(uuid: string, what: string | null): void {
    const node = facts.nodeByUuid(uuid)
    if (!node?.handover || node.handover.trouble === what) return
    if (what) log.warn({ node: node.name ?? uuid }, what)
    store.commit(() =>
      apply([{ put: 'node', row: { ...node, handover: { ...(node.handover as Handover), trouble: what } } }])
    )
  }

  function tell(uuid: string, step: EventDetail['handoff']['step']): void {
    const target = facts.nodeByUuid(uuid)?.handover?.target
    if (target) store.commit(() => apply([told(uuid, { target, step, note: null })]))
  }

  function told(nodeUuid: string | null, detail: EventDetail['handoff']): Change {
    return { event: { kind: 'handoff', at: now(), nodeUuid, orderId: null, subject: detail.step, detail } }
  }

  const wake = (): void => {
    for (const one of wakers) one()
  }
  async function rest(milliseconds: number): Promise<void> {
    const cut = new AbortController()
    const waker = () => cut.abort()
    wakers.add(waker)
    await sleep(milliseconds, undefined, { signal: cut.signal }).catch(() => undefined)
    wakers.delete(waker)
  }

  go()
  return {
    plan,
    check,
    commit,
    undo,
    finish: finishAll,
    ending,
    state,
    report,
    async close(): Promise<void> {
      closed = true
      wake()
      await Promise.all(running.values())
    }
  }
}

/** Whether a report is as it was signed. */
export function isReportGenuine({
  text,
  signature,
  publicKey
}: {
  text: string
  signature: string
  publicKey: string
}): boolean {
  return verify(null, Buffer.from(text), publicKey, Buffer.from(signature, 'base64'))
}

const time = (at: number): string => new Date(at).toISOString()
