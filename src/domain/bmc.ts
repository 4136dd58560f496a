// What Seedling wants of a baseboard management controller. Levels only: off and on may be repeated, so there is no
// cycle and no toggle here (see src/README.md, "An order is a checklist").

import type { BmcIdentity, BmcUser, FruReport, LanReport, SensorReport, SystemEvent } from './bmc-report.ts'
import type { LoginQuirkName } from '../wire/ipmi/login-quirk.ts'

export type PowerState = 'on' | 'off'

/** Boot devices in Ironic's words (ironic.common.boot_devices). */
export type BootDevice = 'none' | 'pxe' | 'disk' | 'cdrom' | 'bios' | 'safe'

export type BootDeviceSetting = {
  /** 'other': a device of the BMC's that has no word here (remote media, floppy, diagnostics); it cannot be asked for. */
  device: BootDevice | 'other'
  persistent: boolean
  /** The EFI bit: the override asks for an EFI boot rather than a legacy one. */
  efi: boolean
  /** False: the flags are stale and do not override anything (IPMI 2.0, table 28-14, parameter 5). */
  valid: boolean
}

/** How to reach a BMC; the password is a secret and appears in no message, log line or answer. */
export type BmcAccess = {
  driver: 'ipmi'
  address: string
  port: number
  username: string
  password: string
  /** 1.5 (MD5, nothing encrypted) only where the operator forces it. */
  protocol: '2.0' | '1.5'
  /** Cipher suites to try, in order: 17 then 3, or the one the operator forces. */
  cipherSuites: readonly number[]
  /** The BMC key K_g as hex; empty: one-key log-in with the password. */
  kg: string
  /** `highest`: administrator, or operator where the BMC gives this user no more. */
  privilege: BmcPrivilege | 'highest'
  /** A departure from the standard that has to be known before the log-in; null: none, or one that shows by itself. */
  loginQuirk: LoginQuirkName | null
}

export type BmcPrivilege = 'administrator' | 'operator'

/** What a log-in came down to; tried first at the next one. `suite` is null in an IPMI 1.5 session. */
export type LoginWay = { suite: number | null; privilege: BmcPrivilege; quirk: LoginQuirkName | null }

/**
 * One BMC, as orders use it. Every call is bounded in time and rejects with an AppError: `bmc-unreachable`, `bmc-auth`, `bmc-cipher`,
 * `bmc-privilege`, `bmc-busy`, `bmc-refused` (detail.completionCode) or `bmc-protocol`.
 */
export type Bmc = {
  powerState(): Promise<PowerState>
  /** Asks for power; the answer says only that the BMC took the command. Read the state to know. */
  powerOn(): Promise<void>
  powerOff(): Promise<void>
  /** Presses the power button for the operating system, which may take its time or not listen. */
  softOff(): Promise<void>
  bootDevice(): Promise<BootDeviceSetting>
  /** What FRU 0, the machine itself, says that it is; null: there is none. */
  product(): Promise<FruReport | null>
  /** Sets the override and reads it back; answers what the BMC then says. */
  setBootDevice(
    device: BootDevice,
    options: { persistent: boolean; efi: boolean }
  ): Promise<BootDeviceSetting>
}

/**
 * One BMC, as operators use it; bounded and failing as `Bmc`. Reports may take three times as long, so no request waits for
 * one without saying so.
 */
export type OperatorBmc = Bmc & {
  /** The light on the front: so many seconds (0: off, at most 255), or until told otherwise. */
  identify(light: number | 'always'): Promise<void>
  /** Whether that light is on; null: the BMC does not tell. */
  identifyState(): Promise<'off' | 'timed' | 'always' | null>
  identity(): Promise<BmcIdentity>
  events(): Promise<SystemEvent[]>
  clearEvents(): Promise<void>
  sensors(): Promise<SensorReport[]>
  inventory(): Promise<FruReport[]>
  lan(): Promise<LanReport>
  users(): Promise<BmcUser[]>
  /**
   * Sets the password of the user we log in as, and proves it by a new log-in; if that fails the old one is put back. From
   * then on this BmcAccess is out of date: keep the new password before calling.
   */
  setPassword(password: string): Promise<void>
}
