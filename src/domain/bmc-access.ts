// driver_info (Ironic's words) → how to reach the BMC.

import { Buffer } from 'node:buffer'
import type { BmcAccess } from './bmc.ts'
import { AppError } from './error.ts'
import type { Node } from './node.ts'

/** The longest password IPMI 2.0 knows; longer ones would be cut silently by some BMCs, so they are refused. */
const PASSWORD_BYTES = 20

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
  if (Buffer.byteLength(password) > PASSWORD_BYTES)
    faults.push(`ipmi_password is longer than the ${PASSWORD_BYTES} bytes that IPMI 2.0 allows`)
  const kg = text('ipmi_hex_kg_key')
  if (kg !== '' && !/^([0-9a-f]{2}){1,20}$/i.test(kg))
    faults.push('ipmi_hex_kg_key must be up to 40 hex digits')
  const suite = text('ipmi_cipher_suite')
  if (suite !== '' && suite !== '3' && suite !== '17')
    faults.push(`ipmi_cipher_suite ${suite} is not offered: 17 and 3 are; weaker ones give the password away`)
  const privilege = (text('ipmi_priv_level') || 'administrator').toLowerCase()
  if (privilege !== 'administrator' && privilege !== 'operator')
    faults.push(`ipmi_priv_level ${privilege} must be ADMINISTRATOR or OPERATOR`)
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
    cipherSuites: suite === '' ? [17, 3] : [Number(suite)],
    kg: kg.toLowerCase(),
    privilege: privilege === 'operator' ? 'operator' : 'administrator'
  }
}
