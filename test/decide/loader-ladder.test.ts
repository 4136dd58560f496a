import t from 'tap'
import {
  loaderFetched,
  loaderFollowed,
  loaderLadder,
  loaderSilence,
  loadersInVain,
  LOADER_SECONDS,
  silenceEnds
} from '../../src/decide/loader-ladder.ts'
import { ARCHITECTURES } from '../../src/decide/firmware/architectures.ts'
import type { Change } from '../../src/domain/change.ts'
import type { LoaderTrial, Order } from '../../src/domain/order.ts'
import { aNode, anOrder, NOW } from '../support/builders.ts'

const X64 = ARCHITECTURES[7]!.loaders
const TABLE = ['snponly.efi', 'ipxe.efi', 'shimx64.efi']

const trial = (given: Partial<LoaderTrial> = {}): LoaderTrial => ({
  fetched: null,
  worked: null,
  silent: [],
  refused: false,
  ...given
})
const trialAfter = (changes: Change[]) => (changes[0] as { row: Order } | undefined)?.row.loaderTrial
const plain = aNode()

const LADDERS: Record<
  string,
  { node?: Parameters<typeof aNode>[0]; model?: string; trial?: Partial<LoaderTrial>; ladder: string[] }
> = {
  'nothing is known': { ladder: TABLE },
  'one was silent: it comes last': {
    trial: { silent: ['snponly.efi'] },
    ladder: ['ipxe.efi', 'shimx64.efi', 'snponly.efi']
  },
  'two were silent': {
    trial: { silent: ['snponly.efi', 'ipxe.efi'] },
    ladder: ['shimx64.efi', 'snponly.efi', 'ipxe.efi']
  },
  'all were silent: from the beginning': { trial: { silent: TABLE, refused: true }, ladder: TABLE },
  'one was refused: the signed one is next': {
    trial: { silent: ['snponly.efi'], refused: true },
    ladder: ['shimx64.efi', 'ipxe.efi', 'snponly.efi']
  },
  'the signed one was silent too': {
    trial: { silent: ['snponly.efi', 'shimx64.efi'], refused: true },
    ladder: ['ipxe.efi', 'snponly.efi', 'shimx64.efi']
  },
  'one worked for this machine': {
    node: { bootLoader: 'ipxe.efi' },
    model: 'shimx64.efi',
    ladder: ['ipxe.efi', 'snponly.efi', 'shimx64.efi']
  },
  'one worked for its model': { model: 'shimx64.efi', ladder: ['shimx64.efi', 'snponly.efi', 'ipxe.efi'] },
  'what worked is silent now': {
    node: { bootLoader: 'shimx64.efi' },
    trial: { silent: ['shimx64.efi'] },
    ladder: ['snponly.efi', 'ipxe.efi', 'shimx64.efi']
  },
  'what worked is no loader of this architecture': { model: 'undionly.kpxe', ladder: TABLE },
  'the operator says Secure Boot': {
    node: {
      properties: { capabilities: 'boot_mode:uefi,secure_boot:True' },
      bootLoader: 'snponly.efi'
    },
    ladder: ['shimx64.efi', 'snponly.efi', 'ipxe.efi']
  },
  'the operator says no Secure Boot': {
    node: { properties: { capabilities: 'secure_boot:false' } },
    ladder: TABLE
  }
}
for (const [sentence, { node, model = null, trial: tried, ladder }] of Object.entries(LADDERS))
  t.test(`the ladder: ${sentence}`, async (t) => {
    t.same(loaderLadder(X64, aNode(node), model, tried ? trial(tried) : null), ladder)
  })

t.test('an architecture without signed loaders keeps its own', async (t) => {
  const node = aNode({ properties: { capabilities: 'secure_boot:true' } })
  t.same(loaderLadder(['undionly.kpxe'], node, null, null), ['undionly.kpxe'])
  t.same(loaderLadder([], node, null, null), [])
})

t.test('a loader that was fetched is awaited; other files, and other orders, are not', async (t) => {
  t.same(
    trialAfter(loaderFetched(anOrder(), 'snponly.efi', NOW)),
    trial({ fetched: { loader: 'snponly.efi', at: NOW } })
  )
  t.same(loaderFetched(anOrder(), 'grubx64.efi', NOW), [], 'shim’s second stage')
  t.same(loaderFetched(anOrder(), 'kernel', NOW), [])
  t.same(loaderFetched(anOrder({ state: 'done' }), 'snponly.efi', NOW), [])
  t.same(loaderFetched(null, 'snponly.efi', NOW), [])
})

t.test('what follows shows that it works', async (t) => {
  const waiting = trial({ fetched: { loader: 'ipxe.efi', at: NOW }, silent: ['snponly.efi', 'ipxe.efi'] })
  t.same(
    trialAfter(loaderFollowed(anOrder({ loaderTrial: waiting }))),
    trial({ worked: 'ipxe.efi', silent: ['snponly.efi'] })
  )
  t.same(loaderFollowed(anOrder({ loaderTrial: trial() })), [], 'nothing was fetched')
  t.same(loaderFollowed(anOrder({ loaderTrial: waiting, state: 'failed' })), [])
  t.same(loaderFollowed(anOrder()), [])
  t.same(loaderFollowed(null), [])
})

t.test('firmware that asks again shows that it came to nothing, and how soon shows why', async (t) => {
  const waiting = trial({ fetched: { loader: 'snponly.efi', at: NOW }, silent: ['shimx64.efi'] })
  const silent = ['shimx64.efi', 'snponly.efi']
  t.match(loaderSilence(waiting, NOW + 4000), {
    trial: trial({ silent, refused: true }),
    loader: 'snponly.efi',
    seconds: 4,
    reason: /firmware did not start it; Secure Boot/
  })
  t.match(loaderSilence(waiting, NOW + 60_000), {
    trial: trial({ silent }),
    reason: /Secure Boot probably refuses unsigned loaders, or .* network card/
  })
  t.match(loaderSilence(trial({ fetched: { loader: 'shimx64.efi', at: NOW } }), NOW + 1000), {
    trial: trial({ silent: ['shimx64.efi'], refused: false }),
    reason: /trust/
  })
  t.match(
    loaderSilence(trial({ fetched: { loader: 'undionly.kpxe', at: NOW } }), NOW + 1000),
    { trial: trial({ silent: ['undionly.kpxe'], refused: false }), reason: /boot ROM/ },
    'BIOS knows no Secure Boot'
  )
  t.equal(loaderSilence(trial({ worked: 'snponly.efi' }), NOW), null)
  t.equal(loaderSilence(null, NOW), null)
  t.same(loaderLadder(X64, plain, null, loaderSilence(waiting, NOW + 4000)!.trial)[0], 'ipxe.efi')
})

t.test('the wait has an end, within its attempt', async (t) => {
  const fetched = { loader: 'snponly.efi', at: NOW + 1 }
  const ends = (given: Partial<Order>) => silenceEnds(anOrder(given))
  t.equal(ends({ loaderTrial: trial({ fetched }) }), NOW + 1 + LOADER_SECONDS * 1000)
  t.equal(ends({ loaderTrial: trial({ fetched }), attemptStartedAt: NOW + 2 }), null, 'the attempt before')
  t.equal(ends({ loaderTrial: trial({ worked: 'snponly.efi' }) }), null)
  t.equal(ends({}), null)
})

t.test('loaders tried in vain are counted once each', async (t) => {
  const inVain = (given: Partial<LoaderTrial>) => loadersInVain({ loaderTrial: trial(given) })
  t.equal(loadersInVain({ loaderTrial: null }), 0)
  t.equal(inVain({}), 0)
  t.equal(inVain({ fetched: { loader: 'snponly.efi', at: NOW } }), 1)
  t.equal(inVain({ fetched: { loader: 'ipxe.efi', at: NOW }, silent: ['snponly.efi'] }), 2)
  t.equal(inVain({ fetched: { loader: 'ipxe.efi', at: NOW }, silent: ['ipxe.efi'] }), 1)
})
