// Where a DHCP answer goes: a pure function of the packets (RFC 2131 4.1).

import type { Ip, Mac } from '../wire/address.ts'
import { BROADCAST_FLAG, CLIENT_PORT, NO_ADDRESS, SERVER_PORT, type DhcpMessage } from '../wire/dhcp.ts'

/** `mac` is set when the client does not answer ARP yet: the frame must be addressed to it directly. */
export type DhcpDestination = { address: Ip; port: number; mac?: Mac }

const BROADCAST: DhcpDestination = { address: '255.255.255.255', port: CLIENT_PORT }

/**
 * `rom`: the client is firmware; many of them miss unicast whatever flag they send, so they get broadcasts.
 * `unicastWithoutArp`: the transport can address a frame to a MAC. Without that, a client that has no address
 * yet can only be reached by broadcast.
 */
export function dhcpDestination(
  request: Pick<DhcpMessage, 'giaddr' | 'ciaddr' | 'flags' | 'chaddr'>,
  reply: Pick<DhcpMessage, 'yiaddr' | 'options'>,
  { rom, unicastWithoutArp }: { rom: boolean; unicastWithoutArp: boolean }
): DhcpDestination {
  if (request.giaddr !== NO_ADDRESS) return { address: request.giaddr, port: SERVER_PORT }
  // A refused client must not go on using its address, so the refusal does not go there.
  if (reply.options.messageType === 'nak') return BROADCAST
  if (request.ciaddr !== NO_ADDRESS) return { address: request.ciaddr, port: CLIENT_PORT }
  if ((request.flags & BROADCAST_FLAG) !== 0 || rom || !unicastWithoutArp) return BROADCAST
  return { address: reply.yiaddr, port: CLIENT_PORT, mac: request.chaddr }
}
