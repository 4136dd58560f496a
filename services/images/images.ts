// The image store: an upload becomes a raw disk in content-addressed chunks, its manifest, and a row, in this order; what is
// cut off before the row is not an image, and what it left behind is cleared away at the next start.
//
//   stream → upload/<import>/image → header judged → upload/<import>/disk → chunks/, synced → manifests/, synced → row, event
//
// Hashing and compressing happen on worker threads, converting in a confined child.

import { randomUUID } from 'node:crypto'
import { mkdirSync, rmSync } from 'node:fs'
import { mkdir, open, readdir, readFile, rename, rm, statfs } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { addAbortSignal, type Readable } from 'node:stream'
import type { Logger } from 'pino'
import {
  checkImageName,
  decideDisk,
  decideExpansion,
  decideImageAdded,
  decideImageRemoved,
  decideQcow2,
  decideUpload,
  HEAD_BYTES,
  IMAGE_LIMITS,
  mostData,
  noImage,
  type ImageFormat,
  type ImageLimits
} from '../../src/decide/image.ts'
import { AppError } from '../../src/domain/error.ts'
import type { Image } from '../../src/domain/image.ts'
import { decodeManifest, encodeManifest, sha256Hex, type ManifestChunk } from '../../src/wire/manifest.ts'
import type { Config } from '../config.ts'
import type { Apply } from '../store/apply.ts'
import type { Facts } from '../store/facts.ts'
import type { Store } from '../store/open.ts'
import type { ChunkFault } from './chunk-worker.ts'
import { createConverter } from './convert.ts'
import { CHUNK_SIZE, chunkFile, chunksFolder, manifestFile, manifestsFolder, uploadFolder } from './layout.ts'
import { startWorkers, type Workers } from './workers.ts'
import { isZero } from './zeros.ts'

/** One core is left to the machines that boot meanwhile on anything that has three; on two, both are shared. */
const WORKERS = 2
/** How much is received between two looks at the free space. */
const ROOM_INTERVAL_BYTES = 32 * 2 ** 20

/** `reserveBytes`: free space that an import leaves, so that the database on the same disk can go on writing. */
export type StoreLimits = ImageLimits & { reserveBytes: number }

export type ImagesDeps = {
  config: Pick<Config, 'dataDir'>
  store: Pick<Store, 'commit'>
  facts: Facts
  apply: Apply
  log: Logger
  now: () => number
  limits?: Partial<StoreLimits>
}

export type ImageProgress = {
  stage: 'receiving' | 'converting' | 'storing'
  done: number
  /** null: not known. */
  total: number | null
}

export type AddOptions = {
  /** What the operator says it is; refused when it is something else. */
  format?: string | undefined
  /** What the uploaded file's sha256 must be, in hex. */
  sha256?: string | undefined
  /** How many bytes will come: too many are refused at once, fewer when the upload ends. */
  size?: number | undefined
  onProgress?: ((progress: ImageProgress) => void) | undefined
}

export type Verification = {
  chunks: number
  manifest: 'whole' | ChunkFault
  /** Every stored chunk that cannot be served; adding the same image under the same name again repairs it. */
  faults: { offset: number; sha256: string; fault: ChunkFault }[]
}

export type Images = {
  /**
   * Takes an image in. The same name and content again gives the image that is there (and repairs its chunks). AppErrors:
   * `image-refused`, `bad-request` (the name; the upload broke off), `name-taken`, `too-large`, `storage-full`. The stream is not
   * destroyed when the upload is refused half-way: the caller may still have to answer on its connection.
   */
  add(name: string, stream: Readable, options?: AddOptions): Promise<Image>
  /** By id or name. AppErrors: `not-found`, `image-in-use`. */
  remove(ident: string): Promise<void>
  /** Reads every stored chunk back. By id or name; AppError `not-found`. */
  verify(ident: string): Promise<Verification>
  /** Breaks off what is under way. */
  close(): Promise<void>
}

type Upload = { format: ImageFormat; size: number; head: Buffer }

export function startImages(deps: ImagesDeps): Images {
  const { facts, log } = deps
  const root = join(deps.config.dataDir, 'images')
  const limits: StoreLimits = { ...IMAGE_LIMITS, reserveBytes: 256 * 2 ** 20, ...deps.limits }
  const converter = createConverter(log)
  const stopping = new AbortController()

  rmSync(uploadFolder(root), { recursive: true, force: true })
  for (const folder of [uploadFolder(root), chunksFolder(root), manifestsFolder(root)])
    mkdirSync(folder, { recursive: true, mode: 0o700 })

  // Imports store, and removals collect, one after the other: what one just stored the other must not take for left over.
  let last: Promise<unknown> = Promise.resolve()
  function exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = last.then(work)
    last = result.catch(() => {})
    return result
  }

  /** AppError `storage-full` unless `bytes` fit beside the reserve. */
  async function checkRoom(name: string, bytes = 0): Promise<void> {
    const { bavail, bsize } = await statfs(root)
    const free = bavail * bsize
    if (free < limits.reserveBytes + bytes) throw storageFull(name, free)
  }

  function storageFull(name: string, free: number): AppError {
    return new AppError(
      'storage-full',
      `image ${name} does not fit: ${root} has ${free} bytes free, ${limits.reserveBytes} of which are kept for the database; ` +
        'remove images that are not needed, or give the disk more space'
    )
  }

  /** Writes the stream to `file`, judged by its first bytes as soon as they are there. Zeros become holes. */
  async function receive(name: string, stream: Readable, file: string, options: AddOptions): Promise<Upload> {
    const { size: expected = null, format: declared, onProgress } = options
    const tooLarge = (bytes: number) =>
      new AppError(
        'too-large',
        `image ${name}: ${bytes} bytes and more; at most ${limits.maxUploadBytes} are taken`
      )
    if (expected !== null && expected > limits.maxUploadBytes) throw tooLarge(expected)
    await checkRoom(name)
    const handle = await open(file, 'wx', 0o600)
    try {
      const start: Buffer[] = []
      let format: ImageFormat | undefined
      let size = 0
      let lookAt = ROOM_INTERVAL_BYTES
      const judge = () => decideUpload({ name, head: Buffer.concat(start), declared, limits })
      for await (const piece of pieces(name, stream)) {
        if (size < HEAD_BYTES) start.push(Buffer.from(piece))
        if (!isZero(piece)) await writeAll(handle, piece, size)
        size += piece.length
        if (size > limits.maxUploadBytes) throw tooLarge(size)
        if (size >= HEAD_BYTES) format ??= judge()
        if (size >= lookAt) {
          await checkRoom(name)
          onProgress?.({ stage: 'receiving', done: size, total: expected })
          lookAt = size + ROOM_INTERVAL_BYTES
        }
      }
      if (expected !== null && size !== expected) throw brokeOff(name, `${size} of ${expected} bytes came`)
      format ??= judge()
      await handle.truncate(size)
      return { format, size, head: Buffer.concat(start).subarray(0, HEAD_BYTES) }
    } finally {
      await handle.close()
    }
  }

  async function* pieces(name: string, stream: Readable): AsyncGenerator<Buffer> {
    try {
      yield* addAbortSignal(stopping.signal, stream).iterator({ destroyOnReturn: false })
    } catch (error) {
      stopping.signal.throwIfAborted()
      throw brokeOff(name, (error as Error).message)
    }
  }

  /** The raw disk of an upload: the file itself, or what qemu-img makes of it. */
  async function rawDisk(
    name: string,
    folder: string,
    upload: Upload,
    workers: Workers,
    options: AddOptions
  ): Promise<{ path: string; size: number }> {
    const path = join(folder, 'image')
    if (upload.format === 'raw') return { path, size: upload.size }
    const header = decideQcow2({ name, head: upload.head, size: upload.size, limits })
    const { dataBytes } = await workers.run('expansion', { path, header, most: mostData(upload.size) })
    decideExpansion({ name, size: upload.size, dataBytes })
    await checkRoom(name, dataBytes)
    const disk = join(folder, 'disk')
    await converter.convert({
      name,
      image: path,
      disk,
      root: join(folder, 'root'),
      size: header.virtualSize,
      reserveBytes: limits.reserveBytes,
      signal: stopping.signal,
      onProgress: (done) => options.onProgress?.({ stage: 'converting', done, total: header.virtualSize })
    })
    await rm(path)
    return { path: disk, size: header.virtualSize }
  }

  type Stored = { manifest: string; storedSize: number; sha256: string; written: number }

  /** Chunks and manifest, synced to disk down to their folders' entries. */
  async function storeDisk(
    name: string,
    folder: string,
    disk: { path: string; size: number },
    knownSha256: string | undefined,
    workers: Workers,
    options: AddOptions
  ): Promise<Stored> {
    const count = Math.ceil(disk.size / CHUNK_SIZE)
    const chunks: ManifestChunk[] = []
    const sizes = new Map<string, number>()
    let next = 0
    let done = 0
    let written = 0
    const lane = async () => {
      while (next < count) {
        const index = next++
        const offset = index * CHUNK_SIZE
        const length = Math.min(CHUNK_SIZE, disk.size - offset)
        stopping.signal.throwIfAborted()
        await checkRoom(name)
        const temporary = join(folder, `chunk-${index}`)
        const chunk = await workers.run('chunk', { path: disk.path, offset, length, root, temporary })
        chunks[index] = { offset, length, sha256: chunk.sha256 }
        if (chunk.sha256 !== null) sizes.set(chunk.sha256, chunk.stored)
        if (chunk.written) written++
        done += length
        options.onProgress?.({ stage: 'storing', done, total: disk.size })
      }
    }
    const whole =
      knownSha256 === undefined ? workers.run('hash', { path: disk.path }) : { sha256: knownSha256 }
    const [{ sha256 }] = await Promise.all([whole, ...Array.from({ length: WORKERS }, lane)])

    const folders = new Set([...sizes.keys()].map((hash) => dirname(chunkFile(root, hash))))
    for (const each of [...folders, chunksFolder(root)]) await syncFolder(each)
    const manifest = encodeManifest(chunks)
    const temporary = join(folder, 'manifest')
    const handle = await open(temporary, 'wx', 0o600)
    await handle.writeFile(manifest)
    await handle.sync()
    await handle.close()
    await rename(temporary, manifestFile(root, sha256Hex(manifest)))
    await syncFolder(manifestsFolder(root))
    const storedSize = [...sizes.values()].reduce((sum, size) => sum + size, 0)
    return { manifest, storedSize, sha256, written }
  }

  async function importUpload(
    name: string,
    folder: string,
    upload: Upload,
    options: AddOptions
  ): Promise<Image> {
    const workers = startWorkers(WORKERS)
    const started = deps.now()
    try {
      const expected = options.sha256?.toLowerCase()
      const uploaded = expected && (await workers.run('hash', { path: join(folder, 'image') })).sha256
      if (uploaded !== expected)
        throw new AppError(
          'image-refused',
          `image ${name} is refused: its sha256 is ${uploaded}, not ${expected}; it was changed on the way, or is another file`
        )
      const disk = await rawDisk(name, folder, upload, workers, options)
      const converted = deps.now()
      decideDisk({ name, ...(await ends(disk.path, disk.size)), size: disk.size, limits })
      const known = upload.format === 'raw' ? uploaded : undefined
      const stored = await storeDisk(name, folder, disk, known, workers, options)
      const digest = sha256Hex(stored.manifest)
      const { image, changes } = deps.store.commit(() => {
        const now = deps.now()
        const verdict = decideImageAdded({
          sameName: facts.imageByName(name),
          image: {
            id: randomUUID(),
            name,
            digest,
            sha256: stored.sha256,
            size: disk.size,
            chunkSize: CHUNK_SIZE,
            storedSize: stored.storedSize,
            format: upload.format,
            createdAt: now
          },
          now
        })
        deps.apply(verdict.changes)
        return verdict
      })
      log.info(
        {
          image: image.name,
          id: image.id,
          digest,
          format: upload.format,
          uploadSize: upload.size,
          size: image.size,
          storedSize: image.storedSize,
          chunksWritten: stored.written,
          convertMilliseconds: converted - started,
          storeMilliseconds: deps.now() - converted
        },
        changes.length > 0 ? 'image added' : 'image was there already'
      )
      return image
    } finally {
      await workers.close()
    }
  }

  /** Removes the chunks and manifests that no image has. */
  async function collect(): Promise<void> {
    const keep = new Set<string>()
    const digests = new Set(facts.images().map(({ digest }) => digest))
    for (const digest of digests) {
      const manifest = await readManifest(digest)
      if (typeof manifest === 'string') {
        // Not knowing what it needs, nothing may go.
        log.error(
          { digest, manifest },
          'an image has lost its manifest; unused chunks are kept until it is added again or removed'
        )
        return
      }
      for (const { sha256 } of manifest) if (sha256 !== null) keep.add(sha256)
    }
    let chunks = 0
    for (const prefix of await readdir(chunksFolder(root)))
      for (const name of await readdir(join(chunksFolder(root), prefix)))
        if (!keep.has(name)) {
          await rm(join(chunksFolder(root), prefix, name))
          chunks++
        }
    for (const digest of await readdir(manifestsFolder(root)))
      if (!digests.has(digest)) await rm(manifestFile(root, digest))
    if (chunks > 0) log.info({ chunks }, 'removed chunks that no image uses')
  }

  async function readManifest(digest: string): Promise<ManifestChunk[] | ChunkFault> {
    let text: string
    try {
      text = await readFile(manifestFile(root, digest), 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'missing'
      throw error
    }
    return sha256Hex(text) === digest ? decodeManifest(text) : 'corrupt'
  }

  const imageOf = (ident: string) => facts.imageById(ident) ?? facts.imageByName(ident)

  /** Names of the nodes whose instance is of this image, or that are getting it. */
  function nodesWith(imageId: string): string[] {
    const getting = new Set(
      facts.openOrders().flatMap((order) => (order.imageId === imageId ? [order.nodeUuid] : []))
    )
    return facts
      .nodes()
      .filter(
        ({ uuid, instanceUuid }) =>
          getting.has(uuid) || (instanceUuid && facts.instanceByUuid(instanceUuid)?.imageId === imageId)
      )
      .map(({ uuid, name }) => name ?? uuid)
  }

  /** Clears away what nobody uses; that it cannot is told, but spoils nothing else. */
  const tidy = () =>
    collect().catch((err: unknown) => log.error({ err }, 'chunks that no image uses could not be removed'))

  void exclusively(tidy)

  return {
    async add(name, stream, options = {}) {
      checkImageName(name)
      if (options.sha256 !== undefined && !/^[0-9a-f]{64}$/i.test(options.sha256))
        throw new AppError(
          'bad-request',
          `image ${name}: a sha256 has 64 hex digits (MD5 and SHA-1 are not taken)`
        )
      const folder = join(uploadFolder(root), randomUUID())
      await mkdir(folder, { mode: 0o700 })
      try {
        const upload = await receive(name, stream, join(folder, 'image'), options)
        return await exclusively(async () => {
          try {
            stopping.signal.throwIfAborted()
            return await importUpload(name, folder, upload, options)
          } catch (error) {
            await tidy()
            throw error
          }
        })
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException
        if (code !== 'ENOSPC' && code !== 'EDQUOT') throw error
        throw storageFull(name, 0)
      } finally {
        await rm(folder, { recursive: true, force: true })
      }
    },

    async remove(ident) {
      deps.store.commit(() => {
        const image = imageOf(ident)
        const verdict = decideImageRemoved({
          ident,
          image,
          inUse: image !== null && facts.imageInUse(image.id),
          nodes: image ? nodesWith(image.id) : [],
          now: deps.now()
        })
        deps.apply(verdict.changes)
      })
      await exclusively(tidy)
    },

    async verify(ident) {
      const image = imageOf(ident)
      if (!image) throw noImage(ident)
      const manifest = await readManifest(image.digest)
      if (typeof manifest === 'string') return { chunks: 0, manifest, faults: [] }
      const stored = manifest.flatMap(({ offset, length, sha256 }) =>
        sha256 === null ? [] : [{ offset, length, sha256 }]
      )
      const workers = startWorkers(WORKERS)
      try {
        const faults: Verification['faults'] = []
        let next = 0
        const lane = async () => {
          for (let chunk = stored[next++]; chunk; chunk = stored[next++]) {
            const { offset, length, sha256 } = chunk
            const { fault } = await workers.run('verify', { root, sha256, length })
            if (fault) faults.push({ offset, sha256, fault })
          }
        }
        await Promise.all(Array.from({ length: WORKERS }, lane))
        // Removed meanwhile: its chunks went for good reason.
        if (!imageOf(image.id)) throw noImage(ident)
        faults.sort((a, b) => a.offset - b.offset)
        if (faults.length > 0) log.error({ image: image.name, faults }, 'image is damaged in the store')
        return { chunks: stored.length, manifest: 'whole', faults }
      } finally {
        await workers.close()
      }
    },

    async close() {
      stopping.abort(new AppError('busy', 'Seedling is stopping; add the image again when it runs'))
      await last
    }
  }
}

function brokeOff(name: string, how: string): AppError {
  return new AppError('bad-request', `the upload of image ${name} broke off (${how}); send it again`)
}

async function ends(path: string, size: number): Promise<{ head: Buffer; tail: Buffer }> {
  const handle = await open(path, 'r')
  try {
    const head = Buffer.alloc(Math.min(size, HEAD_BYTES))
    const tail = Buffer.alloc(Math.min(size, 512))
    await handle.read(head, 0, head.length, 0)
    await handle.read(tail, 0, tail.length, size - tail.length)
    return { head, tail }
  } finally {
    await handle.close()
  }
}

async function writeAll(
  handle: Awaited<ReturnType<typeof open>>,
  bytes: Buffer,
  position: number
): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const { bytesWritten } = await handle.write(bytes, at, bytes.length - at, position + at)
    at += bytesWritten
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
