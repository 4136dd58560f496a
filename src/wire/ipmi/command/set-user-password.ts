// Set User Password (IPMI 2.0, section 22.30): sets or tests a password, enables or disables a user.

import { WireError } from '../../wire-error.ts'
import { requireLength } from '../length.ts'
import { NETFN, nothing, type Command } from './command.ts'

/** How the BMC is to store it: 20 bytes, or the 16 of IPMI 1.5. It never fits by being cut. */
export type PasswordSize = 16 | 20

export type PasswordOperation =
  | { user: number; operation: 'disable' | 'enable' }
  | { user: number; operation: 'set' | 'test'; password: Buffer; size: PasswordSize }

const OPERATIONS = ['disable', 'enable', 'set', 'test'] as const
const TWENTY_BYTES = 0x80

export const PASSWORD_TEST_FAILED = 0x80
export const PASSWORD_WRONG_SIZE = 0x81

export const setUserPassword: Command<PasswordOperation, void> = {
  name: 'Set User Password',
  netFn: NETFN.application,
  command: 0x47,
  encodeRequest(request) {
    const operation = OPERATIONS.indexOf(request.operation)
    if (!('password' in request)) return Buffer.from([request.user, operation])
    const { user, password, size } = request
    if (password.length > size) throw new Error(`a password of ${password.length} bytes in ${size}`)
    const head = Buffer.from([(size === 20 ? TWENTY_BYTES : 0) | user, operation])
    return Buffer.concat([head, password, Buffer.alloc(size - password.length)])
  },
  decodeRequest(data) {
    requireLength(data, 2, 'a Set User Password request')
    const user = data.readUInt8(0) & 0x3f
    const operation = OPERATIONS[data.readUInt8(1) & 0x03] ?? 'disable'
    if (operation === 'disable' || operation === 'enable') return { user, operation }
    const size = (data.readUInt8(0) & TWENTY_BYTES) !== 0 ? 20 : 16
    requireLength(data, 2 + size, 'a Set User Password request')
    const padded = data.subarray(2, 2 + size)
    const end = padded.indexOf(0)
    const password = end < 0 ? padded : padded.subarray(0, end)
    if (padded.subarray(password.length).some((byte) => byte !== 0)) {
      throw new WireError('password', 2 + password.length, 'a password with a zero in it')
    }
    return { user, operation, password, size }
  },
  encodeResponse: nothing.encode,
  decodeResponse: nothing.decode,
  completionWords: {
    [PASSWORD_TEST_FAILED]: 'the password does not match',
    [PASSWORD_WRONG_SIZE]: 'the password is stored in another size'
  }
}
