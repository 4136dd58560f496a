// Secrets at rest: sealed with AES-256-GCM under a key that lies in a file of its own beside the database, so that a copy
// of the database alone gives no password away.

import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'

export type Sealer = {
  seal(text: string): string
  open(sealed: string): string
  /** A key of its own for another purpose, which tells nothing of this one. */
  derive(purpose: string): Uint8Array
}

const PREFIX = 'sealed:1:'

/** Reads the key file, or makes it (mode 0600) when there is none. */
export function loadSealer(keyFile: string): Sealer {
  let key: Buffer
  try {
    key = Buffer.from(readFileSync(keyFile, 'utf8').trim(), 'hex')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    key = randomBytes(32)
    writeFileSync(keyFile, key.toString('hex') + '\n', { mode: 0o600, flag: 'wx', flush: true })
  }
  if (key.length !== 32)
    throw new Error(`${keyFile} does not hold a 256-bit key in hex; restore it from your backup`)
  return sealerFor(key)
}

export function sealerFor(key: Buffer): Sealer {
  return {
    seal(text) {
      const iv = randomBytes(12)
      const cipher = createCipheriv('aes-256-gcm', key, iv)
      const body = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()])
      return PREFIX + Buffer.concat([iv, cipher.getAuthTag(), body]).toString('base64')
    },
    open(sealed) {
      if (!sealed.startsWith(PREFIX)) return sealed
      const bytes = Buffer.from(sealed.slice(PREFIX.length), 'base64')
      const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12))
      decipher.setAuthTag(bytes.subarray(12, 28))
      return Buffer.concat([decipher.update(bytes.subarray(28)), decipher.final()]).toString('utf8')
    },
    derive: (purpose) => new Uint8Array(hkdfSync('sha256', key, '', `seedling ${purpose}`, 32))
  }
}

/** The keys of `driver_info` whose values are secrets: sealed at rest, masked in every answer. */
export const SECRET_DRIVER_INFO = ['ipmi_password', 'ipmi_hex_kg_key'] as const
