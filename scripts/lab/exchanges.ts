// DHCP conversations in a recording: the packets of one transaction together, and which program held it.
import { decodeDhcp } from '../../src/wire/dhcp.ts'
import type { DhcpMessage } from '../../src/wire/dhcp.ts'
import type { Packet } from './capture.ts'

export type DhcpPacket = Packet & { message: DhcpMessage }

/** What one client and the server said under one transaction number, in the order of the wire. */
export type Exchange = {
  /** The client's hardware address, whoever sent it. */
  mac: string
  /** How the client calls itself, without the parts that tell versions apart. */
  client: string
  packets: DhcpPacket[]
}

/** All conversations, in the order in which they began. @throws WireError for a packet on DHCP's ports that is none */
export function dhcpExchanges(packets: readonly Packet[]): Exchange[] {
  const exchanges = new Map<string, Exchange>()
  for (const packet of packets) {
    if (packet.protocol !== 'udp' || (packet.to.port !== 67 && packet.to.port !== 68)) continue
    const message = decodeDhcp(packet.payload)
    const { chaddr: mac, xid } = message
    const key = `${mac} ${xid}`
    const exchange = exchanges.get(key) ?? { mac, client: clientOf(message), packets: [] }
    exchange.packets.push({ ...packet, message })
    exchanges.set(key, exchange)
  }
  return [...exchanges.values()]
}

/** `iPXE`, `PXEClient:Arch:00007`, `udhcp`, …; from the packet alone, so that it can be held against what Seedling takes it for. */
function clientOf({ options }: DhcpMessage): string {
  const userClass = options.userClass?.toString('latin1')
  return userClass || options.vendorClass?.replace(/:UNDI.*| .*/, '') || 'no class'
}
