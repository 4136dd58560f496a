// Machines with faulty power and faulty BMCs, all at once under one conductor: real sessions with the reference BMC, and a
// machine behind each that boots what its boot flags say and asks the gate. Each ends deployed, or parked with the reason's
// name, within its bound; and no BMC was told to do what its machine had done already.

import { pino } from 'pino'
import t from 'tap'
import { startConductor } from '../../../services/conductor/conductor.ts'
import { createApply } from '../../../services/store/apply.ts'
import { createFacts, type Facts } from '../../../services/store/facts.ts'
import { openStore } from '../../../services/store/open.ts'
import { bootPlan } from '../../../src/decide/gate.ts'
import { networkSeen } from '../../../src/decide/network-seen.ts'
import type { Change } from '../../../src/domain/change.ts'
import type { Node } from '../../../src/domain/node.ts'
import type { Milestone, Order } from '../../../src/domain/order.ts'
import { bmcAccess } from '../../../src/domain/bmc-access.ts'
import type { FakeBmc } from '../../support/fake-bmc.ts'
import { aNode, anImage, anInstance, anOrder, aPort, aQuirkCard, someLimits } from '../../support/builders.ts'
import { fake, started } from '../bmc/started.ts'

const LIMITS = someLimits({
  attempts: 2,
  powerSeconds: 8,
  askAgainSeconds: 3,
  minimumOffSeconds: 3,
  networkSeconds: 6,
  agentSeconds: 10
})
/** Two attempts, each with every patience used up, the pause between them, and what a try at a silent BMC may take. */
const BOUND_SECONDS = 60

type Machine = { bmc: FakeBmc; node: Node; order: () => Order; events: () => string[] }
type Case = {
  /** What is wrong before it begins. */
  faults?: Partial<FakeBmc['faults']>
  node?: Partial<Node>
  /** Boots from the disk unless the boot flags say otherwise. */
  diskFirst?: boolean
  /** Forgets the boot flags at so many first boots. */
  forgets?: number
  /** Has no cable. */
  unplugged?: boolean
  /** So many milliseconds after it went on it goes off again. */
  fallsOffAfter?: number
  /** What goes wrong when a line is ticked. */
  at?: Partial<Record<Milestone, (bmc: FakeBmc) => void>>
  ends: { attempt: number; failure?: { milestone: Milestone; code: string; message?: RegExp } }
  /** The controls its BMC was sent. */
  controls: string[]
  check?: (t: Tap.Test, machine: Machine) => void
}
// eslint-disable-next-line @typescript-eslint/no-namespace
declare namespace Tap {
  type Test = {
    ok(value: unknown, name: string): unknown
    match(a: unknown, b: unknown, name?: string): unknown
  }
}

const DEPLOYED = { attempt: 1 }
const ONCE = ['off', 'on']

const CASES: Record<string, Case> = {
  'nothing is wrong': { ends: DEPLOYED, controls: ONCE },
  'an "on" that does not turn on': {
    faults: { ignoresOn: 1 },
    ends: DEPLOYED,
    controls: ['off', 'on', 'on']
  },
  'an "on" that never turns on': {
    faults: { ignoresOn: 1000 },
    ends: { attempt: 2, failure: { milestone: 'powered-on', code: 'timeout', message: /still reads "off"/ } },
    controls: ['off', 'on', 'on', 'on', 'on']
  },
  'off that comes back before it is believed': {
    faults: { offComesBackAfter: 300 },
    ends: DEPLOYED,
    controls: ['off', 'off', 'on']
  },
  'off that comes back later': {
    faults: { offComesBackAfter: 2900 },
    ends: { attempt: 2 },
    controls: ['off', 'off', 'on'],
    check: (t, { events }) =>
      t.ok(
        events().some((event) => /attempt-started.*nobody here switched it on/.test(event)),
        'the timeline tells'
      )
  },
  'a boot flag that lapses': {
    diskFirst: true,
    forgets: 1,
    ends: { attempt: 2 },
    controls: ['off', 'on', 'off', 'on'],
    check: (t, { events }) =>
      t.match(
        events().filter((event) => event.startsWith('boot-device-set')).length,
        2,
        'it is set anew for every power-on'
      )
  },
  'a boot flag that is not kept, on a machine that boots from the network anyway': {
    faults: { keepsFlags: (flags) => ({ ...flags, valid: false }) },
    ends: DEPLOYED,
    controls: ONCE,
    check: (t, { events }) =>
      t.ok(
        events().some((event) => /boot-device-set.*"kept":false/.test(event)),
        'the timeline tells'
      )
  },
  'a boot flag that is not kept, on a machine that boots from its disk': {
    faults: { keepsFlags: (flags) => ({ ...flags, valid: false }) },
    diskFirst: true,
    ends: {
      attempt: 2,
      failure: { milestone: 'network-seen', code: 'boot-device-not-kept', message: /reads back none/ }
    },
    controls: ['off', 'on', 'off', 'on']
  },
  'a BMC without boot options': {
    faults: { refuses: { 'Set System Boot Options': 0xc1 } },
    ends: DEPLOYED,
    controls: ONCE
  },
  'a silent BMC for a while': {
    at: {
      'powered-off': (bmc) => {
        bmc.faults.silent = true
        setTimeout(() => (bmc.faults.silent = false), 4000)
      }
    },
    ends: DEPLOYED,
    controls: ONCE
  },
  'a silent BMC for good': {
    at: { 'powered-off': (bmc) => void (bmc.faults.silent = true) },
    ends: { attempt: 2, failure: { milestone: 'powered-off', code: 'bmc-unreachable' } },
    controls: ['off']
  },
  'an "on" that is done and not answered': {
    at: { 'powered-off': (bmc) => void (bmc.faults.mute = { 'Chassis Control': 1000 }) },
    ends: DEPLOYED,
    controls: ONCE
  },
  'another password, set midway': {
    at: { 'powered-off': (bmc) => (bmc.setPassword('admin', 'changed'), bmc.restart()) },
    ends: {
      attempt: 1,
      failure: { milestone: 'powered-on', code: 'bmc-auth', message: /Correct ipmi_password/ }
    },
    controls: ['off'],
    check: (t, { bmc }) => {
      const handshakes = bmc.asked.filter((asked) => asked === 'RAKP 1').length
      t.ok(handshakes <= 5, `${handshakes} log-ins in all: the user is not locked`)
    }
  },
  'no cable': {
    unplugged: true,
    ends: { attempt: 2, failure: { milestone: 'network-seen', code: 'no-network', message: /cabling/ } },
    controls: ['off', 'on', 'off', 'on']
  },
  'a machine that falls off again': {
    fallsOffAfter: 1500,
    unplugged: true,
    ends: { attempt: 2, failure: { milestone: 'network-seen', code: 'power-lost' } },
    controls: ['off', 'on', 'on']
  },
  'a machine that was switched on too often already': {
    node: { powerOns: Array.from({ length: LIMITS.rebootsPerHour }, () => Date.now()) },
    ends: { attempt: 1, failure: { milestone: 'powered-on', code: 'reboot-cap' } },
    controls: ['off']
  },
  'a BMC whose exam found that it loses the EFI bit': {
    node: {
      quirkCard: aQuirkCard({
        bootDevice: { truthful: false, keepsEfi: false, canBeKept: true, lapses: null }
      })
    },
    ends: DEPLOYED,
    controls: ONCE,
    check: (t, { bmc }) =>
      t.ok(!bmc.asked.includes('Set System Boot Options'), 'its boot options are left alone')
  }
}

t.setTimeout(BOUND_SECONDS * 1000 + 30_000)

const store = openStore(t.testdir())
const facts = createFacts(store)
const change = createApply(store)
const apply = (changes: readonly Change[]) => store.commit(() => change(changes))
const bmcs = started(t)
const beganAt = Date.now()
apply([{ put: 'image', row: anImage() }])
const machines = new Map<string, Machine>()
for (const [index, [name, given]] of Object.entries(CASES).entries())
  machines.set(name, await aMachine(String(index).padStart(12, '0'), given))
const conductor = startConductor({
  store,
  facts,
  apply: change,
  log: pino({ level: 'silent' }),
  now: () => Date.now(),
  token: () => 'f'.repeat(64),
  limits: LIMITS,
  bmc: (node) => bmcs.bmc(node.uuid, bmcAccess(node), node.quirkCard),
  examine: async () => aQuirkCard(),
  pollSeconds: 0
})
while (facts.openOrders().length > 0 && Date.now() < beganAt + BOUND_SECONDS * 1000)
  await new Promise((resolve) => setTimeout(resolve, 100))
await conductor.close()

for (const [name, { ends, controls, check }] of Object.entries(CASES))
  t.test(name, async (t) => {
    const machine = machines.get(name) as Machine
    const order = machine.order()
    t.equal(order.attempt, ends.attempt, 'the attempt it ended in')
    if (ends.failure) t.match(order, { state: 'failed', failure: ends.failure })
    else t.equal(order.state, 'done')
    t.same(
      machine.bmc.controls.map(({ control }) => control),
      controls,
      'what its BMC was told'
    )
    const idle = machine.bmc.controls.filter(({ control, power }) => control === power)
    t.same(idle, [], 'nothing was asked that was so already')
    check?.(t as never, machine)
  })

t.test('each line of the timeline has what was read, and when', async (t) => {
  const { events } = machines.get('nothing is wrong') as Machine
  const asked = events().filter((event) => event.startsWith('power-asked'))
  t.match(asked, [
    /"act":"power-off","read":"on","readAt":\d{13}/,
    /"act":"power-on","read":"off","readAt":\d{13}/
  ])
  t.ok(events().some((event) => /milestone-reached.*the BMC read off \d times, [\d.]+ s apart/.test(event)))
})

t.teardown(() => store.close())

async function aMachine(tail: string, given: Case): Promise<Machine> {
  const node = aNode({
    uuid: `6e6f6465-0000-4000-8000-${tail}`,
    name: `node-${tail}`,
    createdAt: beganAt,
    ...given.node
  })
  let forgets = given.forgets ?? 0
  let timers: NodeJS.Timeout[] = []
  const after = (ms: number, work: () => void) => timers.push(setTimeout(work, ms))
  const order = () => facts.latestOrder(node.uuid) as Order
  const bmc = await fake(t, {
    power: 'on',
    onPower(power) {
      timers.forEach(clearTimeout)
      timers = []
      if (power === 'off') return
      after(300, boot)
      if (given.fallsOffAfter) after(given.fallsOffAfter, () => bmc.button('off'))
    }
  })
  Object.assign(bmc.faults, given.faults)

  /** The firmware: follows the override once, else its own order. */
  function boot(): void {
    if (forgets-- > 0) bmc.boot = { ...bmc.boot, valid: false }
    const overridden = bmc.boot.valid && bmc.boot.device === 1
    bmc.boot = { ...bmc.boot, valid: false }
    if (given.unplugged || (given.diskFirst && !overridden)) return
    const port = facts.portsOfNode(node.uuid)[0] ?? null
    const plan = bootPlan({ node: facts.nodeByUuid(node.uuid), port, order: order() })
    store.commit(() => change(networkSeen(order(), 'pxe-uefi', Date.now())))
    if (plan.boot !== 'ramdisk') return
    for (const [index, tick] of (['agent-seen', 'image-written', 'instance-up'] as const).entries())
      after(300 * (index + 1), () => {
        apply([{ tick, orderId: plan.orderId, attempt: plan.attempt, at: Date.now() }])
        conductor.wake(node.uuid)
      })
    conductor.wake(node.uuid)
  }

  const { address, port, username, password } = bmc.access()
  node.driverInfo = {
    ipmi_address: address,
    ipmi_port: port,
    ipmi_username: username,
    ipmi_password: password
  }
  const instance = anInstance({ uuid: `696e7374-0000-4000-8000-${tail}`, nodeUuid: node.uuid, token: tail })
  apply([
    { put: 'node', row: node },
    {
      put: 'port',
      row: aPort({
        uuid: `port-${tail}`,
        nodeUuid: node.uuid,
        address: `52:54:00:00:00:${tail.slice(-2)}`,
        reservedIp: null
      })
    },
    { put: 'instance', row: instance },
    {
      put: 'order',
      row: anOrder({
        id: `order-${tail}`,
        nodeUuid: node.uuid,
        instanceUuid: instance.uuid,
        token: tail,
        createdAt: beganAt,
        attemptStartedAt: beganAt,
        notBefore: 0
      })
    }
  ])
  watchTicks(given.at ?? {}, order, bmc)
  return {
    bmc,
    node,
    order,
    events: () =>
      (facts as Facts)
        .eventsOfNode(node.uuid, 0, 1000)
        .map(({ kind, detail }) => `${kind} ${JSON.stringify(detail)}`)
  }
}

/** Does what goes wrong when a line is ticked, once. */
function watchTicks(at: NonNullable<Case['at']>, order: () => Order, bmc: FakeBmc): void {
  const open = new Set(Object.keys(at) as Milestone[])
  if (open.size === 0) return
  const timer = setInterval(() => {
    for (const milestone of open)
      if (order().ticks[milestone] !== undefined) {
        open.delete(milestone)
        at[milestone]?.(bmc)
      }
    if (open.size === 0) clearInterval(timer)
  }, 10)
  t.teardown(() => clearInterval(timer))
}
