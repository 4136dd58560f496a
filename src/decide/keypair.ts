// OpenSSH public keys: one line of "type base64 comment" (sshd(8), AUTHORIZED_KEYS FILE FORMAT; RFC 4253, section 6.6).

import { Buffer } from 'node:buffer'
import { createHash } from 'node:crypto'
import { AppError } from '../domain/error.ts'
import type { KeyPair } from '../domain/image.ts'

const TYPES: readonly string[] = [
  'ssh-ed25519',
  'ssh-rsa',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'sk-ssh-ed25519@openssh.com',
  'sk-ecdsa-sha2-nistp256@openssh.com'
]

/** Checks a key and takes its fingerprint; AppError `bad-request` with what is wrong. */
export function readKeyPair(name: string, text: string, now: number): KeyPair {
  const no = (message: string): never => {
    throw new AppError('bad-request', `Key pair ${JSON.stringify(name)}: ${message}`)
  }
  if (!/^[A-Za-z0-9][A-Za-z0-9._@ -]{0,254}$/.test(name))
    no('the name may have letters, digits, spaces and . _ @ -, and starts with a letter or digit')
  const line = text.trim()
  if (line.includes('PRIVATE KEY')) no('this is a private key; keep it to yourself and give the .pub file')
  if (/[\r\n]/.test(line)) no('a public key is one line; give one key at a time')
  const [type = '', encoded = ''] = line.split(/[ \t]+/)
  if (!TYPES.includes(type)) no(`the line does not begin with a key type; known are ${TYPES.join(', ')}`)
  const blob = Buffer.from(encoded, 'base64')
  // The blob repeats the type as its first length-prefixed string, which tells a damaged line from a whole one.
  const length = blob.length >= 4 ? blob.readUInt32BE(0) : 0
  if (blob.length <= 4 + length || blob.toString('latin1', 4, 4 + length) !== type)
    no('the key is damaged: its base64 part does not fit its type')
  const fingerprint = createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')
  return { name, publicKey: line, fingerprint: `SHA256:${fingerprint}`, createdAt: now }
}
