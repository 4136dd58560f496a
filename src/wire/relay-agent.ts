// What relays put into option 82 (RFC 3046) and servers act on; the option itself goes back unread, byte for byte.

import { formatIp, type Ip } from './address.ts'

/** Sub-options that change an answer. */
const LINK_SELECTION = 5
const SERVER_ID_OVERRIDE = 11

export type RelayAgent = {
  /** The link the client is on, when it is not that of giaddr (RFC 3527). */
  linkSelection: Ip | null
  /** What the client is to take for its server, so that its renewals go through the relay too (RFC 5107). */
  serverIdOverride: Ip | null
}

/** Reads option 82; undefined when a sub-option runs over the end, or one that we act on is no address. */
export function parseRelayAgent(bytes: Uint8Array): RelayAgent | undefined {
  const found: RelayAgent = { linkSelection: null, serverIdOverride: null }
  for (let at = 0; at < bytes.length;) {
    const code = bytes[at] as number
    const length = bytes[at + 1]
    if (length === undefined || at + 2 + length > bytes.length) return undefined
    if (code === LINK_SELECTION || code === SERVER_ID_OVERRIDE) {
      if (length !== 4) return undefined
      const view = new DataView(bytes.buffer, bytes.byteOffset + at + 2, 4)
      found[code === LINK_SELECTION ? 'linkSelection' : 'serverIdOverride'] = formatIp(view.getUint32(0))
    }
    at += 2 + length
  }
  return found
}
