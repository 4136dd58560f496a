// Links as they are in real racks: switch ports with spanning tree, cables that come loose, several network cards, small MTUs, loss. On each
// a BIOS and a UEFI machine are deployed with nobody touching them, and the timeline says what was in the way. Takes a while.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { enrol, followToActive, nodeState, order } from '../../scripts/lab/deploy.ts'
import { findRack, putUp, root, setCable, takeDown } from '../../scripts/lab/lab.ts'
import {
  defaults,
  type Firmware,
  type MachinePlan,
  type RackOptions,
  type RackPlan
} from '../../scripts/lab/plan.ts'
import { api, startSeed } from '../../scripts/lab/seed.ts'
import type { Event, StoredEvent } from '../../src/domain/event.ts'
import { buildAll } from './build.ts'

const NAME = 'links'
const IMAGE = { name: 'tiny', file: join(root, '.cache/image/instance/tiny.qcow2') }

t.setTimeout(7_200_000)
buildAll(IMAGE.name)

type Delay = Extract<Event, { kind: 'boot-delayed' }>['detail']

type Case = {
  options: Partial<RackOptions>
  /** Pulls a machine's cable for so many seconds each time this becomes true of its events. */
  loose?: { seconds: number; when: readonly ((event: StoredEvent) => boolean)[] }
  /** What the timeline of each machine must name. */
  named: readonly { cause: Delay['cause']; client: RegExp; of?: Firmware }[]
  also?: (t: Test, rack: RackPlan, machine: MachinePlan, events: readonly StoredEvent[]) => void
}

const served =
  (name: RegExp) =>
  (event: StoredEvent): boolean =>
    event.kind === 'file-served' && name.test(event.detail.name)
const acked =
  (client: RegExp) =>
  (event: StoredEvent): boolean =>
    event.kind === 'dhcp-answered' && event.detail.type === 'ack' && client.test(event.detail.client)

const CASES: Readonly<Record<string, Case>> = {
  'spanning tree: a port forwards nothing for 30 s after its link came up': {
    options: { spanningTree: true },
    // A kernel that takes over a card resets it, and the switch sees the link go and come.
    loose: { seconds: 1, when: [served(/^ramdisk$/)] },
    named: [
      // SeaBIOS's iPXE gives up after 18 s, and is started again by then.
      { cause: 'port-blocked', client: /^pxe-uefi$/, of: 'uefi' },
      { cause: 'port-blocked', client: /^ramdisk$/ }
    ]
  },
  'the link goes and comes at every stage': {
    options: {},
    loose: {
      seconds: 3,
      when: [
        acked(/^(ipxe|pxe-uefi)$/),
        served(/^kernel$/),
        acked(/^ramdisk$/),
        ({ kind }) => kind === 'agent-seen',
        ({ kind }) => kind === 'write-progress',
        ({ kind }) => kind === 'image-written'
      ]
    },
    named: [{ cause: 'link-lost', client: /^ramdisk$/ }]
  },
  'three network cards: the boot is on the third, another DHCP server on the first': {
    options: { nics: 3 },
    named: [],
    also(t, rack, { mac, otherNics }, events) {
      const seen = events.filter((event) => event.kind === 'agent-seen')
      t.same(
        [...new Set(seen.map(({ detail }) => detail.interface))],
        [mac],
        'the ramdisk used the third card'
      )
      const [first] = otherNics
      const said = readFileSync(rack.otherLan.log, 'utf8')
      const asked = said.split('\n').filter((line) => line.includes(first!.mac))
      t.match(asked.join('\n'), /DHCPACK/, 'the installed system did ask the other server, which answers all')
      t.notMatch(
        asked.join('\n'),
        /seedling-ramdisk|PXEClient|iPXE/,
        'no boot program asked the other server'
      )
    }
  },
  'an MTU of 1300': {
    options: { mtu: 1300 },
    named: []
  },
  'one packet in ten is lost, each way': {
    options: { lossPercent: 10 },
    named: [{ cause: 'packets-lost', client: /./ }]
  },
  'one packet in five is lost, each way': {
    options: { lossPercent: 20 },
    named: [{ cause: 'packets-lost', client: /./ }]
  }
}

const only = process.env['SEEDLING_LINKS']
for (const [sentence, { options, loose, named, also }] of Object.entries(CASES).filter(
  ([sentence]) => !only || new RegExp(only).test(sentence)
))
  t.test(sentence, async (t) => {
    const left = findRack(NAME)
    if (left) await takeDown(left)
    const rack = await putUp({ ...defaults, name: NAME, diskGiB: 1, ...options })
    t.teardown(() => takeDown(rack))
    await startSeed(rack)
    await enrol(rack, IMAGE)
    const names = rack.machines.map(({ name }) => name)
    const ended = new AbortController()
    const shaking = loose
      ? Promise.all(rack.machines.map((machine) => shake(rack, machine, loose, ended.signal)))
      : null
    const began = Date.now()
    await order(rack, names, IMAGE)
    await followToActive(rack, names).finally(() => ended.abort())
    const pulled = await shaking
    t.comment(`${Math.round((Date.now() - began) / 1000)} s for both`)
    for (const [index, machine] of rack.machines.entries()) {
      const { name } = machine
      const events = await eventsOf(rack, name)
      t.match(await nodeState(rack, name), { provision_state: 'active', last_error: null })
      if (loose) t.equal(pulled?.[index], loose.when.length, `${name}: the cable was pulled each time`)
      t.equal(
        events.filter(({ kind }) => kind === 'attempt-started').length,
        0,
        `${name}: the first attempt came through`
      )
      const delays = events.flatMap((event) => (event.kind === 'boot-delayed' ? [event.detail] : []))
      for (const { client, cause, evidence } of delays) t.comment(`${name}: ${client}, ${cause}: ${evidence}`)
      for (const { cause, client } of named.filter(({ of = machine.firmware }) => of === machine.firmware))
        t.ok(
          delays.some((delay) => delay.cause === cause && client.test(delay.client)),
          `${name}: ${cause} is named for ${client}`
        )
      if (named.length === 0) t.same(delays, [], `${name}: nothing is blamed that is not so`)
      also?.(t, rack, machine, events)
    }
  })

async function eventsOf(rack: RackPlan, node: string): Promise<StoredEvent[]> {
  return (await api<{ events: StoredEvent[] }>(rack, 'GET', `/v1/events?node=${node}&limit=1000`)).events
}

/** Pulls the cable once for each of `when`, at its first event. Answers how often that was. */
async function shake(
  rack: RackPlan,
  machine: MachinePlan,
  { seconds, when }: NonNullable<Case['loose']>,
  ended: AbortSignal
): Promise<number> {
  let waiting = [...when]
  while (waiting.length > 0 && !ended.aborted) {
    await sleep(200)
    const events = await eventsOf(rack, machine.name).catch(() => [])
    const due = waiting.filter((is) => events.some(is))
    if (due.length === 0) continue
    waiting = waiting.filter((is) => !due.includes(is))
    await setCable(rack, machine, false).catch(() => {})
    await sleep(seconds * 1000)
    await setCable(rack, machine, true).catch(() => {})
  }
  return when.length - waiting.length
}
