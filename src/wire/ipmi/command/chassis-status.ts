// Get Chassis Status (IPMI 2.0, section 28.2).

import { requireLength } from '../length.ts'
import { NETFN, nothing, type Command } from './command.ts'

export type ChassisStatus = {
  powerOn: boolean
  powerOverload: boolean
  powerFault: boolean
  /** The power supply did not do what the BMC told it. */
  powerControlFault: boolean
  /** What happens when mains power comes back. */
  powerPolicy: 'off' | 'as-before' | 'on' | null
  /** The light of Chassis Identify; null: the BMC does not tell. */
  identify: 'off' | 'timed' | 'always' | null
}

const POLICIES = ['off', 'as-before', 'on', null] as const
const IDENTIFY_TOLD = 0x40
const IDENTIFY_STATES = ['off', 'timed', 'always', null] as const

export const getChassisStatus: Command<void, ChassisStatus> = {
  name: 'Get Chassis Status',
  netFn: NETFN.chassis,
  command: 0x01,
  forUsers: true,
  encodeRequest: nothing.encode,
  decodeRequest: nothing.decode,
  encodeResponse({ powerOn, powerOverload, powerFault, powerControlFault, powerPolicy, identify }) {
    const state =
      (powerOn ? 0x01 : 0) |
      (powerOverload ? 0x02 : 0) |
      (powerFault ? 0x08 : 0) |
      (powerControlFault ? 0x10 : 0) |
      (POLICIES.indexOf(powerPolicy) << 5)
    const misc = identify === null ? 0 : IDENTIFY_TOLD | (IDENTIFY_STATES.indexOf(identify) << 4)
    return Buffer.from([state, 0, misc])
  },
  // 3 bytes, or 4 with the front panel buttons.
  decodeResponse(data) {
    requireLength(data, 3, 'a Get Chassis Status response')
    const state = data.readUInt8(0)
    const misc = data.readUInt8(2)
    return {
      powerOn: (state & 0x01) !== 0,
      powerOverload: (state & 0x02) !== 0,
      powerFault: (state & 0x08) !== 0,
      powerControlFault: (state & 0x10) !== 0,
      powerPolicy: POLICIES[(state >> 5) & 3] ?? null,
      identify: (misc & IDENTIFY_TOLD) === 0 ? null : (IDENTIFY_STATES[(misc >> 4) & 3] ?? null)
    }
  }
}
