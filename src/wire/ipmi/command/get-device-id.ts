// Get Device ID (IPMI 2.0, section 20.1): who made this BMC and what firmware it runs.

import { requireLength } from '../length.ts'
import { NETFN, nothing, type Command } from './command.ts'

export type DeviceId = {
  deviceId: number
  deviceRevision: number
  firmwareMajor: number
  /** BCD, as it travels: 0x15 is "15". */
  firmwareMinor: number
  /** BCD with the low digit first: 0x02 is 2.0, 0x51 is 1.5. */
  ipmiVersion: number
  /** IANA enterprise number. */
  manufacturer: number
  product: number
}

export const getDeviceId: Command<void, DeviceId> = {
  name: 'Get Device ID',
  netFn: NETFN.application,
  command: 0x01,
  encodeRequest: nothing.encode,
  decodeRequest: nothing.decode,
  encodeResponse(device) {
    const data = Buffer.alloc(11)
    data[0] = device.deviceId
    data[1] = device.deviceRevision
    data[2] = device.firmwareMajor
    data[3] = device.firmwareMinor
    data[4] = device.ipmiVersion
    data.writeUIntLE(device.manufacturer, 6, 3)
    data.writeUInt16LE(device.product, 9)
    return data
  },
  // 11 bytes, or more with auxiliary firmware information, which is the maker's own.
  decodeResponse(data) {
    requireLength(data, 11, 'a Get Device ID response')
    return {
      deviceId: data.readUInt8(0),
      deviceRevision: data.readUInt8(1) & 0x0f,
      firmwareMajor: data.readUInt8(2) & 0x7f,
      firmwareMinor: data.readUInt8(3),
      ipmiVersion: data.readUInt8(4),
      manufacturer: data.readUIntLE(6, 3),
      product: data.readUInt16LE(9)
    }
  }
}
