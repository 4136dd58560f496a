// Chassis Control (IPMI 2.0, section 28.3). Only what may be asked twice: a cycle or a reset is an edge, and sent twice by
// accident it is two of them.

import { WireError } from '../../wire-error.ts'
import { requireLength } from '../length.ts'
import { NETFN, nothing, type Command } from './command.ts'

/** `soft-off` presses the power button for the operating system (ACPI), which may take its time, or not listen. */
export type ChassisControl = 'off' | 'on' | 'soft-off'

const CONTROLS = { off: 0x00, on: 0x01, 'soft-off': 0x05 } as const

export const chassisControl: Command<{ control: ChassisControl }, void> = {
  name: 'Chassis Control',
  netFn: NETFN.chassis,
  command: 0x02,
  encodeRequest: ({ control }) => Buffer.from([CONTROLS[control]]),
  decodeRequest(data) {
    requireLength(data, 1, 'a Chassis Control request')
    const number = data.readUInt8(0) & 0x0f
    for (const control of Object.keys(CONTROLS) as ChassisControl[]) {
      if (CONTROLS[control] === number) return { control }
    }
    throw new WireError('chassis-control', 0, `chassis control ${number} is not served`)
  },
  encodeResponse: nothing.encode,
  decodeResponse: nothing.decode
}
