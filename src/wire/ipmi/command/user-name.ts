// Set and Get User Name (IPMI 2.0, sections 22.28 and 22.29): 16 bytes, padded with zeros.

import { requireLength } from '../length.ts'
import { USER_NAME_LENGTH } from '../rakp.ts'
import { NETFN, nothing, type Command } from './command.ts'

/** Names as text are Latin-1 here, so that any bytes come back as they were. */
export const setUserName: Command<{ user: number; name: string }, void> = {
  name: 'Set User Name',
  netFn: NETFN.application,
  command: 0x45,
  encodeRequest: ({ user, name }) => Buffer.concat([Buffer.from([user]), padded(name)]),
  decodeRequest(data) {
    requireLength(data, 1 + USER_NAME_LENGTH, 'a Set User Name request')
    return { user: data.readUInt8(0) & 0x3f, name: unpadded(data.subarray(1, 1 + USER_NAME_LENGTH)) }
  },
  encodeResponse: nothing.encode,
  decodeResponse: nothing.decode
}

export const getUserName: Command<{ user: number }, { name: string }> = {
  name: 'Get User Name',
  netFn: NETFN.application,
  command: 0x46,
  encodeRequest: ({ user }) => Buffer.from([user]),
  decodeRequest(data) {
    requireLength(data, 1, 'a Get User Name request')
    return { user: data.readUInt8(0) & 0x3f }
  },
  encodeResponse: ({ name }) => padded(name),
  decodeResponse(data) {
    requireLength(data, USER_NAME_LENGTH, 'a Get User Name response')
    return { name: unpadded(data.subarray(0, USER_NAME_LENGTH)) }
  }
}

function padded(name: string): Buffer {
  const bytes = Buffer.from(name, 'latin1')
  if (bytes.length > USER_NAME_LENGTH) throw new Error(`a user name of ${bytes.length} bytes`)
  return Buffer.concat([bytes, Buffer.alloc(USER_NAME_LENGTH - bytes.length)])
}

function unpadded(bytes: Buffer): string {
  const end = bytes.indexOf(0)
  return bytes.toString('latin1', 0, end < 0 ? bytes.length : end)
}
