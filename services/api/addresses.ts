// The address that a port keeps from enrolment on, through ROM, ramdisk and installed system.

import { AppError } from '../../src/domain/error.ts'
import type { Port } from '../../src/domain/node.ts'
import type { Subnet } from '../../src/domain/subnet.ts'
import { parseCidr, parseIp } from '../../src/wire/address.ts'
import type { ApiDeps } from './deps.ts'

/**
 * The port with its reserved address. Ports that do not boot get none; one that has a fitting address keeps it. Inside a commit:
 * the address is free only until the next one is chosen. AppError `pool-exhausted`.
 */
export function withReservedIp(
  port: Port,
  { config, facts, now }: Pick<ApiDeps, 'config' | 'facts' | 'now'>
): Port {
  if (!port.pxeEnabled) return port
  const subnet = subnetOf(port, config.network.subnets)
  if (port.reservedIp !== null && contains(subnet, port.reservedIp)) return port
  const reservedIp = facts.freeAddress(subnet, now())
  if (reservedIp === null)
    throw new AppError(
      'pool-exhausted',
      `No address is left for port ${port.address}: the pool ${subnet.pool.start} to ${subnet.pool.end} of ${subnet.cidr} ` +
        'is used up; enlarge it in the configuration, or delete ports that are not needed'
    )
  return { ...port, reservedIp }
}

/** `physical_network` names a subnet by its cidr; anything else means the first one. */
function subnetOf(port: Port, subnets: readonly Subnet[]): Subnet {
  return subnets.find(({ cidr }) => cidr === port.physicalNetwork) ?? (subnets[0] as Subnet)
}

function contains(subnet: Subnet, ip: string): boolean {
  const range = parseCidr(subnet.cidr)
  const value = parseIp(ip)
  return range !== undefined && value !== undefined && value > range.first && value < range.last
}
