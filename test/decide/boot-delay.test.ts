import t from 'tap'
import {
  blockSizeDelay,
  bootDelayed,
  discoverDelay,
  ramdiskDelay,
  sendingDelay,
  type BootDelay
} from '../../src/decide/boot-delay.ts'
import { aNode, anOrder, NOW } from '../support/builders.ts'

const XID = 7
const ask = (secs: number) => ({ xid: XID, secs })
const before = (milliseconds: number, xid = XID) => ({ xid, at: NOW - milliseconds })

const cases: Record<string, { found: BootDelay | null; cause: BootDelay['cause'] | null; says?: RegExp }> = {
  'the first word of a client': { found: discoverDelay(ask(0), null, true, NOW), cause: null },
  'a client whose first tries were lost': { found: discoverDelay(ask(7), null, true, NOW), cause: null },
  'a client that asked in vain for as long as spanning tree takes': {
    found: discoverDelay(ask(28), null, true, NOW),
    cause: 'port-blocked',
    says: /28 s/
  },
  'the same though something else of it was heard before': {
    found: discoverDelay(ask(28), before(60_000, XID + 1), true, NOW),
    cause: 'port-blocked'
  },
  'a packet that was doubled on its way': { found: discoverDelay(ask(0), before(5), true, NOW), cause: null },
  'a client that has our answer and asks again': {
    found: discoverDelay(ask(4), before(4000), true, NOW),
    cause: 'packets-lost'
  },
  'one that has no file from us and waits for a proxy': {
    found: discoverDelay(ask(4), before(4000), false, NOW),
    cause: null
  },
  'one that begins anew with the same number': {
    found: discoverDelay(ask(0), before(4000), true, NOW),
    cause: null
  },
  'that again, long after: it was heard all the while': {
    found: discoverDelay(ask(28), before(16_000), true, NOW),
    cause: 'packets-lost'
  },

  'a ramdisk that had its address at once': { found: ramdiskDelay(2, 0), cause: null },
  'a ramdisk that waited as long as spanning tree takes': {
    found: ramdiskDelay(31, 0),
    cause: 'port-blocked',
    says: /31 s/
  },
  'a ramdisk whose link went away': { found: ramdiskDelay(31, 1), cause: 'link-lost', says: /once/ },
  'and more than once': { found: ramdiskDelay(2, 3), cause: 'link-lost', says: /3 times/ },

  'a file that went out once': { found: sendingDelay(1000, 0), cause: null },
  'a hiccup in a large file': { found: sendingDelay(1000, 9), cause: null },
  'a hiccup in a small file': { found: sendingDelay(8, 4), cause: null },
  'a file of which much was sent again': {
    found: sendingDelay(1000, 200),
    cause: 'packets-lost',
    says: /200 of 1000/
  },
  'no file at all': { found: sendingDelay(0, 0), cause: null },

  'blocks that arrive': { found: blockSizeDelay(1468, null), cause: null },
  'blocks that do not': { found: blockSizeDelay(1468, 1024), cause: 'path-mtu', says: /1468.*1024/ }
}

t.test('what is read from what', async (t) => {
  for (const [name, { found, cause, says = /./ }] of Object.entries(cases)) {
    t.equal(found?.cause ?? null, cause, name)
    if (found) t.match(found.evidence, says, name)
  }
})

t.test('it is told of a machine that has an order, and of no other', async (t) => {
  const delay: BootDelay = { cause: 'path-mtu', evidence: 'why' }
  const facts = { node: aNode(), order: anOrder() }
  t.match(bootDelayed(facts, 'tftp', delay, NOW), [
    { event: { kind: 'boot-delayed', orderId: anOrder().id, detail: { client: 'tftp', ...delay } } }
  ])
  t.same(bootDelayed(facts, 'tftp', null, NOW), [])
  t.same(bootDelayed({ ...facts, order: anOrder({ state: 'done' }) }, 'tftp', delay, NOW), [])
  t.same(bootDelayed({ ...facts, order: null }, 'tftp', delay, NOW), [])
  t.same(bootDelayed({ node: null, order: null }, 'tftp', delay, NOW), [])
})
