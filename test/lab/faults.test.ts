import t from 'tap'
import { faultyAction, noFaults } from '../../scripts/lab/faults.ts'

t.test('without faults everything is carried out', async (t) => {
  for (const action of ['on', 'off', 'cycle', 'reset', 'nmi', 'soft'] as const)
    t.same(faultyAction(noFaults, action), { faults: noFaults, carriedOut: true, comesBackMs: 0 })
})

t.test('faults are used up', async (t) => {
  const first = faultyAction({ ...noFaults, ignoresOn: 1, offComesBackMs: 500 }, 'on')
  t.match(first, { faults: { ignoresOn: 0, offComesBackMs: 500 }, carriedOut: false })
  const second = faultyAction(first.faults, 'off')
  t.same(second, { faults: noFaults, carriedOut: true, comesBackMs: 500 })
  t.match(faultyAction(second.faults, 'off'), { comesBackMs: 0 })
  t.match(faultyAction(second.faults, 'on'), { carriedOut: true })
})
