// The one length check of the IPMI codecs: a short packet is never read past its end.

import { WireError } from '../wire-error.ts'

/** Throws WireError `short` unless `bytes` has at least `needed` bytes; `what` names the format in the message. */
export function requireLength(bytes: Buffer, needed: number, what: string): void {
  if (bytes.length < needed) {
    throw new WireError('short', bytes.length, `${what} needs ${needed} bytes, got ${bytes.length}`)
  }
}
