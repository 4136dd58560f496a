// driver_info (Ironic's words) → how to reach the BMC.

import { Buffer } from 'node:buffer'
import { cipherSuite } from '../wire/ipmi/cipher-suite.ts'
import { loginQuirk, LOGIN_QUIRKS } from '../wire/ipmi/login-quirk.ts'
import type { BmcAccess } from './bmc.ts'
import { AppError } from './error.ts'
import type { Node } from './node.ts'

/**
 * The longest passwords IPMI knows, by version, in bytes; longer ones would be cut silently by some BMCs, so they are
 * refused.
 */
const PASSWORD_BYTES = { '2.0': 20, '1.5': 16 } as const

/** Reads and checks a node's `driver_info`; AppError `bad-request` with every fault at once. */
export function bmcAccess(node: Pick<Node, 'driver' | 'driverInfo' | 'name' | 'uuid'>): BmcAccess {
  const info = node.driverInfo
  const faults: string[] = []
  const text = (key: string): string => {
    const value = info[key]
    if (value === undefined || value === null) return ''
    if (typeof value === 'string' || typeof value === 'number') return String(value)
    faults.push(`${key} must be text`)
    return ''
  }
  const address = text('ipmi_address')
  if (address === '') faults.push('ipmi_address is missing: the address of the BMC')
  const port = Number(text('ipmi_port') || 623)
  if (!Number.isInteger(port) || port < 1 || port > 65535)
    faults.push(`ipmi_port ${text('ipmi_port')} is not a port`)
  const username = text('ipmi_username')
  if (Buffer.byteLength(username) > 16)
    faults.push('ipmi_username is longer than the 16 bytes that IPMI allows')
  const password = text('ipmi_password')
  const protocol = (text('ipmi_protocol_version') || '2.0').replace(/^2$/, '2.0')
  if (protocol !== '2.0' && protocol !== '1.5')
    faults.push(`ipmi_protocol_version ${protocol} must be 2.0 or 1.5`)
  const passwordBytes = PASSWORD_BYTES[protocol === '1.5' ? '1.5' : '2.0']
  if (Buffer.byteLength(password) > passwordBytes)
    faults.push(`ipmi_password is longer than the ${passwordBytes} bytes that IPMI ${protocol} allows`)
  const kg = text('ipmi_hex_kg_key')
  if (kg !== '' && !/^([0-9a-f]{2}){1,20}$/i.test(kg))
    faults.push('ipmi_hex_kg_key must be up to 40 hex digits')
  const suite = text('ipmi_cipher_suite')
  // Naming a suite that does not encrypt is what forces it: such a one is never tried by itself.
  const use = suite === '' ? 'free' : cipherSuite(Number(suite))?.use
  if (use === 'never')
    faults.push(`ipmi_cipher_suite ${suite} is never used: it lets anyone in with any password`)
  if (use === undefined)
    faults.push(
      `ipmi_cipher_suite ${suite} is not offered: 17 and 3 are, and 16, 15, 2 and 1 when named here`
    )
  const privilege = (text('ipmi_priv_level') || 'highest').toLowerCase()
  if (privilege !== 'administrator' && privilege !== 'operator' && privilege !== 'highest')
    faults.push(`ipmi_priv_level ${privilege} must be ADMINISTRATOR or OPERATOR`)
  const quirk = text('ipmi_login_quirk')
  if (quirk !== '' && !loginQuirk(quirk)) {
    const known = LOGIN_QUIRKS.map(({ name }) => name).join(', ')
    faults.push(`ipmi_login_quirk ${quirk} is not known; these are: ${known}`)
  }
  if (faults.length > 0)
    throw new AppError('bad-request', `driver_info of ${node.name ?? node.uuid}: ${faults.join('; ')}`, {
      faults
    })
  return {
    driver: node.driver,
    address,
    port,
    username,
    password,
    protocol: protocol === '1.5' ? '1.5' : '2.0',
    cipherSuites: suite === '' ? [17, 3] : [Number(suite)],
    kg: kg.toLowerCase(),
    privilege: privilege === 'administrator' || privilege === 'operator' ? privilege : 'highest',
    loginQuirk: loginQuirk(quirk)?.name ?? null
  }
}
