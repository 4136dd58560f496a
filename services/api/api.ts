// The operators' face: Ironic's /v1 as far as a bootstrap needs it, and ours beside it. Two doors with the same routes: a Unix socket,
// where file permissions say who may come in, and an address, where a bearer token does.

import { randomUUID } from 'node:crypto'
import { chmodSync, lstatSync, mkdirSync, unlinkSync } from 'node:fs'
import { createConnection, isIP } from 'node:net'
import { hostname } from 'node:os'
import { dirname } from 'node:path'
import { TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox'
import Fastify, { type FastifyBaseLogger } from 'fastify'
import { AppError } from '../../src/domain/error.ts'
import { deploymentRoutes } from './deployments.ts'
import type { ApiDeps, App } from './deps.ts'
import { discoveryRoutes } from './discovery.ts'
import { driverRoutes } from './drivers.ts'
import { answerErrors, schemaError } from './errors.ts'
import { eventRoutes } from './events.ts'
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
const IDLE_MILLISECONDS = 60_000
const HEADER_MILLISECONDS = 10_000
const MAX_CONNECTIONS = 256

/** All routes behind one door; listens nowhere, so that tests can inject requests. */
export function buildApi(deps: ApiDeps, door: Door = { kind: 'socket' }): App {
  const app: App = Fastify({
    loggerInstance: deps.log as FastifyBaseLogger,
    disableRequestLogging: true,
    bodyLimit: BODY_BYTES,
    connectionTimeout: IDLE_MILLISECONDS,
    // Uploads take as long as they take; idle ones are ended by connectionTimeout, slow heads by headersTimeout.
    requestTimeout: 0,
    keepAliveTimeout: IDLE_MILLISECONDS,
    forceCloseConnections: true,
    genReqId: () => `req-${randomUUID()}`,
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: 300 },
    schemaErrorFormatter: (errors, part) => schemaError(errors as Parameters<typeof schemaError>[0], part)
  })
  app.server.headersTimeout = HEADER_MILLISECONDS
  app.server.maxConnections = MAX_CONNECTIONS
  app.setValidatorCompiler(TypeBoxValidatorCompiler)
  readJsonOnly(app)
  answerErrors(app)
  speakVersions(app)
  if (door.kind === 'network') guard(app, door.token)
  app.addHook('onResponse', async (request, reply) => {
    const { method, url, ip } = request
    const milliseconds = Math.round(reply.elapsedTime)
    deps.log.info({ method, url, ip, status: reply.statusCode, milliseconds, request: request.id }, 'api')
  })
  discoveryRoutes(app)
  nodeRoutes(app, deps)
  stateRoutes(app, deps)
  portRoutes(app, deps)
  driverRoutes(app)
  imageRoutes(app, deps)
  keypairRoutes(app, deps)
  deploymentRoutes(app, deps)
  eventRoutes(app, deps)
  inventoryRoutes(app, deps)
  return app
}

/** Opens both doors. AppError `state-locked` when another Seedling answers on the socket. */
export async function startApi(deps: ApiDeps): Promise<{ close(): Promise<void> }> {
  const { address, port, socket } = deps.config.api
  const open: App[] = []
  try {
    const local = buildApi(deps)
    open.push(local)
    await makeWay(socket)
    await local.listen({ path: socket })
    chmodSync(socket, 0o600)
    deps.log.info({ socket }, 'API listens')
    if (address !== null) {
      const network = buildApi(deps, { kind: 'network', token: loadToken(deps.config.dataDir) })
      open.push(network)
      await network.listen({ host: address, port })
      deps.log.info({ address, port }, 'API listens')
    }
  } catch (error) {
    await Promise.all(open.map((app) => app.close()))
    throw error
  }
  return {
    async close() {
      await Promise.all(open.map((app) => app.close()))
    }
  }
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

/** The network door: a token on every request, and a Host that no name outside can be rebound to. */
function guard(app: App, token: string): void {
  app.addHook('onRequest', async (request) => {
    if (!ownName(request.hostname))
      throw new AppError(
        'bad-request',
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

/** Makes the folder of the socket and removes one that nobody listens on any more. */
async function makeWay(path: string): Promise<void> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (!found) return
  if (!found.isSocket())
    throw new AppError(
      'bad-config',
      `${path} (api.socket) exists and is no socket; move it away or name another path`
    )
  if (await answers(path))
    throw new AppError(
      'state-locked',
      `Another Seedling answers on ${path}; stop it first, or name another api.socket`
    )
  unlinkSync(path)
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path)
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false))
    socket.on('connect', () => socket.destroy())
  })
}
