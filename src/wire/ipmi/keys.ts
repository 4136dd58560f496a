// The codes of the RAKP messages and the session keys (IPMI 2.0, sections 13.28 to 13.32).
//
// Password and K_g are used as they are: the zero padding the specification asks for changes nothing in an HMAC.

import { createHmac, createSecretKey, timingSafeEqual, type KeyObject } from 'node:crypto'
import type { CipherSuite } from './cipher-suite.ts'

/** What both sides know after RAKP 2; the session IDs are numbers, and hashed little-endian as they travel. */
export type RakpFacts = {
  consoleSessionId: number
  bmcSessionId: number
  consoleRandom: Buffer
  bmcRandom: Buffer
  bmcGuid: Buffer
  role: number
  username: Buffer
}

/** A key as bytes, or as an object where it is used often: making one out of bytes costs more than the HMAC itself. */
export type Key = Buffer | KeyObject

/** K1 protects packets; of K2 the first 16 bytes encrypt them, and no more of it is kept. */
export type SessionKeys = { suite: CipherSuite; k1: KeyObject; aes: KeyObject }

const AES_KEY_LENGTH = 16

/** The constants K1 and K2 are derived from are 20 bytes long for SHA-256 too: that is what every implementation does. */
const CONSTANT_LENGTH = 20

/** Key exchange code of RAKP 2: the BMC proves that it knows the user's password. */
export function rakp2Code(suite: CipherSuite, password: Key, facts: RakpFacts): Buffer {
  return hmac(suite, password, [
    sessionId(facts.consoleSessionId),
    sessionId(facts.bmcSessionId),
    facts.consoleRandom,
    facts.bmcRandom,
    facts.bmcGuid,
    roleAndName(facts)
  ])
}

/** Key exchange code of RAKP 3: the console proves the same. */
export function rakp3Code(suite: CipherSuite, password: Key, facts: RakpFacts): Buffer {
  return hmac(suite, password, [facts.bmcRandom, sessionId(facts.consoleSessionId), roleAndName(facts)])
}

/** Session integrity key. `kg` is the BMC key, or the user's password where none is set. */
export function sessionIntegrityKey(suite: CipherSuite, kg: Key, facts: RakpFacts): Buffer {
  return hmac(suite, kg, [facts.consoleRandom, facts.bmcRandom, roleAndName(facts)])
}

/** Integrity check value of RAKP 4: proves that the BMC derived the same session integrity key. */
export function rakp4Check(suite: CipherSuite, sik: Key, facts: RakpFacts): Buffer {
  const whole = hmac(suite, sik, [facts.consoleRandom, sessionId(facts.bmcSessionId), facts.bmcGuid])
  return whole.subarray(0, suite.authentication.checkLength)
}

export function sessionKeys(suite: CipherSuite, sik: Key): SessionKeys {
  const constant = (byte: number): Buffer => Buffer.alloc(CONSTANT_LENGTH, byte)
  // RAKP-none has no SIK; the constants themselves are then the keys.
  const key = (byte: number): Buffer =>
    suite.authentication.hash === null ? constant(byte) : hmac(suite, sik, [constant(byte)])
  return { suite, k1: createSecretKey(key(1)), aes: createSecretKey(key(2).subarray(0, AES_KEY_LENGTH)) }
}

/** Equality in time that does not depend on where the bytes differ. Different lengths are unequal. */
export function sameCode(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b)
}

function hmac(suite: CipherSuite, key: Key, parts: readonly Buffer[]): Buffer {
  if (suite.authentication.hash === null) return Buffer.alloc(0)
  const digest = createHmac(suite.authentication.hash, key)
  for (const part of parts) digest.update(part)
  return digest.digest()
}

function sessionId(id: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(id)
  return bytes
}

function roleAndName({ role, username }: RakpFacts): Buffer {
  return Buffer.concat([Buffer.from([role, username.length]), username])
}
