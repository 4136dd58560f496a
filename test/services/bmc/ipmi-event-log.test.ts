import t from 'tap'
import { clearEventLog, readEventLog } from '../../../services/bmc/ipmi-event-log.ts'
import { exchange } from './exchange.ts'

const INFO = Buffer.from('5102001000ffffffffffffffff00', 'hex')
const record = (id: number) =>
  Buffer.from([id, 0, 2, 0xe1, 0xf5, 0x5e, 0x60, 0x20, 0, 4, 1, 9, 1, 0x57, 0x50, 0x50])
const answer = (next: number, id: number) =>
  Buffer.concat([Buffer.from([next & 0xff, next >> 8]), record(id)])

t.test('times are by the clock of the BMC', async (t) => {
  const log = await exchange((command) => (command === 'Get SEL Info' ? INFO : answer(0xffff, 1)))
  t.same(await readEventLog(log, []), [
    {
      recordId: 1,
      at: '2021-03-27T09:07:45.000Z',
      subject: 'temperature 9',
      event: 'upper non-critical going high',
      asserted: true,
      data: '575050'
    }
  ])
})

t.test('a log that goes round in a circle is read once', async (t) => {
  const log = await exchange((command, data) =>
    command === 'Get SEL Info' ? INFO : data[2] === 2 ? answer(1, 2) : answer(2, 1)
  )
  const ids = (await readEventLog(log, [])).map(({ recordId }) => recordId)
  t.same(new Set(ids), new Set([1, 2]))
})

t.test('a log that is cleared while it is read ends there', async (t) => {
  const log = await exchange((command, data) =>
    command === 'Get SEL Info' ? INFO : data[2] === 2 ? 0xcb : answer(2, 1)
  )
  t.equal((await readEventLog(log, [])).length, 1)
})

t.test('clearing is waited for', async (t) => {
  const steps: number[] = []
  const log = await exchange((command, data) => {
    if (command === 'Reserve SEL') return Buffer.from([7, 0])
    steps.push(data.readUInt8(5))
    return Buffer.from([steps.length === 3 ? 1 : 0])
  })
  await clearEventLog(log)
  t.same(steps, [0xaa, 0, 0])
})
