// Get Chassis Status (IPMI 2.0, section 28.2).

import { requireLength } from '../length.ts'
import { NETFN, nothing, type Command } from './command.ts'

export type ChassisStatus = {
  powerOn: boolean
  powerOverload: boolean
  powerFault: boolean
  /** The power supply did not do what the BMC told it. */
  powerControlFault: boolean
}

export const getChassisStatus: Command<void, ChassisStatus> = {
  name: 'Get Chassis Status',
  netFn: NETFN.chassis,
  command: 0x01,
  encodeRequest: nothing.encode,
  decodeRequest: nothing.decode,
  encodeResponse({ powerOn, powerOverload, powerFault, powerControlFault }) {
    const state =
      (powerOn ? 0x01 : 0) |
      (powerOverload ? 0x02 : 0) |
      (powerFault ? 0x08 : 0) |
      (powerControlFault ? 0x10 : 0)
    return Buffer.from([state, 0, 0])
  },
  // 3 bytes, or 4 with the front panel buttons.
  decodeResponse(data) {
    requireLength(data, 3, 'a Get Chassis Status response')
    const state = data.readUInt8(0)
    return {
      powerOn: (state & 0x01) !== 0,
      powerOverload: (state & 0x02) !== 0,
      powerFault: (state & 0x08) !== 0,
      powerControlFault: (state & 0x10) !== 0
    }
  }
}
