// Bodies of answers, sent by threads that do nothing else (body-worker.ts): the kernel moves them from the file's memory to the connection
// (sendfile(2)), so a room that boots costs the process neither copies nor time of its event loop. Needs koffi; without it files.ts reads and writes.

import { once } from 'node:events'
import { writeSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import { loadKoffi, WAKE } from '../native-events.ts'
import type { FromBodyWorker, ToBodyWorker } from './body-worker.ts'

/** One fills ten gigabits; two keep up with a room while one of them waits for the disk. */
const MOST_THREADS = 2
/** fcntl(2): a copy of a descriptor that no child inherits. */
const F_DUPFD_CLOEXEC = 1030
const MFD_CLOEXEC = 1

/** What is sent, from an open file. */
export type Piece = { fd: number; start: number; length: number }

export type SenderLimits = {
  /** Bytes a second, from one mebibyte to the next; an eighth of it where packets are lost. */
  slowest: number
  /** On top of that. */
  patienceSeconds: number
}

export type Bodies = {
  /**
   * Sends a piece on a connection on which nobody else writes until this is over. Resolves when the kernel has all of it; rejects when the
   * client is gone, takes it too slowly, or `gone` says so, and when the file is shorter. Only then may the file be closed.
   */
  send(connection: number, piece: Piece, limits: SenderLimits, gone: AbortSignal): Promise<void>
  close(): Promise<void>
}

/** null: the optional dependency is not installed. */
export async function startBodies(): Promise<Bodies | null> {
  const koffi = await loadKoffi()
  if (!koffi) return null
  const fcntl = koffi.load('libc.so.6').func('int fcntl(int, int, ...)')
  const count = Math.min(availableParallelism(), MOST_THREADS)
  const threads = await Promise.all(Array.from({ length: count }, () => startThread()))
  return {
    async send(connection, piece, limits, gone) {
      // The thread's own, so that it never writes to a connection that has got the number of one that was closed.
      const socket = fcntl(connection, F_DUPFD_CLOEXEC, 'int', 0) as number
      if (socket < 0) throw new Error(`no descriptor for a body (errno ${koffi.errno()})`)
      // The one with the fewest, and of equals always the same: a machine that loads alone stays with a thread that is awake.
      const thread = threads.reduce((least, one) => (one.underway() < least.underway() ? one : least))
      await thread.send(socket, piece, limits, gone)
    },
    close: async () => void (await Promise.all(threads.map((thread) => thread.close())))
  }
}

async function startThread() {
  const worker = new Worker(new URL('./body-worker.ts', import.meta.url))
  const exited = once(worker, 'exit')
  const [{ wake }] = (await once(worker, 'message')) as [Extract<FromBodyWorker, { kind: 'ready' }>]
  const underway = new Map<number, (fault: string | null) => void>()
  let next = 0
  let closing = false
  worker.on('message', (message: FromBodyWorker) => {
    if (message.kind !== 'ended') return
    underway.get(message.id)?.(message.fault)
    underway.delete(message.id)
  })
  // It waits for connections, not for messages.
  const tell = (message: ToBodyWorker): void => {
    worker.postMessage(message)
    writeSync(wake, WAKE)
  }
  return {
    underway: () => underway.size,
    async send(socket: number, piece: Piece, limits: SenderLimits, gone: AbortSignal): Promise<void> {
      const id = next++
      const give = () => tell({ kind: 'give-up', id })
      const ended = new Promise<string | null>((resolve) => underway.set(id, resolve))
      tell({ kind: 'begin', id, socket, piece, limits })
      gone.addEventListener('abort', give, { once: true })
      if (gone.aborted) give()
      const fault = await ended
      gone.removeEventListener('abort', give)
      if (fault) throw new Error(fault)
    },
    close(): Promise<unknown> {
      if (!closing) tell({ kind: 'close' })
      closing = true
      return exited
    }
  }
}

/** A file in memory with these bytes, which nobody else can open (memfd_create(2)); null: there is no koffi. To be closed like any descriptor. */
export async function memoryFile(name: string): Promise<number | null> {
  const koffi = await loadKoffi()
  if (!koffi) return null
  const create = koffi.load('libc.so.6').func('int memfd_create(const char *, unsigned int)')
  const fd = create(name, MFD_CLOEXEC) as number
  return fd < 0 ? null : fd
}
