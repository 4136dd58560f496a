// Set and Get System Boot Options (IPMI 2.0, sections 28.12 and 28.13, table 28-14), parameters 0, 3, 4 and 5.
//
//   parameter 0, set in progress:  state (0 complete, 1 in progress, 2 commit)
//   parameter 3, valid bit clearing: bit n set = do not clear the "valid" bit on event n
//   parameter 4, acknowledge: mask of the bits to write | bits, one for each who reads the options (0 = BIOS)
//   parameter 5, boot flags: valid 7, persistent 6, EFI 5 | device 5..2 | … | … | device instance
//
// Byte 1 of a response is the parameter number, with bit 7 set where the parameter is locked or not valid.

import { WireError } from '../../wire-error.ts'
import { requireLength } from '../length.ts'
import { NETFN, nothing, type Command } from './command.ts'

export const BOOT_PARAMETER = { setInProgress: 0, validBitClearing: 3, acknowledge: 4, bootFlags: 5 } as const

/** Parameter 3: keep the flags although no chassis control follows within 60 seconds. */
export const KEEP_AFTER_60_SECONDS = 0x08

/** Parameter 4: to the BIOS, as if it had not read the options yet. */
export const NOT_READ_BY_BIOS = { mask: 0x01, bits: 0x01 } as const

/** Another console has a change of the boot options under way. */
export const SET_IN_PROGRESS = 0x81

export type BootFlags = { valid: boolean; persistent: boolean; efi: boolean; device: number }

export type BootParameter =
  | { parameter: typeof BOOT_PARAMETER.setInProgress; state: number }
  | { parameter: typeof BOOT_PARAMETER.validBitClearing; keep: number }
  | { parameter: typeof BOOT_PARAMETER.acknowledge; mask: number; bits: number }
  | { parameter: typeof BOOT_PARAMETER.bootFlags; flags: BootFlags }

export const setSystemBootOptions: Command<BootParameter, void> = {
  name: 'Set System Boot Options',
  netFn: NETFN.chassis,
  command: 0x08,
  encodeRequest: encodeParameter,
  decodeRequest(data) {
    requireLength(data, 1, 'a Set System Boot Options request')
    return decodeParameter(data.readUInt8(0) & 0x7f, data.subarray(1))
  },
  encodeResponse: nothing.encode,
  decodeResponse: nothing.decode,
  completionWords: {
    0x80: 'parameter not supported',
    [SET_IN_PROGRESS]: 'another change of the boot options is in progress',
    0x82: 'the parameter is read-only'
  }
}

/** A bare parameter number, or its value and whether the BMC calls it locked or invalid as a whole. */
export type StoredBootParameter = { value: BootParameter; locked: boolean }

export const getSystemBootOptions: Command<{ parameter: BootParameter['parameter'] }, StoredBootParameter> = {
  name: 'Get System Boot Options',
  netFn: NETFN.chassis,
  command: 0x09,
  encodeRequest: ({ parameter }) => Buffer.from([parameter, 0, 0]),
  decodeRequest(data) {
    requireLength(data, 3, 'a Get System Boot Options request')
    return { parameter: known(data.readUInt8(0) & 0x7f) }
  },
  encodeResponse({ value, locked }) {
    const [number = 0, ...rest] = encodeParameter(value)
    return Buffer.from([PARAMETER_VERSION, number | (locked ? 0x80 : 0), ...rest])
  },
  decodeResponse(data) {
    requireLength(data, 2, 'a Get System Boot Options response')
    const number = data.readUInt8(1)
    return { value: decodeParameter(number & 0x7f, data.subarray(2)), locked: (number & 0x80) !== 0 }
  },
  completionWords: { 0x80: 'parameter not supported' }
}

const PARAMETER_VERSION = 0x01
const PARAMETER_LENGTH = { 0: 1, 3: 1, 4: 2, 5: 5 } as const

function encodeParameter(value: BootParameter): Buffer {
  switch (value.parameter) {
    case BOOT_PARAMETER.setInProgress:
      return Buffer.from([value.parameter, value.state])
    case BOOT_PARAMETER.validBitClearing:
      return Buffer.from([value.parameter, value.keep])
    case BOOT_PARAMETER.acknowledge:
      return Buffer.from([value.parameter, value.mask, value.bits])
    case BOOT_PARAMETER.bootFlags: {
      const { valid, persistent, efi, device } = value.flags
      const first = (valid ? 0x80 : 0) | (persistent ? 0x40 : 0) | (efi ? 0x20 : 0)
      return Buffer.from([value.parameter, first, device << 2, 0, 0, 0])
    }
  }
}

// What follows the bytes we know is ignored: HP DL380 G5 appends 12 bytes to parameter 5.
function decodeParameter(number: number, data: Buffer): BootParameter {
  const parameter = known(number)
  requireLength(data, PARAMETER_LENGTH[parameter], `boot parameter ${parameter}`)
  const first = data.readUInt8(0)
  switch (parameter) {
    case BOOT_PARAMETER.setInProgress:
      return { parameter, state: first & 0x03 }
    case BOOT_PARAMETER.validBitClearing:
      return { parameter, keep: first & 0x1f }
    case BOOT_PARAMETER.acknowledge:
      return { parameter, mask: first, bits: data.readUInt8(1) }
    case BOOT_PARAMETER.bootFlags:
      return {
        parameter,
        flags: {
          valid: (first & 0x80) !== 0,
          persistent: (first & 0x40) !== 0,
          efi: (first & 0x20) !== 0,
          device: (data.readUInt8(1) >> 2) & 0x0f
        }
      }
  }
}

function known(number: number): BootParameter['parameter'] {
  for (const parameter of Object.values(BOOT_PARAMETER)) if (parameter === number) return parameter
  throw new WireError('boot-parameter', 0, `boot parameter ${number} is not served`)
}
