import t from 'tap'
import { powerReading, powerStep, recentPowerOns } from '../../src/decide/power-loop.ts'
import type { Order, PowerReading } from '../../src/domain/order.ts'
import { aNode, anOrder, NOW, someLimits } from '../support/builders.ts'

const limits = someLimits()
const reads = (power: 'on' | 'off', seconds = 0, count = 1): PowerReading => ({
  power,
  since: NOW - seconds * 1000,
  at: NOW,
  count
})
const OFF = { 'powered-off': NOW - 10_000 }

t.test('readings agree for as long as they are the same', async (t) => {
  const first = powerReading(null, 'off', NOW)
  t.same(first, { power: 'off', since: NOW, at: NOW, count: 1 })
  const second = powerReading(first, 'off', NOW + 1000)
  t.same(second, { power: 'off', since: NOW, at: NOW + 1000, count: 2 })
  t.same(powerReading(second, 'on', NOW + 2000), { power: 'on', since: NOW + 2000, at: NOW + 2000, count: 1 })
})

type Case = {
  line: 'powered-off' | 'powered-on'
  order: Partial<Order>
  reading: PowerReading
  powerOns?: number[]
  step: Record<string, unknown>
}
const CASES: Record<string, Case> = {
  'on: told to switch off': {
    line: 'powered-off',
    order: {},
    reading: reads('on'),
    step: { step: 'act', act: { act: 'power-off' } }
  },
  'off once: looked at again': {
    line: 'powered-off',
    order: {},
    reading: reads('off'),
    step: { step: 'wait' }
  },
  'off twice at the same moment: no more than once': {
    line: 'powered-off',
    order: {},
    reading: reads('off', 0.1, 2),
    step: { step: 'wait' }
  },
  'off twice, a second apart: off': {
    line: 'powered-off',
    order: {},
    reading: reads('off', 1, 2),
    step: { step: 'reached', by: /off 2 times, 1 s apart/ }
  },
  'told a moment ago: left alone': {
    line: 'powered-off',
    order: { asked: { act: 'power-off', at: NOW - 29_000 } },
    reading: reads('on'),
    step: { step: 'wait', until: NOW + 1000 }
  },
  'told long ago and still on: told again': {
    line: 'powered-off',
    order: { asked: { act: 'power-off', at: NOW - 30_000 } },
    reading: reads('on'),
    step: { step: 'act' }
  },
  'soft: the button is pressed': {
    line: 'powered-off',
    order: { kind: 'soft-power-off' },
    reading: reads('on'),
    step: { step: 'act', act: { act: 'soft-off' } }
  },
  'soft: and never twice': {
    line: 'powered-off',
    order: { kind: 'soft-reboot', asked: { act: 'soft-off', at: NOW - 500_000, inDoubt: true } },
    reading: reads('on'),
    step: { step: 'wait' }
  },
  'off for too short a time: it rests': {
    line: 'powered-on',
    order: { ticks: { 'powered-off': NOW - 2000 } },
    reading: reads('off'),
    step: { step: 'wait', until: NOW + 3000 }
  },
  'rested: boot device and power as one step': {
    line: 'powered-on',
    order: { ticks: OFF },
    reading: reads('off'),
    step: { step: 'act', act: { act: 'power-on', bootDevice: { device: 'pxe', efi: true } } }
  },
  'told to go on and does not: told again, with the boot device': {
    line: 'powered-on',
    order: { ticks: OFF, asked: { act: 'power-on', at: NOW - 30_000 } },
    reading: reads('off'),
    step: { step: 'act', act: { bootDevice: { device: 'pxe' } } }
  },
  'on after it was told: on': {
    line: 'powered-on',
    order: { ticks: OFF, asked: { act: 'power-on', at: NOW - 3000 } },
    reading: reads('on'),
    step: { step: 'reached' }
  },
  'on, and nobody told it: this attempt is lost': {
    line: 'powered-on',
    order: { ticks: OFF, asked: { act: 'power-off', at: NOW - 12_000 } },
    reading: reads('on'),
    step: { step: 'lost', code: 'power-came-back', final: false, message: /10 s after its BMC read off/ }
  },
  'on, and nobody told it, but on is all that a reboot wants': {
    line: 'powered-on',
    order: { kind: 'reboot', ticks: OFF },
    reading: reads('on'),
    step: { step: 'reached' }
  },
  'switched on too often: left alone, for good': {
    line: 'powered-on',
    order: { ticks: OFF },
    reading: reads('off'),
    powerOns: Array.from({ length: 12 }, (_, index) => NOW - 1000 * (60 - index)),
    step: { step: 'lost', code: 'reboot-cap', final: true, message: /12 times.*rebootsPerHour/ }
  },
  'switched on as often, but not within the hour': {
    line: 'powered-on',
    order: { ticks: OFF },
    reading: reads('off'),
    powerOns: Array.from({ length: 12 }, () => NOW - 3_600_000),
    step: { step: 'act' }
  }
}
for (const [sentence, { line, order, reading, powerOns = [], step }] of Object.entries(CASES))
  t.test(sentence, async (t) => {
    t.match(powerStep(line, anOrder(order), aNode({ powerOns }), reading, limits, NOW), step)
  })

t.test('only the last hour counts', async (t) => {
  t.same(recentPowerOns({ powerOns: [NOW - 3_600_000, NOW - 3_599_999] }, NOW), [NOW - 3_599_999])
})
