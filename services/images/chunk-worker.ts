// The heavy work of the image store, on a worker thread: hashing, compressing, reading back. One job at a time, all
// synchronous; each answers with its result or an error's code and message.

import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  readSync,
  renameSync,
  writeSync
} from 'node:fs'
import { createHash } from 'node:crypto'
import { setPriority } from 'node:os'
import { basename, dirname } from 'node:path'
import { parentPort } from 'node:worker_threads'
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { sha256Hex } from '../../src/wire/manifest.ts'
import { qcow2DataClusters, qcow2L2Offsets, type Qcow2Header } from '../../src/wire/qcow2.ts'
import { chunkFile } from './layout.ts'
import { isZero } from './zeros.ts'

/** Every job: what it takes and what it gives. */
export type Jobs = {
  /** sha256 of a whole file. */
  hash: { job: { path: string }; result: { sha256: string } }
  /** Bytes of data that a qcow2 file's tables name; counting ends once above `most`. */
  expansion: { job: { path: string; header: Qcow2Header; most: number }; result: { dataBytes: number } }
  /** Stores `length` bytes of `path` as a chunk; `sha256` null: zeros, nothing stored. `written` false: was there already. */
  chunk: {
    job: { path: string; offset: number; length: number; root: string; temporary: string }
    result: { sha256: string | null; stored: number; written: boolean }
  }
  /** Reads a stored chunk back. */
  verify: { job: { root: string; sha256: string; length: number }; result: { fault: ChunkFault | null } }
}

export type ChunkFault = 'missing' | 'corrupt'
export type JobKind = keyof Jobs
export type JobMessage = { [K in JobKind]: { kind: K; job: Jobs[K]['job'] } }[JobKind]
export type JobAnswer = { result: unknown } | { error: { message: string; code: string | undefined } }

const READ_BYTES = 4 * 2 ** 20

/**
 * The fastest of zstd's levels that still shrinks: on 400 MiB of programs, level 1 makes 46 % at 450 MB/s, level 3 makes 43 % at 270 MB/s,
 * the negative ones are no faster and make 58 %.
 */
const ZSTD_LEVEL = 1

let buffer = Buffer.alloc(0)

const run: { [K in JobKind]: (job: Jobs[K]['job']) => Jobs[K]['result'] } = {
  hash({ path }) {
    return reading(path, (fd) => {
      const hash = createHash('sha256')
      for (let offset = 0; ;) {
        const bytes = readAt(fd, offset, READ_BYTES)
        if (bytes.length === 0) return { sha256: hash.digest('hex') }
        hash.update(bytes)
        offset += bytes.length
      }
    })
  },

  expansion({ path, header, most }) {
    return reading(path, (fd) => {
      const clusterSize = 2 ** header.clusterBits
      const offsets = qcow2L2Offsets(header, Buffer.from(readAt(fd, header.l1Offset, header.l1Entries * 8)))
      let dataBytes = 0
      for (const offset of offsets) {
        dataBytes += qcow2DataClusters(header, readAt(fd, offset, clusterSize)) * clusterSize
        if (dataBytes > most) break
      }
      return { dataBytes }
    })
  },

  chunk({ path, offset, length, root, temporary }) {
    const bytes = reading(path, (fd) => readAt(fd, offset, length))
    if (bytes.length !== length) throw new Error(`${path} became shorter while it was read`)
    if (isZero(bytes)) return { sha256: null, stored: 0, written: false }
    const sha256 = sha256Hex(bytes)
    const file = chunkFile(root, sha256)
    const present = storedChunk(file, length)
    if (present?.content.equals(bytes)) return { sha256, stored: present.stored, written: false }
    const frame = zstdCompressSync(bytes, {
      params: { [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL },
      pledgedSrcSize: length,
      chunkSize: length + 2 ** 16
    })
    const fd = openSync(temporary, 'w', 0o600)
    try {
      for (let at = 0; at < frame.length;) at += writeSync(fd, frame, at)
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
    renameSync(temporary, file)
    return { sha256, stored: frame.length, written: true }
  },

  verify({ root, sha256, length }) {
    const chunk = storedChunk(chunkFile(root, sha256), length)
    if (chunk === undefined) return { fault: 'missing' }
    return { fault: chunk && sha256Hex(chunk.content) === sha256 ? null : 'corrupt' }
  }
}

/** A stored chunk's bytes; undefined when there is none, null when it is not a zstd frame of at most `length` bytes. */
function storedChunk(file: string, length: number): { content: Buffer; stored: number } | null | undefined {
  let frame: Buffer
  try {
    frame = readFileSync(file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  try {
    return { content: zstdDecompressSync(frame, { maxOutputLength: length }), stored: frame.length }
  } catch {
    return null
  }
}

function reading<T>(path: string, work: (fd: number) => T): T {
  const fd = openSync(path, 'r')
  try {
    return work(fd)
  } finally {
    closeSync(fd)
  }
}

/** Up to `length` bytes at `offset`, in a buffer that the next read overwrites. Shorter only at the file's end. */
function readAt(fd: number, offset: number, length: number): Buffer {
  if (buffer.length < length) buffer = Buffer.alloc(length)
  let got = 0
  while (got < length) {
    const count = readSync(fd, buffer, got, length - got, offset + got)
    if (count === 0) break
    got += count
  }
  return buffer.subarray(0, got)
}

// Machines that boot meanwhile come first. On Linux a thread has a priority of its own, under its own id.
setPriority(Number(basename(readlinkSync('/proc/thread-self'))), 5)

parentPort?.on('message', ({ kind, job }: JobMessage) => {
  let answer: JobAnswer
  try {
    answer = { result: (run[kind] as (job: unknown) => unknown)(job) }
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException
    answer = { error: { message, code } }
  }
  parentPort?.postMessage(answer)
})
