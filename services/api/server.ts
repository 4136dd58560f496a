// The operators' face: Ironic's /v1 as far as a bootstrap needs it, and ours beside it. Two doors with the same routes: a Unix socket,
// where file permissions say who may come in, and an address, where a bearer token does.

import { randomUUID } from 'node:crypto'
import { chmodSync, mkdirSync } from 'node:fs'
import { isIP } from 'node:net'
import { hostname } from 'node:os'
import { dirname } from 'node:path'
import { TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox'
import websocket from '@fastify/websocket'
import Fastify, { LogController, type FastifyBaseLogger } from 'fastify'
import { AppError } from '../../src/domain/error.ts'
import { roomForConnections } from '../descriptors.ts'
import { listenOptions, listenStream, type InheritedSockets, type ListenOptions } from '../listen.ts'
import { backupRoutes } from './backup.ts'
import { bmcRoutes } from './bmc.ts'
import { consoleRoutes } from './console.ts'
import { deploymentRoutes } from './deployments.ts'
import type { ApiDeps, App } from './deps.ts'
import { dhcpRoutes } from './dhcp.ts'
import { discoveryRoutes } from './discovery.ts'
import { driverRoutes } from './drivers.ts'
import { answerErrors, schemaError } from './errors.ts'
import { eventRoutes } from './events.ts'
import { handoffRoutes } from './handoff.ts'
import { healthRoutes } from './health.ts'
import { imageRoutes } from './images.ts'
import { inventoryRoutes } from './inventory.ts'
import { keypairRoutes } from './keypairs.ts'
import { nodeRoutes } from './nodes.ts'
import { portRoutes } from './ports.ts'
import { stateRoutes } from './states.ts'
import { loadToken, sameToken } from './token.ts'
import { speakVersions } from './version.ts'

export type { ApiDeps } from './deps.ts'

/** How callers prove who they are: by reaching the socket, or by a token. */
export type Door = { kind: 'socket' } | { kind: 'network'; token: string }

const BODY_BYTES = 2 ** 20
/** Of one WebSocket message to us. */
const MESSAGE_BYTES = 65_536
const IDLE_MILLISECONDS = 60_000
const HEADER_MILLISECONDS = 10_000
const MAX_CONNECTIONS = 256

/** All routes behind one door; listens nowhere, so that tests can inject requests. */
export function buildApi(deps: ApiDeps, door: Door = { kind: 'socket' }): App {
  const app: App = Fastify({
    loggerInstance: deps.log as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: BODY_BYTES,
    connectionTimeout: IDLE_MILLISECONDS,
    // Uploads take as long as they take; idle ones are ended by connectionTimeout, slow heads by headersTimeout.
    requestTimeout: 0,
    keepAliveTimeout: IDLE_MILLISECONDS,
    genReqId: () => `req-${randomUUID()}`,
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: 300 },
    schemaErrorFormatter: (errors, part) => schemaError(errors as Parameters<typeof schemaError>[0], part)
  })
  app.server.headersTimeout = HEADER_MILLISECONDS
  app.server.maxConnections = Math.min(MAX_CONNECTIONS, Math.floor(roomForConnections() / 8))
  app.setValidatorCompiler(TypeBoxValidatorCompiler)
  readJsonOnly(app)
  answerErrors(app)
  speakVersions(app)
  refuseOtherSites(app)
  app.addHook('onResponse', async (request, reply) => {
    const { method, url, ip } = request
    const milliseconds = Math.round(reply.elapsedTime)
    // Reads are asked for all day long; what changes something is what one looks for later.
    const level = method === 'GET' || method === 'HEAD' ? 'debug' : 'info'
    deps.log[level]({ method, url, ip, status: reply.statusCode, milliseconds, request: request.id }, 'api')
  })
  void app.register(websocket, {
    options: { maxPayload: MESSAGE_BYTES },
    errorHandler(error, socket, request) {
      deps.log.warn({ url: request.url, why: error.message }, 'a WebSocket broke')
      socket.terminate()
    }
  })
  // After it: what is refused at the door must be known as a WebSocket, or its connection would stay.
  app.after(() => {
    if (door.kind === 'network') guard(app, door.token)
  })
  // Loaded after it, so that it knows them all.
  void app.register(async (scope) => routes(scope, deps))
  return app
}

function routes(app: App, deps: ApiDeps): void {
  discoveryRoutes(app)
  nodeRoutes(app, deps)
  stateRoutes(app, deps)
  bmcRoutes(app, deps)
  portRoutes(app, deps)
  driverRoutes(app)
  imageRoutes(app, deps)
  keypairRoutes(app, deps)
  deploymentRoutes(app, deps)
  eventRoutes(app, deps)
  inventoryRoutes(app, deps)
  dhcpRoutes(app, deps)
  consoleRoutes(app, deps)
  backupRoutes(app, deps)
  handoffRoutes(app, deps)
  healthRoutes(app, deps)
}

/** Opens both doors. AppError `bad-config` when a place is taken or not allowed. */
export async function startApi(
  deps: ApiDeps & { inherited?: InheritedSockets }
): Promise<{ close(): Promise<void> }> {
  const { address, port, socket } = deps.config.api
  const inherited: InheritedSockets = deps.inherited ?? new Map()
  const open: App[] = []
  const listen = async (app: App, where: ListenOptions): Promise<void> => {
    open.push(app)
    await app.ready()
    await listenStream(app.server, where)
    deps.log.info({ where }, 'API listens')
  }
  const close = async (): Promise<void> => {
    const closing = open.map((app) => app.close())
    // Followers and uploads would keep it open for ever; every change is a commit, so nothing is cut in two.
    for (const app of open) app.server.closeAllConnections()
    await Promise.all(closing)
  }
  try {
    mkdirSync(dirname(socket), { recursive: true, mode: 0o700 })
    await listen(buildApi(deps), listenOptions('api-socket', { path: socket }, inherited))
    if (!inherited.has('api-socket')) chmodSync(socket, 0o600)
    if (address !== null || inherited.has('api')) {
      const door: Door = { kind: 'network', token: loadToken(deps.config.dataDir) }
      await listen(
        buildApi(deps, door),
        listenOptions('api', { host: address ?? '127.0.0.1', port }, inherited)
      )
    }
  } catch (error) {
    await close()
    throw error
  }
  return { close }
}

/** Bodies are JSON and say so: a web page of elsewhere cannot send that type unasked, which keeps forged requests out. */
function readJsonOnly(app: App): void {
  app.removeAllContentTypeParsers()
  const parse = app.getDefaultJsonParser('error', 'error')
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, text, done) => {
    // Clients send the type also where there is no body (DELETE).
    if (text === '') done(null, undefined)
    else parse(request, text as string, done)
  })
  // Ironic's client labels its empty DELETE so.
  app.addContentTypeParser('application/octet-stream', (_request, payload, done) => {
    payload.resume()
    done(null, undefined)
  })
}

/** What a browser sends on behalf of a page says where the page is from. No page is ours, so none may ask. */
function refuseOtherSites(app: App): void {
  app.addHook('onRequest', async ({ headers }) => {
    const site = headers['sec-fetch-site']
    if (headers.origin === undefined && (site === undefined || site === 'none')) return
    throw new AppError(
      'cross-site',
      'The API is not for web pages; use the command line, or a client of your own'
    )
  })
}

/** The network door: a token on every request, and a Host that no name outside can be rebound to. */
function guard(app: App, token: string): void {
  app.addHook('onRequest', async (request) => {
    if (!ownName(request.hostname))
      throw new AppError(
        'misdirected',
        `Host ${JSON.stringify(request.hostname)} is not this machine; use its address, ${hostname()} or localhost`
      )
    const bearer = /^Bearer (\S+)$/i.exec(request.headers.authorization ?? '')?.[1]
    const header = request.headers['x-auth-token']
    const given = bearer ?? (typeof header === 'string' ? header : undefined)
    if (given === undefined)
      throw new AppError(
        'unauthorized',
        'Give the token: "Authorization: Bearer …" (it is in the file api-token of dataDir)'
      )
    if (!sameToken(given, token)) throw new AppError('unauthorized', 'The token is not valid')
  })
}

function ownName(name: string): boolean {
  const bare = name.replace(/^\[(.*)\]$/, '$1')
  return isIP(bare) !== 0 || bare === 'localhost' || bare.toLowerCase() === hostname().toLowerCase()
}
