// A DHCP packet that came or went, kept for the person who asks why.

import type { UdpEnd } from '../wire/pcap.ts'

export type DhcpPacket = {
  /** Milliseconds since the epoch, with fractions. */
  at: number
  /** As seen from us. */
  direction: 'in' | 'out'
  from: UdpEnd
  to: UdpEnd
  bytes: Uint8Array
  /** What was decided, in words: whether it is answered, with what, and why. */
  decision: string
}
