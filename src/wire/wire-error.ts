// The only error a codec throws.

/** Bytes that break their format: which format, what is wrong and at which offset. */
export class WireError extends Error {
  readonly code: string
  readonly offset: number

  constructor(code: string, offset: number, message = code) {
    super(`${message} (at byte ${offset})`)
    this.name = 'WireError'
    this.code = code
    this.offset = offset
  }
}
