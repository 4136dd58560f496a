// What every file in this folder exports: one IPMI command, both directions, named in the specification's words. The
// server's half serves the reference BMC of the tests.

/** `data` of a response begins after the completion code. Decoders throw WireError only. */
export type Command<Request, Response> = {
  name: string
  netFn: number
  command: number
  encodeRequest(request: Request): Buffer
  decodeRequest(data: Buffer): Request
  encodeResponse(response: Response): Buffer
  decodeResponse(data: Buffer): Response
  /** A user may send it (table G-1); most take an operator or an administrator. */
  forUsers?: true
  /** The command's own meanings of completion codes 0x80 to 0xBE. */
  completionWords?: Readonly<Record<number, string>>
}

/** Network functions (IPMI 2.0, table 5-1). */
export const NETFN = {
  chassis: 0x00,
  sensor: 0x04,
  application: 0x06,
  storage: 0x0a,
  transport: 0x0c
} as const

/** The two codecs of a direction that carries no data; what follows anyway is ignored. */
export const nothing = { encode: (): Buffer => Buffer.alloc(0), decode: (): void => undefined }
