// Serial consoles shared: one connection to each machine's, as long as somebody is there, and any number of guests at it.
// A connection that dies is opened again, and the guests are told.

import type { Logger } from 'pino'
import type { ConsoleLine, ConsoleListener, ConsoleOptions } from '../../src/domain/console.ts'
import { AppError } from '../../src/domain/error.ts'
import { absence, mayReopen, NEWS_WORDS, reopenPause, type Absence } from '../../src/decide/console.ts'

export type ConsolesDeps<Machine> = {
  /** Opens the machine's console; rejects with an AppError. */
  open(machine: Machine, options: ConsoleOptions, listener: ConsoleListener): Promise<ConsoleLine>
  /** Milliseconds of a clock that never goes back. */
  now: () => number
  log: Logger
  /** A random number in [0, 1). */
  jitter?: () => number
}

/** Whoever looks at a console. */
export type Guest = {
  heard(characters: Buffer): void
  /** One line of Seedling's own. */
  told(text: string): void
  /** Nothing more comes. */
  ended(error: AppError): void
}

/** A guest's place at a console. Without a connection what is written is dropped. */
export type Seat = { write(characters: Uint8Array): void; sendBreak(): void; leave(): void }

export type Consoles<Machine> = {
  /**
   * Joins the others there, or opens the console. The guest hears the last words first, and nothing before this returns.
   */
  join(key: string, machine: Machine, guest: Guest, options: ConsoleOptions): Seat
  /** Ends this one, if it is open; its guests are told why. */
  dismiss(key: string, error: AppError): void
  /** Ends all; resolves when the BMCs have been told. */
  close(): Promise<void>
}

type Desk<Machine> = {
  machine: Machine
  guests: Map<Guest, ConsoleOptions>
  line: ConsoleLine | null
  /** The machine's last words. */
  recent: Buffer
  absence: Absence | null
  timer: NodeJS.Timeout | undefined
  gone: boolean
}

const RECENT_BYTES = 16_384

export function startConsoles<Machine>(deps: ConsolesDeps<Machine>): Consoles<Machine> {
  const { now, log, jitter = Math.random } = deps
  const desks = new Map<string, Desk<Machine>>()
  /** Openings and closings under way. */
  const work = new Set<Promise<void>>()
  let closed = false

  function begin(promise: Promise<void>): void {
    const tracked = promise.finally(() => work.delete(tracked))
    work.add(tracked)
  }

  async function open(key: string, desk: Desk<Machine>): Promise<void> {
    const wishes = [...desk.guests.values()]
    const options = { steal: wishes.some(({ steal }) => steal), spare: wishes.every(({ spare }) => spare) }
    try {
      const line = await deps.open(desk.machine, options, listener(key, desk))
      if (desk.gone) return await line.close()
      if (desk.absence) tell(desk, 'the console is open again')
      Object.assign(desk, { line, absence: null })
      log.info({ node: key }, 'console open')
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      failed(key, desk, error)
    }
  }

  function listener(key: string, desk: Desk<Machine>): ConsoleListener {
    return {
      heard(characters) {
        desk.recent = Buffer.concat([desk.recent, characters]).subarray(-RECENT_BYTES)
        for (const guest of [...desk.guests.keys()]) guest.heard(characters)
      },
      news: (news) => tell(desk, NEWS_WORDS[news]),
      lost(error) {
        log.info({ node: key, code: error.code }, error.message)
        if (desk.gone) return
        Object.assign(desk, { line: null, absence: absence(error, now()) })
        failed(key, desk, error)
      }
    }
  }

  function failed(key: string, desk: Desk<Machine>, error: AppError): void {
    if (desk.gone) return
    const { absence } = desk
    if (!absence || !mayReopen(absence, error, now())) return end(key, desk, error)
    if (absence.tries === 0) tell(desk, `${error.message} Trying again`)
    const pause = reopenPause(absence, jitter())
    desk.absence = { ...absence, tries: absence.tries + 1 }
    desk.timer = setTimeout(() => begin(open(key, desk)), pause)
  }

  function tell(desk: Desk<Machine>, text: string): void {
    for (const guest of [...desk.guests.keys()]) guest.told(text)
  }

  /** Takes the desk away; its guests are told why. */
  function end(key: string, desk: Desk<Machine>, error: AppError): void {
    leaveDesk(key, desk)
    const guests = [...desk.guests.keys()]
    desk.guests.clear()
    for (const guest of guests) guest.ended(error)
  }

  function leaveDesk(key: string, desk: Desk<Machine>): void {
    desk.gone = true
    clearTimeout(desk.timer)
    if (desks.get(key) === desk) desks.delete(key)
    if (desk.line) begin(desk.line.close())
    desk.line = null
  }

  function newDesk(machine: Machine): Desk<Machine> {
    const nothing = { line: null, absence: null, timer: undefined, gone: false }
    return { machine, guests: new Map(), recent: Buffer.alloc(0), ...nothing }
  }

  return {
    join(key, machine, guest, options) {
      const there = desks.get(key)
      const desk = there ?? newDesk(machine)
      desk.guests.set(guest, options)
      // It may have been changed: how the BMC is reached next.
      desk.machine = machine
      desks.set(key, desk)
      const heardBefore = desk.recent
      setImmediate(() => {
        if (desk.gone) return
        if (closed) end(key, desk, stopping())
        else if (!there) begin(open(key, desk))
      })
      // What comes next is heard after this, in its order.
      if (heardBefore.length > 0) queueMicrotask(() => guest.heard(heardBefore))
      return {
        write: (characters) => desk.line?.write(characters),
        sendBreak: () => desk.line?.sendBreak(),
        leave() {
          if (desk.guests.delete(guest) && desk.guests.size === 0) leaveDesk(key, desk)
        }
      }
    },
    dismiss(key, error) {
      const desk = desks.get(key)
      if (desk) end(key, desk, error)
    },
    async close() {
      closed = true
      for (const [key, desk] of [...desks]) end(key, desk, stopping())
      while (work.size > 0) await Promise.all(work)
    }
  }
}

function stopping(): AppError {
  return new AppError('busy', 'Seedling is stopping. Try again when it is back')
}
