// The bearer token of the API's network face: 256 random bits in a file, made at the first start.

import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Reads `<dataDir>/api-token`, or makes it with mode 0600. */
export function loadToken(dataDir: string): string {
  const file = join(dataDir, 'api-token')
  let token: string
  try {
    token = readFileSync(file, 'utf8').trim()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    token = randomBytes(32).toString('hex')
    writeFileSync(file, token + '\n', { mode: 0o600, flag: 'wx', flush: true })
  }
  if (token.length < 32)
    throw new Error(
      `${file} does not hold a token of at least 32 characters; delete it and a new one is made`
    )
  return token
}

/** Compares in constant time; hashing first makes the lengths equal and tells nothing of the token. */
export function sameToken(given: string, token: string): boolean {
  const hash = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(hash(given), hash(token))
}
