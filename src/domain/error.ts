// The errors people meet, as one closed list. A code is stable: the API, the CLI, events and tests name it.
// What went wrong is told in the message: who, what, what was expected, what to do next.

export const ERROR_CODES = [
  // the operator asked for something that cannot be
  'bad-request',
  'bad-inventory',
  'not-found',
  'name-taken',
  'mac-taken',
  'bmc-taken',
  'wrong-state',
  'busy',
  'image-missing',
  'image-refused',
  'image-in-use',
  'keypair-missing',
  'pool-exhausted',
  'unauthorized',
  'misdirected',
  'cross-site',
  'too-large',
  'storage-full',
  'foreign-dhcp',
  // the configuration or the host does not allow us to start
  'bad-config',
  'unsafe-network',
  'state-locked',
  'fenced',
  'schema-newer',
  'state-damaged',
  'bad-backup',
  // the BMC
  'bmc-unreachable',
  'bmc-auth',
  'bmc-cipher',
  'bmc-privilege',
  'bmc-busy',
  'bmc-refused',
  'bmc-protocol'
] as const

export type ErrorCode = (typeof ERROR_CODES)[number]

/** An error with a stable code and a message written for the person who has to act on it. */
export class AppError extends Error {
  readonly code: ErrorCode
  /** Facts beside the message: a completion code, the list of all faults found. Never a secret. */
  readonly detail: Readonly<Record<string, unknown>>

  constructor(code: ErrorCode, message: string, detail: Record<string, unknown> = {}) {
    super(message)
    this.name = 'AppError'
    this.code = code
    this.detail = detail
  }
}
