import t from 'tap'
import { deadline, lapsed } from '../../src/decide/order-deadline.ts'
import { CHECKLIST, type Milestone } from '../../src/domain/order.ts'
import { anOrder, NOW, someLimits } from '../support/builders.ts'

const limits = someLimits()

t.test('each line has its patience, counted from the line before', async (t) => {
  const seconds: Record<Milestone, number> = {
    'bmc-verified': 60,
    'bmc-examined': 300,
    'powered-off': 120,
    'powered-on': 120,
    'network-seen': 400,
    'agent-seen': 600,
    'image-written': 300,
    'instance-up': 600
  }
  const order = anOrder({ ticks: { 'powered-off': NOW + 7000 } })
  for (const [next, patience] of Object.entries(seconds))
    t.equal(deadline(order, next as Milestone, limits), NOW + 7000 + patience * 1000, next)
})

t.test('progress moves the end of the write', async (t) => {
  const order = anOrder({ progress: { stage: 'writing', done: 1, total: 2, at: NOW + 9000 } })
  t.equal(deadline(order, 'image-written', limits), NOW + 309_000)
})

t.test('a soft power-off waits as long as the operator says, else as long as Ironic', async (t) => {
  t.equal(deadline(anOrder({ kind: 'soft-power-off', softSeconds: 20 }), 'powered-off', limits), NOW + 20_000)
  const usual = anOrder({ kind: 'soft-reboot' })
  t.equal(deadline(usual, 'powered-off', limits), NOW + 600_000)
  t.match(lapsed(usual, 'powered-off', limits, NOW), { message: /within 600 s; "power off" cuts/ })
})

t.test('every line says what was waited for, and the last trouble', async (t) => {
  const trouble = { code: 'bmc-busy', message: 'it stayed busy', count: 1 }
  const all = new Set(Object.values(CHECKLIST).flat())
  for (const next of all) {
    const why = lapsed(anOrder({ trouble }), next, limits, NOW)
    t.match(why, { milestone: next, at: NOW, message: /.{20}; last: it stayed busy$/ })
  }
})

t.test('a machine that was not heard of: the likeliest reason is named', async (t) => {
  const code = (given: Parameters<typeof anOrder>[0]) =>
    lapsed(anOrder(given), 'network-seen', limits, NOW).code
  const reading = { power: 'on', since: NOW, at: NOW, count: 1 } as const
  const notKept = {
    act: 'power-on',
    at: NOW,
    bootDevice: { kept: false, words: 'it reads back disk' }
  } as const
  t.equal(code({ reading }), 'no-network')
  t.equal(code({ reading, asked: notKept }), 'boot-device-not-kept')
  t.equal(code({ reading: { ...reading, power: 'off' }, asked: notKept }), 'power-lost')
  t.match(
    lapsed(anOrder({ reading, asked: notKept }), 'network-seen', limits, NOW).message,
    /it reads back disk/
  )
})
