import pino from 'pino'
import t, { type Test } from 'tap'
import type { Guest } from '../../../services/console/consoles.ts'
import { startRecorder } from '../../../services/console/recorder.ts'
import { openRecordings } from '../../../services/console/recordings.ts'
import { createApply } from '../../../services/store/apply.ts'
import { createFacts } from '../../../services/store/facts.ts'
import { openStore } from '../../../services/store/open.ts'
import { consoleRefused, consoleTaken } from '../../../src/decide/bmc-failure.ts'
import type { ConsoleOptions } from '../../../src/domain/console.ts'
import type { Order } from '../../../src/domain/order.ts'
import { aNode, anImage, anInstance, anOrder } from '../../support/builders.ts'

const BMC = { address: '192.0.2.5', port: 623, username: 'admin', privilege: 'administrator' }
const OTHERS = ['6e6f6465-0000-4000-8000-000000000002', '6e6f6465-0000-4000-8000-000000000003'] as const
const OFF = { 'powered-off': 1 }

function world(t: Test, order: Order, given: { most?: number; extra?: Record<string, unknown> } = {}) {
  const folder = t.testdir()
  const store = openStore(folder)
  const apply = createApply(store)
  const facts = createFacts(store)
  const recordings = openRecordings(folder)
  const guests: Guest[] = []
  const asked: ConsoleOptions[] = []
  const left: Guest[] = []
  const put = (row: Order) => store.commit(() => apply([{ put: 'order', row }]))
  store.commit(() =>
    apply([
      { put: 'node', row: aNode({ extra: given.extra ?? {} }) },
      ...OTHERS.map((uuid) => ({ put: 'node' as const, row: aNode({ uuid, name: uuid }) })),
      { put: 'image', row: anImage() },
      { put: 'instance', row: anInstance() },
      { put: 'order', row: order }
    ])
  )
  const start = (byDefault = true) =>
    startRecorder({
      store,
      facts,
      apply,
      recordings,
      log: pino({ level: 'silent' }),
      now: Date.now,
      join(_node, guest, options) {
        guests.push(guest)
        asked.push(options)
        return { write() {}, sendBreak() {}, leave: () => void left.push(guest) }
      },
      byDefault,
      retry: 20,
      ...(given.most === undefined ? {} : { most: given.most })
    })
  let recorder = start()
  t.teardown(async () => {
    await recorder.close()
    store.close()
  })
  return {
    facts,
    guests,
    asked,
    left,
    put,
    recordings,
    restart: async () => {
      await recorder.close()
      recorder = start()
    },
    events: () =>
      facts
        .eventsOfNode(order.nodeUuid, 0, 100)
        .flatMap((event) => (event.kind === 'console-recorded' ? [event] : []))
  }
}

async function until(what: string, done: () => boolean): Promise<void> {
  const end = performance.now() + 10_000
  while (!done()) {
    if (performance.now() > end) throw new Error(`not so: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

t.test('an attempt from "off" to its end, told in the timeline', async (t) => {
  const order = anOrder()
  const { guests, asked, left, put, events, recordings } = world(t, order)
  t.equal(guests.length, 0, 'not before the machine is off')
  put({ ...order, ticks: OFF })
  await until('it is recorded', () => guests.length === 1)
  t.same(asked, [{ steal: false, spare: true }])
  guests[0]?.heard(Buffer.from('Kernel panic - not syncing\r\n'))
  guests[0]?.told('the machine is off')
  put({ ...order, ticks: OFF, state: 'failed', finishedAt: Date.now() })
  await until('it is told', () => events().length === 1)
  const id = `${order.id}.1`
  t.match(events(), [
    { orderId: order.id, subject: id, detail: { recording: id, attempt: 1, omitted: 0, trouble: null } }
  ])
  const text = String(await recordings.read(id))
  t.equal(events()[0]?.detail.bytes, text.length)
  t.match(
    text,
    /attempt 1: recording begins\][\s\S]*Kernel panic - not syncing[\s\S]*the machine is off\][\s\S]*recording ends\]/
  )
  t.equal(left.length, 1)
})

t.test('every attempt has a recording of its own', async (t) => {
  const order = anOrder({ ticks: OFF })
  const { guests, put, events, recordings } = world(t, order)
  await until('the first is recorded', () => guests.length === 1)
  guests[0]?.heard(Buffer.from('one'))
  put({ ...order, attempt: 2, ticks: {} })
  await until('the first is told', () => events().length === 1)
  put({ ...order, attempt: 2, ticks: OFF })
  await until('the second is recorded', () => guests.length === 2)
  guests[1]?.heard(Buffer.from('two'))
  put({ ...order, attempt: 2, ticks: OFF, state: 'done' })
  await until('the second is told', () => events().length === 2)
  t.match(String(await recordings.read(`${order.id}.1`)), /one/)
  t.notMatch(String(await recordings.read(`${order.id}.1`)), /two/)
  t.match(String(await recordings.read(`${order.id}.2`)), /two/)
})

t.test('a restart goes on where it was', async (t) => {
  const order = anOrder({ ticks: OFF })
  const { guests, restart, put, events, recordings } = world(t, order)
  await until('it is recorded', () => guests.length === 1)
  guests[0]?.heard(Buffer.from('before'))
  await restart()
  t.equal(events().length, 0)
  await until('it goes on', () => guests.length === 2)
  guests[1]?.heard(Buffer.from('after'))
  put({ ...order, state: 'done' })
  await until('it is told', () => events().length === 1)
  t.match(String(await recordings.read(`${order.id}.1`)), /before[\s\S]*goes on\][\s\S]*after/)
})

t.test('a console that another tool has is tried again; one that the BMC does not have is not', async (t) => {
  const order = anOrder({ ticks: OFF })
  const { guests, put, events, recordings } = world(t, order)
  await until('it is tried', () => guests.length === 1)
  guests[0]?.ended(consoleTaken(BMC))
  await until('it is tried again', () => guests.length === 2)
  guests[1]?.ended(consoleTaken(BMC))
  await until('and again', () => guests.length === 3)
  guests[2]?.ended(consoleRefused(BMC, 0xc1))
  await new Promise((resolve) => setTimeout(resolve, 100))
  t.equal(guests.length, 3)
  put({ ...order, state: 'done' })
  await until('it is told', () => events().length === 1)
  t.match(events()[0]?.detail, { bytes: 0, trouble: /does not open its serial console/ })
  const text = String(await recordings.read(`${order.id}.1`))
  t.equal(text.split('active in another session').length, 2, 'said once')
})

t.test('five are kept of each node, and none of an order that nobody knows', async (t) => {
  const order = anOrder({ attempt: 9, ticks: OFF, state: 'failed' })
  const { put, events, guests, recordings, restart } = world(t, order)
  for (let attempt = 1; attempt <= 8; attempt++) {
    const recording = recordings.open(`${order.id}.${attempt}`)
    recording.append(Buffer.from(`${attempt}`))
    await recording.close()
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  recordings.open('00000000-0000-4000-8000-00000000dead.1').append(Buffer.from('x'))
  put({ ...order, state: 'open' })
  await until('it is recorded', () => guests.length === 1)
  guests[0]?.heard(Buffer.from('nine'))
  put(order)
  await until('it is told', () => events().length === 1)
  await restart()
  t.same(
    recordings.ids().sort(),
    [5, 6, 7, 8, 9].map((attempt) => `${order.id}.${attempt}`)
  )
})

t.test('nodes that do not want it, and more at once than is good for deployments', async (t) => {
  const order = anOrder({ ticks: OFF })
  const { guests, restart, put } = world(t, order, { most: 1, extra: { console: { record: false } } })
  await restart()
  t.equal(guests.length, 0)
  const [first, second] = OTHERS.map((nodeUuid, n) => ({
    ...order,
    id: `6f726465-0000-4000-8000-00000000010${n}`,
    token: String(n).repeat(64),
    nodeUuid
  })) as [Order, Order]
  put(first)
  put(second)
  await until('the first is recorded', () => guests.length === 1)
  await new Promise((resolve) => setTimeout(resolve, 600))
  t.equal(guests.length, 1, 'the second waits')
  put({ ...first, state: 'done' })
  await until('then it is recorded, too', () => guests.length === 2)
})
