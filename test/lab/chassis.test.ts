import t from 'tap'
import { answerChassis, bootBegan, bootOrder, newChassis } from '../../scripts/lab/chassis.ts'
import type { Firmware } from '../../scripts/lab/plan.ts'

const bytes = (hex: string) => [...Buffer.from(hex, 'hex')]
const hex = (values: readonly number[]) => Buffer.from(values).toString('hex')
const noon = Date.UTC(2026, 0, 1, 12)

/** Sends requests one after another at given seconds; answers the last reply, chassis and action. */
function talk(power: 'on' | 'off', ...requests: [second: number, request: string][]) {
  let chassis = newChassis
  let last: ReturnType<typeof answerChassis> | undefined
  for (const [second, request] of requests) {
    last = answerChassis(bytes(request), chassis, power, noon + second * 1000)
    chassis = last.chassis
  }
  return { reply: hex(last?.reply ?? []), action: last?.action, chassis }
}

t.test('replies', async (t) => {
  const cases: Record<string, { power: 'on' | 'off'; requests: [number, string][]; reply: string }> = {
    'status of a machine that is off': { power: 'off', requests: [[0, '01']], reply: '00000000' },
    'status of a machine that IPMI turned on': {
      power: 'on',
      requests: [
        [0, '0201'],
        [1, '01']
      ],
      reply: '00011000'
    },
    'reset of a machine that is off is refused': { power: 'off', requests: [[0, '0203']], reply: 'd5' },
    'off of a machine that is off is a level and taken': {
      power: 'off',
      requests: [[0, '0200']],
      reply: '00'
    },
    'a control that does not exist': { power: 'on', requests: [[0, '020e']], reply: 'cc' },
    'a command that does not exist': { power: 'on', requests: [[0, '7f']], reply: 'c1' },
    'boot flags that are too short': { power: 'on', requests: [[0, '0805a004']], reply: 'c7' },
    'a boot option that does not exist': { power: 'on', requests: [[0, '096000']], reply: '80' },
    'flags come back as set': {
      power: 'off',
      requests: [
        [0, '0805e004000000'],
        [1, '09050000']
      ],
      reply: '000105e004000000'
    },
    'flags lapse after 60 seconds': {
      power: 'off',
      requests: [
        [0, '0805a004000000'],
        [61, '09050000']
      ],
      reply: '0001052004000000'
    },
    'flags stay when told not to lapse': {
      power: 'off',
      requests: [
        [0, '080308'],
        [1, '0805a004000000'],
        [99, '09050000']
      ],
      reply: '000105a004000000'
    },
    'flags stay once a chassis control came': {
      power: 'off',
      requests: [
        [0, '0805a004000000'],
        [1, '0200'],
        [99, '09050000']
      ],
      reply: '000105a004000000'
    },
    'setting while another is setting': {
      power: 'off',
      requests: [
        [0, '080001'],
        [1, '080001']
      ],
      reply: '81'
    }
  }
  for (const [sentence, { power, requests, reply }] of Object.entries(cases))
    t.equal(talk(power, ...requests).reply, reply, sentence)
})

t.test('controls become actions', async (t) => {
  const actions = ['off', 'on', 'cycle', 'reset', 'nmi', 'soft']
  for (const [code, action] of actions.entries()) t.equal(talk('on', [0, `020${code}`]).action, action)
})

t.test('boot order', async (t) => {
  const cases: Record<string, { flags: string; firmware: Firmware; order: string[]; afterwards: string[] }> =
    {
      'no override: its own order': {
        flags: '0000000000',
        firmware: 'bios',
        order: ['disk', 'network'],
        afterwards: ['disk', 'network']
      },
      'once from the network, then its own order': {
        flags: '8004000000',
        firmware: 'bios',
        order: ['network', 'disk'],
        afterwards: ['disk', 'network']
      },
      'always from the network': {
        flags: 'e004000000',
        firmware: 'uefi',
        order: ['network', 'disk'],
        afterwards: ['network', 'disk']
      },
      'legacy asked of a UEFI machine is not followed': {
        flags: '8004000000',
        firmware: 'uefi',
        order: ['disk', 'network'],
        afterwards: ['disk', 'network']
      },
      'a device the machine does not have': {
        flags: '8014000000',
        firmware: 'bios',
        order: ['disk', 'network'],
        afterwards: ['disk', 'network']
      }
    }
  for (const [sentence, { flags, firmware, order, afterwards }] of Object.entries(cases)) {
    const { chassis } = talk('off', [0, `0805${flags}`])
    t.same(bootOrder(chassis, firmware, ['disk', 'network'], noon), order, sentence)
    t.same(bootOrder(bootBegan(chassis), firmware, ['disk', 'network'], noon), afterwards, sentence)
  }
})
