// Events: pages of what happened, and a stream that follows what happens (server-sent events, WHATWG HTML, section 9.2).

import type { ServerResponse } from 'node:http'
import { Type } from 'typebox'
import type { StoredEvent } from '../../src/domain/event.ts'
import { nodeNamed, type ApiDeps, type App } from './deps.ts'
import { flag } from './lists.ts'
import { eventView } from './views.ts'

const LOOK_MILLISECONDS = 500
const HEARTBEAT_MILLISECONDS = 15_000
/** An event is written with the time at which its cause was seen, which may be a little before it can be read. */
const OVERLAP_MILLISECONDS = 5_000
const BATCH = 1000
/** A follower that takes nothing while this much waits for it is cut off; it comes back with the last id it has. */
const MAX_WAITING_BYTES = 4 * 2 ** 20

type Follower = { raw: ServerResponse; nodeUuid: string | null; lastId: number }

const EventQuery = Type.Object(
  {
    node: Type.Optional(Type.String()),
    after: Type.Optional(Type.Integer({ minimum: 0 })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: BATCH })),
    follow: Type.Optional(Type.String())
  },
  { additionalProperties: false }
)

export function eventRoutes(app: App, { facts, now }: ApiDeps): void {
  const followers = new Set<Follower>()
  /** What has been seen of the events of the last seconds: id → repeats. */
  let seen = new Map<number, { repeats: number; lastAt: number }>()
  let looking: NodeJS.Timeout | undefined
  let beating: NodeJS.Timeout | undefined

  const viewed = (event: StoredEvent) =>
    eventView(event, event.nodeUuid === null ? null : (facts.nodeByUuid(event.nodeUuid)?.name ?? null))

  function send(follower: Follower, event: StoredEvent): void {
    if (follower.nodeUuid !== null && follower.nodeUuid !== event.nodeUuid) return
    follower.lastId = Math.max(follower.lastId, event.id)
    // The id that a follower comes back with must never go back, also when an old event repeats.
    follower.raw.write(
      `id: ${follower.lastId}\nevent: ${event.kind}\ndata: ${JSON.stringify(viewed(event))}\n\n`
    )
    if (follower.raw.writableLength > MAX_WAITING_BYTES) follower.raw.destroy()
  }

  /** Reads what is new or repeated since the last look; remembers it, so that it is told once. */
  function look(): StoredEvent[] {
    const since = now() - OVERLAP_MILLISECONDS
    const found = facts.eventsChangedSince(since, BATCH)
    const fresh = found.filter(({ id, repeats }) => seen.get(id)?.repeats !== repeats)
    seen = new Map([...seen].filter(([, { lastAt }]) => lastAt >= since))
    for (const { id, repeats, lastAt } of found) seen.set(id, { repeats, lastAt })
    return fresh
  }

  function tellAll(): void {
    for (const event of look()) for (const follower of followers) send(follower, event)
  }

  function follow(raw: ServerResponse, nodeUuid: string | null, after: number | undefined): void {
    if (followers.size === 0) {
      seen = new Map()
      looking = setInterval(tellAll, LOOK_MILLISECONDS)
      beating = setInterval(() => {
        for (const { raw } of followers) raw.write(': still here\n\n')
      }, HEARTBEAT_MILLISECONDS)
    }
    // Bring the others up to date first: what is now is the past for the new one, who gets it by `after`.
    tellAll()
    const follower: Follower = { raw, nodeUuid, lastId: after ?? 0 }
    raw.write(': following\n\n')
    if (after !== undefined)
      for (let batch = page(nodeUuid, after, BATCH); batch.length > 0;) {
        for (const event of batch) send(follower, event)
        batch = batch.length < BATCH ? [] : page(nodeUuid, follower.lastId, BATCH)
      }
    followers.add(follower)
    raw.on('close', () => {
      followers.delete(follower)
      if (followers.size > 0) return
      clearInterval(looking)
      clearInterval(beating)
    })
  }

  const page = (nodeUuid: string | null, after: number, limit: number): StoredEvent[] =>
    nodeUuid === null ? facts.events(after, limit) : facts.eventsOfNode(nodeUuid, after, limit)

  app.get('/v1/events', { schema: { querystring: EventQuery } }, async (request, reply) => {
    const { node, after, limit } = request.query
    // A node that was deleted still has its timeline, under its UUID.
    const nodeUuid = node === undefined ? null : (facts.node(node)?.uuid ?? deleted(node))
    if (!flag(request.query.follow ?? 'false'))
      return { events: page(nodeUuid, after ?? 0, limit ?? BATCH).map(viewed) }
    const lastId = Number(request.headers['last-event-id'] ?? NaN)
    reply.hijack()
    request.raw.socket.setTimeout?.(0)
    for (const [name, value] of Object.entries(reply.getHeaders()))
      if (value !== undefined) reply.raw.setHeader(name, value)
    reply.raw.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' })
    follow(reply.raw, nodeUuid, Number.isInteger(lastId) ? lastId : after)
    return reply
  })

  const deleted = (ident: string): string =>
    facts.eventsOfNode(ident, 0, 1).length > 0 ? ident : nodeNamed(facts, ident).uuid

  app.addHook('preClose', async () => {
    for (const { raw } of followers) raw.end()
  })
}
