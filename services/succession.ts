// Sees to it that of several Seedlings with one state on a link one acts: looks for others before anything is served, and is told of every mark
// that is heard later. What a mark means is decided in src/decide/succession.ts.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import { WATCH_TIMES, startWatch } from '../src/decide/dhcp-watch.ts'
import { makeMark, readMark, relation, type Run } from '../src/decide/succession.ts'
import { AppError } from '../src/domain/error.ts'
import type { Ip, Mac } from '../src/wire/address.ts'
import { CLIENT_PORT, decodeDhcp, encodeDhcp, type DhcpMessage } from '../src/wire/dhcp.ts'
import { WireError } from '../src/wire/wire-error.ts'
import type { DatagramSockets, Link } from './listen.ts'
import type { Apply } from './store/apply.ts'
import type { Facts } from './store/facts.ts'
import type { Store } from './store/open.ts'

export type Succession = {
  /** For every probe and every answer to one. */
  mark: Buffer
  /**
   * Takes what was heard from `from`. True: it is from a run of our state that is to give way, and no server to stand down for. Where we are to give
   * way, that is `onEnd`'s business.
   */
  heard(message: DhcpMessage, from: Ip): boolean
  /** Asks on the link for a little more than a second; rejects with `fenced` or `state-locked` where we may not serve. */
  look(link: Link, mac: Mac, sockets: DatagramSockets): Promise<void>
}

export type SuccessionDeps = {
  store: Store
  facts: Facts
  apply: Apply
  log: Logger
  now: () => number
  /** Ours on the link. */
  address: Ip
  /** Eight random bytes. */
  run: bigint
  /** Called once, when we are to give way. */
  onEnd: (error: AppError) => void
}

/** One may be lost. */
const PROBES_MILLISECONDS = [0, 400, 400]
const LAST_ANSWER_MILLISECONDS = 400

/** AppError `fenced` where this state was found out of date in an earlier run. */
export function createSuccession(deps: SuccessionDeps): Succession {
  const { store, facts, apply, now, address: own } = deps
  const { epoch, fenced } = facts.standing()
  if (fenced) throw isFenced(fenced, own)
  const key = store.sealer.derive('succession')
  const ours: Run = { epoch, startedAt: now(), run: deps.run }
  const mark = makeMark(key, ours)
  let ended = false

  /** What is to be said when we have to give way; null: we have not, or the message is none of a Seedling of our state. */
  function judge(message: DhcpMessage, from: Ip): { junior: boolean; error: AppError | null } {
    const theirs = readMark(key, message.options)
    const is = theirs && relation(ours, theirs)
    const address = message.options.serverId ?? from
    if (theirs && is === 'successor') {
      fence(address, theirs.epoch)
      return { junior: false, error: isFenced({ address, epoch: theirs.epoch }, own) }
    }
    if (is === 'elder') return { junior: false, error: isCopy(address) }
    return { junior: is === 'junior', error: null }
  }

  function fence(address: string, later: number): void {
    const at = now()
    try {
      store.commit(() =>
        apply([
          { put: 'standing', row: { ...facts.standing(), fenced: { at, epoch: later, address } } },
          {
            event: {
              kind: 'fenced',
              at,
              nodeUuid: null,
              orderId: null,
              subject: 'state',
              detail: { address, epoch: later }
            }
          }
        ])
      )
    } catch (error) {
      // We end all the same, and meet the other one again at the next start.
      deps.log.error({ error: (error as Error).message }, 'cannot store that this state is out of date')
    }
  }

  return {
    mark,
    heard(message, from) {
      const { junior, error } = judge(message, from)
      if (error && !ended) {
        ended = true
        deps.onEnd(error)
      }
      return junior
    },
    async look(link, mac, sockets) {
      const { send } = startWatch(
        { address: link.address, mac, mark, tolerate: [], quiet: false, times: WATCH_TIMES },
        0
      )
      let found: AppError | null = null
      const hear = (bytes: Buffer, { address }: { address: string }): void => {
        const message = decoded(bytes)
        if (message && !found) found = judge(message, address).error
      }
      for (const socket of sockets.receive) socket.on('message', hear)
      try {
        for (const wait of PROBES_MILLISECONDS) {
          await sleep(wait)
          if (found) throw found
          for (const { port, message } of send)
            // A link that is down has nobody on it.
            if (port !== CLIENT_PORT)
              sockets.send.send(encodeDhcp(message), port, '255.255.255.255', () => {})
        }
        await sleep(LAST_ANSWER_MILLISECONDS)
        if (found) throw found
      } finally {
        for (const socket of sockets.receive) socket.off('message', hear)
      }
    }
  }
}

function decoded(bytes: Buffer): DhcpMessage | null {
  try {
    return decodeDhcp(bytes)
  } catch (error) {
    if (error instanceof WireError) return null
    throw error
  }
}

function isFenced({ address, epoch }: { address: string; epoch: number }, own: Ip): AppError {
  // Ended as we are, our kernel still answers ARP, and machines may talk to it instead of the other one.
  const both = address === own ? `Both hosts have that address: take it, or this host, off the LAN. ` : ''
  return new AppError(
    'fenced',
    `this state is out of date: it goes on in the Seedling at ${address}, where it was restored at ${new Date(epoch).toISOString()}. ` +
      `This one serves nothing. ${both}If that one is gone for good: seedling unfence --config FILE`,
    { address, epoch }
  )
}

function isCopy(address: string): AppError {
  return new AppError(
    'state-locked',
    `another Seedling with this very state, at ${address}, is on the link, and was there first: is one of the two a copy of the other's disk? ` +
      'Only one may run; to move the state to another host, use "seedling backup" and "seedling restore"',
    { address }
  )
}
