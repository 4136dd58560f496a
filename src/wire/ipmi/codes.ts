// What the numbers in answers mean: RMCP+ status codes (IPMI 2.0, table 13-15) and completion codes (table 5-2).

export const RMCP_PLUS_STATUS = {
  ok: 0x00,
  noResources: 0x01,
  invalidSessionId: 0x02,
  invalidAuthenticationAlgorithm: 0x04,
  inactiveSessionId: 0x08,
  invalidRole: 0x09,
  unauthorizedRole: 0x0a,
  noResourcesAtRole: 0x0b,
  unauthorizedName: 0x0d,
  invalidIntegrityCheck: 0x0f,
  noMatchingSuite: 0x11
} as const

const RMCP_PLUS_STATUS_WORDS: Readonly<Record<number, string>> = {
  0x00: 'no error',
  0x01: 'insufficient resources to create a session',
  0x02: 'invalid session ID',
  0x03: 'invalid payload type',
  0x04: 'invalid authentication algorithm',
  0x05: 'invalid integrity algorithm',
  0x06: 'no matching authentication payload',
  0x07: 'no matching integrity payload',
  0x08: 'inactive session ID',
  0x09: 'invalid role',
  0x0a: 'role or privilege level not allowed',
  0x0b: 'insufficient resources to create a session at this role',
  0x0c: 'invalid name length',
  0x0d: 'unauthorized name',
  0x0e: 'unauthorized GUID',
  0x0f: 'invalid integrity check value',
  0x10: 'invalid confidentiality algorithm',
  0x11: 'no cipher suite match',
  0x12: 'illegal or unrecognised parameter'
}

export const COMPLETION = {
  ok: 0x00,
  nodeBusy: 0xc0,
  invalidCommand: 0xc1,
  timeout: 0xc3,
  reservationLost: 0xc5,
  requestLength: 0xc7,
  tooLong: 0xc8,
  cannotReturn: 0xca,
  notPresent: 0xcb,
  invalidField: 0xcc,
  initialising: 0xd2,
  unavailable: 0xd3,
  insufficientPrivilege: 0xd4,
  notInThisState: 0xd5
} as const

const COMPLETION_WORDS: Readonly<Record<number, string>> = {
  0x00: 'completed',
  0xc0: 'node busy',
  0xc1: 'command unknown to this BMC',
  0xc2: 'command unknown for this logical unit',
  0xc3: 'timeout inside the BMC',
  0xc4: 'out of space',
  0xc5: 'reservation lost',
  0xc6: 'request data cut short',
  0xc7: 'request data length wrong',
  0xc8: 'request data limit exceeded',
  0xc9: 'parameter out of range',
  0xca: 'cannot return that many bytes',
  0xcb: 'not present',
  0xcc: 'invalid data field',
  0xcd: 'illegal for this sensor or record',
  0xce: 'response could not be provided',
  0xcf: 'duplicated request',
  0xd0: 'sensor repository being updated',
  0xd1: 'firmware being updated',
  0xd2: 'BMC starting up',
  0xd3: 'destination unavailable',
  0xd4: 'insufficient privilege',
  0xd5: 'not possible in the present state',
  0xd6: 'disabled',
  0xff: 'unspecified error'
}

/** `0x0D, unauthorized name` */
export function statusWords(status: number): string {
  return `${hexByte(status)}, ${RMCP_PLUS_STATUS_WORDS[status] ?? 'a status the specification does not know'}`
}

/** `0xC0, node busy`; `own` are the meanings one command gives to 0x80 to 0xBE. */
export function completionWords(code: number, own: Readonly<Record<number, string>> = {}): string {
  return `${hexByte(code)}, ${own[code] ?? COMPLETION_WORDS[code] ?? 'a code the specification does not know'}`
}

function hexByte(value: number): string {
  return `0x${value.toString(16).toUpperCase().padStart(2, '0')}`
}
