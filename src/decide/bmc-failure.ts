// What can go wrong with a BMC, told apart and in words for the person who has to act. No message holds a secret.

import { AppError } from '../domain/error.ts'
import { completionWords } from '../wire/ipmi/codes.ts'

/** Where the BMC is and as whom we log in; a BmcAccess will do. */
export type BmcSubject = { address: string; port: number; username: string; privilege: string }

/** One cipher suite the BMC would not log us in with. `status` null: it answered, but not what was asked. */
export type SuiteRefusal = { suite: number; status: number | null; words: string }

/** What had been heard from the address when time ran out. */
export type Heard =
  | { kind: 'nothing' }
  | { kind: 'port-closed' }
  | { kind: 'only-ipmi-1.5' }
  | { kind: 'not-ipmi'; words: string }
  | { kind: 'stopped'; missing: string }

/** Time ran out after `seconds`. */
export function timedOut(bmc: BmcSubject, seconds: number, heard: Heard): AppError {
  const within = `within ${Number(seconds.toFixed(1))} s`
  switch (heard.kind) {
    case 'nothing':
      return failure(
        'bmc-unreachable',
        bmc,
        `nothing answered ${within}. Check the address and the cabling, and that IPMI over LAN is enabled on the BMC`
      )
    case 'port-closed':
      return failure(
        'bmc-unreachable',
        bmc,
        'the host is there but nothing listens on that port. Check the address and port, and enable IPMI over LAN on the BMC'
      )
    case 'only-ipmi-1.5':
      return failure(
        'bmc-protocol',
        bmc,
        'it speaks IPMI 1.5 only, and IPMI 2.0 (RMCP+) is needed. Update its firmware or enable IPMI 2.0 on it; ipmi_protocol_version 1.5 forces the old one, in which nothing is encrypted'
      )
    case 'not-ipmi':
      return failure(
        'bmc-protocol',
        bmc,
        `it answered, but not in valid IPMI: ${heard.words}. Check that this is the address of a BMC`
      )
    case 'stopped':
      return failure(
        'bmc-unreachable',
        bmc,
        `it answered at first, then left ${heard.missing} unanswered (gave up ${within}). The network loses packets or the BMC hangs; if it stays so, restart the BMC`
      )
  }
}

export function wrongPassword(bmc: BmcSubject): AppError {
  return failure(
    'bmc-auth',
    bmc,
    `the password for user "${bmc.username}" does not match the BMC's (a few BMCs answer an unknown user in the same way). Correct ipmi_password, or set the password on the BMC; nothing is retried, so that the BMC does not lock the user`,
    { reason: 'password' }
  )
}

/** IPMI 1.5: the log-in itself was left unanswered, after the BMC had answered before. */
export function wrongPassword15(bmc: BmcSubject): AppError {
  return failure(
    'bmc-auth',
    bmc,
    `it left the log-in of user "${bmc.username}" unanswered, which is how IPMI 1.5 BMCs answer to a wrong password. Correct ipmi_password, or set the password on the BMC (16 bytes at most); nothing is retried, so that the BMC does not lock the user`,
    { reason: 'password' }
  )
}

export function unknownUser(bmc: BmcSubject): AppError {
  return failure(
    'bmc-auth',
    bmc,
    `the BMC has no enabled user "${bmc.username}" with IPMI access over LAN. Correct ipmi_username, or enable the user on the BMC`,
    { reason: 'username' }
  )
}

export function wrongKg(bmc: BmcSubject, configured: boolean): AppError {
  const words = configured
    ? 'the BMC key (ipmi_hex_kg_key) does not match the one set on the BMC'
    : 'a BMC key (K_g) is set on the BMC and none is configured: set ipmi_hex_kg_key, or clear the key on the BMC'
  return failure('bmc-auth', bmc, `the user's password is right, but ${words}`, { reason: 'kg' })
}

/** `offered` are the suites the BMC lists, or null where it does not say. */
export function noCommonSuite(
  bmc: BmcSubject,
  refusals: readonly SuiteRefusal[],
  offered: readonly number[] | null
): AppError {
  const tried = refusals.map(({ suite, words }) => `${suite} (${words})`).join(', ')
  const offers = offered === null ? 'it does not tell which it offers' : `it offers ${listed(offered)}`
  return failure(
    'bmc-cipher',
    bmc,
    `it accepted none of the cipher suites tried: ${tried}; ${offers}. Enable suite 17 or 3 on the BMC`,
    { refusals, offered }
  )
}

/** The configured suites are all ones that must not be used. */
export function suitesNotAllowed(bmc: BmcSubject, suites: readonly number[]): AppError {
  return failure(
    'bmc-cipher',
    bmc,
    `none of the configured cipher suites (${listed(suites)}) may be used: 0 lets anyone in, and one that does not encrypt must be the only one named. Use 17 or 3`
  )
}

export function roleRefused(bmc: BmcSubject, refusals: readonly SuiteRefusal[]): AppError {
  const answers = refusals.map(({ suite, words }) => `suite ${suite}: ${words}`).join('; ')
  const wanted = bmc.privilege === 'highest' ? 'administrator, nor as operator' : bmc.privilege
  return failure(
    'bmc-privilege',
    bmc,
    `user "${bmc.username}" may not log in as ${wanted}${answers && ` (${answers})`}. Raise the user's and the channel's privilege limit on the BMC, or set ipmi_priv_level lower`,
    { refusals }
  )
}

export function noFreeSession(bmc: BmcSubject, refusals: readonly SuiteRefusal[]): AppError {
  return failure(
    'bmc-busy',
    bmc,
    'it has no free session. Close other consoles and tools that use it; forgotten sessions end by themselves after about a minute',
    { refusals }
  )
}

/** The BMC kept answering `command` with a code that asks to wait. */
export function nodeBusy(bmc: BmcSubject, command: string, completionCode: number): AppError {
  return failure(
    'bmc-busy',
    bmc,
    `it stayed busy at ${command} (${completionWords(completionCode)}). Try again later; if it stays so, restart the BMC`,
    { completionCode }
  )
}

export function refused(
  bmc: BmcSubject,
  command: string,
  completionCode: number,
  own?: Readonly<Record<number, string>>
): AppError {
  return failure(
    'bmc-refused',
    bmc,
    `it refused ${command} (${completionWords(completionCode, own)}). See the BMC's own log or set-up for the reason`,
    { completionCode }
  )
}

export function privilegeTooLow(bmc: BmcSubject, command: string, completionCode: number): AppError {
  return failure(
    'bmc-privilege',
    bmc,
    `user "${bmc.username}" as ${bmc.privilege} may not use ${command}. Raise the user's and the channel's privilege limit on the BMC, or ipmi_priv_level`,
    { completionCode }
  )
}

/** The BMC took a new password, and then did not know it. */
export function passwordNotKept(
  bmc: BmcSubject,
  completionCode: number,
  own?: Readonly<Record<number, string>>
): AppError {
  return failure(
    'bmc-refused',
    bmc,
    `it took the new password for user "${bmc.username}" but does not know it now (${completionWords(completionCode, own)}). Use one of at most 16 letters and digits`,
    { completionCode }
  )
}

/** The BMC took a new password, and a log-in with it fails. */
export function passwordNotTaken(bmc: BmcSubject): AppError {
  return failure(
    'bmc-refused',
    bmc,
    `it took the new password for user "${bmc.username}" but lets nobody in with it; the old one is back. Use one of at most 16 letters and digits: some BMCs cut longer ones`
  )
}

export function passwordTooLong(bmc: BmcSubject, most: number): AppError {
  return new AppError(
    'bad-request',
    `BMC ${bmc.address}: the new password for user "${bmc.username}" must have 1 to ${most} bytes; it is not cut to fit.`
  )
}

/** What Seedling may send only over an encrypted session. */
export function needsEncryption(bmc: BmcSubject, what: string): AppError {
  return failure(
    'bmc-cipher',
    bmc,
    `${what} would travel readable for everybody: the session is not encrypted. Use cipher suite 17 or 3`
  )
}

/** The answer to `command` is authentic but out of shape. */
export function malformedAnswer(bmc: BmcSubject, command: string, words: string): AppError {
  return failure(
    'bmc-protocol',
    bmc,
    `its answer to ${command} makes no sense: ${words}. Update the BMC's firmware`
  )
}

/** Not a packet could be sent: the name does not resolve, or there is no route. */
export function cannotSend(bmc: BmcSubject, words: string): AppError {
  return failure(
    'bmc-unreachable',
    bmc,
    `nothing can be sent to it (${words}). Check ipmi_address, and this host's name resolution and routes to the BMC network`
  )
}

/** Seedling is about to end; what was asked of the BMC may or may not have been done. */
export function stopping(bmc: BmcSubject): AppError {
  return failure('bmc-busy', bmc, 'cut short because Seedling is stopping. Try again when it is back')
}

/** Serial over LAN is in use by another console. */
export function consoleTaken(bmc: BmcSubject): AppError {
  return failure(
    'bmc-busy',
    bmc,
    'its serial console is active in another session (another tool, or one that ended without closing it; that ends by itself after about a minute). Close that one, or take the console over with --steal',
    { reason: 'console-taken' }
  )
}

/** The BMC would not activate serial over LAN. */
export function consoleRefused(
  bmc: BmcSubject,
  completionCode: number,
  own?: Readonly<Record<number, string>>
): AppError {
  return failure(
    'bmc-refused',
    bmc,
    `it does not open its serial console (${completionWords(completionCode, own)}). Enable serial over LAN on the BMC, and for user "${bmc.username}"; its port and speed must be those of the machine's console`,
    { completionCode }
  )
}

/** IPMI 1.5 has no serial over LAN. */
export function consoleUnknown(bmc: BmcSubject): AppError {
  return failure(
    'bmc-refused',
    bmc,
    'its serial console needs IPMI 2.0, and ipmi_protocol_version forces 1.5. Remove that where the BMC speaks 2.0'
  )
}

/** An open console ended. `deactivated`: the BMC says so; `silent`: it answers no more. */
export function consoleLost(bmc: BmcSubject, how: 'deactivated' | 'silent'): AppError {
  return how === 'deactivated'
    ? failure('bmc-busy', bmc, 'the serial console was deactivated, by another console or by the BMC', {
        reason: 'console-deactivated'
      })
    : failure('bmc-unreachable', bmc, 'it no longer answers on the serial console')
}

/** The session of a console was needed for orders. */
export function consoleGivenUp(bmc: BmcSubject): AppError {
  return failure(
    'bmc-busy',
    bmc,
    'the serial console is given up: the BMC has no other session for power and boot device',
    { reason: 'no-spare-session' }
  )
}

/** It has failed before, and is not to be asked again yet: the last failure, and when that changes. */
export function leftAlone(seconds: number, last: AppError): AppError {
  const again = `Not tried again for ${Math.max(1, Math.ceil(seconds))} s, or until its driver_info changes`
  return new AppError(last.code, `${last.message} ${again}.`, { ...last.detail, leftAlone: true })
}

/** The BMC took its turn for other orders of ours for longer than an operation may wait. */
export function queueFull(bmc: BmcSubject, seconds: number): AppError {
  return failure(
    'bmc-busy',
    bmc,
    `earlier operations on it were not over within ${Number(seconds.toFixed(1))} s. Try again when they are`
  )
}

function failure(
  code:
    | 'bmc-unreachable'
    | 'bmc-auth'
    | 'bmc-cipher'
    | 'bmc-privilege'
    | 'bmc-busy'
    | 'bmc-refused'
    | 'bmc-protocol',
  bmc: BmcSubject,
  words: string,
  detail: Record<string, unknown> = {}
): AppError {
  const where = bmc.address.includes(':') ? `[${bmc.address}]:${bmc.port}` : `${bmc.address}:${bmc.port}`
  return new AppError(code, `BMC ${where}: ${words}.`, { address: bmc.address, port: bmc.port, ...detail })
}

function listed(numbers: readonly number[]): string {
  return numbers.length === 0 ? 'none' : numbers.join(', ')
}
