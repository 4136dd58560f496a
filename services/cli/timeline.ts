// Timelines: the events of one machine with the time between them, and events as they come.

import type { Client } from './client.ts'
import { CliError } from './client.ts'
import { eventWords, type ShownEvent } from './event-words.ts'
import { clock, day, span } from './format.ts'

/** Tries, a second apart, to reach a server that is gone. */
const PATIENCE = 120

/** One line for each event: time, time since the one before, words. */
export function timeline(events: readonly ShownEvent[]): string {
  let previous: number | null = null
  let date = ''
  const lines: string[] = []
  for (const event of events) {
    const at = Date.parse(event.at)
    const today = day(event.at).slice(0, 10)
    if (today !== date) lines.push(today)
    date = today
    const since = previous === null ? '' : `+${span(at - previous)}`
    lines.push(`${clock(event.at)}  ${since.padStart(8)}  ${eventWords(event)}`)
    previous = at
  }
  return lines.join('\n')
}

/** One line for an event among those of several machines. */
export function eventLine(event: ShownEvent, width = 0): string {
  return `${clock(event.last_at)}  ${(event.node_name ?? event.node_uuid ?? '-').padEnd(width)}  ${eventWords(event)}`
}

/** Events numbered above `after`, as they come, and earlier ones when they repeat; goes on after a restart of the server. */
export async function* followEvents(
  client: Client,
  after: number,
  node?: string
): AsyncGenerator<ShownEvent> {
  let last = after
  let failures = 0
  for (;;) {
    const query = new URLSearchParams({ follow: '1', after: String(last) })
    if (node !== undefined) query.set('node', node)
    try {
      for await (const event of client.follow(`/v1/events?${query}`)) {
        failures = 0
        const shown = event as unknown as ShownEvent
        last = Math.max(last, shown.id)
        yield shown
      }
    } catch (error) {
      // The server may be restarting: no reason to stop watching at once.
      if (!(error instanceof CliError) || ++failures > PATIENCE) throw error
    }
    await new Promise((resolve) => setTimeout(resolve, 1000))
  }
}

/** The id of the newest event: where following begins. */
export async function lastEventId(client: Client): Promise<number> {
  return (await lastEvents(client, 1)).at(-1)?.id ?? 0
}

/** The newest, at most so many; the oldest of them first. */
export async function lastEvents(client: Client, most: number): Promise<ShownEvent[]> {
  let last: ShownEvent[] = []
  for (;;) {
    const { events } = (await client.ask('GET', `/v1/events?after=${last.at(-1)?.id ?? 0}`)) as {
      events: ShownEvent[]
    }
    if (events.length === 0) return last
    last = [...last, ...events].slice(-most)
  }
}
