// The chassis half of a BMC, as judgement only: an IPMI request and the chassis as it is go in; the reply, the chassis
// afterwards and what to do to the machine come out. IPMI 2.0, section 28: commands 01h (status), 02h (control),
// 08h and 09h (boot options 0, 3, 4 and 5).
import { bootMode } from './plan.ts'
import type { BootDevice, Firmware } from './plan.ts'

export type ChassisAction = 'on' | 'off' | 'cycle' | 'reset' | 'nmi' | 'soft'

export type Chassis = {
  /** Boot option 5, five bytes (table 28-14): [valid, persistent, EFI], [device], … */
  bootFlags: readonly number[]
  /** When the flags lapse unless a chassis control comes first; milliseconds since the epoch. */
  flagsLapseAt: number
  /** Boot option 3: bit 3 set means the flags do not lapse. */
  validBitClearing: number
  /** Boot option 0: 1 while someone is setting options. */
  setInProgress: number
  /** Boot option 4, two bytes: boot initiator acknowledge. */
  acknowledge: readonly number[]
  lastOnByIpmi: boolean
}

export const newChassis: Chassis = {
  bootFlags: [0, 0, 0, 0, 0],
  flagsLapseAt: Infinity,
  validBitClearing: 0,
  setInProgress: 0,
  acknowledge: [0, 0],
  lastOnByIpmi: false
}

/** Completion codes: IPMI 2.0 table 5-2, and 80h, 81h of table 28-14. */
const ok = 0x00
const invalidCommand = 0xc1
const lengthInvalid = 0xc7
const invalidField = 0xcc
const notInThisState = 0xd5
const parameterNotSupported = 0x80
const setAlreadyInProgress = 0x81

const valid = 0x80
const persistent = 0x40
const efi = 0x20
const keepValid = 0x08
const flagsLifeMs = 60_000

const controls: Record<number, ChassisAction> = {
  0: 'off',
  1: 'on',
  2: 'cycle',
  3: 'reset',
  4: 'nmi',
  5: 'soft'
}

/**
 * Answers one chassis request.
 * @param request command byte and data bytes
 * @returns the reply (completion code and data bytes), the chassis from now on, and the action asked for, if any
 */
export function answerChassis(
  request: readonly number[],
  before: Chassis,
  power: 'on' | 'off',
  now: number
): { reply: number[]; chassis: Chassis; action?: ChassisAction } {
  const chassis = lapse(before, now)
  const [command, ...data] = request
  switch (command) {
    case 0x01:
      return { reply: [ok, power === 'on' ? 1 : 0, chassis.lastOnByIpmi ? 0x10 : 0, 0], chassis }
    case 0x02: {
      if (data.length < 1) return { reply: [lengthInvalid], chassis }
      const action = controls[data[0]! & 0x0f]
      if (!action) return { reply: [invalidField], chassis }
      // Table 28-4: what makes no sense for a machine that is off is refused.
      if (power === 'off' && action !== 'on' && action !== 'off') return { reply: [notInThisState], chassis }
      const turnsOn = action === 'on' || action === 'cycle'
      return {
        reply: [ok],
        chassis: { ...chassis, flagsLapseAt: Infinity, lastOnByIpmi: turnsOn || chassis.lastOnByIpmi },
        action
      }
    }
    case 0x08:
      return setBootOption(data, chassis, now)
    case 0x09:
      return { reply: getBootOption(data, chassis), chassis }
    default:
      return { reply: [invalidCommand], chassis }
  }
}

/** What the machine tries at its next boot: the override if there is one that its firmware can follow, then its own order. */
export function bootOrder(
  chassis: Chassis,
  firmware: Firmware,
  own: readonly BootDevice[],
  now: number
): BootDevice[] {
  const [bits = 0, second = 0] = lapse(chassis, now).bootFlags
  const device = ({ 1: 'network', 2: 'disk' } as const)[(second >> 2) & 0x0f]
  // A machine without legacy boot support does not follow an override that asks for it, nor the other way round.
  const followed = (bits & valid) !== 0 && ((bits & efi) !== 0) === (bootMode(firmware) === 'uefi')
  return device && followed ? [device, ...own.filter((other) => other !== device)] : [...own]
}

/** The chassis once the machine has begun to boot: an override for one boot is used up; its other bits stay, stale. */
export function bootBegan(chassis: Chassis): Chassis {
  const [bits = 0, ...rest] = chassis.bootFlags
  return bits & persistent ? chassis : { ...chassis, bootFlags: [bits & ~valid, ...rest] }
}

function setBootOption([selector, ...value]: number[], chassis: Chassis, now: number) {
  if (selector === undefined) return { reply: [lengthInvalid], chassis }
  const set = (changes: Partial<Chassis>) => ({ reply: [ok], chassis: { ...chassis, ...changes } })
  // Bit 7 alone marks the parameter invalid; nothing here needs that.
  if (value.length === 0) return set({})
  const [first = 0, second = 0] = value
  switch (selector & 0x7f) {
    case 0:
      if ((first & 3) === 1 && chassis.setInProgress === 1) return { reply: [setAlreadyInProgress], chassis }
      return set({ setInProgress: (first & 3) === 1 ? 1 : 0 })
    case 3:
      return set({ validBitClearing: first & 0x1f, ...(first & keepValid ? { flagsLapseAt: Infinity } : {}) })
    case 4:
      return set({ acknowledge: [first, second] })
    case 5:
      if (value.length < 5) return { reply: [lengthInvalid], chassis }
      return set({
        bootFlags: value.slice(0, 5),
        flagsLapseAt: chassis.validBitClearing & keepValid ? Infinity : now + flagsLifeMs
      })
    default:
      return { reply: [parameterNotSupported], chassis }
  }
}

function getBootOption([selector]: number[], chassis: Chassis): number[] {
  if (selector === undefined) return [lengthInvalid]
  const parameter = selector & 0x7f
  const value = (
    {
      0: [chassis.setInProgress],
      3: [chassis.validBitClearing],
      4: chassis.acknowledge,
      5: chassis.bootFlags
    } as Record<number, readonly number[]>
  )[parameter]
  return value ? [ok, 0x01, parameter, ...value] : [parameterNotSupported]
}

/** The 60-second rule (option 3): flags nobody acted on are no longer valid. */
function lapse(chassis: Chassis, now: number): Chassis {
  if (now < chassis.flagsLapseAt) return chassis
  const [bits = 0, ...rest] = chassis.bootFlags
  return { ...chassis, bootFlags: [bits & ~valid, ...rest], flagsLapseAt: Infinity }
}
