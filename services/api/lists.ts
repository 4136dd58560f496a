// What all of Ironic's lists have in common: filters, fields, sorting, pages.

import { Type } from 'typebox'
import { AppError } from '../../src/domain/error.ts'
import { pick, type Json } from './views.ts'

const MAX_LIMIT = 1000

/** The query parameters of every list. */
export const PAGE = {
  limit: Type.Optional(Type.Integer({ minimum: 0 })),
  marker: Type.Optional(Type.String()),
  sort_key: Type.Optional(Type.String()),
  sort_dir: Type.Optional(Type.Union([Type.Literal('asc'), Type.Literal('desc')])),
  fields: Type.Optional(Type.String({ description: 'comma-separated' })),
  detail: Type.Optional(Type.String())
}

export type Page = {
  limit?: number
  marker?: string
  sort_key?: string
  sort_dir?: 'asc' | 'desc'
  fields?: string
  detail?: string
}

/**
 * One page of `views` under `name`, with `next` when there is more. `url` is the request's own, absolute, and becomes the next page's.
 */
export function listOf(
  name: string,
  views: readonly Json[],
  query: Page,
  summary: readonly string[] | null,
  url: string
): Json {
  let rows = [...views]
  const { sort_key: key, sort_dir: direction } = query
  if (key !== undefined) {
    if (views[0] && !(key in views[0]))
      throw new AppError('bad-request', `Cannot sort by ${key}: there is no such field`)
    rows.sort((a, b) => compare(a[key], b[key]))
  }
  if (direction === 'desc') rows.reverse()
  if (query.marker !== undefined) {
    const at = rows.findIndex(({ uuid }) => uuid === query.marker)
    if (at < 0) throw new AppError('bad-request', `The marker ${query.marker} is not in this list`)
    rows = rows.slice(at + 1)
  }
  const limit = Math.min(query.limit || MAX_LIMIT, MAX_LIMIT)
  const more = rows.length > limit
  rows = rows.slice(0, limit)
  const last = rows.at(-1)
  const answer: Json = { [name]: rows.map((view) => selected(view, query, summary)) }
  if (more && last) {
    const next = new URL(url)
    next.searchParams.set('marker', String(last['uuid']))
    answer['next'] = next.toString()
  }
  return answer
}

/** The fields that were asked for, or the summary, or everything. Links always come along. */
export function selected(
  view: Json,
  query: Pick<Page, 'fields' | 'detail'>,
  summary: readonly string[] | null
): Json {
  if (query.fields !== undefined) {
    const fields = query.fields.split(',').map((field) => field.trim())
    const unknown = fields.filter((field) => !(field in view))
    if (unknown.length > 0) throw new AppError('bad-request', `There is no field ${unknown.join(', ')}`)
    return pick(view, [...new Set([...fields, 'links'])])
  }
  return summary && !flag(query.detail) ? pick(view, summary) : view
}

/** `True`, `true`, `1`, `yes` …, as Python clients write it; undefined stays undefined. */
export function flag(text: string): boolean
export function flag(text: string | undefined): boolean | undefined
export function flag(text: string | undefined): boolean | undefined {
  if (text === undefined) return undefined
  if (/^(true|1|yes|on)$/i.test(text)) return true
  if (/^(false|0|no|off)$/i.test(text)) return false
  throw new AppError('bad-request', `${JSON.stringify(text)} is neither true nor false`)
}

function compare(a: unknown, b: unknown): number {
  if (a === b) return 0
  if (a === null || a === undefined) return -1
  if (b === null || b === undefined) return 1
  return a < b ? -1 : 1
}
