// Faults to switch on in a machine and its BMC, as real ones have them: a table of what is left to go wrong, counted down.
import type { ChassisAction } from './chassis.ts'

export type Faults = {
  /** So many of the next "on" are answered, and nothing happens. */
  ignoresOn: number
  /** So many milliseconds after the next "off" the machine is on again, once; 0: it stays off. */
  offComesBackMs: number
  /** At so many of the next boots the boot flags are gone. */
  lapsedFlags: number
  /** The BMC hears nothing for so many milliseconds, from now on. */
  silentMs: number
}

export const noFaults: Faults = { ignoresOn: 0, offComesBackMs: 0, lapsedFlags: 0, silentMs: 0 }

/** What becomes of an action, and the faults that are left. */
export function faultyAction(
  faults: Faults,
  action: ChassisAction
): { faults: Faults; carriedOut: boolean; comesBackMs: number } {
  if (action === 'on' && faults.ignoresOn > 0)
    return { faults: { ...faults, ignoresOn: faults.ignoresOn - 1 }, carriedOut: false, comesBackMs: 0 }
  if (action === 'off' && faults.offComesBackMs > 0)
    return { faults: { ...faults, offComesBackMs: 0 }, carriedOut: true, comesBackMs: faults.offComesBackMs }
  return { faults, carriedOut: true, comesBackMs: 0 }
}
