// What is known of DHCP → the JSON of answers.

import type { DhcpExplanation } from '../../src/decide/dhcp-explain.ts'
import { readable, type SeenClient, type SeenServer } from '../../src/decide/dhcp-seen.ts'
import type { DhcpServer } from '../../src/decide/dhcp-watch.ts'
import type { Node } from '../../src/domain/node.ts'
import type { DhcpPacket } from '../../src/domain/packet.ts'
import { time, type Json } from './views.ts'

export function explanationView(
  mac: string,
  { answer, relay, address, gate, outcomes }: DhcpExplanation
): Json {
  return {
    mac,
    answer,
    relay,
    address,
    gate,
    outcomes: outcomes.map(({ kind, words, answer, ip, bootFile, reason }) => ({
      client: kind,
      client_name: words,
      answer,
      ip,
      boot_file: bootFile,
      reason
    }))
  }
}

/** One line of a machine's conversation; the packet itself is in the capture. */
export function packetView({ at, direction, from, to, bytes, decision }: DhcpPacket): Json {
  return {
    at: time(at),
    direction,
    from: `${from.address}:${from.port}`,
    to: `${to.address}:${to.port}`,
    type: readable(bytes)?.options.messageType ?? null,
    size: bytes.length,
    decision
  }
}

export function seenView(client: SeenClient, node: Node | null): Json {
  return {
    mac: client.mac,
    node_uuid: node?.uuid ?? null,
    node_name: node?.name ?? null,
    last_at: time(client.lastAt),
    type: client.type,
    client: client.client,
    architecture: client.architecture,
    vendor_class: client.vendorClass,
    relay: client.relay,
    requested_options: client.requested,
    server: client.server,
    decision: client.decision
  }
}

export function serverView({ address, firstAt, lastAt, answers, answer }: SeenServer): Json {
  return {
    address,
    first_at: time(firstAt),
    last_at: time(lastAt),
    answers,
    answer: {
      type: answer.type,
      mac: answer.mac,
      ip: answer.ip,
      relay: answer.relay,
      subnet_mask: answer.subnetMask,
      routers: answer.routers,
      dns: answer.dns,
      domain: answer.domain,
      lease_seconds: answer.leaseSeconds,
      next_server: answer.nextServer,
      boot_file: answer.bootFile
    }
  }
}

export function otherView(server: DhcpServer): Json {
  return {
    address: server.address,
    mac: server.mac,
    kind: server.kind,
    seen_by: server.seenBy,
    twin: server.twin,
    harmless: server.harmless,
    first_seen_at: time(server.firstSeenAt),
    last_seen_at: time(server.lastSeenAt)
  }
}
