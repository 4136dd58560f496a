// The `ipmi` driver: a BMC out of IPMI 2.0 commands. Power and boot device are here, reports in ipmi-*.ts.
//
// A session is kept for a moment after an operation, so that "set the boot device, switch on" is one log-in; it is closed
// after `idle` milliseconds, after every error, and on close(). Operations must come one at a time (bmcs.ts sees to that).

import type { BmcAccess, BootDevice, BootDeviceSetting, LoginWay, PowerState } from '../../src/domain/bmc.ts'
import type { BmcIdentity } from '../../src/domain/bmc-report.ts'
import { AppError } from '../../src/domain/error.ts'
import {
  malformedAnswer,
  needsEncryption,
  passwordNotTaken,
  passwordTooLong,
  privilegeTooLow,
  refused,
  stopping,
  timedOut
} from '../../src/decide/bmc-failure.ts'
import type { SessionTiming } from '../../src/decide/bmc-session-state.ts'
import { bootDeviceName, bootDeviceNumber } from '../../src/wire/ipmi/boot-device.ts'
import { cipherSuite } from '../../src/wire/ipmi/cipher-suite.ts'
import { COMPLETION } from '../../src/wire/ipmi/codes.ts'
import { chassisControl, type ChassisControl } from '../../src/wire/ipmi/command/chassis-control.ts'
import { chassisIdentify } from '../../src/wire/ipmi/command/chassis-identify.ts'
import type { Command } from '../../src/wire/ipmi/command/command.ts'
import { getChassisStatus } from '../../src/wire/ipmi/command/chassis-status.ts'
import { getDeviceId } from '../../src/wire/ipmi/command/get-device-id.ts'
import { getSystemGuid } from '../../src/wire/ipmi/command/get-system-guid.ts'
import {
  BOOT_PARAMETER,
  getSystemBootOptions,
  KEEP_AFTER_60_SECONDS,
  NOT_READ_BY_BIOS,
  SET_IN_PROGRESS,
  setSystemBootOptions,
  type BootFlags,
  type BootParameter
} from '../../src/wire/ipmi/command/system-boot-options.ts'
import { WireError } from '../../src/wire/wire-error.ts'
import type { DriverBmc } from './drivers.ts'
import { clearEventLog, readEventLog } from './ipmi-event-log.ts'
import type { Exchange } from './ipmi-exchange.ts'
import { readInventory } from './ipmi-fru.ts'
import { readLan } from './ipmi-lan.ts'
import { readSdrs, readSensors, type SdrCache } from './ipmi-sensors.ts'
import { ipmiSession, type Answer, type IpmiDeps, type IpmiSession } from './ipmi-session.ts'
import { ownUserId, readUsers, storePassword } from './ipmi-users.ts'

export type IpmiDriverDeps = IpmiDeps & {
  timing: SessionTiming
  /** The longest one operation may take, log-in and repeats included; milliseconds. Reports may take three times that. */
  operation: number
  /** How long a session is kept after the last operation; milliseconds. */
  idle: number
  /** The least time between two commands; milliseconds. */
  gap: number
  /** Waits for a place among all log-ins; to be called when done with it. `alive`: the BMC has answered something. */
  loginPlace: (alive: () => boolean) => Promise<() => void>
  /** The way that worked in an earlier life. */
  remembered: LoginWay | null
  /** Whose BMC it is, as an exam found out; an IANA enterprise number. */
  maker: number | null
}

const REPORT_FACTOR = 3

/** The driver, and what only the exam asks. */
export type IpmiBmc = DriverBmc & {
  /** Whether the boot device can be told to stay without a chassis control (boot parameter 3). */
  keepsBootDevice(): Promise<boolean>
}

export function ipmiBmc(access: BmcAccess, deps: IpmiDriverDeps): IpmiBmc {
  let session: IpmiSession | undefined
  /** It was opened for what a user may do, and is so still. */
  let asUser = false
  let closing: Promise<void> = Promise.resolve()
  let idleTimer: NodeJS.Timeout | undefined
  let remembered = deps.remembered
  let sdrs: SdrCache | null = null
  let lastSentAt = -Infinity
  let closed = false

  /** Lets go of the session at once; the BMC is told in the background, and the next log-in waits for that. */
  function endSession(): void {
    clearTimeout(idleTimer)
    if (session) closing = session.close()
    session = undefined
  }

  async function operate<T>(work: (exchange: Exchange) => Promise<T>, factor = 1): Promise<T> {
    clearTimeout(idleTimer)
    try {
      const result = await work(exchangeUntil(deps.now() + deps.operation * factor))
      idleTimer = setTimeout(endSession, deps.idle)
      return result
    } catch (error) {
      endSession()
      throw error
    }
  }
  const report = <T>(work: (exchange: Exchange) => Promise<T>): Promise<T> => operate(work, REPORT_FACTOR)

  /** A session, the one at hand or a new one. `userSuffices`: its privilege need not be raised. */
  async function loggedIn(exchange: Exchange, userSuffices = false): Promise<IpmiSession> {
    if (session && asUser && !userSuffices) {
      remembered = await session.raise(exchange.deadlineAt)
      asUser = false
    }
    if (session) return session
    await closing
    const waitedFrom = deps.now()
    const leave = await deps.loginPlace(() => session?.heardFrom() ?? false)
    exchange.deadlineAt += deps.now() - waitedFrom
    try {
      if (closed) throw stopping(access)
      const fresh = ipmiSession({ access, remembered, timing: deps.timing }, deps)
      session = fresh
      asUser = userSuffices
      remembered = await fresh.open(exchange.deadlineAt, asUser)
      return fresh
    } finally {
      leave()
    }
  }

  async function pace(): Promise<void> {
    const wait = lastSentAt + deps.gap - deps.now()
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait))
    if (closed) throw stopping(access)
  }

  function exchangeUntil(deadlineAt: number): Exchange {
    const exchange: Exchange = {
      access,
      deadlineAt,
      now: deps.now,
      // A session in which nothing was answered is of no more use.
      async send(command, request, how) {
        const { name, netFn, command: number, completionWords: words } = command
        const data = command.encodeRequest(request)
        const bytes = { name, netFn, command: number, data, words, once: how === 'once' }
        const current = await loggedIn(exchange, command.forUsers)
        await pace()
        const answer = await current.request(bytes, exchange.deadlineAt)
        lastSentAt = deps.now()
        // A BMC whose sessions begin with less than the standard says.
        if (
          asUser &&
          'completionCode' in answer &&
          answer.completionCode === COMPLETION.insufficientPrivilege
        ) {
          await loggedIn(exchange)
          return exchange.send(command, request, how)
        }
        if (answer.kind === 'no-answer' && how !== 'once') endSession()
        return answer
      },
      read<Response>(command: Command<unknown, Response>, answer: Extract<Answer, { kind: 'reply' }>) {
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
      },
      async ask(command, request) {
        for (;;) {
          const answer = await exchange.send(command, request)
          if (answer.kind === 'reply') return answer
        }
      },
      async run(command, request) {
        return exchange.read(command, await exchange.ask(command, request))
      }
    }
    return exchange
  }

  async function power(exchange: Exchange): Promise<PowerState> {
    return (await exchange.run(getChassisStatus, undefined)).powerOn ? 'on' : 'off'
  }

  /**
   * Chassis Control is not repeated blindly: when no answer came, or the BMC says that the state does not allow it, the
   * state is read first, and only a machine that is not yet as wanted is told again. A power button is pressed once.
   */
  async function setPower(exchange: Exchange, control: ChassisControl): Promise<void> {
    const wanted: PowerState = control === 'on' ? 'on' : 'off'
    for (;;) {
      const answer = await exchange.send(chassisControl, { control }, 'once')
      const inDoubt = answer.kind === 'no-answer' || answer.completionCode === COMPLETION.notInThisState
      if (inDoubt && (await power(exchange)) === wanted) return
      if (answer.kind === 'reply') return exchange.read(chassisControl, answer)
      if (control === 'soft-off' || deps.now() >= exchange.deadlineAt) {
        const missing = chassisControl.name
        throw timedOut(access, deps.operation / 1000, { kind: 'stopped', missing })
      }
    }
  }

  async function bootFlags(exchange: Exchange): Promise<BootFlags> {
    const request = { parameter: BOOT_PARAMETER.bootFlags }
    const { value } = await exchange.run(getSystemBootOptions, request)
    if (value.parameter === BOOT_PARAMETER.bootFlags) return value.flags
    throw malformedAnswer(access, getSystemBootOptions.name, `it holds boot parameter ${value.parameter}`)
  }

  /** Only parameter 5 must be there; what becomes of the others is no matter. */
  async function setBootFlags(exchange: Exchange, flags: BootFlags): Promise<void> {
    const send = (value: BootParameter): Promise<Answer> => exchange.send(setSystemBootOptions, value)
    const mark = (state: number): Promise<Answer> => send({ parameter: BOOT_PARAMETER.setInProgress, state })
    const isTaken = (answer: Answer): boolean =>
      answer.kind === 'reply' && answer.completionCode === SET_IN_PROGRESS
    // A change that another console began and never ended is ended here.
    if (isTaken(await mark(1))) await mark(0)
    // Without parameter 3 the flags lapse after 60 s.
    await send({ parameter: BOOT_PARAMETER.validBitClearing, keep: KEEP_AFTER_60_SECONDS })
    await send({ parameter: BOOT_PARAMETER.acknowledge, ...NOT_READ_BY_BIOS })
    const set: BootParameter = { parameter: BOOT_PARAMETER.bootFlags, flags }
    const answer = await send(set)
    if (isTaken(answer)) await mark(0)
    if (answer.kind === 'reply' && !isTaken(answer)) exchange.read(setSystemBootOptions, answer)
    else await exchange.run(setSystemBootOptions, set)
    await mark(0)
  }

  async function identity(exchange: Exchange): Promise<BmcIdentity> {
    const device = await exchange.run(getDeviceId, undefined)
    const guid = await exchange.ask(getSystemGuid, undefined)
    const { firmwareMajor, firmwareMinor, ipmiVersion, manufacturer, product } = device
    return {
      manufacturer,
      product,
      firmware: `${firmwareMajor}.${firmwareMinor.toString(16).padStart(2, '0')}`,
      ipmiVersion: `${ipmiVersion & 0x0f}.${ipmiVersion >> 4}`,
      systemGuid:
        guid.completionCode === COMPLETION.ok ? exchange.read(getSystemGuid, guid).guid.toString('hex') : null
    }
  }

  /** Sensor records, as far as this BMC has them. */
  async function sensorRecords(exchange: Exchange): Promise<SdrCache['records']> {
    try {
      sdrs = await readSdrs(exchange, sdrs)
      return sdrs.records
    } catch (error) {
      if (error instanceof AppError && error.code === 'bmc-refused') return []
      throw error
    }
  }

  async function setPassword(exchange: Exchange, text: string): Promise<void> {
    const password = Buffer.from(text)
    const most = access.protocol === '1.5' ? 16 : 20
    if (password.length === 0 || password.length > most) throw passwordTooLong(access, most)
    await loggedIn(exchange)
    const suite = remembered?.suite ?? null
    const encrypted = suite !== null && cipherSuite(suite)?.confidentiality.cipher !== null
    if (!encrypted) throw needsEncryption(access, 'the new password')
    const user = await ownUserId(exchange)
    try {
      await storePassword(exchange, user, password)
      await proveLogin(text)
    } catch (error) {
      // The session that changed it is still open, or can be opened again where the old password is still the one.
      await storePassword(exchange, user, Buffer.from(access.password))
      // It is the BMC that is at fault, not the password: OpenIPMI's simulator cuts it to 16 bytes and says nothing.
      if (error instanceof AppError && error.code === 'bmc-auth') throw passwordNotTaken(access)
      throw error
    }
    endSession()
  }

  /** A log-in with the new password, beside the open session; where the BMC has but one session, in its place. */
  async function proveLogin(password: string): Promise<void> {
    const attempt = async (): Promise<void> => {
      const proof = ipmiSession({ access: { ...access, password }, remembered, timing: deps.timing }, deps)
      try {
        // Too short to wait for a free session.
        await proof.open(deps.now() + deps.timing.sessionPause)
      } finally {
        await proof.close()
      }
    }
    try {
      await attempt()
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== 'bmc-busy') throw error
      endSession()
      await closing
      await attempt()
    }
  }

  return {
    powerState: () => operate(power),
    powerOn: () => operate((exchange) => setPower(exchange, 'on')),
    powerOff: () => operate((exchange) => setPower(exchange, 'off')),
    softOff: () => operate((exchange) => setPower(exchange, 'soft-off')),
    bootDevice: () => operate(async (exchange) => settingOf(await bootFlags(exchange), deps.maker)),
    setBootDevice: (device, { persistent, efi }) =>
      operate(async (exchange) => {
        await setBootFlags(exchange, flagsOf(device, persistent, efi, deps.maker))
        return settingOf(await bootFlags(exchange), deps.maker)
      }),
    keepsBootDevice: () =>
      operate(async (exchange) => {
        const request = { parameter: BOOT_PARAMETER.validBitClearing }
        const answer = await exchange.ask(getSystemBootOptions, request)
        if (answer.completionCode !== COMPLETION.ok) return false
        const { value } = exchange.read(getSystemBootOptions, answer)
        return 'keep' in value && (value.keep & KEEP_AFTER_60_SECONDS) !== 0
      }),
    identify: (light) => operate((exchange) => exchange.run(chassisIdentify, { identify: light })),
    identifyState: () =>
      operate(async (exchange) => (await exchange.run(getChassisStatus, undefined)).identify),
    identity: () => operate(identity),
    events: () => report(async (exchange) => readEventLog(exchange, await sensorRecords(exchange))),
    clearEvents: () => report(clearEventLog),
    sensors: () => report(async (exchange) => readSensors(exchange, await sensorRecords(exchange))),
    product: () => operate(async (exchange) => (await readInventory(exchange, []))[0] ?? null),
    inventory: () => report(async (exchange) => readInventory(exchange, await sensorRecords(exchange))),
    lan: () => report(readLan),
    users: () => report(readUsers),
    setPassword: (password) => report((exchange) => setPassword(exchange, password)),
    async close() {
      closed = true
      endSession()
      await closing
    }
  }
}

/** `none` is all zeros: nothing is overridden. */
function flagsOf(device: BootDevice, persistent: boolean, efi: boolean, maker: number | null): BootFlags {
  if (device === 'none') return { valid: false, persistent: false, efi: false, device: 0 }
  return { valid: true, persistent, efi, device: bootDeviceNumber(device, { persistent, efi }, maker) }
}

function settingOf({ device: number, ...flags }: BootFlags, maker: number | null): BootDeviceSetting {
  return { device: bootDeviceName(number, flags, maker), ...flags }
}
