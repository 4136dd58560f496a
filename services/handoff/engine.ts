// Carries machines over to Ironic, and back, a few at a time, and goes on where it was cut off: what is on its way stands in the rows (node.handover),
// what has been done is looked up there each time. From the commit that sets the row we are silent to the machine and its BMC (gate, DHCP, serve.ts).

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
import {
  nextHandoffStep,
  nextUndoStep,
  type HandoffStep,
  type LastDone,
  type Remote
} from '../../src/decide/handoff-step.ts'
import { planHandoff, type HandoffFacts } from '../../src/decide/handoff-plan.ts'
import { provisionStateOf } from '../../src/decide/provision.ts'
import type {
  HandoffBlockerCode,
  Handover,
  HandoffNode,
  HandoffOptions,
  HandoffPlan
} from '../../src/domain/handoff.ts'
import type { BootDeviceSetting } from '../../src/domain/bmc.ts'
import type { Change } from '../../src/domain/change.ts'
import { AppError } from '../../src/domain/error.ts'
import type { EventDetail } from '../../src/domain/event.ts'
import type { Node } from '../../src/domain/node.ts'
import type { Mac } from '../../src/wire/address.ts'
import type { Config } from '../config.ts'
import type { Apply } from '../store/apply.ts'
import type { Facts } from '../store/facts.ts'
import type { Store } from '../store/open.ts'
import { checkTarget, type DhcpAnswers } from './check.ts'
import { createIronic, type Ironic, type IronicLogin } from './ironic.ts'

/** Machines on their way at once: one conductor is one thread. */
const AT_ONCE = 4
/** A session with a BMC is closed 3 s after its last command (services/bmc): only then are we really gone. */
const LET_GO_MILLISECONDS = 5000
const LOOK_EVERY_MILLISECONDS = 2000
const AFTER_TROUBLE_MILLISECONDS = 30_000
/** Who asks for a machine back waits for so long. */
const UNDO_PATIENCE_MILLISECONDS = 50_000
/** Ten polls of os-collect-config: who is silent for so long asks no more. */
const SILENCE_MILLISECONDS = 300_000

export type HandoffTarget = IronicLogin & { url: string }

export type HandoffDeps = {
  /** When each node's instance last asked for its metadata in this run, ms. */
  asked: ReadonlyMap<string, number>
  config: Config
  store: Store
  facts: Facts
  apply: Apply
  log: Logger
  now: () => number
  /** Which other DHCP servers answer these MACs, and with what; null: we may not ask. */
  dhcpAnswers: (macs: readonly Mac[]) => Promise<DhcpAnswers | null>
  /** When a boot program of this MAC last asked for an address, as after a restart, ms; null: not in this run. */
  bootedAt: (mac: Mac) => number | null
  /** As the BMC has it now; AppError when it does not tell. */
  bootDevice: (node: Node) => Promise<BootDeviceSetting>
  /** Ends what goes on with its BMC; called when the row is written that stops all else. */
  letGo: (uuid: string) => void
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

/** Machines of which the BMC is not asked where they boot from: it cannot be, is no longer ours to ask, or says it for a while only. */
const NOT_ASKED: ReadonlySet<HandoffBlockerCode> = new Set([
  'handed-over',
  'order-open',
  'not-active',
  'bmc-missing',
  'bmc-driver-info'
])

export type Handoff = ReturnType<typeof startHandoff>
type PlannedNode = HandoffFacts['nodes'][number]

export function startHandoff(deps: HandoffDeps) {
  const { config, store, facts, apply, now } = deps
  const log = deps.log.child({ service: 'handoff' })
  /** Under way this moment. */
  const running = new Map<string, Promise<void>>()
  /** Those on their way, and what we remember of them, which is lost at no harm. `dueAt` by the clock that never goes back. */
  const onTheirWay = new Map<string, { last: LastDone; dueAt: number }>()
  const ironics = new Map<string, Ironic>()
  let timer: NodeJS.Timeout | undefined
  let closed = false
  const startedAt = now()

  /** The same one for all machines, so that they share a token. */
  function ironicOf(url: string, login: IronicLogin): Ironic {
    const key = JSON.stringify([url, login])
    const ironic = ironics.get(key) ?? createIronic(url, login)
    ironics.set(key, ironic)
    return ironic
  }

  /** With what their BMCs say. */
  async function plan(idents: readonly string[], options: HandoffOptions): Promise<HandoffPlan> {
    const fromRows = drawUp(idents, options)
    const asked = fromRows.nodes.filter(({ blockers }) => !blockers.some(({ code }) => NOT_ASKED.has(code)))
    const answers = await Promise.all(
      asked.map(async ({ uuid }) => [uuid, await bootDeviceOf(nodeNamed(uuid))] as const)
    )
    return drawUp(idents, options, new Map(answers))
  }

  function drawUp(
    idents: readonly string[],
    options: HandoffOptions,
    bootDevices?: ReadonlyMap<string, PlannedNode['bootDevice']>
  ): HandoffPlan {
    const wanted = idents.length > 0 ? idents.map((ident) => nodeNamed(ident)) : facts.nodes()
    const nodes = wanted.map((node) => factsOf(node, bootDevices?.get(node.uuid)))
    return planHandoff({ nodes, subnets: config.network.subnets }, options)
  }

  async function bootDeviceOf(node: Node): Promise<PlannedNode['bootDevice']> {
    try {
      return await deps.bootDevice(node)
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      return { unknown: error.message }
    }
  }

  function factsOf(node: Node, bootDevice: PlannedNode['bootDevice'] = null): PlannedNode {
    const instance = node.instanceUuid === null ? null : facts.instanceByUuid(node.instanceUuid)
    return {
      node,
      ports: facts.portsOfNode(node.uuid),
      orders: facts.ordersOfNode(node.uuid),
      instance,
      image: instance ? facts.imageById(instance.imageId) : null,
      bootDevice
    }
  }

  function nodeNamed(ident: string): Node {
    const node = facts.node(ident)
    if (!node) throw new AppError('not-found', `Node ${ident} could not be found`)
    return node
  }

  /** What the target itself says; each line a finding. `bmcs`: it is to log in to each BMC. */
  async function check(
    { url, ...login }: HandoffTarget,
    idents: readonly string[],
    options: HandoffOptions,
    bmcs: boolean
  ): Promise<string[]> {
    const { nodes } = await plan(idents, options)
    const answers = await deps.dhcpAnswers(
      nodes.flatMap(({ export: { ports } }) => ports.map(({ address }) => address))
    )
    return checkTarget(ironicOf(url, login), url, nodes, {
      ...{ nova: options.nova, bmcs, answers, addressOf }
    })
  }

  /** What the machine has now. */
  const addressOf = (mac: Mac) => facts.portByMac(mac)?.reservedIp ?? facts.leasesOfMac(mac)[0]?.ip ?? null

  /** Lets go of the machines and brings them over. AppError `wrong-state` naming every blocker; then nothing was done. */
  function commit(target: HandoffTarget, idents: readonly string[], options: HandoffOptions): string[] {
    if (facts.standing().finishedAt !== null)
      throw new AppError('wrong-state', 'the hand-over is finished; there is nothing left to hand over')
    const { url, ...login } = target
    for (const { handover } of facts.nodes())
      if (isOpen(handover) && handover.target !== url)
        throw new AppError('wrong-state', `machines are on their way to ${handover.target}; end that first`)
    const { nodes } = drawUp(idents, options)
    const chosen = nodes.filter(({ uuid }) => !facts.nodeByUuid(uuid)?.handover)
    const blocked = chosen.filter(({ blockers }) => blockers.length > 0)
    if (blocked.length > 0)
      throw new AppError(
        'wrong-state',
        `nothing was done: ${blocked.map(({ name, uuid, blockers }) => `${name ?? uuid}: ${blockers.map(({ message }) => message).join('; ')}`).join(' | ')}`
      )
    const sealed = store.sealer.seal(JSON.stringify(login))
    store.commit(() => {
      // Who commits again may have another log-in.
      for (const node of facts.nodes())
        if (node.handover?.target === url)
          apply([{ put: 'node', row: { ...node, handover: { ...node.handover, login: sealed } } }])
      for (const { uuid } of chosen) {
        const node = facts.nodeByUuid(uuid) as Node
        const { image } = factsOf(node)
        const handover: Handover = {
          target: url,
          login: sealed,
          options,
          undoing: false,
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
          told(uuid, { target: url, step: 'let-go', note: null })
        ])
      }
    })
    for (const { uuid } of chosen) {
      deps.letGo(uuid)
      onTheirWay.set(uuid, { last: null, dueAt: performance.now() + LET_GO_MILLISECONDS })
    }
    go()
    return chosen.map(({ name, uuid }) => name ?? uuid)
  }

  /** Whether it is not yet where it is to be. */
  const isOpen = (handover: Handover | null | undefined): handover is Handover =>
    !!handover && (handover.undoing || handover.finishedAt === null)

  /** Does for each machine that is due the next thing; those that wait take nobody's turn. */
  function go(): void {
    clearTimeout(timer)
    if (closed) return
    let next = Infinity
    for (const [uuid, { dueAt }] of onTheirWay) {
      if (running.has(uuid)) continue
      if (dueAt > performance.now()) next = Math.min(next, dueAt)
      else if (running.size < AT_ONCE)
        running.set(
          uuid,
          turn(uuid)
            .finally(() => running.delete(uuid))
            .finally(go)
        )
    }
    if (next < Infinity) timer = setTimeout(go, next - performance.now())
  }

  /** Looks at one machine and does one thing. */
  async function turn(uuid: string): Promise<void> {
    let last = onTheirWay.get(uuid)?.last ?? null
    let pause: number
    try {
      const step = await stepOf(uuid, last)
      trouble(uuid, step.do === 'stop' ? step.trouble : null)
      if (step.do === 'stop') last = null
      else if (step.do !== 'wait') last = step.do === 'provision' ? step.target : step.do
      pause = pauseAfter(step)
    } catch (error) {
      if (!(error instanceof AppError)) log.error({ err: error, node: uuid }, 'handing over failed here')
      trouble(uuid, (error as Error).message)
      const passing = error instanceof AppError && error.detail['passing'] === true
      pause = passing ? LOOK_EVERY_MILLISECONDS * 2 : AFTER_TROUBLE_MILLISECONDS
    }
    if (isOpen(facts.nodeByUuid(uuid)?.handover))
      onTheirWay.set(uuid, { last, dueAt: performance.now() + pause })
    else onTheirWay.delete(uuid)
  }

  /** What was done, or is in the way. */
  async function stepOf(uuid: string, last: LastDone): Promise<HandoffStep> {
    const handover = facts.nodeByUuid(uuid)?.handover
    // Deleted here, or forgotten.
    if (!handover) return { do: 'give-back' }
    const { target, login, undoing, options } = handover
    const node = drawUp([uuid], options).nodes[0]?.export as HandoffNode
    const ironic = ironicOf(target, JSON.parse(store.sealer.open(login)) as IronicLogin)
    const remote = await look(ironic, node)
    // Asked back, or forgotten, while we looked.
    if (facts.nodeByUuid(uuid)?.handover?.undoing !== undoing) return { do: 'wait' }
    const step = undoing ? nextUndoStep(remote.node) : nextHandoffStep(node, remote, last, options)
    switch (step.do) {
      case 'create-node':
        await ironic.createNode(step.body)
        break
      case 'create-port':
        await ironic.createPort(step.body)
        break
      case 'patch':
        await ironic.patchNode(uuid, step.patch)
        break
      case 'provision':
        await ironic.provision(uuid, step.target)
        tell(uuid, step.target === 'manage' ? 'created' : 'managed')
        break
      case 'power-on':
        await ironic.powerOn(uuid)
        break
      case 'maintenance':
        await ironic.setMaintenance(uuid, step.reason)
        break
      case 'delete':
        await ironic.deleteNode(uuid)
        break
      case 'validate':
        if (options.nova) await ironic.readBmc(uuid)
        return finish(uuid, ironic, remote)
      case 'give-back':
        giveBack(uuid)
    }
    return step
  }

  const pauseAfter = (step: HandoffStep): number =>
    step.do === 'stop'
      ? AFTER_TROUBLE_MILLISECONDS
      : step.do === 'wait' || step.do === 'provision' || step.do === 'power-on'
        ? LOOK_EVERY_MILLISECONDS
        : 0

  async function look(ironic: Ironic, node: HandoffNode): Promise<Remote> {
    const ports: Record<string, { node_uuid: string } | null> = {}
    for (const { address } of node.ports) ports[address] = await ironic.portByAddress(address)
    return { node: await ironic.node(node.uuid), ports }
  }

  /** Active and protected; is it good for more than that? Then it is done. */
  async function finish(uuid: string, ironic: Ironic, remote: Remote): Promise<HandoffStep> {
    const fault = await ironic.deployFault(uuid)
    if (fault) return { do: 'stop', trouble: `it is active there, and could not be deployed again: ${fault}` }
    const after = {
      power: remote.node?.power_state ?? null,
      provisionState: remote.node?.provision_state ?? '',
      deployValid: true,
      restartedAt: restartedAt(uuid)
    }
    store.commit(() => {
      const node = facts.nodeByUuid(uuid)
      if (!node?.handover || node.handover.undoing) return
      const handover: Handover = { ...node.handover, finishedAt: now(), trouble: null, after }
      apply([
        { put: 'node', row: { ...node, handover } },
        told(uuid, { target: handover.target, step: 'done', note: null })
      ])
    })
    log.info({ node: uuid, ...after }, 'handed over')
    return { do: 'validate' }
  }

  /** When the machine was started anew since we let go of it, as far as we can hear; null: it was not. */
  function restartedAt(uuid: string): number | null {
    const since = facts.nodeByUuid(uuid)?.handover?.startedAt ?? 0
    const booted = facts.portsOfNode(uuid).map(({ address }) => deps.bootedAt(address) ?? 0)
    const latest = Math.max(0, ...booted)
    return latest > since ? latest : null
  }

  /**
   * Takes a machine back: its record there is deleted without anything being done to the machine, and it is ours again. AppError when the target
   * does not let it go; then it is asked again and again. `forget`: the target is not asked, as when there is none any more.
   */
  async function undo(ident: string, forget: boolean): Promise<void> {
    const { uuid, handover } = nodeNamed(ident)
    if (facts.standing().finishedAt !== null)
      throw new AppError(
        'wrong-state',
        'the hand-over is finished, and that was its last step; to take machines back, restore a backup from before it'
      )
    if (!handover) throw new AppError('wrong-state', `Node ${ident} is ours; there is nothing to take back`)
    if (forget) return giveBack(uuid)
    store.commit(() => putHandover(uuid, { undoing: true }))
    // What is being done may end in trouble that is no longer of interest.
    await running.get(uuid)
    trouble(uuid, null)
    onTheirWay.set(uuid, { last: null, dueAt: 0 })
    go()
    const patience = performance.now() + UNDO_PATIENCE_MILLISECONDS
    for (;;) {
      await sleep(100)
      const now = facts.nodeByUuid(uuid)?.handover
      if (!now?.undoing) return
      if (now.trouble !== null || closed || performance.now() > patience)
        throw new AppError(
          'wrong-state',
          `${now.target} has not let go of it yet: ${now.trouble ?? 'no answer'}. It is asked again; where that Ironic is gone for good: seedling handoff undo --forget`
        )
    }
  }

  /** Ours again; what its power is now has to be looked at anew. */
  function giveBack(uuid: string): void {
    store.commit(() => {
      const row = facts.nodeByUuid(uuid)
      if (!row?.handover) return
      apply([
        { put: 'node', row: { ...row, handover: null, powerState: null, powerStateAt: null } },
        told(uuid, { target: row.handover.target, step: 'taken-back', note: null })
      ])
    })
  }

  /**
   * The last step: no DHCP, no TFTP and no boot path for anybody, also after a restart; metadata is read for as long as somebody asks. Done twice it is
   * done once. AppError `wrong-state` naming the machines that are ours, or on their way; then nothing was done.
   */
  function finishAll(): Ending {
    if (facts.standing().finishedAt === null) {
      const nodes = facts.nodes()
      const open = nodes.filter(({ handover }) => !handover || isOpen(handover))
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
      .map(({ uuid, name, handover }) => {
        const { target, undoing, startedAt, finishedAt, trouble, before, after } = handover as Handover
        return { uuid, name, target, undoing, startedAt, finishedAt, trouble, before, after }
      })
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
      `  after   ${after ? `${after.provisionState}, ${after.power ?? 'power unknown'}, ${after.deployValid ? 'can be deployed' : 'cannot be deployed'}, ${after.restartedAt === null ? 'no restart was heard' : `restarted ${time(after.restartedAt)}`}` : '-'}`
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
    store.note(() => putHandover(uuid, { trouble: what }))
  }

  function putHandover(uuid: string, given: Partial<Handover>): void {
    const node = facts.nodeByUuid(uuid) as Node
    const handover = { ...(node.handover as Handover), ...given }
    apply([{ put: 'node', row: { ...node, handover } }])
  }

  function tell(uuid: string, step: EventDetail['handoff']['step']): void {
    const target = facts.nodeByUuid(uuid)?.handover?.target
    if (target) store.commit(() => apply([told(uuid, { target, step, note: null })]))
  }

  function told(nodeUuid: string | null, detail: EventDetail['handoff']): Change {
    return { event: { kind: 'handoff', at: now(), nodeUuid, orderId: null, subject: detail.step, detail } }
  }

  for (const { uuid, handover } of facts.nodes())
    if (isOpen(handover)) onTheirWay.set(uuid, { last: null, dueAt: 0 })
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
      clearTimeout(timer)
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
