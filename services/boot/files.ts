// Files by the hash of their content. Kernel and ramdisk are opened and hashed once at start and read from the open file: what was
// hashed is what is sent, whatever is put in their place meanwhile.

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { open, type FileHandle } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { AppError } from '../../src/domain/error.ts'
import { portion } from './ranges.ts'

const MIB = 2 ** 20
/** With more than this many files on their way at once, each gets small buffers: a room that boots must not cost gigabytes. */
const MANY = 32
const SMALL_BUFFER = 64 * 1024

export type BootFileHandle = { handle: FileHandle; size: number; sha256: string }
export type BootFiles = { kernel: BootFileHandle; ramdisk: BootFileHandle; close(): Promise<void> }

/** Opens and hashes the deploy kernel and ramdisk; AppError `bad-config` naming the one that is missing or empty. */
export async function openBootFiles(boot: { kernel: string; ramdisk: string }): Promise<BootFiles> {
  const kernel = await openHashed('boot.kernel', boot.kernel)
  const ramdisk = await openHashed('boot.ramdisk', boot.ramdisk)
  return {
    kernel,
    ramdisk,
    close: async () => void (await Promise.all([kernel.handle.close(), ramdisk.handle.close()]))
  }
}

async function openHashed(key: string, path: string): Promise<BootFileHandle> {
  let handle: FileHandle
  try {
    handle = await open(path, 'r')
  } catch (error) {
    throw new AppError(
      'bad-config',
      `"${key}": cannot read ${path}: ${(error as Error).message}; image/ramdisk/build makes it`
    )
  }
  const hash = createHash('sha256')
  const buffer = Buffer.allocUnsafe(MIB)
  let size = 0
  for (;;) {
    const { bytesRead } = await handle.read(buffer, 0, MIB, size)
    if (bytesRead === 0) break
    hash.update(buffer.subarray(0, bytesRead))
    size += bytesRead
  }
  if (size === 0) {
    await handle.close()
    throw new AppError('bad-config', `"${key}": ${path} is empty or not a file; image/ramdisk/build makes it`)
  }
  return { handle, size, sha256: hash.digest('hex') }
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

export type Content = { bytes: Uint8Array } | { handle: FileHandle; size: number }

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
export function createSender(): (
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
        raw.setHeader('content-length', 0)
      }
      raw.end()
      return { bytes: 0, whole: false }
    }
    raw.statusCode = what.status
    raw.setHeader('content-type', type)
    raw.setHeader('content-length', what.length)
    if (what.status === 206)
      raw.setHeader('content-range', `bytes ${what.start}-${what.start + what.length - 1}/${size}`)
    if (request.method === 'HEAD' || what.length === 0) {
      raw.end()
      return { bytes: 0, whole: false }
    }
    active++
    try {
      if ('bytes' in content) await write(raw, content.bytes.subarray(what.start, what.start + what.length))
      else await pump(content.handle, what.start, what.length, raw, active > MANY ? SMALL_BUFFER : MIB)
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

/** Reads into one buffer while the other is on its way out. */
async function pump(
  handle: FileHandle,
  start: number,
  length: number,
  raw: ServerResponse,
  bufferSize: number
): Promise<void> {
  const buffers = [0, 1].map(() => Buffer.allocUnsafe(Math.min(bufferSize, length)))
  let written: Promise<void> = Promise.resolve()
  let turn = 0
  for (let done = 0; done < length;) {
    const buffer = buffers[turn] as Buffer
    turn = 1 - turn
    const wanted = Math.min(buffer.length, length - done)
    const { bytesRead } = await handle.read(buffer, 0, wanted, start + done)
    if (bytesRead === 0) throw new Error('the file is shorter than it was')
    await written
    written = write(raw, buffer.subarray(0, bytesRead))
    // Its failure is met at the next turn's `await`; this only says that somebody looks.
    written.catch(() => undefined)
    done += bytesRead
  }
  await written
}

/** Resolves when the bytes have left the process, so that their buffer may be used again. */
function write(raw: ServerResponse, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    const gone = (): void => reject(new Error('the client is gone'))
    if (raw.destroyed) return gone()
    raw.once('close', gone)
    raw.write(bytes, (error) => {
      raw.off('close', gone)
      if (error) reject(error)
      else resolve()
    })
  })
}
