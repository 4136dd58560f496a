// Serial consoles as WebSockets (RFC 6455), and what was recorded of them.
//
//   to us     binary: characters for the machine; text: {"break": true}. Both only with ?write=true
//   from us   binary: what the machine says; text: {"notice": "…"}, or {"error": {"code", "message"}} before the end

import { Type, type Static } from 'typebox'
import type { WebSocket } from 'ws'
import { recordingId, recordingOf } from '../../src/decide/console.ts'
import { AppError } from '../../src/domain/error.ts'
import type { Node } from '../../src/domain/node.ts'
import type { Order } from '../../src/domain/order.ts'
import { nodeNamed, type ApiDeps, type App } from './deps.ts'
import { flag } from './lists.ts'
import { Ident } from './nodes.ts'

/** A viewer that takes nothing while this much waits for it is cut off. */
const MAX_WAITING_BYTES = 1024 * 1024
const PING_MILLISECONDS = 30_000

/** WebSocket close codes (RFC 6455, section 7.4.1; 1013 in IANA's registry). */
const CLOSE = { failed: 1011, tooSlow: 1013 }

const ConsoleQuery = Type.Object(
  { write: Type.Optional(Type.String()), steal: Type.Optional(Type.String()) },
  { additionalProperties: false }
)
const RecordingParams = Type.Object({
  ident: Type.String({ minLength: 1 }),
  id: Type.String({ minLength: 1 })
})

type Wish = { write: boolean; steal: boolean }

export function consoleRoutes(app: App, deps: ApiDeps): void {
  const { facts, consoles } = deps

  function recordingsOf(node: Node): Record<string, unknown>[] {
    return facts
      .ordersOfNode(node.uuid)
      .flatMap(attempts)
      .flatMap(({ order, attempt }) => {
        const id = recordingId({ id: order.id, attempt })
        const found = consoles.recordings.facts(id)
        if (!found) return []
        const { bytes: size, omitted, updatedAt } = found
        const open = order.state === 'open' && order.attempt === attempt
        const updated_at = new Date(updatedAt).toISOString()
        return [{ id, order_id: order.id, order: order.kind, attempt, size, omitted, open, updated_at }]
      })
  }

  app.get('/v1/nodes/:ident/console/recordings', { schema: { params: Ident } }, async (request) => ({
    recordings: recordingsOf(nodeNamed(facts, request.params.ident))
  }))

  app.get(
    '/v1/nodes/:ident/console/recordings/:id',
    { schema: { params: RecordingParams } },
    async (request, reply) => {
      const { ident, id } = request.params
      const node = nodeNamed(facts, ident)
      const order = facts.orderById(recordingOf(id)?.orderId ?? '')
      const text = order?.nodeUuid === node.uuid ? await consoles.recordings.read(id) : null
      if (!text)
        throw new AppError(
          'not-found',
          `Node ${node.name ?? node.uuid} has no recording ${JSON.stringify(id)}; ` +
            'GET …/console/recordings lists those there are'
        )
      return reply.type('text/plain; charset=utf-8').header('X-Content-Type-Options', 'nosniff').send(text)
    }
  )

  app.route({
    method: 'GET',
    url: '/v1/nodes/:ident/console',
    schema: { params: Ident, querystring: ConsoleQuery },
    // Before the connection is one: errors are still answers.
    preHandler: async (request) => {
      nodeNamed(facts, request.params.ident)
      wishOf(request.query)
    },
    handler: async () => {
      throw new AppError('bad-request', 'A console is a WebSocket: open it with "Upgrade: websocket"')
    },
    wsHandler: (socket, request) => {
      const { ident } = request.params as { ident: string }
      sitDown(socket, nodeNamed(facts, ident), wishOf(request.query as Static<typeof ConsoleQuery>))
    }
  })

  function sitDown(socket: WebSocket, node: Node, wish: Wish): void {
    const text = (message: object): void => socket.send(JSON.stringify(message))
    const seat = consoles.join(
      node,
      {
        heard(characters) {
          if (socket.bufferedAmount > MAX_WAITING_BYTES) tooSlow()
          else socket.send(characters)
        },
        told: (notice) => text({ notice }),
        ended({ code, message }) {
          text({ error: { code, message } })
          socket.close(CLOSE.failed)
        }
      },
      { steal: wish.steal, spare: false }
    )
    function tooSlow(): void {
      seat.leave()
      deps.log.info({ node: node.uuid }, 'a viewer of the console is too slow and is cut off')
      socket.close(CLOSE.tooSlow)
      // What waits for it would never go out.
      socket.terminate()
    }
    socket.on('message', (data: Buffer, isBinary) => {
      if (!wish.write) text({ notice: 'this console is opened for reading only; what is typed is dropped' })
      else if (isBinary) seat.write(data)
      else if (asksBreak(data)) seat.sendBreak()
      else text({ notice: 'a text message that is not {"break": true} is dropped; characters go as binary' })
    })
    const ping = keepAlive(socket)
    socket.on('close', () => {
      clearInterval(ping)
      seat.leave()
    })
  }
}

/** AppError `bad-request` for what is neither true nor false. */
function wishOf({ write = 'false', steal = 'false' }: Static<typeof ConsoleQuery>): Wish {
  return { write: flag(write), steal: flag(steal) }
}

/** Each attempt of an order that may have been recorded. */
function attempts(order: Order): { order: Order; attempt: number }[] {
  return Array.from({ length: order.attempt }, (_, index) => ({ order, attempt: index + 1 }))
}

function asksBreak(data: Buffer): boolean {
  try {
    return (JSON.parse(data.toString()) as { break?: unknown } | null)?.break === true
  } catch {
    return false
  }
}

/** A viewer that is gone without a word holds the console no longer than two pings. */
function keepAlive(socket: WebSocket): NodeJS.Timeout {
  let answered = true
  socket.on('pong', () => (answered = true))
  return setInterval(() => {
    if (!answered) return socket.terminate()
    answered = false
    socket.ping()
  }, PING_MILLISECONDS)
}
