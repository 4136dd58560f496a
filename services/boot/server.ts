// The one HTTP port that machines see: scripts, kernel, ramdisk, loaders and image content; the agent's calls and the instances'
// metadata are mounted on it. Who asks is who owns the source address, so whatever came through a proxy is turned away.

import { createServer } from 'node:net'
import Fastify, {
  LogController,
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest
} from 'fastify'
import type { Logger } from 'pino'
import {
  decideFile,
  fileRefused,
  fileServed,
  printable,
  type BootFile,
  type BootSettings,
  type FileRefusal
} from '../../src/decide/boot-file.ts'
import { bootDelayed, sendingDelay } from '../../src/decide/boot-delay.ts'
import { decideScript, type Dialect } from '../../src/decide/script.ts'
import { tftpName } from '../../src/decide/tftp-names.ts'
import { parseMac, type Mac } from '../../src/wire/address.ts'
import { roomForConnections } from '../descriptors.ts'
import { listenStream, type ListenOptions } from '../listen.ts'
import type { Apply } from '../store/apply.ts'
import type { Facts, MachineFacts } from '../store/facts.ts'
import { isFull, type Store } from '../store/open.ts'
import { createAdmission, USUAL_ADMISSION, type AdmissionLimits } from './admission.ts'
import { startBodies, type Bodies } from './bodies.ts'
import {
  CONTENT_LENGTH,
  createSender,
  descriptor,
  imagePath,
  isSha256,
  type BootFiles,
  type Content
} from './files.ts'
import { createOpenFiles } from './open-files.ts'

/** Mounted beside our own routes: the agent's calls, the metadata. */
export type Routes = (app: FastifyInstance) => Promise<void>

export type BootDeps = {
  store: Store
  facts: Facts
  apply: Apply
  log: Logger
  now: () => number
  /** Below it lie `images/chunks` and `images/manifests`. */
  dataDir: string
  files: BootFiles
  /** Loader name in lower case → content. */
  loaders: ReadonlyMap<string, { bytes: Uint8Array; sha256: string }>
  settings: BootSettings
  routes: readonly Routes[]
  /** What a connection has sent, and sent again; null: not known. Not given: never known. */
  segments?: (fd: number) => { sent: number; resent: number } | null
  /** How many may load large files at once; not given: as many as is usual. */
  admission?: AdmissionLimits
}

/** Headers by which proxies pass on another's address; none is ever believed. */
const FORWARDED =
  /^(forwarded|via|x-forwarded-.*|x-real-ip|(x-|true-|cf-)?(cluster-)?(client|connecting)-ip)$/

/** All routes that are no metadata. */
const BOOT_PATH = /^\/(boot|grub|images|agent)\//

const MOST_CONNECTIONS = 8192
/** A machine needs a few; more of them are somebody's mischief or mistake. */
const MOST_CONNECTIONS_OF_ONE = 32
/** What takes long to load: for these there is a queue. */
const LARGE: ReadonlySet<BootFile['file']> = new Set(['kernel', 'ramdisk', 'chunk'])

const STATUS: Record<FileRefusal, number> = {
  stranger: 404,
  'unknown-file': 404,
  'other-image': 403,
  'not-now': 403,
  write: 405
}

/** The application, without a port: `inject` tests it. Without `bodies` it sends them itself. */
export function buildBoot(deps: BootDeps, bodies: Bodies | null = null): FastifyInstance {
  const { store, facts, apply, now, dataDir, files, loaders, settings } = deps
  const app = Fastify({
    loggerInstance: deps.log as FastifyBaseLogger,
    // One line of our own per request that matters; two of Fastify's for each of ten thousand chunks would bury it.
    logController: new LogController({ disableRequestLogging: true }),
    // Fastify switches Node's own limits off; slow clients must not hold sockets for ever.
    connectionTimeout: 120_000,
    requestTimeout: 15_000,
    keepAliveTimeout: 5000,
    http: { headersTimeout: 10_000, connectionsCheckingInterval: 5000 },
    forceCloseConnections: true,
    bodyLimit: 2 ** 20
  })
  // A room full of machines, a few connections each.
  // Each has a descriptor, while it is sent something another, and a file.
  app.server.maxConnections = Math.min(MOST_CONNECTIONS, Math.floor(roomForConnections() / 4))
  const send = createSender(bodies)
  const openFiles = createOpenFiles()
  app.addHook('onClose', () => openFiles.close())
  const admission = createAdmission(deps.admission ?? USUAL_ADMISSION, () => performance.now())

  const connections = new Map<string, number>()
  app.server.on('connection', (socket) => {
    const source = socket.remoteAddress ?? ''
    const open = (connections.get(source) ?? 0) + 1
    if (open > MOST_CONNECTIONS_OF_ONE) return socket.destroy()
    connections.set(source, open)
    socket.once('close', () => {
      const left = (connections.get(source) ?? 1) - 1
      if (left > 0) connections.set(source, left)
      else connections.delete(source)
    })
  })

  app.addHook('onRequest', async (request, reply) => {
    if (Object.keys(request.headers).some((name) => FORWARDED.test(name)))
      return reply.code(400).send({
        code: 'bad-request',
        message: 'requests through a proxy are not answered; ask from the machine itself, without one'
      })
  })
  // After the end of a hand-over nothing boots from here; what is installed may read its metadata.
  app.addHook('onRequest', async (request, reply) => {
    if (facts.standing().finishedAt === null) return
    const reads = request.method === 'GET' || request.method === 'HEAD'
    if (reads && !BOOT_PATH.test(request.routeOptions.url ?? '')) return
    return reply.code(410).send({
      code: 'gone',
      message: 'the hand-over is finished: nothing boots or reports here any more'
    })
  })
  app.setNotFoundHandler((_request, reply) => {
    reply.code(404).send({ code: 'not-found', message: 'there is nothing at this address' })
  })

  app.setErrorHandler((error: FastifyError, request, reply) => {
    if (isFull(error)) {
      request.log.error(`the disk is full: ${request.url} waits until there is room in dataDir`)
      return reply.code(507).send({ code: 'storage-full', message: "Seedling's disk is full; ask again" })
    }
    const status = error.statusCode ?? 500
    if (status < 500) return reply.code(status).send({ code: 'bad-request', message: error.message })
    request.log.error({ err: error, route: request.routeOptions.url }, 'http: our fault')
    return reply.code(status).send({ code: 'internal', message: 'Seedling failed here; its log says how' })
  })

  /** Gather, decide, commit; then the file, the refusal, and one line either way. */
  async function answer(
    request: FastifyRequest,
    reply: FastifyReply,
    name: string,
    asked: BootFile,
    find: () => Promise<{ content: Content; sha256: string; type?: string; done?: () => void } | null>
  ): Promise<FastifyReply | void> {
    const at = now()
    const address = sourceAddress(request)
    const { machine, verdict } = store.commit(() => {
      const machine = facts.machineByIp(address)
      const verdict = decideFile(asked, machine)
      if (!verdict.serve) apply(fileRefused(machine, 'http', name, verdict.refusal, verdict.reason, at))
      return { machine, verdict }
    })
    const line = { client: address, node: label(machine), file: printable(name, 100) }
    if (!verdict.serve) {
      request.log.info({ ...line, reason: verdict.reason }, 'http refused')
      return refuse(reply, STATUS[verdict.refusal], verdict.refusal, verdict.reason)
    }
    const entered = LARGE.has(asked.file) && request.method === 'GET' ? await admission.enter(address) : null
    if (entered && 'place' in entered) {
      const { place, retryAfterSeconds } = entered
      request.log.info({ ...line, place, retryAfterSeconds }, 'http: asked to wait')
      reply.header('retry-after', retryAfterSeconds)
      return refuse(reply, 503, 'busy', `others load now; this machine is number ${place} in the queue`)
    }
    try {
      return await serve(request, reply, line, asked, find, at)
    } finally {
      entered?.leave()
    }
  }

  function segmentsOf(socket: FastifyRequest['socket']): { sent: number; resent: number } | null {
    const fd = descriptor(socket)
    return fd >= 0 ? (deps.segments?.(fd) ?? null) : null
  }

  async function serve(
    request: FastifyRequest,
    reply: FastifyReply,
    line: { client: string; node: string | undefined; file: string },
    asked: BootFile,
    find: Parameters<typeof answer>[4],
    at: number
  ): Promise<FastifyReply | void> {
    const { client: address, file: name } = line
    const found = await find()
    if (!found) {
      const machine = facts.machineByIp(address)
      store.note(() => apply(fileRefused(machine, 'http', name, 'unknown-file', 'no such file', at)))
      request.log.info({ ...line, reason: 'no such file' }, 'http refused')
      return refuse(reply, 404, 'unknown-file', 'no such file')
    }
    try {
      const sent = await send(
        request,
        reply,
        found.content,
        found.sha256,
        found.type ?? 'application/octet-stream'
      )
      const milliseconds = now() - at
      const segments = segmentsOf(request.socket)
      const level = asked.file === 'chunk' ? 'debug' : 'info'
      request.log[level](
        { ...line, bytes: sent.bytes, milliseconds, range: request.headers.range?.slice(0, 100), segments },
        'http served'
      )
      if (sent.whole && asked.file !== 'chunk')
        store.note(() => {
          // The node may be gone since.
          const { node, order } = facts.machineByIp(address)
          const detail = { protocol: 'http', name, bytes: sent.bytes, milliseconds } as const
          apply(fileServed({ node, order }, detail, now()))
          const delay = segments && sendingDelay(segments.sent, segments.resent)
          apply(bootDelayed({ node, order }, 'http', delay, now()))
        })
    } finally {
      found.done?.()
    }
  }

  app.get('/boot/script', (request, reply) => {
    const query = request.query as Record<string, unknown>
    const mac = typeof query['mac'] === 'string' ? (parseMac(query['mac']) ?? null) : null
    return script(request, reply, 'ipxe', mac)
  })

  function script(
    request: FastifyRequest,
    reply: FastifyReply,
    dialect: Dialect,
    mac: Mac | null | undefined
  ): FastifyReply {
    const address = sourceAddress(request)
    const { machine, verdict } = store.commit(() => {
      const machine = facts.machineByIp(address)
      const verdict = decideScript(dialect, mac, machine, settings, now())
      if (request.method !== 'HEAD') apply(verdict.changes)
      return { machine, verdict }
    })
    const line = { client: address, node: label(machine), dialect }
    if ('refuse' in verdict) {
      request.log.warn({ ...line, reason: verdict.reason }, 'script refused')
      return refuse(reply, verdict.refuse === 'stranger' ? 404 : 403, verdict.refuse, verdict.reason)
    }
    request.log.info({ ...line, plan: verdict.plan, reason: verdict.reason }, 'script served')
    const body = Buffer.from(verdict.script)
    reply.hijack()
    reply.raw.writeHead(200, {
      'Content-Type': 'text/plain; charset=utf-8',
      'Cache-Control': 'no-store',
      [CONTENT_LENGTH]: body.length
    })
    reply.raw.end(request.method === 'HEAD' ? undefined : body)
    return reply
  }

  for (const file of ['kernel', 'ramdisk'] as const)
    app.get<{ Params: { sha256: string } }>(`/boot/${file}/:sha256`, (request, reply) =>
      answer(request, reply, file, { file }, async () => {
        const { sha256 } = request.params
        const found = Object.values(files.ramdisks).find((files) => files[file].sha256 === sha256)
        return found ? { content: found[file].content, sha256 } : null
      })
    )

  /** What boot loaders look for beside themselves goes by the same names as by TFTP. */
  function loader(request: FastifyRequest<{ Params: { '*': string } }>, reply: FastifyReply) {
    const asked = tftpName(request.params['*'], sourceAddress(request), loaders)
    if (asked.means === 'script' && asked.dialect !== 'pxelinux')
      return script(request, reply, asked.dialect, asked.mac)
    if (asked.means !== 'loader') return refuse(reply, 404, 'unknown-file', 'no such file')
    const { name } = asked
    return answer(request, reply, name, { file: 'loader', name }, async () => {
      const loader = loaders.get(name)
      // UEFI HTTP boot tells what it got by this type (UEFI 2.10, 24.7.1).
      return loader
        ? { content: { bytes: loader.bytes }, sha256: loader.sha256, type: 'application/efi' }
        : null
    })
  }
  app.get('/boot/loader/*', loader)
  // GRUB's own folder, wherever it was loaded from.
  app.get('/grub/*', loader)

  async function stored(kind: 'chunks' | 'manifests', sha256: string) {
    const found = isSha256(sha256) ? await openFiles.take(imagePath(dataDir, kind, sha256)) : null
    return found && { content: found, sha256, done: found.done }
  }
  app.get<{ Params: { digest: string } }>('/images/:digest/manifest', (request, reply) => {
    const { digest } = request.params
    return answer(request, reply, 'manifest', { file: 'manifest', digest }, async () => {
      const found = await stored('manifests', digest)
      return found && { ...found, type: 'text/plain; charset=utf-8' }
    })
  })
  app.get<{ Params: { sha256: string } }>('/images/chunks/:sha256', (request, reply) => {
    const { sha256 } = request.params
    return answer(request, reply, 'chunk', { file: 'chunk', sha256 }, () => stored('chunks', sha256))
  })

  for (const routes of deps.routes) app.register(routes)
  return app
}

/** Serves where `listen` says, port 0 is any free one, and at `metadata` too. AppError `bad-config` when a place is taken. */
export async function startBoot(
  deps: BootDeps & { listen: ListenOptions; metadata?: ListenOptions | null }
): Promise<{ port: number; close(): Promise<void> }> {
  const bodies = await startBodies()
  const app = buildBoot(deps, bodies)
  await app.ready()
  await listenStream(app.server, deps.listen)
  const metadata = deps.metadata ? createServer((socket) => app.server.emit('connection', socket)) : null
  if (metadata && deps.metadata) await listenStream(metadata, deps.metadata)
  const address = app.server.address()
  return {
    port: typeof address === 'object' && address ? address.port : 0,
    close: async () => {
      metadata?.close()
      await app.close()
      app.server.closeAllConnections()
      await bodies?.close()
    }
  }
}

/** The address the request came from, as IPv4 text. Never taken from a header. */
export function sourceAddress(request: FastifyRequest): string {
  return (request.socket.remoteAddress ?? '').replace(/^::ffff:/, '')
}

function label({ node }: MachineFacts): string | undefined {
  return node?.name ?? node?.uuid
}

function refuse(reply: FastifyReply, status: number, code: string, message: string): FastifyReply {
  return reply.code(status).send({ code, message })
}
