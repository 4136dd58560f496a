// Files by the hash of their content. Kernel and ramdisk are opened and hashed once at start, and sent from memory or, when they are large, from the
// open file: what was hashed is what is sent, whatever is put in their place meanwhile.

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, read, writeSync } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { BootSettings } from '../../src/decide/boot-file.ts'
import { AppError } from '../../src/domain/error.ts'
import type { CpuArch } from '../../src/domain/node.ts'
import type { Config, RamdiskPaths } from '../config.ts'
import { memoryFile, type Bodies, type Piece, type SenderLimits } from './bodies.ts'
import { portion } from './ranges.ts'

const MIB = 2 ** 20
/** With more than this many files on their way at once, each gets small buffers: a room that boots must not cost gigabytes. */
const MANY = 32
const SMALL_BUFFER = 64 * 1024

/** A whole room loads kernel and ramdisk at once: from memory, unless they are larger than this. */
const LARGEST_IN_MEMORY = 128 * MIB
/** A body in memory goes out in pieces of this size, two at a time, so that the connection never waits for us. */
const PIECE = 4 * MIB
const PIECES_AHEAD = 2
/** Who takes less than this is cut off: it holds memory, and a place that others wait for. A link that comes back within the patience is borne. */
const USUAL_LIMITS: SenderLimits = { slowest: 64 * 1024, patienceSeconds: 20 }

/** In these letters: Debian's GRUB, where it was loaded by UEFI's HTTP boot, compares them by case and takes a file without it for empty. */
export const CONTENT_LENGTH = 'Content-Length'

type BootFileContent = { content: Content; sha256: string; close(): void }
type RamdiskFiles = { kernel: BootFileContent; ramdisk: BootFileContent }

/** The deploy kernel and ramdisk of each architecture that has them. */
export type BootFiles = {
  ramdisks: Partial<Record<CpuArch, RamdiskFiles>>
  close(): void
}

/** Opens and hashes deploy kernels and ramdisks; AppError `bad-config` naming the file that is missing or empty. */
export async function openBootFiles(paths: Config['boot']['ramdisks']): Promise<BootFiles> {
  const ramdisks: BootFiles['ramdisks'] = {}
  for (const [arch, { kernel, ramdisk }] of Object.entries(paths) as [CpuArch, RamdiskPaths][]) {
    const key = arch === 'x86_64' ? 'boot' : `boot.${arch}`
    ramdisks[arch] = {
      kernel: await openHashed(`${key}.kernel`, kernel, arch),
      ramdisk: await openHashed(`${key}.ramdisk`, ramdisk, arch)
    }
  }
  return {
    ramdisks,
    close: () =>
      Object.values(ramdisks).forEach(({ kernel, ramdisk }) =>
        [kernel, ramdisk].forEach((file) => file.close())
      )
  }
}

/** The names of these files under `/boot/`. */
export function bootFileHashes({ ramdisks }: BootFiles): BootSettings['ramdisks'] {
  const hashes: { -readonly [K in keyof BootSettings['ramdisks']]: BootSettings['ramdisks'][K] } = {}
  for (const [arch, { kernel, ramdisk }] of Object.entries(ramdisks) as [CpuArch, RamdiskFiles][])
    hashes[arch] = { kernel: kernel.sha256, ramdisk: ramdisk.sha256 }
  return hashes
}

async function openHashed(key: string, path: string, arch: CpuArch): Promise<BootFileContent> {
  const maker = arch === 'aarch64' ? 'image/ramdisk/build arm64' : 'image/ramdisk/build'
  let handle: FileHandle
  try {
    handle = await open(path, 'r')
  } catch (error) {
    throw new AppError(
      'bad-config',
      `"${key}": cannot read ${path}: ${(error as Error).message}; ${maker} makes it`
    )
  }
  const hash = createHash('sha256')
  const { size: expected } = await handle.stat()
  const whole = expected <= LARGEST_IN_MEMORY ? Buffer.allocUnsafeSlow(expected) : null
  const buffer = whole ?? Buffer.allocUnsafe(MIB)
  let size = 0
  for (;;) {
    const at = whole ? size : 0
    const { bytesRead } = await handle.read(buffer, at, Math.min(MIB, buffer.length - at), size)
    if (bytesRead === 0) break
    hash.update(buffer.subarray(at, at + bytesRead))
    size += bytesRead
  }
  if (size === 0) {
    await handle.close()
    throw new AppError('bad-config', `"${key}": ${path} is empty or not a file; ${maker} makes it`)
  }
  const sha256 = hash.digest('hex')
  if (!whole) return { content: { fd: handle.fd, size }, sha256, close: () => void handle.close() }
  await handle.close()
  const bytes = whole.subarray(0, size)
  const fd = await memoryFile(key)
  if (fd === null) return { content: { bytes }, sha256, close: () => {} }
  for (let done = 0; done < size;) done += writeSync(fd, bytes, done)
  return { content: { fd, size }, sha256, close: () => closeSync(fd) }
}

const SHA256 = /^[0-9a-f]{64}$/

export function isSha256(text: string): boolean {
  return SHA256.test(text)
}

/** Where the image store keeps a chunk or a manifest (services/README.md, "Images"); the name must have passed `isSha256`. */
export function imagePath(dataDir: string, kind: 'chunks' | 'manifests', sha256: string): string {
  if (!isSha256(sha256)) throw new Error('not a sha256')
  return kind === 'chunks'
    ? join(dataDir, 'images', 'chunks', sha256.slice(0, 2), sha256)
    : join(dataDir, 'images', 'manifests', sha256)
}

/** Bytes, or an open file. */
export type Content = { bytes: Uint8Array } | { fd: number; size: number }

export type Sent = {
  /** Bytes of the body that went out; all of the content, or the range asked for. */
  bytes: number
  /** The whole content was sent and taken. */
  whole: boolean
}

/**
 * Answers with content whose name is `sha256`: HEAD, strong ETag, one range. Takes the reply over; resolves when all is sent or the
 * client is gone (`whole` false). Never rejects for what a client does.
 */
export function createSender(
  bodies: Bodies | null,
  limits: SenderLimits = USUAL_LIMITS
): (
  request: FastifyRequest,
  reply: FastifyReply,
  content: Content,
  sha256: string,
  type: string
) => Promise<Sent> {
  let active = 0

  return async (request, reply, content, sha256, type) => {
    const size = 'bytes' in content ? content.bytes.length : content.size
    const etag = `"${sha256}"`
    const what = portion(request.method, request.headers, size, etag)
    reply.hijack()
    const { raw } = reply
    raw.setHeader('accept-ranges', 'bytes')
    raw.setHeader('etag', etag)
    raw.setHeader('cache-control', 'public, max-age=31536000, immutable')
    if (what.status === 304 || what.status === 416) {
      raw.statusCode = what.status
      if (what.status === 416) {
        raw.setHeader('content-range', `bytes */${size}`)
        raw.setHeader(CONTENT_LENGTH, 0)
      }
      raw.end()
      return { bytes: 0, whole: false }
    }
    raw.statusCode = what.status
    raw.setHeader('content-type', type)
    raw.setHeader(CONTENT_LENGTH, what.length)
    if (what.status === 206)
      raw.setHeader('content-range', `bytes ${what.start}-${what.start + what.length - 1}/${size}`)
    if (request.method === 'HEAD' || what.length === 0) {
      raw.end()
      return { bytes: 0, whole: false }
    }
    active++
    try {
      const socket = await connectionOf(raw)
      if ('bytes' in content)
        await pour(content.bytes.subarray(what.start, what.start + what.length), raw, limits)
      else if (bodies && socket >= 0)
        await carry(bodies, socket, { fd: content.fd, start: what.start, length: what.length }, raw, limits)
      else await pump(content.fd, what.start, what.length, raw, active > MANY ? SMALL_BUFFER : MIB, limits)
      raw.end()
      if (!raw.writableFinished) await once(raw, 'finish')
      return { bytes: what.length, whole: what.length === size }
    } catch (error) {
      // Cut the connection: a short body must not look like a whole one.
      raw.destroy()
      request.log.debug({ error: (error as Error).message }, 'body cut off')
      return { bytes: 0, whole: false }
    } finally {
      active--
    }
  }
}

/**
 * The number of a reply's connection, once it is this reply's turn: the answer before it may not be over when its request has come. -1: it has none.
 */
async function connectionOf(raw: ServerResponse): Promise<number> {
  if (!raw.socket && !raw.destroyed) await Promise.race([once(raw, 'socket'), once(raw, 'close')])
  return descriptor(raw.socket)
}

/** The number of a connection; -1: it has none any more. Node does not say it openly. */
export function descriptor(socket: Socket | null): number {
  return (socket as { _handle?: { fd?: number } | null } | null)?._handle?.fd ?? -1
}

/** Head first, by Node; then the body past it. */
async function carry(
  bodies: Bodies,
  connection: number,
  piece: Piece,
  raw: ServerResponse,
  limits: SenderLimits
): Promise<void> {
  const { socket } = raw
  raw.flushHeaders()
  // Node sees nothing move from here on; the thread that sends has its eye on it.
  socket?.setTimeout(0)
  if (socket?.writableLength) await write(raw, Buffer.alloc(0), limits)
  const gone = new AbortController()
  const abort = (): void => gone.abort()
  raw.once('close', abort)
  try {
    if (raw.destroyed) throw new Error('the client is gone')
    await bodies.send(connection, piece, limits, gone.signal)
  } finally {
    raw.off('close', abort)
  }
}

const readAt = promisify(read)

/** None of it is copied. */
async function pour(bytes: Uint8Array, raw: ServerResponse, limits: SenderLimits): Promise<void> {
  const underway: Promise<void>[] = []
  for (let start = 0; start < bytes.length; start += PIECE) {
    if (underway.length === PIECES_AHEAD) await underway.shift()
    const written = write(raw, bytes.subarray(start, start + PIECE), limits)
    // Its failure is met when its turn has come; this only says that somebody looks.
    written.catch(() => undefined)
    underway.push(written)
  }
  for (const written of underway) await written
}

/** Reads into one buffer while the other is on its way out. */
async function pump(
  fd: number,
  start: number,
  length: number,
  raw: ServerResponse,
  bufferSize: number,
  limits: SenderLimits
): Promise<void> {
  const buffers = [0, 1].map(() => Buffer.allocUnsafe(Math.min(bufferSize, length)))
  let written: Promise<void> = Promise.resolve()
  let turn = 0
  for (let done = 0; done < length;) {
    const buffer = buffers[turn] as Buffer
    turn = 1 - turn
    const wanted = Math.min(buffer.length, length - done)
    const { bytesRead } = await readAt(fd, buffer, 0, wanted, start + done)
    if (bytesRead === 0) throw new Error('the file is shorter than it was')
    await written
    written = write(raw, buffer.subarray(0, bytesRead), limits)
    // Its failure is met at the next turn's `await`; this only says that somebody looks.
    written.catch(() => undefined)
    done += bytesRead
  }
  await written
}

/**
 * Resolves when the bytes have left the process, so that their buffer may be used again. Rejects when the client is gone, or takes them, with as
 * many before them, too slowly.
 */
function write(raw: ServerResponse, bytes: Uint8Array, limits: SenderLimits): Promise<void> {
  return new Promise((resolve, reject) => {
    const gone = (): void => end(new Error('the client is gone'))
    const timer = setTimeout(
      () => end(new Error('the client is too slow')),
      (limits.patienceSeconds + (PIECES_AHEAD * bytes.length) / limits.slowest) * 1000
    )
    const end = (error?: Error | null): void => {
      clearTimeout(timer)
      raw.off('close', gone)
      if (error) reject(error)
      else resolve()
    }
    if (raw.destroyed) return gone()
    raw.once('close', gone)
    raw.write(bytes, end)
  })
}
