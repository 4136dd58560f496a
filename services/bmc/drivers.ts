// Which protocols BMCs are spoken to in: one line each. The table is typed by the names BmcAccess allows.

import type { BmcAccess, OperatorBmc } from '../../src/domain/bmc.ts'
import { ipmiBmc, type IpmiDriverDeps } from './ipmi.ts'

/** A BMC whose calls the caller makes one at a time; `close` lets go of everything and cuts short a call under way. */
export type DriverBmc = OperatorBmc & { close(): Promise<void> }

export type DriverDeps = IpmiDriverDeps

export const drivers: Readonly<
  Record<BmcAccess['driver'], (access: BmcAccess, deps: DriverDeps) => DriverBmc>
> = {
  ipmi: ipmiBmc
}
