// A backup as one file: whatever is in it is encrypted under a passphrase, and a file that was cut short, put together anew or changed by a bit is not
// taken for a whole one.
//
//   line 1   SEEDLING-BACKUP 1
//   line 2   JSON: salt, scrypt's cost, nonce prefix (RFC 7914)
//   records  length of the text with the highest bit set in the last one (32 bits), tag (16 bytes), ciphertext: AES-256-GCM; its nonce is the prefix
//            and the record's number, its additional data line 2 and the number and whether it is the last
//   text     entries one after the other: a JSON line {name, size}, then so many bytes
//
// A record holds a mebibyte at most, so neither side ever has more than that in memory.

import { createCipheriv, createDecipheriv, randomBytes, scrypt } from 'node:crypto'
import { promisify } from 'node:util'
import { AppError } from '../src/domain/error.ts'

const deriveKey = promisify(scrypt) as (
  passphrase: string,
  salt: Buffer,
  length: number,
  limits: typeof COST & { maxmem: number }
) => Promise<Buffer>

const MAGIC = 'SEEDLING-BACKUP 1\n'
const RECORD_BYTES = 2 ** 20
const LAST = 0x8000_0000
/** 64 MiB and about a tenth of a second: what a guess costs, too. */
const COST = { N: 2 ** 16, r: 8, p: 1 }
const LONGEST_HEADER = 1024
const LONGEST_LINE = 4096

export type Entry = { name: string; size: number; content: AsyncIterable<Buffer> | Iterable<Buffer> }

/** The file's bytes. What an entry's content has must be `size` bytes. `cost`: scrypt's. */
export async function* writeBackup(
  entries: AsyncIterable<Entry> | Iterable<Entry>,
  passphrase: string,
  cost = COST
): AsyncGenerator<Buffer> {
  const header = { salt: randomBytes(16).toString('hex'), prefix: randomBytes(8).toString('hex'), ...cost }
  const line = `${JSON.stringify(header)}\n`
  const key = await keyOf(passphrase, header)
  yield Buffer.from(MAGIC + line)
  let pending: Buffer[] = []
  let held = 0
  let number = 0
  const record = (text: Buffer, last: boolean): Buffer => {
    const cipher = createCipheriv('aes-256-gcm', key, nonce(header.prefix, number))
    cipher.setAAD(additional(line, number++, last))
    const body = Buffer.concat([cipher.update(text), cipher.final()])
    const length = Buffer.alloc(4)
    length.writeUInt32BE((last ? LAST + body.length : body.length) >>> 0)
    return Buffer.concat([length, cipher.getAuthTag(), body])
  }
  for await (const part of plainText(entries)) {
    for (let start = 0; start < part.length;) {
      const taken = part.subarray(start, start + RECORD_BYTES - held)
      pending.push(taken)
      held += taken.length
      start += taken.length
      if (held < RECORD_BYTES) continue
      yield record(Buffer.concat(pending), false)
      pending = []
      held = 0
    }
  }
  yield record(Buffer.concat(pending), true)
}

async function* plainText(entries: AsyncIterable<Entry> | Iterable<Entry>): AsyncGenerator<Buffer> {
  for await (const { name, size, content } of entries) {
    yield Buffer.from(`${JSON.stringify({ name, size })}\n`)
    let sent = 0
    for await (const part of content) {
      sent += part.length
      yield part
    }
    if (sent !== size) throw new Error(`${name} has ${sent} bytes, not ${size}: it changed while it was read`)
  }
}

/**
 * The entries of a backup, in order; each one's content must be read before the next is asked for. AppError `bad-backup`: not one, wrong passphrase,
 * changed, or cut short, which may show only at the end: what was read until then must not be used before.
 */
export async function* readBackup(file: AsyncIterable<Buffer>, passphrase: string): AsyncGenerator<Entry> {
  const source = reader(records(file, passphrase))
  for (;;) {
    const line = await source.line(LONGEST_LINE)
    if (line === null) return
    const { name, size } = JSON.parse(line) as { name: string; size: number }
    let left = size
    const content = (async function* (): AsyncGenerator<Buffer> {
      while (left > 0) {
        const part = await source.some(left)
        if (part === null) throw bad('it ends in the middle of an entry')
        left -= part.length
        yield part
      }
    })()
    yield { name, size, content }
    for await (const rest of content) void rest
  }
}

async function* records(file: AsyncIterable<Buffer>, passphrase: string): AsyncGenerator<Buffer> {
  const source = reader(file)
  const magic = await source.exactly(MAGIC.length)
  if (magic?.toString('latin1') !== MAGIC)
    throw bad('it is no backup of Seedling, or one of a newer Seedling')
  const line = await source.line(LONGEST_HEADER)
  if (line === null) throw bad('it is cut short')
  const header = readHeader(line)
  const key = await keyOf(passphrase, header)
  for (let number = 0; ; number++) {
    const head = await source.exactly(20)
    if (head === null) throw bad('it is cut short: its end is missing')
    const length = head.readUInt32BE(0)
    const last = length >= LAST
    const size = last ? length - LAST : length
    if (size > RECORD_BYTES) throw bad('it was changed')
    const body = await source.exactly(size)
    if (body === null) throw bad('it is cut short: its end is missing')
    const decipher = createDecipheriv('aes-256-gcm', key, nonce(header.prefix, number))
    decipher.setAAD(additional(`${line}\n`, number, last))
    decipher.setAuthTag(head.subarray(4))
    let text: Buffer
    try {
      text = Buffer.concat([decipher.update(body), decipher.final()])
    } catch {
      throw bad(
        number === 0
          ? 'the passphrase is wrong, or the file was changed'
          : 'it was changed, or its parts are in another order'
      )
    }
    yield text
    if (!last) continue
    if ((await source.some(1)) !== null) throw bad('something was added at its end')
    return
  }
}

type Header = { salt: string; prefix: string } & typeof COST

function readHeader(line: string): Header {
  try {
    const header = JSON.parse(line) as Header
    const { salt, prefix, N, r, p } = header
    // A forged header must not make us spend more than ours does.
    if (
      /^[0-9a-f]{32}$/.test(salt) &&
      /^[0-9a-f]{16}$/.test(prefix) &&
      N <= COST.N &&
      r <= COST.r &&
      p <= COST.p
    )
      return header
  } catch {
    // said below
  }
  throw bad('its head was changed')
}

async function keyOf(passphrase: string, { salt, N, r, p }: Header): Promise<Buffer> {
  const limits = { N, r, p, maxmem: 256 * N * r }
  try {
    return await deriveKey(passphrase.normalize('NFC'), Buffer.from(salt, 'hex'), 32, limits)
  } catch {
    throw bad('its head was changed')
  }
}

function nonce(prefix: string, number: number): Buffer {
  const bytes = Buffer.alloc(12)
  bytes.write(prefix, 'hex')
  bytes.writeUInt32BE(number, 8)
  return bytes
}

const additional = (line: string, number: number, last: boolean): Buffer =>
  Buffer.from(`${line}${number} ${last}`)

const bad = (why: string): AppError =>
  new AppError('bad-backup', `the backup cannot be used: ${why}. Nothing was changed`)

/** Bytes in the portions that are wanted. */
function reader(source: AsyncIterable<Buffer>) {
  const parts = source[Symbol.asyncIterator]()
  let held: Buffer = Buffer.alloc(0)
  async function fill(): Promise<boolean> {
    const next = await parts.next()
    if (next.done) return false
    held = held.length === 0 ? next.value : Buffer.concat([held, next.value])
    return true
  }
  const take = (length: number): Buffer => {
    const taken = held.subarray(0, length)
    held = held.subarray(length)
    return taken
  }
  return {
    /** null: fewer are left. */
    async exactly(length: number): Promise<Buffer | null> {
      while (held.length < length) if (!(await fill())) return null
      return take(length)
    },
    /** One at least, `most` at most; null: none is left. */
    async some(most: number): Promise<Buffer | null> {
      while (held.length === 0) if (!(await fill())) return null
      return take(Math.min(most, held.length))
    },
    /** Without its end; null: nothing is left. */
    async line(longest: number): Promise<string | null> {
      for (;;) {
        const end = held.indexOf(10)
        if (end >= 0) return take(end + 1).toString('utf8', 0, end)
        if (held.length > longest) throw bad('it was changed')
        if (!(await fill())) {
          if (held.length === 0) return null
          throw bad('it is cut short')
        }
      }
    }
  }
}
