// Records what machines say while they are installed: one recording for each boot attempt, told in the timeline when it
// ends. It only looks at orders: whatever goes wrong here is no concern of theirs.

import type { Logger } from 'pino'
import { isBooting, isRecorded, passes, recordingId, recordingOf } from '../../src/decide/console.ts'
import type { ConsoleOptions } from '../../src/domain/console.ts'
import type { AppError } from '../../src/domain/error.ts'
import type { Node } from '../../src/domain/node.ts'
import type { Order } from '../../src/domain/order.ts'
import type { Apply } from '../store/apply.ts'
import type { Facts } from '../store/facts.ts'
import type { Store } from '../store/open.ts'
import type { Guest, Seat } from './consoles.ts'
import type { Recording, Recordings } from './recordings.ts'

export type RecorderDeps = {
  store: Store
  facts: Facts
  apply: Apply
  log: Logger
  /** Milliseconds since the epoch. */
  now: () => number
  recordings: Recordings
  join(node: Node, guest: Guest, options: ConsoleOptions): Seat
  /** Whether nodes that do not say are recorded. */
  byDefault: boolean
  /** Milliseconds between two tries where the console is taken or the BMC busy (15 s). */
  retry?: number
  /** Recordings at once (50): every word of every machine is a packet to us, and deployments come first. */
  most?: number
}

const LOOK_MILLISECONDS = 250
const MOST = 50
const RETRY_MILLISECONDS = 15_000
/** Recordings kept of each node. */
const KEEP = 5

type Track = {
  order: Order
  recording: Recording
  /** Something of the machine's own is in it. */
  heard: boolean
  seat: Seat | null
  timer: NodeJS.Timeout | undefined
  trouble: string | null
  over: boolean
}

export function startRecorder(deps: RecorderDeps): { close(): Promise<void> } {
  const { store, facts, apply, recordings, now, most = MOST } = deps
  const log = deps.log.child({ service: 'console' })
  const tracks = new Map<string, Track>()
  const finishing = new Set<Promise<void>>()
  let seen = -1

  /** Nobody knows the orders any more that these are of. */
  function sweep(): void {
    for (const id of recordings.ids())
      if (facts.orderById(recordingOf(id)?.orderId ?? '') === null) recordings.remove(id)
  }

  function look(): void {
    const version = store.version()
    if (version === seen) return
    seen = version
    const wanted = new Map(facts.openOrders().map((order) => [recordingId(order), order]))
    for (const [id, track] of tracks) if (!wanted.has(id)) finish(id, track)
    for (const [id, order] of wanted) if (!tracks.has(id) && tracks.size < most) consider(id, order)
  }

  function consider(id: string, order: Order): void {
    if (!isBooting(order)) return
    const node = facts.nodeByUuid(order.nodeUuid)
    if (node && isRecorded(node, deps.byDefault)) begin(id, order, node)
  }

  function begin(id: string, order: Order, node: Node): void {
    let recording: Recording
    let heard: boolean
    try {
      heard = recordings.facts(id) !== null
      recording = recordings.open(id)
    } catch (error) {
      log.warn({ node: node.uuid, err: error }, 'the console cannot be recorded')
      return
    }
    const track: Track = { order, recording, heard, seat: null, timer: undefined, trouble: null, over: false }
    tracks.set(id, track)
    note(track, `attempt ${order.attempt}: recording ${heard ? 'goes on' : 'begins'}`)
    sit(track, node)
  }

  function note({ recording }: Track, text: string): void {
    recording.append(Buffer.from(`\r\n[seedling ${new Date(now()).toISOString()}: ${text}]\r\n`))
  }

  function sit(track: Track, node: Node): void {
    const guest: Guest = {
      heard(characters) {
        track.heard = true
        track.recording.append(characters)
      },
      told: (text) => note(track, text),
      ended(error) {
        track.seat = null
        if (!track.over) missed(track, error)
      }
    }
    track.seat = deps.join(node, guest, { steal: false, spare: true })
  }

  /** The console is not to be had now; later perhaps. */
  function missed(track: Track, error: AppError): void {
    if (track.trouble !== error.message) note(track, error.message)
    track.trouble = error.message
    if (!passes(error)) return
    track.timer = setTimeout(() => {
      const node = facts.nodeByUuid(track.order.nodeUuid)
      if (node) sit(track, node)
    }, deps.retry ?? RETRY_MILLISECONDS)
  }

  function finish(id: string, track: Track): void {
    tracks.delete(id)
    leave(track)
    note(track, 'recording ends')
    const done = tell(id, track)
      .catch((error: unknown) =>
        log.warn({ node: track.order.nodeUuid, err: error }, 'a recording was not told')
      )
      .finally(() => finishing.delete(done))
    finishing.add(done)
  }

  async function tell(id: string, { order, recording, heard, trouble }: Track): Promise<void> {
    await recording.close()
    const { bytes, omitted } = (heard ? recordings.facts(id) : null) ?? { bytes: 0, omitted: 0 }
    const detail = {
      recording: id,
      attempt: order.attempt,
      bytes,
      omitted,
      trouble: recording.trouble() ?? trouble
    }
    const about = { nodeUuid: order.nodeUuid, orderId: order.id, subject: id }
    store.note(() => apply([{ event: { kind: 'console-recorded', at: now(), ...about, detail } }]))
    keepLast(order.nodeUuid)
  }

  function leave(track: Track): void {
    track.over = true
    clearTimeout(track.timer)
    track.seat?.leave()
  }

  function keepLast(nodeUuid: string): void {
    const orders = new Set(facts.ordersOfNode(nodeUuid).map(({ id }) => id))
    const newestFirst = recordings
      .ids()
      .filter((id) => orders.has(recordingOf(id)?.orderId ?? '') && !tracks.has(id))
      .map((id) => ({ id, at: recordings.facts(id)?.updatedAt ?? 0 }))
      .sort((a, b) => b.at - a.at)
    for (const { id } of newestFirst.slice(KEEP)) recordings.remove(id)
  }

  sweep()
  look()
  const looking = setInterval(look, LOOK_MILLISECONDS)

  return {
    /** What is being recorded goes on at the next start, with its order. */
    async close() {
      clearInterval(looking)
      const open = [...tracks.values()]
      for (const track of open) leave(track)
      await Promise.all(open.map(({ recording }) => recording.close()))
      await Promise.all(finishing)
    }
  }
}
