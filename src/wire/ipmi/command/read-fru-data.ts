// Read FRU Data (IPMI 2.0, section 34.2). Offset and count are in bytes, or in words where the area says so.

import { WireError } from '../../wire-error.ts'
import { requireLength } from '../length.ts'
import { NETFN, type Command } from './command.ts'

export const readFruData: Command<
  { fru: number; offset: number; count: number },
  { count: number; bytes: Buffer }
> = {
  name: 'Read FRU Data',
  netFn: NETFN.storage,
  command: 0x11,
  encodeRequest: ({ fru, offset, count }) => Buffer.from([fru, offset & 0xff, offset >> 8, count]),
  decodeRequest(data) {
    requireLength(data, 4, 'a Read FRU Data request')
    return { fru: data.readUInt8(0), offset: data.readUInt16LE(1), count: data.readUInt8(3) }
  },
  encodeResponse: ({ count, bytes }) => Buffer.concat([Buffer.from([count]), bytes]),
  decodeResponse(data) {
    requireLength(data, 1, 'a Read FRU Data response')
    const count = data.readUInt8(0)
    if (count === 0) throw new WireError('fru-count', 0, 'no bytes were read')
    return { count, bytes: data.subarray(1) }
  },
  completionWords: { 0x81: 'the FRU is busy' }
}
