// The facts about the sender of one DHCP packet: rows, what is on offer, and the hints of the parts that look around.

import type { Heard } from '../../src/decide/boot-delay.ts'
import type { BootStages } from '../../src/decide/boot-stage.ts'
import type { DhcpFacts } from '../../src/decide/dhcp.ts'
import { contains, type DhcpPlace } from '../../src/decide/dhcp-place.ts'
import type { Ip, Mac } from '../../src/wire/address.ts'
import type { DhcpMessage } from '../../src/wire/dhcp.ts'
import type { Facts } from '../store/facts.ts'
import type { DiscoveryPool } from './discovery-pool.ts'

export type GatherDeps = {
  facts: Facts
  pool: DiscoveryPool
  stages: ReadonlyMap<Mac, BootStages>
  /** The last DISCOVER of each enrolled machine. */
  discovers: ReadonlyMap<Mac, Heard>
  conflict: (ip: Ip) => DhcpFacts['conflict']
  standDown: () => string | null
}

export function gather(
  request: DhcpMessage,
  place: DhcpPlace,
  { facts, pool, stages, discovers, conflict, standDown }: GatherDeps
): DhcpFacts {
  const mac = request.chaddr
  const common = { candidate: null, conflict: null, modelLoader: null, standDown: standDown() }
  if (facts.isEnrolled(mac)) {
    const { port, node, order, instance } = facts.machineByMac(mac)
    const ip = port?.reservedIp ?? null
    return {
      ...common,
      port,
      node,
      order,
      instance,
      lease: ip === null ? null : facts.leaseByIp(ip),
      conflict: ip === null ? null : conflict(ip),
      stages: stages.get(mac) ?? null,
      heard: discovers.get(mac) ?? null,
      modelLoader: facts.loaderOfModel(node?.hardwareModel ?? null)
    }
  }
  const stranger = {
    ...common,
    port: null,
    node: null,
    order: null,
    instance: null,
    stages: null,
    heard: null
  }
  const { subnet } = place
  if (!subnet?.discovery) return { ...stranger, lease: null }
  const lease =
    facts
      .leasesOfMac(mac)
      .filter(({ ip, kind, state }) => kind === 'discovery' && state !== 'declined' && contains(subnet, ip))
      .sort((a, b) => b.updatedAt - a.updatedAt)[0] ?? null
  const type = request.options.messageType
  // A REQUEST that takes nobody's offer, by one that has no lease, is not answered: nothing is to be kept for it.
  const taking = request.options.serverId !== undefined || lease !== null
  if (type !== 'discover' && !(type === 'request' && taking)) return { ...stranger, lease }
  const shown = request.options.requestedAddress ?? (type === 'request' ? request.ciaddr : null)
  return { ...stranger, lease, candidate: pool.candidate(subnet, mac, shown, lease) }
}
