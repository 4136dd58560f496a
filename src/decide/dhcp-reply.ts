// The parts that DHCP answers are made of: fields copied from the request, options echoed, what the network has to tell.

import { Buffer } from 'node:buffer'
import type { Lease, NetworkOptions, Subnet } from '../domain/subnet.ts'
import { formatIp, netmask, type Ip } from '../wire/address.ts'
import { NO_ADDRESS, type DhcpMessage } from '../wire/dhcp.ts'
import { optionCode, optionName, type ClasslessRoute, type DhcpOptions } from '../wire/dhcp-options.ts'
import { contains, rangeOf } from './dhcp-place.ts'

/** The fields that RFC 2131 table 3 has copied from the request. */
export function emptyReply(request: DhcpMessage): DhcpMessage {
  return {
    op: 'reply',
    htype: request.htype,
    hops: 0,
    xid: request.xid,
    secs: 0,
    flags: request.flags,
    ciaddr: NO_ADDRESS,
    yiaddr: NO_ADDRESS,
    siaddr: NO_ADDRESS,
    giaddr: request.giaddr,
    chaddr: request.chaddr,
    sname: '',
    file: '',
    options: {}
  }
}

/** Options that go back byte for byte: 61 (RFC 6842), 97 (RFC 4578 2.3), 82 (RFC 3046 2.2). */
export function echoed({ options }: DhcpMessage): DhcpOptions {
  return defined({
    clientId: options.clientId,
    clientMachineId: options.clientMachineId,
    relayAgent: options.relayAgent
  })
}

/** Without the keys that say nothing. */
function defined(options: Readonly<Record<string, unknown>>): DhcpOptions {
  const found: Record<string, unknown> = {}
  for (const name in options) if (options[name] !== undefined) found[name] = options[name]
  return found as DhcpOptions
}

/** What the client asks for in option 51 is only a hint: the configured time keeps OFFER, ACK and every renewal alike. */
export function leaseTimes(seconds: number): DhcpOptions {
  return {
    leaseSeconds: seconds,
    renewSeconds: Math.floor(seconds / 2),
    rebindSeconds: Math.floor((seconds * 7) / 8)
  }
}

/** Where instances of any cloud ask for their metadata; every lease routes it to us, who must have it on the link to hear them. */
export const METADATA_ADDRESS: Ip = '169.254.169.254'

/**
 * What the network has to tell, `own` before the subnet's: asked for or not, because ROMs do not ask for all they need. What the client
 * asked for comes first, in its order (RFC 2132 9.8), so that it is what fits.
 */
export function networkOptions(
  request: DhcpMessage,
  subnet: Subnet,
  own: Partial<NetworkOptions>,
  told: { address: Ip; hostName: string | null; installed: boolean }
): DhcpOptions {
  const network: NetworkOptions = { ...subnet, ...own, options: { ...subnet.options, ...own.options } }
  const wanted = request.options.parameterList ?? []
  const asks = (name: Parameters<typeof optionCode>[0]) => wanted.includes(optionCode(name))
  const some = (list: readonly Ip[]) => (list.length > 0 ? [...list] : undefined)
  const { first, last, prefix } = rangeOf(subnet)
  const options: Record<string, unknown> = {
    subnetMask: netmask(prefix),
    routers: network.gateway === null ? undefined : [network.gateway],
    dnsServers: some(network.dns),
    domainName: network.domain ?? undefined,
    ntpServers: some(network.ntp),
    interfaceMtu: network.mtu ?? undefined,
    hostName: told.hostName !== null && asks('hostName') ? told.hostName : undefined,
    broadcastAddress: first < last && asks('broadcastAddress') ? formatIp(last) : undefined,
    // Installed systems get it unasked: the metadata address must work in any image.
    classlessRoutes:
      told.installed || asks('classlessRoutes') ? routes(subnet, network, told.address) : undefined
  }
  for (const code in network.options) options[`#${code}`] = Buffer.from(network.options[code] ?? '', 'hex')
  const ordered: Record<string, unknown> = {}
  for (const code of wanted)
    for (const key of [`#${code}`, optionName(code)])
      if (key !== undefined && options[key] !== undefined) ordered[key] = options[key]
  return Object.assign(ordered, defined(options))
}

/** Option 121. A client that takes it ignores option 3, so the default route stands here too (RFC 3442). */
function routes(
  subnet: Subnet,
  { gateway, routes: more }: NetworkOptions,
  address: Ip
): ClasslessRoute[] | undefined {
  const found: ClasslessRoute[] = []
  // Behind a relay we are no neighbour: there the default route has to do.
  if (contains(subnet, address)) found.push({ network: `${METADATA_ADDRESS}/32`, router: address })
  found.push(...more)
  if (gateway !== null && !more.some(({ network }) => network === '0.0.0.0/0'))
    found.push({ network: '0.0.0.0/0', router: gateway })
  return found.length > 0 ? found : undefined
}

/**
 * What may be offered or promised when nothing can be stored: a lease that is on disk already, for as long as it still lasts there, and no longer.
 * null: there is none, or too little of it is left to be worth an answer. `leaseNow` in ms.
 */
export function withinStored(reply: DhcpMessage, lease: Lease | null, leaseNow: number): DhcpMessage | null {
  const type = reply.options.messageType
  if (type !== 'offer' && type !== 'ack') return null
  if (lease?.state !== 'bound' || lease.mac !== reply.chaddr) return null
  const left = Math.floor((lease.expiresAt - leaseNow) / 1000)
  const promised = reply.options.leaseSeconds
  if (promised === undefined || left < LEAST_LEFT_SECONDS) return null
  return { ...reply, options: { ...reply.options, ...leaseTimes(Math.min(left, promised)) } }
}

const LEAST_LEFT_SECONDS = 60
