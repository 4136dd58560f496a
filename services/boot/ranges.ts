// Conditional and range requests for bytes that never change under their name (RFC 9110, sections 13 and 14). Pure.

/** What to answer; `start` and `length` in bytes. */
export type Portion = { status: 200 | 206; start: number; length: number } | { status: 304 } | { status: 416 }

type Headers = {
  range?: string | undefined
  'if-range'?: string | undefined
  'if-none-match'?: string | undefined
}

/**
 * `etag` is the strong entity tag with its quotes. Several ranges at once, units other than bytes and ranges that are not well formed are
 * passed over: the whole is always a right answer (RFC 9110, 14.2). HEAD has no ranges.
 */
export function portion(method: string, headers: Headers, size: number, etag: string): Portion {
  const whole: Portion = { status: 200, start: 0, length: size }
  const known = headers['if-none-match']
  if (known !== undefined && matches(known, etag)) return { status: 304 }
  if (method === 'HEAD' || headers.range === undefined) return whole
  // If-Range takes strong tags only; ours is one, and a date never equals it.
  if (headers['if-range'] !== undefined && headers['if-range'].trim() !== etag) return whole
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(headers.range.trim())
  if (!match || (match[1] === '' && match[2] === '')) return whole
  if (match[1] === '') {
    const last = Math.min(Number(match[2]), size)
    return last === 0 ? { status: 416 } : { status: 206, start: size - last, length: last }
  }
  const start = Number(match[1])
  const end = match[2] === '' ? size - 1 : Math.min(Number(match[2]), size - 1)
  if (match[2] !== '' && Number(match[2]) < start) return whole
  if (start >= size) return { status: 416 }
  return { status: 206, start, length: end - start + 1 }
}

/** If-None-Match compares weakly (RFC 9110, 13.1.2). */
function matches(list: string, etag: string): boolean {
  return list.split(',').some((tag) => tag.trim() === '*' || tag.trim().replace(/^W\//, '') === etag)
}
