import t from 'tap'
import { readSdrs } from '../../../services/bmc/ipmi-sensors.ts'
import { getSdr } from '../../../src/wire/ipmi/command/get-sdr.ts'
import { exchange } from './exchange.ts'

/** Controller records with the names given, as a repository of them. */
function repository(names: string[]) {
  const records = names.map((name, at) => {
    const record = Buffer.alloc(16 + name.length)
    record.set([at + 1, 0, 0x51, 0x12, record.length - 5, 0x20])
    record[15] = 0xc0 | name.length
    record.write(name, 16)
    return record
  })
  let reservations = 0
  const quirks = { most: 255, loseReservations: 0, lastFails: false, circle: false }
  const asked: string[] = []
  const info = Buffer.alloc(14)
  info.writeUInt16LE(names.length, 1)
  return {
    quirks,
    asked,
    info,
    serve(command: string, data: Buffer): Buffer | number {
      asked.push(command)
      if (command === 'Get SDR Repository Info') return info
      if (command === 'Reserve SDR Repository') return Buffer.from([++reservations, 0])
      const { reservation, recordId, offset, count } = getSdr.decodeRequest(data)
      if (quirks.loseReservations > 0) {
        quirks.loseReservations--
        return 0xc5
      }
      if (reservation !== reservations) return 0xc5
      if (count > quirks.most) return 0xca
      const at = recordId === 0 ? 0 : recordId - 1
      if (quirks.lastFails && at === records.length - 1) return 0xc3
      const next = at + 2 <= records.length ? at + 2 : quirks.circle ? 1 : 0xffff
      const bytes = records[at]?.subarray(offset, offset + count)
      return bytes ? Buffer.concat([Buffer.from([next & 0xff, next >> 8]), bytes]) : 0xcb
    }
  }
}

const NAMES = ['one', 'two', 'a name of sixteen']
const named = (records: readonly object[]) => records.map((record) => 'name' in record && record.name)

const QUIRKS: Record<string, [quirks: Partial<ReturnType<typeof repository>['quirks']>, names: string[]]> = {
  'a good one': [{}, NAMES],
  'one that returns no more than 8 bytes': [{ most: 8 }, NAMES],
  'one that loses its reservation three times': [{ loseReservations: 3 }, NAMES],
  'one whose last record cannot be read (Dell FC830)': [{ lastFails: true }, NAMES.slice(0, 2)],
  'one whose records go round in a circle': [{ circle: true }, NAMES]
}
for (const [name, [quirks, names]] of Object.entries(QUIRKS)) {
  t.test(`sensor records: ${name}`, async (t) => {
    const sdrs = repository(NAMES)
    Object.assign(sdrs.quirks, quirks)
    const { records } = await readSdrs(await exchange(sdrs.serve), null)
    t.same(new Set(named(records)), new Set(names))
  })
}

t.test('a reservation that is always lost is a failure, not a loop', async (t) => {
  const sdrs = repository(NAMES)
  sdrs.quirks.loseReservations = 1e6
  await t.rejects(readSdrs(await exchange(sdrs.serve), null), {
    code: 'bmc-refused',
    message: 'Get SDR'
  })
})

t.test('records are read again only when the repository has changed', async (t) => {
  const sdrs = repository(NAMES)
  const served = await exchange(sdrs.serve)
  const first = await readSdrs(served, null)
  sdrs.asked.length = 0
  t.equal(await readSdrs(served, first), first)
  t.same(sdrs.asked, ['Get SDR Repository Info'])
  sdrs.info.writeUInt32LE(77, 5)
  t.not(await readSdrs(served, first), first)
})

t.test('an empty repository is left empty: nothing but a question is sent', async (t) => {
  const sdrs = repository([])
  t.same((await readSdrs(await exchange(sdrs.serve), null)).records, [])
  t.same(sdrs.asked, ['Get SDR Repository Info'])
})
