// proxyDHCP (PXE 2.1, 2.2): another server gives the addresses, we only tell enrolled machines what to boot. On port 67 a DISCOVER gets an
// OFFER without an address; on port 4011 whatever PXE firmware asks gets an ACK. Which address a machine took is seen from its
// broadcast REQUEST, and is what it is known by on every other path.

import type { Change } from '../domain/change.ts'
import type { Port } from '../domain/node.ts'
import { NO_ADDRESS, type DhcpMessage } from '../wire/dhcp.ts'
import {
  bootFields,
  bootFileFor,
  bootOptions,
  event,
  ignored,
  instanceUp,
  openCase,
  type DhcpCase,
  type DhcpFacts,
  type DhcpSettings,
  type DhcpTime,
  type DhcpVerdict
} from './dhcp.ts'
import { dhcpDestination, type DhcpDestination } from './dhcp-destination.ts'
import { contains, type DhcpPlace } from './dhcp-place.ts'
import { echoed, emptyReply } from './dhcp-reply.ts'

/** What a proxy knows beside the facts of every DHCP packet. */
export type ProxyFacts = DhcpFacts & {
  /** The port that was last seen at the address of this packet, if it is another one. */
  other: Port | null
}

/** Which of the two ports heard the packet, and who sent it there. */
export type ProxyDoor = { port: 67 } | { port: 4011; from: DhcpDestination }

/** How long a seen address is taken for the machine's when it is not seen again; the other server's lease time is not for us to know. */
const SEEN_SECONDS = 7 * 86400

/** The address that a packet shows its sender to have or to be about to have; null: none. */
export function addressShown({ ciaddr, options }: DhcpMessage): string | null {
  if (options.messageType !== 'request' && options.messageType !== 'inform') return null
  const shown = ciaddr !== NO_ADDRESS ? ciaddr : options.requestedAddress
  return shown === undefined || shown === NO_ADDRESS ? null : shown
}

/** Decides one packet; never throws. */
export function decideProxyDhcp(
  request: DhcpMessage,
  door: ProxyDoor,
  place: DhcpPlace,
  facts: ProxyFacts,
  settings: DhcpSettings,
  time: DhcpTime
): DhcpVerdict {
  const asked = openCase(request, place, facts, settings, time)
  if ('ignore' in asked) return asked
  if (!asked.node || !asked.port)
    return { ignore: 'not-enrolled', reason: 'not-enrolled', client: null, changes: [] }
  const seen = addressSeen(asked, facts)
  const { type, firmware } = asked
  const answers = door.port === 67 ? type === 'discover' : type !== 'release' && type !== 'decline'
  if (!answers)
    return ignored(asked, 'not-for-a-proxy', [...seen, ...(type === 'request' ? instanceUp(asked) : [])])
  const boot = bootFileFor(asked)
  const { file, reason, changes: tried } = boot
  if (!file) return ignored(asked, 'nothing-to-boot', seen, reason)
  const answer = door.port === 67 ? 'offer' : 'ack'
  const reply: DhcpMessage = {
    ...emptyReply(request),
    ciaddr: answer === 'ack' ? request.ciaddr : NO_ADDRESS,
    ...bootFields(file, settings),
    options: {
      messageType: answer,
      serverId: asked.serverId,
      ...bootOptions(asked, boot),
      // What makes an offer without an address a proxy's, for every kind of client.
      vendorClass: firmware.answer.vendorClass ?? 'PXEClient',
      ...echoed(request)
    }
  }
  const bootFile = file.text
  const detail = { type: answer, ip: request.ciaddr, client: firmware.name, bootFile, reason }
  return {
    reply,
    destination:
      door.port === 4011
        ? door.from
        : dhcpDestination({ ...request, ciaddr: NO_ADDRESS }, reply, { rom: true, unicastWithoutArp: false }),
    client: firmware.name,
    kind: 'foreign',
    bootFile,
    reason,
    changes: [
      ...seen,
      // Who takes the file that an offer names sends us nothing more (discovery control 8).
      ...tried,
      ...event(asked, 'dhcp-answered', `${answer} ${firmware.name}`, detail)
    ]
  }
}

/** The address becomes the port's: script, files and metadata know the machine by it. */
function addressSeen({ port, request, place, time }: DhcpCase, { other }: ProxyFacts): Change[] {
  const ip = addressShown(request)
  if (!port || ip === null || !contains(place.subnet, ip)) return []
  const changes: Change[] = []
  if (other && other.uuid !== port.uuid)
    changes.push({ put: 'port', row: { ...other, reservedIp: null, updatedAt: time.now } })
  if (port.reservedIp !== ip)
    changes.push({ put: 'port', row: { ...port, reservedIp: ip, updatedAt: time.now } })
  changes.push({
    put: 'lease',
    row: {
      ip,
      mac: port.address,
      kind: 'foreign',
      state: 'bound',
      expiresAt: time.leaseNow + SEEN_SECONDS * 1000,
      clientId: request.options.clientId?.toString('hex') ?? null,
      declines: 0,
      hostname: request.options.hostName || null,
      updatedAt: time.now
    }
  })
  return changes
}
