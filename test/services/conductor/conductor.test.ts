import { pino } from 'pino'
import t from 'tap'
import { startConductor, type ConductorDeps } from '../../../services/conductor/conductor.ts'
import { createApply } from '../../../services/store/apply.ts'
import { createFacts } from '../../../services/store/facts.ts'
import { openStore } from '../../../services/store/open.ts'
import type { Bmc, PowerState } from '../../../src/domain/bmc.ts'
import { AppError } from '../../../src/domain/error.ts'
import type { Node } from '../../../src/domain/node.ts'
import type { Order } from '../../../src/domain/order.ts'
import { aNode, anImage, anInstance, anOrder, aPort, aQuirkCard, someLimits } from '../../support/builders.ts'

/** A BMC in memory that writes down what it was asked. */
function aBmc(power: PowerState) {
  const asked: string[] = []
  const state = {
    power,
    trouble: null as AppError | null,
    ignore: 0,
    fru: null as Record<string, string> | null
  }
  const bmc: Bmc = {
    async product() {
      if (state.fru === null) throw new AppError('bmc-refused', 'it has no FRU')
      return { fru: 0, name: '', chassis: null, board: null, product: state.fru, faults: [] }
    },
    async powerState() {
      if (state.trouble) throw state.trouble
      return state.power
    },
    async powerOn() {
      asked.push('on')
      if (state.ignore-- <= 0) state.power = 'on'
    },
    async powerOff() {
      asked.push('off')
      state.power = 'off'
    },
    async softOff() {
      asked.push('soft')
      state.power = 'off'
    },
    async bootDevice() {
      return { device: 'none', persistent: false, efi: false, valid: false }
    },
    async setBootDevice(device, { persistent, efi }) {
      asked.push(`${device} efi=${efi}`)
      return { device, persistent, efi, valid: true }
    }
  }
  return { bmc, asked, state }
}

function world(
  t: { testdir(): string; teardown(fn: () => unknown): void },
  order: Order,
  bmc: Bmc | ((node: Node) => Bmc),
  folder = t.testdir()
) {
  const store = openStore(folder)
  const apply = createApply(store)
  const facts = createFacts(store)
  const put = (row: Order) => store.commit(() => apply([{ put: 'order', row }]))
  if (!facts.node('ctl-1'))
    store.commit(() =>
      apply([
        { put: 'node', row: aNode({ createdAt: Date.now() }) },
        { put: 'port', row: aPort() },
        { put: 'image', row: anImage() },
        { put: 'instance', row: anInstance() },
        { put: 'order', row: order }
      ])
    )
  const start = (given: Partial<ConductorDeps> = {}) =>
    startConductor({
      store,
      facts,
      apply,
      log: pino({ level: 'silent' }),
      now: () => Date.now(),
      token: () => 'f'.repeat(64),
      limits: someLimits({ minimumOffSeconds: 0 }),
      examine: async () => aQuirkCard(),
      bmc: typeof bmc === 'function' ? bmc : () => bmc,
      pollSeconds: 0,
      ...given
    })
  return { store, facts, apply, put, start }
}

const fresh = (given: Partial<Order> = {}): Order =>
  anOrder({ createdAt: Date.now(), attemptStartedAt: Date.now(), notBefore: 0, ...given })

async function until(what: () => boolean, seconds = 8): Promise<void> {
  const end = Date.now() + seconds * 1000
  while (!what()) {
    if (Date.now() > end) throw new Error('it did not come about')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

t.test('what a machine is, is learned from its BMC, which need not tell', async (t) => {
  const manage = () => fresh({ kind: 'manage', imageId: null, instanceUuid: null })
  const { bmc, state } = aBmc('off')
  state.fru = { manufacturer: 'Seedling', 'product name': 'Virtual  machine ' }
  const { facts, start } = world(t, manage(), bmc)
  const conductor = start()
  await until(
    () => facts.node('ctl-1')?.hardwareModel !== null && facts.node('ctl-1')?.state === 'manageable'
  )
  await conductor.close()
  t.match(facts.node('ctl-1'), { hardwareModel: 'Seedling Virtual machine', state: 'manageable' })
  const silent = world(t, manage(), aBmc('off').bmc, t.testdir({ silent: {} }) + '/silent')
  const other = silent.start()
  await until(() => silent.facts.node('ctl-1')?.state === 'manageable')
  await other.close()
  t.equal(silent.facts.node('ctl-1')?.hardwareModel, null)
})

t.test('a deploy from a running machine to active', async (t) => {
  const { bmc, asked } = aBmc('on')
  const { store, facts, apply, start } = world(t, fresh(), bmc)
  const conductor = start()
  const order = () => facts.latestOrder(aNode().uuid) as Order
  await until(() => order().ticks['powered-on'] !== undefined)
  t.same(asked, ['off', 'pxe efi=true', 'on'], 'off, then boot device and power together')
  for (const milestone of ['network-seen', 'agent-seen', 'image-written', 'instance-up'] as const) {
    const { id, attempt } = order()
    store.commit(() => apply([{ tick: milestone, orderId: id, attempt, at: Date.now() }]))
    conductor.wake(aNode().uuid)
  }
  await until(() => order().state === 'done')
  t.match(facts.node('ctl-1'), { state: 'active', powerState: 'on', instanceUuid: anInstance().uuid })
  t.equal(asked.length, 3, 'nothing more was asked of the BMC')
  await conductor.close()
  store.close()
})

t.test('a conductor that is lost at any line goes on where the rows say', async (t) => {
  const { bmc, asked } = aBmc('on')
  const { store, facts, start } = world(t, fresh({ kind: 'reboot', imageId: null, instanceUuid: null }), bmc)
  const order = () => facts.latestOrder(aNode().uuid) as Order
  for (let lives = 0; lives < 60 && order().state === 'open'; lives++) {
    const conductor = start()
    await new Promise((resolve) => setTimeout(resolve, 60 + lives * 5))
    await conductor.close()
  }
  t.equal(order().state, 'done')
  t.same(asked, ['off', 'on'], 'each act once, however often the process was lost')
  store.close()
})

t.test('a BMC that cannot be reached is told and tried again', async (t) => {
  const { bmc, state } = aBmc('off')
  state.trouble = new AppError('bmc-unreachable', 'nothing answered at 127.0.0.1:623')
  const { store, facts, start } = world(t, fresh({ kind: 'power-on' }), bmc)
  const conductor = start()
  const order = () => facts.latestOrder(aNode().uuid) as Order
  await until(() => order().trouble !== null)
  t.match(order(), { state: 'open', trouble: { code: 'bmc-unreachable', count: 1 } })
  state.trouble = null
  await until(() => order().state === 'done')
  t.ok(facts.events(0, 100).some(({ kind }) => kind === 'bmc-trouble'))
  await conductor.close()
  store.close()
})

t.test('a wrong password ends the order with the reason on the node', async (t) => {
  const { bmc, state } = aBmc('off')
  state.trouble = new AppError('bmc-auth', 'wrong password for admin')
  const { store, facts, start } = world(t, fresh(), bmc)
  const conductor = start()
  await until(() => facts.latestOrder(aNode().uuid)?.state === 'failed')
  t.equal(facts.node('ctl-1')?.lastError, 'wrong password for admin')
  await conductor.close()
  store.close()
})

t.test('manage examines the BMC without waiting, a check with, and the card is kept', async (t) => {
  const { bmc } = aBmc('off')
  const waits: boolean[] = []
  const examine = async (_node: Node, wait: boolean) => {
    waits.push(wait)
    return aQuirkCard({ examinedAt: 7 })
  }
  const { store, facts, put, start } = world(t, fresh({ kind: 'manage' }), bmc)
  const conductor = start({ examine })
  const order = () => facts.latestOrder(aNode().uuid) as Order
  await until(() => order().state === 'done')
  t.match(facts.node('ctl-1'), { state: 'manageable', quirkCard: { examinedAt: 7 } })
  put(fresh({ id: 'check', kind: 'check', token: 'c', createdAt: Date.now() + 1 }))
  conductor.wake(aNode().uuid)
  await until(() => order().id === 'check' && order().state === 'done')
  t.same(waits, [false, true])
  await conductor.close()
  store.close()
})

t.test('a boot device that is read back otherwise is set once more', async (t) => {
  const { bmc, asked } = aBmc('off')
  let times = 0
  const forgetful: Bmc = {
    ...bmc,
    async setBootDevice(device, options) {
      const setting = await bmc.setBootDevice(device, options)
      return times++ === 0 ? { ...setting, valid: false } : setting
    }
  }
  const { store, facts, start } = world(t, fresh(), forgetful)
  const conductor = start()
  await until(() => facts.latestOrder(aNode().uuid)?.ticks['powered-on'] !== undefined)
  t.same(asked, ['pxe efi=true', 'pxe efi=true', 'on'])
  t.match(facts.latestOrder(aNode().uuid)?.asked, { bootDevice: { kept: true } })
  await conductor.close()
  store.close()
})

t.test(
  'dead BMCs do not hold up the poll of the others, and an end in the midst of it says nothing',
  async (t) => {
    const { bmc } = aBmc('on')
    const stopped = new AbortController()
    const hangs = () =>
      new Promise<never>((_, reject) => {
        stopped.signal.addEventListener('abort', () =>
          reject(new AppError('bmc-busy', 'Seedling is stopping'))
        )
      })
    const dead = (node: Node) => Number(node.uuid.slice(-3)) < 100
    const { store, facts, apply, start } = world(t, fresh({ state: 'done' }), (node) =>
      dead(node) ? { ...bmc, powerState: hangs } : bmc
    )
    store.commit(() =>
      apply(
        Array.from({ length: 300 }, (_, index) => {
          const tail = String(index).padStart(3, '0')
          return {
            put: 'node',
            row: aNode({
              uuid: `6e6f6465-0000-4000-8000-999999999${tail}`,
              name: `n${tail}`,
              powerState: 'off'
            })
          }
        })
      )
    )
    const conductor = start({ pollSeconds: 1 })
    const reads = (power: PowerState | null) =>
      facts.nodes().filter((node) => node.powerState === power).length
    await until(() => reads('on') === 200)
    t.equal(reads('off'), 100, 'the dead ones are as they were')
    const closing = conductor.close()
    stopped.abort()
    await closing
    t.equal(reads('off'), 100)
    t.notOk(facts.events(0, 1000).some(({ kind }) => kind === 'bmc-trouble'))
    store.close()
  }
)
