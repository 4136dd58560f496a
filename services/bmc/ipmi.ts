// The `ipmi` driver: a Bmc out of IPMI 2.0 commands.
//
// A session is kept for a moment after an operation, so that "set the boot device, switch on" is one log-in; it is closed
// after `idle` milliseconds, after every error, and on close(). Operations must come one at a time (bmcs.ts sees to that).

import type { BmcAccess, BootDevice, BootDeviceSetting, LoginWay, PowerState } from '../../src/domain/bmc.ts'
import {
  malformedAnswer,
  privilegeTooLow,
  refused,
  stopping,
  timedOut
} from '../../src/decide/bmc-failure.ts'
import type { SessionTiming } from '../../src/decide/bmc-session.ts'
import { COMPLETION } from '../../src/wire/ipmi/codes.ts'
import { chassisControl } from '../../src/wire/ipmi/command/chassis-control.ts'
import { getChassisStatus } from '../../src/wire/ipmi/command/chassis-status.ts'
import type { Command } from '../../src/wire/ipmi/command/command.ts'
import {
  BOOT_DEVICE,
  BOOT_PARAMETER,
  getSystemBootOptions,
  KEEP_AFTER_60_SECONDS,
  SET_IN_PROGRESS,
  setSystemBootOptions,
  type BootFlags,
  type BootParameter
} from '../../src/wire/ipmi/command/system-boot-options.ts'
import { WireError } from '../../src/wire/wire-error.ts'
import type { DriverBmc } from './drivers.ts'
import { ipmiSession, type Answer, type IpmiDeps, type IpmiSession } from './ipmi-session.ts'

export type IpmiDriverDeps = IpmiDeps & {
  timing: SessionTiming
  /** The longest one operation may take, log-in and repeats included; milliseconds. */
  operation: number
  /** How long a session is kept after the last operation; milliseconds. */
  idle: number
}

export function ipmiBmc(access: BmcAccess, deps: IpmiDriverDeps): DriverBmc {
  let session: IpmiSession | undefined
  let closing: Promise<void> = Promise.resolve()
  let idleTimer: NodeJS.Timeout | undefined
  let remembered: LoginWay | null = null
  let closed = false

  /** Lets go of the session at once; the BMC is told in the background, and the next log-in waits for that. */
  function endSession(): void {
    clearTimeout(idleTimer)
    if (session) closing = session.close()
    session = undefined
  }

  async function operate<T>(work: (deadlineAt: number) => Promise<T>): Promise<T> {
    clearTimeout(idleTimer)
    try {
      const result = await work(deps.now() + deps.operation)
      idleTimer = setTimeout(endSession, deps.idle)
      return result
    } catch (error) {
      endSession()
      throw error
    }
  }

  async function loggedIn(deadlineAt: number): Promise<IpmiSession> {
    if (session) return session
    await closing
    if (closed) throw stopping(access)
    const fresh = ipmiSession({ access, remembered, timing: deps.timing }, deps)
    session = fresh
    remembered = await fresh.open(deadlineAt)
    return fresh
  }

  /** One request, whatever its completion code. A session in which nothing was answered is of no more use. */
  async function send<Request>(
    command: Command<Request, unknown>,
    request: Request,
    deadlineAt: number
  ): Promise<Answer> {
    const { name, netFn, command: number, completionWords: words } = command
    const bytes = { name, netFn, command: number, data: command.encodeRequest(request), words }
    const current = await loggedIn(deadlineAt)
    const answer = await current.request(bytes, deadlineAt)
    if (answer.kind === 'no-answer') endSession()
    return answer
  }

  /** The response of a successful answer; AppError for any other completion code. */
  function read<Response>(
    command: Command<unknown, Response>,
    answer: Extract<Answer, { kind: 'reply' }>
  ): Response {
    const { name, completionWords } = command
    const { completionCode, data } = answer
    if (completionCode === COMPLETION.insufficientPrivilege) {
      const { privilege } = remembered ?? access
      // The user may have been given more since.
      remembered = null
      throw privilegeTooLow({ ...access, privilege }, name, completionCode)
    }
    if (completionCode !== COMPLETION.ok) throw refused(access, name, completionCode, completionWords)
    try {
      return command.decodeResponse(data)
    } catch (error) {
      if (error instanceof WireError) throw malformedAnswer(access, name, error.message)
      throw error
    }
  }

  /** A command that may be carried out twice: on no answer it is sent again in a new session, until time is up. */
  async function run<Request, Response>(
    command: Command<Request, Response>,
    request: Request,
    deadlineAt: number
  ): Promise<Response> {
    for (;;) {
      const answer = await send(command, request, deadlineAt)
      if (answer.kind === 'reply') return read(command, answer)
    }
  }

  async function power(deadlineAt: number): Promise<PowerState> {
    return (await run(getChassisStatus, undefined, deadlineAt)).powerOn ? 'on' : 'off'
  }

  /**
   * Chassis Control is not repeated blindly: when no answer came, or the BMC says that the state does not allow it, the
   * state is read first, and only a machine that is not yet as wanted is told again.
   */
  async function setPower(wanted: PowerState, deadlineAt: number): Promise<void> {
    for (;;) {
      const answer = await send(chassisControl, { power: wanted }, deadlineAt)
      const inDoubt = answer.kind === 'no-answer' || answer.completionCode === COMPLETION.notInThisState
      if (inDoubt && (await power(deadlineAt)) === wanted) return
      if (answer.kind === 'reply') return read(chassisControl, answer)
      if (deps.now() >= deadlineAt) {
        const missing = chassisControl.name
        throw timedOut(access, deps.operation / 1000, { kind: 'stopped', missing })
      }
    }
  }

  async function bootFlags(deadlineAt: number): Promise<BootFlags> {
    const request = { parameter: BOOT_PARAMETER.bootFlags }
    const { value } = await run(getSystemBootOptions, request, deadlineAt)
    if (value.parameter === BOOT_PARAMETER.bootFlags) return value.flags
    throw malformedAnswer(access, getSystemBootOptions.name, `it holds boot parameter ${value.parameter}`)
  }

  async function setBootFlags(flags: BootFlags, deadlineAt: number): Promise<void> {
    // Not every BMC has parameter 3, and without it the flags lapse after 60 s; so its answer, or none, is no matter.
    const keep: BootParameter = {
      parameter: BOOT_PARAMETER.validBitClearing,
      keep: KEEP_AFTER_60_SECONDS
    }
    await send(setSystemBootOptions, keep, deadlineAt)
    const set: BootParameter = { parameter: BOOT_PARAMETER.bootFlags, flags }
    const answer = await send(setSystemBootOptions, set, deadlineAt)
    if (answer.kind === 'reply' && answer.completionCode !== SET_IN_PROGRESS) {
      return read(setSystemBootOptions, answer)
    }
    // A change that another console began and never ended is ended here.
    if (answer.kind === 'reply') {
      await send(setSystemBootOptions, { parameter: BOOT_PARAMETER.setInProgress, state: 0 }, deadlineAt)
    }
    return run(setSystemBootOptions, set, deadlineAt)
  }

  return {
    powerState: () => operate(power),
    powerOn: () => operate((deadlineAt) => setPower('on', deadlineAt)),
    powerOff: () => operate((deadlineAt) => setPower('off', deadlineAt)),
    bootDevice: () => operate(async (deadlineAt) => settingOf(await bootFlags(deadlineAt))),
    setBootDevice: (device, { persistent, efi }) =>
      operate(async (deadlineAt) => {
        await setBootFlags(flagsOf(device, persistent, efi), deadlineAt)
        return settingOf(await bootFlags(deadlineAt))
      }),
    async close() {
      closed = true
      endSession()
      await closing
    }
  }
}

/** `none` is all zeros: nothing is overridden. */
function flagsOf(device: BootDevice, persistent: boolean, efi: boolean): BootFlags {
  if (device === 'none') return { valid: false, persistent: false, efi: false, device: BOOT_DEVICE.none }
  return { valid: true, persistent, efi, device: BOOT_DEVICE[device] }
}

function settingOf({ device: number, ...flags }: BootFlags): BootDeviceSetting {
  for (const device of Object.keys(BOOT_DEVICE) as BootDevice[]) {
    if (BOOT_DEVICE[device] === number) return { device, ...flags }
  }
  return { device: 'other', ...flags }
}
