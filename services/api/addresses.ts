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
  { config, facts, leaseNow }: Pick<ApiDeps, 'config' | 'facts' | 'leaseNow'>
): Port {
  if (!port.pxeEnabled) return port
  const subnet = subnetOf(port, config.network.subnets)
  // Beside another DHCP server, the addresses are that server's.
  if (subnet.pool === null) return { ...port, reservedIp: null }
  if (port.reservedIp !== null && contains(subnet, port.reservedIp)) return port
  const reservedIp = facts.freeAddress(subnet, leaseNow())
  if (reservedIp === null)
    throw new AppError(
      'pool-exhausted',
      `No address is left for port ${port.address}: the pool ${subnet.pool.start} to ${subnet.pool.end} of ${subnet.cidr} ` +
        'is used up; enlarge it in the configuration, or delete ports that are not needed'
    )
  return { ...port, reservedIp }
}

/** `physical_network` names a subnet, or gives its cidr; anything else means the first one. */
function subnetOf({ physicalNetwork: named }: Port, subnets: readonly Subnet[]): Subnet {
  const found = subnets.find(({ name, cidr }) => named !== null && (name === named || cidr === named))
  return found ?? (subnets[0] as Subnet)
}

function contains(subnet: Subnet, ip: string): boolean {
  const range = parseCidr(subnet.cidr)
  const value = parseIp(ip)
  return range !== undefined && value !== undefined && value > range.first && value < range.last
}
