// Kea and dnsmasq, configured as far as they can be to do what Seedling does with the table's networks and machines; and how
// they differ from it in every case.

import type { Subnet } from '../../src/domain/subnet.ts'
import { formatIp, parseCidr, type Ip, type Mac } from '../../src/wire/address.ts'
import { encodeDhcp } from '../../src/wire/dhcp.ts'
import type { DhcpOptions } from '../../src/wire/dhcp-options.ts'
import { aRequest } from '../support/dhcp.ts'
import type { PeerName, PeerSettings, PeerSubnet } from '../support/dhcp-peers.ts'
import { LINK } from '../support/dhcp-wire.ts'
import { optionContents } from './answer-rules.ts'
import { NETWORKS, type Differences, type NetworkName } from './dhcp-cases.ts'

const SERVER = LINK.address

export type Reservation = { at: NetworkName; mac: Mac; ip: Ip; hostname?: string }

export function peerSubnets(reservations: readonly Reservation[]): PeerSubnet[] {
  return Object.entries(NETWORKS).map(([name, network]) => ({
    cidr: network.cidr,
    ...(network.discovery ? { pool: network.discovery } : {}),
    leaseSeconds: network.discovery?.leaseSeconds ?? network.leaseSeconds,
    reservations: reservations.filter(({ at }) => at === name),
    options: optionsOf(network, name === 'near')
  }))
}

/** What Seedling makes of a subnet, as bytes by code; but for what is longer than dnsmasq takes it. */
function optionsOf({ cidr, gateway, dns, ntp, domain, mtu, routes, options }: Subnet, own: boolean) {
  const named: DhcpOptions = {
    ...(gateway ? { routers: [gateway] } : {}),
    ...(dns.length > 0 ? { dnsServers: [...dns] } : {}),
    ...(domain ? { domainName: domain } : {}),
    ...(mtu ? { interfaceMtu: mtu } : {}),
    ...(ntp.length > 0 ? { ntpServers: [...ntp] } : {}),
    broadcastAddress: formatIp(parseCidr(cidr)?.last ?? 0),
    classlessRoutes: [
      ...(own ? [{ network: '169.254.169.254/32', router: SERVER }] : []),
      ...routes,
      ...(gateway ? [{ network: '0.0.0.0/0', router: gateway }] : [])
    ]
  }
  const found: Record<number, Buffer> = {}
  const contents = [...optionContents(encodeDhcp(aRequest({ options: named }))), ...Object.entries(options)]
  for (const [code, content] of contents)
    if (content.length <= 2 * 255) found[Number(code)] = Buffer.from(content, 'hex')
  return found
}

const BOOT = [
  { name: 'uefi', arch: 7, file: 'snponly.efi', vendorClass: 'PXEClient', vendorOptions: '060108ff' },
  { name: 'bios', arch: 0, file: 'undionly.kpxe', vendorClass: 'PXEClient', vendorOptions: '060108ff' },
  { name: 'http', arch: 16, file: `http://${SERVER}/boot/loader/snponly.efi`, vendorClass: 'HTTPClient' }
]

export const PEER_SETTINGS: Pick<PeerSettings, 'kea' | 'dnsmasq'> = {
  kea: {
    'calculate-tee-times': true,
    't1-percent': 0.5,
    't2-percent': 0.875,
    'client-classes': BOOT.map(({ name, arch, file, vendorClass, vendorOptions }) => ({
      name,
      test: `option[93].hex == 0x${arch.toString(16).padStart(4, '0')}`,
      'next-server': SERVER,
      'boot-file-name': file,
      'option-data': [
        { code: 60, data: vendorClass },
        { code: 67, data: file },
        ...(vendorOptions
          ? [
              { code: 66, data: SERVER },
              { code: 43, 'csv-format': false, data: vendorOptions }
            ]
          : [])
      ]
    }))
  },
  dnsmasq: BOOT.flatMap(({ name, arch, file, vendorClass, vendorOptions }) => [
    `dhcp-match=set:${name},option:client-arch,${arch}`,
    `dhcp-boot=tag:${name},${file},,${SERVER}`,
    `dhcp-option=tag:${name},60,${vendorClass}`,
    ...(vendorOptions
      ? [
          `dhcp-option=tag:${name},66,${SERVER}`,
          `dhcp-option=tag:${name},43,${vendorOptions.replace(/..(?!$)/g, '$&:')}`
        ]
      : [])
  ])
}

/** What is different in many cases, for one reason each. */
export const ALWAYS: Readonly<Record<PeerName, Differences>> = {
  kea: {
    'unasked options':
      'Kea sends mask, routers, name servers and domain to everybody, all else to who asks; Seedling sends all',
    hops: 'Kea gives the hops of the request back; RFC 2131 table 3 has 0',
    'under 300 bytes': 'Kea does not pad; Seedling does for relays and clients that drop less (RFC 1542 2.1)',
    'option 56': 'Kea says no reason in a NAK; RFC 2131 table 3: should',
    order: 'Kea sorts options by number; RFC 2132 9.8 would have the order in which they were asked for',
    'option 97': 'Kea does not give the machine id back'
  },
  dnsmasq: {
    'unasked options':
      'dnsmasq sends mask and broadcast address to everybody, all else to who asks; Seedling sends all',
    hops: 'dnsmasq gives the hops of the request back; RFC 2131 table 3 has 0',
    secs: 'dnsmasq gives the seconds of the request back; RFC 2131 table 3 has 0',
    siaddr: 'dnsmasq names itself as next server even without a boot file',
    'option 61': 'dnsmasq 2.90 does not give the client id back (RFC 6842)',
    'option 97': 'dnsmasq gives the machine id back only where it has PXE services configured',
    'option 56': 'the reason in a NAK is in each server’s own words',
    'option 58': 'dnsmasq shortens the times of renewals by a little at random',
    'option 59': 'the same',
    file: 'dnsmasq leaves the field empty for a client that asks for option 67; some firmware reads only the field',
    order:
      'dnsmasq sends options in an order of its own; RFC 2132 9.8 would have the one in which they were asked for',
    'option 66': 'dnsmasq ends text with a NUL',
    'option 67': 'the same'
  }
}
