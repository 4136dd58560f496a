// Who asks and who answers on the machines' LAN. Clients are read out of the packets that are kept of them when somebody wants to know, so
// that they cost nothing; of other servers the last answer is kept.

import { seenAnswer, seenClient, type SeenClient, type SeenServer } from '../../src/decide/dhcp-seen.ts'
import type { Ip } from '../../src/wire/address.ts'
import type { DhcpMessage } from '../../src/wire/dhcp.ts'
import type { PacketRing } from './packet-ring.ts'

/** Whoever forges answers fills no memory: the server that has been quiet longest is forgotten. */
const MOST_SERVERS = 64

export type Observations = ReturnType<typeof createObservations>

export function createObservations({
  ring,
  now
}: {
  ring: Pick<PacketRing, 'macs' | 'newest'>
  now: () => number
}) {
  /** In the order in which they spoke last. */
  const servers = new Map<Ip, SeenServer>()

  return {
    /** Takes the answer of another server. `from`: the source of the packet. */
    answered(message: DhcpMessage, from: Ip): void {
      const address = message.options.serverId ?? from
      const at = now()
      const known = servers.get(address)
      servers.delete(address)
      servers.set(address, {
        address,
        firstAt: known?.firstAt ?? at,
        lastAt: at,
        answers: (known?.answers ?? 0) + 1,
        answer: seenAnswer(message)
      })
      if (servers.size > MOST_SERVERS) servers.delete(servers.keys().next().value as Ip)
    },

    /** The clients that spoke last, at most `limit`, the latest first. */
    clients(limit: number): SeenClient[] {
      return ring
        .macs()
        .slice(0, limit)
        .flatMap((mac) => {
          const packet = ring.newest(mac)
          return (packet && seenClient(packet)) ?? []
        })
    },

    /** The servers, the one that spoke last first. */
    servers: (): SeenServer[] => [...servers.values()].reverse()
  }
}
