// Chassis Identify (IPMI 2.0, section 28.5): a light on the front panel.

import { NETFN, nothing, type Command } from './command.ts'

/** Seconds, at most 255; 0 switches it off. `always`: until told otherwise, which not every BMC can. */
export type Identify = number | 'always'

/** What the BMC does when no time is named. */
const DEFAULT_SECONDS = 15

export const chassisIdentify: Command<{ identify: Identify }, void> = {
  name: 'Chassis Identify',
  netFn: NETFN.chassis,
  command: 0x04,
  encodeRequest: ({ identify }) => Buffer.from(identify === 'always' ? [0, 1] : [identify]),
  decodeRequest(data) {
    if (data.length >= 2 && (data.readUInt8(1) & 0x01) !== 0) return { identify: 'always' }
    return { identify: data.length === 0 ? DEFAULT_SECONDS : data.readUInt8(0) }
  },
  encodeResponse: nothing.encode,
  decodeResponse: nothing.decode
}
