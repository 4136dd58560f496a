import t from 'tap'
import {
  choiceOf,
  MOST_VISITS,
  stagesAfter,
  visitsBefore,
  type BootStages
} from '../../src/decide/boot-stage.ts'
import type { FirmwareName } from '../../src/decide/firmware.ts'

const order = { id: 'o1', attempt: 1, loaderTrial: null }

/** The visits counted after a machine was acknowledged at these stages, each in a transaction of its own. */
function after(...stages: FirmwareName[]): BootStages | null {
  let state: BootStages | null = null
  for (const [index, firmware] of stages.entries())
    state = stagesAfter(state, order, firmware, index + 1, firmware !== 'ramdisk' && firmware !== 'system')
  return state
}

const NEW_XID = 1000
const before = (state: BootStages | null, firmware: FirmwareName, xid = NEW_XID) =>
  visitsBefore(state, order, firmware, xid)

t.test('visits to a stage with nothing after it', async (t) => {
  t.equal(before(null, 'pxe-uefi'), 0, 'the first')
  t.equal(before(after('pxe-uefi'), 'pxe-uefi'), 1)
  t.equal(before(after('pxe-uefi', 'pxe-uefi', 'pxe-uefi'), 'pxe-uefi'), 3)
  t.equal(before(after('pxe-uefi', 'ipxe'), 'pxe-uefi'), 0, 'the loader worked: its stage starts anew')
  t.equal(before(after('pxe-uefi', 'ipxe', 'pxe-uefi', 'ipxe'), 'ipxe'), 2, 'what came after it did not')
  t.equal(before(after('pxe-uefi', 'ipxe', 'ramdisk'), 'ipxe'), 0, 'the ramdisk ran')
  t.equal(before(after('pxe-bios', 'http-uefi'), 'pxe-bios'), 1, 'stages of one rank do not undo each other')
})

t.test('a repeated packet is no visit, and gets the answer it got', async (t) => {
  const once = stagesAfter(null, order, 'ipxe', 7, true)
  t.same(stagesAfter(once, order, 'ipxe', 7, true), once)
  t.equal(before(once, 'ipxe', 7), 0)
  t.equal(before(once, 'ipxe', 8), 1)
})

t.test('another attempt, or another order, starts anew', async (t) => {
  const state = after('ipxe', 'ipxe', 'ipxe')
  t.equal(visitsBefore(state, { ...order, attempt: 2 }, 'ipxe', NEW_XID), 0)
  t.equal(visitsBefore(state, { ...order, id: 'o2' }, 'ipxe', NEW_XID), 0)
  t.same(stagesAfter(state, { ...order, attempt: 2 }, 'ipxe', NEW_XID, true).visits, { ipxe: 1 })
})

t.test('the third visit gets the next file, and the ninth none', async (t) => {
  const files = (count: number) => Array.from({ length: 10 }, (_, visits) => choiceOf(visits, count))
  t.same(files(2), [0, 0, 1, 1, 1, 1, 1, 1, null, null])
  t.same(files(3), [0, 0, 1, 1, 2, 2, 2, 2, null, null])
  t.same(files(1), [0, 0, 0, 0, 0, 0, 0, 0, null, null], 'one file is what there is')
  t.equal(files(1).indexOf(null), MOST_VISITS)
})
