// Chassis Control (IPMI 2.0, section 28.3). Only the two levels: a cycle or a reset is an edge, and sent twice by accident
// it is two of them.

import { WireError } from '../../wire-error.ts'
import { requireLength } from '../length.ts'
import { NETFN, nothing, type Command } from './command.ts'

const POWER_DOWN = 0x00
const POWER_UP = 0x01

export const chassisControl: Command<{ power: 'on' | 'off' }, void> = {
  name: 'Chassis Control',
  netFn: NETFN.chassis,
  command: 0x02,
  encodeRequest: ({ power }) => Buffer.from([power === 'on' ? POWER_UP : POWER_DOWN]),
  decodeRequest(data) {
    requireLength(data, 1, 'a Chassis Control request')
    const control = data.readUInt8(0) & 0x0f
    if (control === POWER_UP) return { power: 'on' }
    if (control === POWER_DOWN) return { power: 'off' }
    throw new WireError('chassis-control', 0, `chassis control ${control} is not served`)
  },
  encodeResponse: nothing.encode,
  decodeResponse: nothing.decode
}
