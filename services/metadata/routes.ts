// What installed systems ask over HTTP, mounted on the machine-facing port: the EC2 tree and user data of whoever owns the asking address;
// the `request` document and completion signals by the instance's token.

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import {
  decideMetadata,
  decideSignal,
  ec2Tree,
  readSignal,
  requestDocument,
  type Dialect,
  type MetadataVerdict
} from '../../src/decide/metadata.ts'
import { readEc2 } from '../../src/wire/ec2.ts'
import type { Apply } from '../store/apply.ts'
import type { Facts, MachineFacts } from '../store/facts.ts'
import type { Store } from '../store/open.ts'

export type MetadataDeps = {
  store: Store
  facts: Facts
  apply: Apply
  now: () => number
  /** Where machines reach us, `http://192.0.2.1`, without a slash at the end. */
  url: string
  /** Tells the conductor that the node's order may have come further. */
  wake: (nodeUuid: string) => void
  /** Told, by node, when an instance asks (ms): after a hand-over it shows who still does. */
  asked?: Map<string, number>
}

/** `latest` and any date: the tree is the same under each (clients probe the version they were written for). */
const VERSION = ':version(^(?:latest|1\\.0|[0-9]{4}-[0-9]{2}-[0-9]{2})$)'
const LARGEST_SIGNAL = 2 ** 20
const JSON_TYPE = 'application/json; charset=utf-8'

/** The plug-in with all metadata routes. */
export function metadataRoutes(deps: MetadataDeps): (app: FastifyInstance) => Promise<void> {
  const { store, facts, apply, now, url } = deps
  // Hints only: after a restart the next poll is an event once more, and so is the next signal.
  const dialectsRead = new Set<string>()
  const lastSignal = new Map<string, string>()

  const byAddress = (request: FastifyRequest): MachineFacts => facts.machineByIp(sourceAddress(request))

  /** The machine of the node whose instance has the token, through the port that has an address. */
  function byToken(token: string): MachineFacts {
    const instance = facts.instanceByToken(token)
    const ports = instance ? facts.portsOfNode(instance.nodeUuid) : []
    return facts.machineByIp(ports.find((port) => port.reservedIp !== null)?.reservedIp ?? '')
  }

  /** Within the transaction: carries a verdict out. */
  function settle(verdict: MetadataVerdict): MetadataVerdict {
    if (verdict.serve) apply(verdict.changes)
    return verdict
  }

  function read(
    request: FastifyRequest,
    reply: FastifyReply,
    dialect: Dialect,
    token: string | undefined,
    type: string,
    body: (found: Extract<MetadataVerdict, { serve: true }>) => string | Buffer | undefined
  ): FastifyReply {
    const address = sourceAddress(request)
    const verdict = store.commit(() => {
      const machine = token === undefined ? byAddress(request) : byToken(token)
      const firstRead = !dialectsRead.has(`${machine.instance?.uuid} ${dialect}`)
      return settle(
        decideMetadata(
          { dialect, address, firstRead, ...(token === undefined ? {} : { token }) },
          machine,
          now()
        )
      )
    })
    if (!verdict.serve) return refuse(request, reply, verdict)
    deps.asked?.set(verdict.node.uuid, now())
    after(request, dialect, verdict)
    dialectsRead.add(`${verdict.instance.uuid} ${dialect}`)
    const content = body(verdict)
    if (content === undefined)
      return reply.code(404).send({ code: 'not-found', message: 'the metadata has nothing of that name' })
    return reply.type(type).header('cache-control', 'no-store').send(content)
  }

  /** One line per request: what came of it at info, mere polls at debug. */
  function after(
    request: FastifyRequest,
    what: Dialect | 'signal',
    { node, changes }: Extract<MetadataVerdict, { serve: true }>
  ): void {
    // Not the path: it holds the instance's token.
    const line = { client: sourceAddress(request), node: node.name ?? node.uuid, what }
    if (changes.length === 0) return request.log.debug(line, 'metadata')
    request.log.info(line, 'metadata')
    deps.wake(node.uuid)
  }

  function refuse(
    request: FastifyRequest,
    reply: FastifyReply,
    verdict: Extract<MetadataVerdict, { serve: false }>
  ): FastifyReply {
    const { refusal, reason } = verdict
    request.log.info({ client: sourceAddress(request), reason }, 'metadata refused')
    // 404 for all: cloud-init takes it for "not here" and goes on, where a 403 costs it minutes.
    return reply.code(404).send({ code: refusal, message: reason })
  }

  return async (app) => {
    const tree = (request: FastifyRequest, reply: FastifyReply): FastifyReply =>
      read(request, reply, 'ec2', undefined, 'text/plain; charset=utf-8', ({ instance, node, port }) =>
        readEc2(ec2Tree(instance, node, port), (request.params as Record<string, string>)['*'] ?? '')
      )
    app.get(`/${VERSION}/meta-data`, tree)
    app.get(`/${VERSION}/meta-data/*`, tree)
    app.get(`/${VERSION}/user-data`, (request, reply) =>
      read(request, reply, 'ec2', undefined, 'application/octet-stream', ({ instance }) =>
        instance.userData === null ? undefined : Buffer.from(instance.userData, 'base64')
      )
    )

    type Token = { Params: { token: string } }
    app.get<Token>('/metadata/:token/request', (request, reply) =>
      read(request, reply, 'request', request.params.token, JSON_TYPE, ({ instance, node, port }) =>
        JSON.stringify(requestDocument(instance, node, port, url))
      )
    )

    // Senders name any content type, a wrong one or an empty one; the body is what it is. (A scope of its own: the other
    // routes want JSON.)
    await app.register(async (scope) => {
      scope.removeAllContentTypeParsers()
      scope.addContentTypeParser(
        '*',
        { parseAs: 'buffer', bodyLimit: LARGEST_SIGNAL },
        (_request, body, done) => done(null, body)
      )
      scope.route<Token>({
        method: ['PUT', 'POST'],
        url: '/metadata/:token/signal',
        bodyLimit: LARGEST_SIGNAL,
        onRequest: async (request) => {
          request.headers['content-type'] = 'application/octet-stream'
        },
        handler: (request, reply) => {
          const { token } = request.params
          const signal = readSignal(Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0))
          const text = JSON.stringify(signal)
          const verdict = store.commit(() => {
            const machine = byToken(token)
            const repeated = machine.instance !== null && lastSignal.get(machine.instance.uuid) === text
            return settle(decideSignal({ token, signal, repeated }, machine, now()))
          })
          if (!verdict.serve) return refuse(request, reply, verdict)
          lastSignal.set(verdict.instance.uuid, text)
          after(request, 'signal', verdict)
          // Only 200 counts: a hook that hears anything else runs the whole configuration again.
          return reply.code(200).send('')
        }
      })
    })
  }
}

/** The address the request came from, as IPv4 text. Never taken from a header. */
function sourceAddress(request: FastifyRequest): string {
  return (request.socket.remoteAddress ?? '').replace(/^::ffff:/, '')
}
