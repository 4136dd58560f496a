// The consoles that are open at one BMC, and how their sessions are got back when power and boot device need them.

import type { BmcAccess } from '../../src/domain/bmc.ts'
import type { ConsoleLine, ConsoleListener, ConsoleOptions } from '../../src/domain/console.ts'
import type { AppError } from '../../src/domain/error.ts'
import { consoleGivenUp } from '../../src/decide/bmc-failure.ts'
import { openConsole, type ConsoleDeps } from './ipmi-console.ts'

export type OpenConsoles = {
  /** AppErrors as Bmcs.console says. */
  open(
    access: BmcAccess,
    options: ConsoleOptions,
    listener: ConsoleListener,
    deps: ConsoleDeps
  ): Promise<ConsoleLine>
  /** Closes all; their listeners are told. Where there was one, none is opened again that can be done without. */
  giveUp(error: AppError): void
}

/** `crowded`: the BMC is known to have no session to spare. */
export function openConsoles(crowded: boolean): OpenConsoles {
  const open = new Set<(error: AppError) => void>()

  return {
    async open(access, { steal, spare }, listener, deps) {
      if (spare && crowded) throw consoleGivenUp(access)
      const lost = (error: AppError): void => {
        open.delete(giveUp)
        listener.lost(error)
      }
      const line = await openConsole(access, steal, { ...listener, lost }, deps)
      const giveUp = (error: AppError): void => {
        void line.close()
        lost(error)
      }
      open.add(giveUp)
      const close = (): Promise<void> => {
        open.delete(giveUp)
        return line.close()
      }
      return { ...line, close }
    },
    giveUp(error) {
      if (open.size > 0) crowded = true
      for (const giveUp of [...open]) giveUp(error)
    }
  }
}
