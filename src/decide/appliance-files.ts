// The appliance's settings → the files that its units read, in /var/lib/appliance (image/appliance/files/usr/lib/seedling/network says
// how the first two are used). Whatever an operator may change is in these files; the rest of the system cannot be written to.

import { formatIp } from '../wire/address.ts'
import { networkOf, type ApplianceSettings } from './appliance-settings.ts'
import { METADATA_ADDRESS } from './dhcp-reply.ts'

/** Names of links as the appliance gives them. */
export const LAN = 'lan0'
const otherLink = (index: number): string => `net${index + 1}`

/** File name → content. `settings.json` is to be written last: with it the appliance is set up. */
export function applianceFiles(settings: ApplianceSettings): Record<string, string> {
  const { hostname, lan, links, api, keys, dns } = settings
  const addresses = links.flatMap((one) => one.addresses.map((address) => address.split('/')[0]!))
  const listen = addresses.length > 0 ? addresses : [lan.address]
  return {
    links: lines([`${lan.mac} ${LAN}`, ...links.map(({ mac }, index) => `${mac} ${otherLink(index)}`)]),
    'network.ip': lines([
      // First: answers bear the first address of the link.
      `address add ${lan.address}/${lan.prefix} broadcast + dev ${LAN}`,
      `address add ${METADATA_ADDRESS}/32 dev ${LAN}`,
      `link set ${LAN} up`,
      ...links.flatMap(({ addresses, gateway }, index) => [
        ...addresses.map((address) => `address add ${address} broadcast + dev ${otherLink(index)}`),
        `link set ${otherLink(index)} up`,
        ...(gateway === null ? [] : [`route replace default via ${gateway} dev ${otherLink(index)}`])
      ])
    ]),
    hostname: lines([hostname]),
    'resolv.conf': lines(dns.map((address) => `nameserver ${address}`)),
    'sshd.conf': lines(listen.map((address) => `ListenAddress ${address}`)),
    authorized_keys: lines(keys),
    'seedling.json': `${JSON.stringify(seedlingConfig(settings), null, 2)}\n`,
    where: lines([
      `Machines: ${lan.address}/${lan.prefix}${settings.mode === 'server' ? '' : `, mode ${settings.mode}`}`,
      `API:      ${api === null ? 'only here, by the Unix socket; "seedling" is its client' : `http://${api}:6385`}`,
      `SSH:      ${keys.length === 0 ? 'nobody may log in: no key was given' : listen.map((address) => `root@${address}`).join(', ')}`
    ]),
    'settings.json': `${JSON.stringify(settings, null, 2)}\n`
  }
}

function seedlingConfig({ lan, pool, gateway, dns, mode, api, config }: ApplianceSettings): object {
  const files = '/usr/share/seedling'
  const { first } = networkOf(lan)
  const own = {
    dataDir: '/var/lib/seedling',
    network: {
      interface: LAN,
      address: lan.address,
      subnets: [
        { cidr: `${formatIp(first)}/${lan.prefix}`, pool, ...(gateway === null ? {} : { gateway }), dns }
      ],
      dhcp: { mode }
    },
    api: { socket: '/run/seedling/api.sock', ...(api === null ? {} : { address: api }) },
    boot: {
      kernel: `${files}/ramdisk/vmlinuz`,
      ramdisk: `${files}/ramdisk/ramdisk.img`,
      loaders: [`${files}/ipxe`, `${files}/shim`],
      console: ['tty0', 'ttyS0,115200']
    }
  }
  return merged(own, config)
}

/** What is given goes into what is there, objects member by member; lists are replaced. */
function merged(base: Record<string, unknown>, over: Record<string, unknown>): Record<string, unknown> {
  const result = { ...base }
  for (const [key, value] of Object.entries(over)) {
    const before = result[key]
    result[key] = isPlain(before) && isPlain(value) ? merged(before, value) : value
  }
  return result
}

const isPlain = (value: unknown): value is Record<string, unknown> =>
  value !== null && typeof value === 'object' && !Array.isArray(value)

const lines = (list: readonly string[]): string => list.map((line) => `${line}\n`).join('')
