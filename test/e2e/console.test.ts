// A machine whose boot fails, on the virtual rack: its kernel finds no init and panics. What it said on its serial console, from
// the firmware to the panic, is recorded through its BMC, goes on over a restart of Seedling, and is there to be downloaded.

import { join } from 'node:path'
import t from 'tap'
import { enrol, nodeState, order } from '../../scripts/lab/deploy.ts'
import { consoleText, findRack, putUp, root, takeDown, until } from '../../scripts/lab/lab.ts'
import { defaults } from '../../scripts/lab/plan.ts'
import { api, seedConfig, seedling, startSeed, stopSeed } from '../../scripts/lab/seed.ts'
import type { StoredEvent } from '../../src/domain/event.ts'
import { buildAll } from './build.ts'

const NAME = 'panic'
const IMAGE = { name: 'tiny', file: join(root, '.cache/image/instance/tiny.qcow2') }
const BOOT = { patienceMs: 240_000, everyMs: 500 }
/** What Seedling's own lines in a recording look like. */
const OWN_LINES = /\r\n\[seedling [^\]]*\]\r\n/g

buildAll(IMAGE.name)

t.setTimeout(600_000)
const left = findRack(NAME)
if (left) await takeDown(left)
const rack = await putUp({ ...defaults, name: NAME, nodes: 1, firmware: ['bios'], diskGiB: 1 })
t.teardown(() => takeDown(rack))
const [machine] = rack.machines
if (!machine) throw new Error('a rack without machines')
const { name } = machine

function config(agentSeconds: number): object {
  const given = seedConfig(rack) as { boot: object }
  const boot = { ...given.boot, kernelArguments: ['rdinit=/nothing'] }
  return { ...given, boot, deploy: { attempts: 1, agentSeconds, minimumOffSeconds: 1 } }
}

type Recording = { id: string; open: boolean; size: number; omitted: number }
const recordings = async (): Promise<Recording[]> =>
  (await api<{ recordings: Recording[] }>(rack, 'GET', `/v1/nodes/${name}/console/recordings`)).recordings

/**
 * Where `heard` is not the end of `said`, with what stands there; null: it is. QEMU, which wrote `said`, now and then writes a character
 * twice into its log when its socket was full for a moment.
 */
function difference(heard: string, said: string): { heard: string; said: string } | null {
  let at = said.length - 1
  for (let index = heard.length - 1; index >= 0; index--, at--) {
    if (said[at] !== heard[index] && said[at] === said[at + 1]) at--
    if (said[at] !== heard[index])
      return { heard: heard.slice(index - 40, index + 40), said: said.slice(at - 40, at + 40) }
  }
  return null
}

t.test('the recorded console of a failed boot', async (t) => {
  await startSeed(rack, config(600))
  await enrol(rack, IMAGE)
  await order(rack, [name], IMAGE)
  await until(() => consoleText(machine).includes('Kernel panic'), 'the kernel does not panic', BOOT)
  const [open] = await recordings()
  t.match(open, { open: true, omitted: 0 })
  const recorded = async (): Promise<string> => seedling(rack, 'console', name, '--recording')
  let text = ''
  await until(async () => (text = await recorded()).includes('Kernel panic'), 'no', {
    patienceMs: 30_000
  }).catch(() => {
    throw new Error(`the panic is not recorded, but ${JSON.stringify(text.slice(-2000))}`)
  })

  await stopSeed(rack)
  await startSeed(rack, config(1))
  const failed = await until(
    async () => {
      const state = await nodeState(rack, name)
      return state.provision_state === 'deploy failed' ? state : undefined
    },
    'the order did not fail',
    BOOT
  )
  t.match(failed.last_error, /ramdisk/)

  const told = await until(async () => {
    const { events } = await api<{ events: StoredEvent[] }>(rack, 'GET', `/v1/events?node=${name}`)
    return events.find(({ kind }) => kind === 'console-recorded')
  }, 'the timeline does not tell of it')
  t.match(told.detail, { recording: open?.id, attempt: 1, omitted: 0 })
  t.match(await seedling(rack, 'event', 'list', '--node', name), /console of attempt 1 recorded: .* KiB/)

  text = await recorded()
  t.equal(Buffer.byteLength(text), (told.detail as { bytes: number }).bytes)
  for (const words of [
    /SeaBIOS/,
    /iPXE/,
    /Linux version/,
    /Kernel panic/,
    /recording goes on\]/,
    /recording ends\]/
  ])
    t.match(text, words)
  // QEMU's own log is the judge.
  const said = consoleText(machine)
  const heard = text.replaceAll(OWN_LINES, '')
  t.same(difference(heard, said), null, 'from its first word on, not a character is missing or doubled')
  t.ok(heard.length > 0.99 * said.length, `${heard.length} of ${said.length} characters`)
})
