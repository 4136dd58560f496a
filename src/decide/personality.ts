// What an order says about the system to be installed: checks of host name, user data and keys, and Ironic's `configdrive` object.

import { Buffer } from 'node:buffer'
import { AppError } from '../domain/error.ts'
import type { Node } from '../domain/node.ts'
import { isObject, shownValue } from './enrolment.ts'

/** The parts of a deploy order that say what the system is to be; `hostname` null: not said. */
export type Personality = {
  hostname: string | null
  publicKeys: Record<string, string>
  /** base64. */
  userData: string | null
  metadata: Record<string, unknown>
}

/** A host name as RFC 1123, section 2.1, and RFC 952 have it, with domain parts allowed; AppError `bad-request`. */
export function checkHostname(hostname: string): string {
  if (
    hostname.length <= 253 &&
    hostname.split('.').every((label) => /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i.test(label))
  )
    return hostname
  throw new AppError(
    'bad-request',
    `hostname ${shownValue(hostname)} is not a host name: letters, digits and -, at most 63 in a part`
  )
}

/** The host name of a node's system when nobody says one. */
export function hostnameOf(node: Pick<Node, 'name' | 'uuid'>): string {
  const name = (node.name ?? '')
    .replace(/[^A-Za-z0-9.-]+/g, '-')
    .split('.')
    .map((label) => label.slice(0, 63).replace(/^-+|-+$/g, ''))
    .filter((label) => label !== '')
    .join('.')
  return name === '' ? `node-${node.uuid.slice(0, 8)}` : name.slice(0, 253)
}

/** Checks that text is base64; AppError `bad-request`. */
export function checkBase64(text: string, what: string): string {
  const clean = text.replace(/\s+/g, '')
  if (clean.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(clean)) return clean
  throw new AppError('bad-request', `${what} must be base64`)
}

/**
 * Ironic's `configdrive` as an object of meta_data, user_data and network_data; null when there is none. Seedling makes the drive
 * itself, so a ready-made one is refused.
 */
export function readConfigDrive(given: unknown): Personality | null {
  if (given === undefined || given === null || given === '') return null
  const no = (message: string): never => {
    throw new AppError('bad-request', `configdrive: ${message}`)
  }
  if (!isObject(given))
    return no(
      'give it as JSON with meta_data and user_data; Seedling makes the drive itself and takes no ready-made one'
    )
  for (const key of Object.keys(given))
    if (!['meta_data', 'user_data', 'network_data', 'vendor_data'].includes(key))
      no(`unknown key ${shownValue(key)}`)
  for (const key of ['network_data', 'vendor_data']) {
    const part = given[key] ?? {}
    if (!isObject(part) || Object.keys(part).length > 0)
      no(`${key} is not supported; machines get their address from Seedling's DHCP`)
  }
  const meta = given['meta_data'] ?? {}
  if (!isObject(meta)) return no('meta_data must be an object')
  const hostname = meta['hostname'] ?? meta['name'] ?? null
  if (hostname !== null && typeof hostname !== 'string') return no('meta_data.hostname must be text')
  const keys = meta['public_keys'] ?? {}
  if (!isObject(keys) || Object.values(keys).some((key) => typeof key !== 'string'))
    return no('meta_data.public_keys must be an object of name and key')
  const metadata = meta['meta'] ?? {}
  if (!isObject(metadata)) return no('meta_data.meta must be an object')
  const user = given['user_data'] ?? null
  return {
    hostname: hostname === null ? null : checkHostname(hostname),
    publicKeys: keys as Record<string, string>,
    userData:
      user === null
        ? null
        : Buffer.from(typeof user === 'string' ? user : JSON.stringify(user)).toString('base64'),
    metadata
  }
}
