// The thread that sends bodies: each connection gets a slice in turn for as long as it has room, and is told of again when it has some.

import { performance } from 'node:perf_hooks'
import { parentPort, receiveMessageOnPort } from 'node:worker_threads'
import { sendingDelay } from '../../src/decide/boot-delay.ts'
import { loadKoffi, nativeEvents, type Source } from '../native-events.ts'
import { loadNative } from '../native-sockets.ts'
import type { Piece, SenderLimits } from './bodies.ts'

export type ToBodyWorker =
  | { kind: 'begin'; id: number; socket: number; piece: Piece; limits: SenderLimits }
  | { kind: 'give-up'; id: number }
  | { kind: 'close' }
export type FromBodyWorker =
  /** `wake`: a descriptor to write to after each message. */
  | { kind: 'ready'; wake: number }
  /** Once for each that was begun; `fault`: why it is not whole. */
  | { kind: 'ended'; id: number; fault: string | null }

const MIB = 2 ** 20
/** One connection's turn. */
const SLICE = 4 * MIB
/** Progress is looked at by this much, and this often. */
const STEP = MIB
const LOOK_EVERY = 1000
/** It is the cable that is slow there, and a client that began anew would be no faster. */
const LOSSY_SLOWER = 8

/** tcp(7): only full segments leave as long as it is set. Without it the kernel pushes at the end of each slice, which costs a fifth. */
const IPPROTO_TCP = 6
const TCP_CORK = 3

type Body = Source & {
  id: number
  file: number
  /** Where in the file the next byte is: sendfile's off_t. */
  offset: Buffer
  left: number
  /** What was left, when a step had last been made. */
  mark: { left: number; at: number }
  limits: SenderLimits
  /** Its connection loses packets, and has been set up for it. */
  lossy: boolean
}

const koffi = await loadKoffi()
const native = await loadNative()
if (!koffi || !native) throw new Error('koffi is gone')
const libc = koffi.load('libc.so.6')
const sendfile = libc.func('int64_t sendfile(int, int, _Inout_ void *, uint64_t)')
const setsockopt = libc.func('int setsockopt(int, int, int, const void *, uint32_t)')
const closeFd = libc.func('int close(int)')
const { EAGAIN, EINTR } = koffi.os.errno

const service = parentPort as NonNullable<typeof parentPort>
const tell = (message: FromBodyWorker): void => service.postMessage(message)
const { openWake, watch: makeWatch } = nativeEvents(koffi)
const wake = openWake()
const watch = makeWatch<Body | typeof wake>()
watch.add(wake, 'readable')

const bodies = new Map<number, Body>()
/** Those whose connection has room, as far as is known. */
const ready = new Set<Body>()
let open = true
let lookedAt = performance.now()
tell({ kind: 'ready', wake: wake.fd })

while (open) {
  const idle = bodies.size === 0 ? Infinity : LOOK_EVERY
  watch.wait(ready.size > 0 ? 0 : idle, (source) => {
    if ('id' in source) return ready.add(source)
    source.clear()
    for (let next = receiveMessageOnPort(service); next; next = receiveMessageOnPort(service))
      hear(next.message as ToBodyWorker)
  })
  for (const body of [...ready]) slice(body)
  if (performance.now() - lookedAt >= LOOK_EVERY) look()
}
for (const body of bodies.values()) end(body, 'Seedling stops')
watch.close()
wake.close()

function hear(message: ToBodyWorker): void {
  if (message.kind === 'close') open = false
  else if (message.kind === 'give-up') {
    const body = bodies.get(message.id)
    if (body) end(body, 'the client is gone')
  } else {
    const { id, socket, piece, limits } = message
    const offset = Buffer.alloc(8)
    offset.writeBigInt64LE(BigInt(piece.start))
    const mark = { left: piece.length, at: performance.now() }
    const body = {
      id,
      fd: socket,
      file: piece.fd,
      offset,
      left: piece.length,
      mark,
      limits,
      lossy: false,
      close: () => void closeFd(socket)
    }
    cork(body, true)
    bodies.set(id, body)
    ready.add(body)
    watch.add(body, 'writable')
  }
}

function cork({ fd }: Body, on: boolean): void {
  setsockopt(fd, IPPROTO_TCP, TCP_CORK, Buffer.from([on ? 1 : 0, 0, 0, 0]), 4)
}

function slice(body: Body): void {
  const sent = Number(sendfile(body.fd, body.file, body.offset, Math.min(body.left, SLICE)))
  if (sent > 0) {
    body.left -= sent
    if (body.left === 0) end(body, null)
  } else if (sent === 0) end(body, 'the file is shorter than it was')
  else {
    const error = koffi?.errno()
    // Without room it waits until it is told of some.
    if (error === EAGAIN) ready.delete(body)
    else if (error !== EINTR) end(body, `the client is gone (errno ${error})`)
  }
}

/** Helps those that lose packets; ends those that move too slowly. */
function look(): void {
  lookedAt = performance.now()
  for (const body of [...bodies.values()]) {
    if (!body.lossy) {
      const segments = native!.segments(body.fd)
      body.lossy = segments !== null && sendingDelay(segments.sent, segments.resent) !== null
      if (body.lossy) native!.expectLosses(body.fd)
    }
    const { mark, limits, left, lossy } = body
    const slowest = limits.slowest / (lossy ? LOSSY_SLOWER : 1)
    if (mark.left - left >= STEP) body.mark = { left, at: lookedAt }
    else if (lookedAt - mark.at > (limits.patienceSeconds + STEP / slowest) * 1000)
      end(body, 'the client is too slow')
  }
}

function end(body: Body, fault: string | null): void {
  bodies.delete(body.id)
  ready.delete(body)
  watch.remove(body)
  cork(body, false)
  body.close()
  tell({ kind: 'ended', id: body.id, fault })
}
