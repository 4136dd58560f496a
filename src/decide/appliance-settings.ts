// The appliance's settings: what an operator gives (in a NoCloud seed, as kernel arguments, or answering the console's questions) → one
// checked form. Names of links are settled here: what is given as "eth1" is kept by its MAC, which no other kernel numbers differently.

import { AppError } from '../domain/error.ts'
import { formatIp, netmask, parseIp, parseMac, type Ip, type Mac } from '../wire/address.ts'

/** A network card of the appliance's host. */
export type HostLink = { name: string; mac: Mac; carrier: boolean }

/** What may be given; all values are text as a person writes them. */
export type GivenSettings = {
  hostname?: unknown
  /** Which link the machines are on: name or MAC. May be left out where there is only one. */
  interface?: unknown
  /** The appliance's address there, `192.0.2.1/24`. */
  address?: unknown
  /** First and last address for machines, `192.0.2.100-192.0.2.199`. */
  pool?: unknown
  /** What machines are given as router and name servers. */
  gateway?: unknown
  dns?: unknown
  mode?: unknown
  /** Addresses of other links, for BMCs and operators. */
  links?: unknown
  /** Where the API is listened for beside the Unix socket; by default the first address of the first other link. */
  api?: unknown
  keys?: unknown
  /** Anything else of seedling.json, taken as it is. */
  config?: unknown
}

export type OtherLink = { mac: Mac; addresses: string[]; gateway: Ip | null }

/** Checked settings; this, as JSON, is settings.json. */
export type ApplianceSettings = {
  hostname: string
  lan: { mac: Mac; address: Ip; prefix: number }
  pool: { start: Ip; end: Ip }
  gateway: Ip | null
  dns: Ip[]
  mode: 'server' | 'proxy' | 'listen'
  links: OtherLink[]
  api: Ip | null
  keys: string[]
  config: Record<string, unknown>
}

const KNOWN = [
  'hostname',
  'interface',
  'address',
  'pool',
  'gateway',
  'dns',
  'mode',
  'links',
  'api',
  'keys',
  'config'
]
const HOSTNAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/
const KEY = /^(ssh-(ed25519|rsa)|ecdsa-sha2-nistp\d+|sk-[a-z0-9@.-]+) [A-Za-z0-9+/=]+( [^\n\r]*)?$/

/**
 * Checks settings against the links there are. AppError `bad-config` with a sentence for every fault.
 * @param from where they were given, for the message
 */
export function checkSettings(
  given: GivenSettings,
  hostLinks: readonly HostLink[],
  from: string
): ApplianceSettings {
  const faults: string[] = []
  const refuse = (fault: string): undefined => void faults.push(fault)
  for (const key of Object.keys(given))
    if (!KNOWN.includes(key)) refuse(`unknown setting "${key}"; there are ${KNOWN.join(', ')}`)

  const shown = hostLinks.map(({ name, mac }) => `${name} (${mac})`).join(', ') || 'none at all'
  const link = (what: string, value: unknown): Mac | undefined => {
    const text = String(value)
    const mac = parseMac(text)
    const found = hostLinks.find((one) => one.mac === mac || one.name === text)
    return found?.mac ?? refuse(`${what} ${text} is no network card of this host; there is ${shown}`)
  }
  const withPrefix = (what: string, value: unknown): { address: Ip; prefix: number } | undefined => {
    const [address = '', bits = ''] = String(value).split('/')
    const prefix = /^\d{1,2}$/.test(bits) ? Number(bits) : 0
    if (parseIp(address) === undefined || prefix < 1 || prefix > 32)
      return refuse(
        `${what} must be an IPv4 address with its prefix length, like 192.0.2.1/24, not "${text(value)}"`
      )
    return { address, prefix }
  }
  const ip = (what: string, value: unknown): Ip | undefined =>
    parseIp(String(value)) === undefined
      ? refuse(`${what} must be an IPv4 address, not "${text(value)}"`)
      : String(value)

  const hostname = given.hostname === undefined ? 'seedling' : String(given.hostname)
  if (!HOSTNAME.test(hostname))
    refuse(`hostname must be letters, digits and dashes, without a domain, not "${text(hostname)}"`)

  let lan: Mac | undefined
  if (given.interface !== undefined) lan = link('interface', given.interface)
  else if (hostLinks.length === 1) lan = hostLinks[0]!.mac
  else refuse(`interface is missing: which network card is on the machines' LAN? There is ${shown}`)

  const own =
    given.address === undefined
      ? refuse("address is missing: the appliance's address on the machines' LAN, like 192.0.2.1/24")
      : withPrefix('address', given.address)
  const pool = readPool(given.pool, own, refuse)
  const gateway = given.gateway === undefined || given.gateway === '' ? null : ip('gateway', given.gateway)
  const dns = list(given.dns).map((one) => ip('dns', one))
  const mode = given.mode ?? 'server'
  if (mode !== 'server' && mode !== 'proxy' && mode !== 'listen')
    refuse(`mode must be server, proxy or listen, not "${text(mode)}"`)

  const links: OtherLink[] = []
  for (const one of list(given.links)) {
    const { interface: name, address, gateway, ...rest } = asRecord(one)
    for (const key of Object.keys(rest))
      refuse(`unknown setting "${key}" of a link; there are interface, address, gateway`)
    const mac =
      name === undefined ? refuse('a link has no interface: give its name or MAC') : link('link', name)
    if (mac !== undefined && mac === lan)
      refuse(`link ${String(name)} is the machines' LAN; give its address as "address"`)
    const addresses = list(address).map((value) => withPrefix(`address of link ${String(name)}`, value))
    if (addresses.length === 0)
      refuse(`link ${String(name)} has no address; no DHCP client runs here, so give one`)
    const way = gateway === undefined ? null : ip(`gateway of link ${String(name)}`, gateway)
    if (mac !== undefined && links.some((other) => other.mac === mac))
      refuse(`link ${String(name)} is there twice`)
    if (mac !== undefined && way !== undefined)
      links.push({ mac, addresses: addresses.map((a) => `${a?.address}/${a?.prefix}`), gateway: way })
  }
  if (links.filter(({ gateway }) => gateway !== null).length > 1)
    refuse('two links have a gateway; there is one way out at most')

  const addresses = [
    own?.address,
    ...links.flatMap((one) => one.addresses.map((value) => value.split('/')[0]))
  ]
  const api =
    given.api === undefined
      ? (links[0]?.addresses[0]?.split('/')[0] ?? null)
      : given.api === ''
        ? null
        : ip('api', given.api)
  if (api && !addresses.includes(api)) refuse(`api ${api} is no address of this appliance`)

  const keys = list(given.keys).map((key) => String(key).trim())
  for (const key of keys)
    if (!KEY.test(key)) refuse(`not an SSH public key: "${key.slice(0, 40)}"; give the line of a .pub file`)

  if (faults.length > 0)
    throw new AppError(
      'bad-config',
      `${from}: ${faults.length === 1 ? '' : `${faults.length} faults\n  `}${faults.join('\n  ')}`,
      {
        faults
      }
    )
  return {
    hostname,
    lan: { mac: lan!, ...own! },
    pool: pool!,
    gateway: gateway ?? null,
    dns: dns as Ip[],
    mode: mode as ApplianceSettings['mode'],
    links,
    api: api ?? null,
    keys,
    config: asRecord(given.config)
  }
}

function readPool(
  given: unknown,
  own: { address: Ip; prefix: number } | undefined,
  refuse: (fault: string) => undefined
): { start: Ip; end: Ip } | undefined {
  if (given === undefined)
    return refuse('pool is missing: first and last address for machines, like 192.0.2.100-192.0.2.199')
  const [start = '', end = '', ...more] = String(given)
    .split('-')
    .map((part) => part.trim())
  const [first, last] = [parseIp(start), parseIp(end)]
  if (first === undefined || last === undefined || first > last || more.length > 0)
    return refuse(
      `pool must be two addresses, the lower first, like 192.0.2.100-192.0.2.199, not "${text(given)}"`
    )
  if (!own) return undefined
  const { first: low, last: high } = networkOf(own)
  if (first < low || last > high)
    return refuse(`pool ${start}-${end} is not within the network of ${own.address}/${own.prefix}`)
  const mine = parseIp(own.address)!
  if (first <= mine && mine <= last)
    return refuse(`pool ${start}-${end} has the appliance's own address in it`)
  return { start, end }
}

/** First and last address of the network that an address is in. */
export function networkOf({ address, prefix }: { address: Ip; prefix: number }): {
  first: number
  last: number
} {
  const mask = parseIp(netmask(prefix))!
  const first = (parseIp(address)! & mask) >>> 0
  return { first, last: first + 2 ** (32 - prefix) - 1 }
}

/** A pool to propose for a network: its upper half, without the last address and our own; empty for one that is too small. */
export function proposedPool(own: { address: Ip; prefix: number }): string {
  const { first, last } = networkOf(own)
  const mine = parseIp(own.address)!
  const half = first + Math.floor((last - first + 1) / 2)
  const [start, end] = mine >= half ? [first + 1, half - 1] : [half, last - 1]
  return end - start < 1 ? '' : `${formatIp(start)}-${formatIp(end)}`
}

/**
 * Kernel arguments `seedling.NAME=VALUE` → settings. `seedling.link=MAC,ADDRESS/PREFIX[,GATEWAY]` and `seedling.key=` (a comma for each
 * space) may be there several times; `dns` takes commas. Empty when there is none.
 */
export function settingsFromKernel(commandLine: string): GivenSettings {
  const given: Record<string, unknown> = {}
  const add = (name: string, value: unknown) => (given[name] = [...list(given[name]), value])
  for (const [, name = '', value = ''] of commandLine.matchAll(/(?:^|\s)seedling\.([a-z]+)=(\S*)/g)) {
    if (name === 'slot') continue
    if (name === 'link') {
      const [link, address, gateway] = value.split(',')
      add('links', { interface: link, address, ...(gateway ? { gateway } : {}) })
    } else if (name === 'key') add('keys', value.replaceAll(',', ' '))
    else given[name] = name === 'dns' ? value.split(',') : value
  }
  return given
}

/**
 * A NoCloud or config-drive seed, parsed → settings: `seedling` of user-data, and what cloud-init's own keys say of names, SSH keys
 * and (network-config, versions 1 and 2 static addresses) links. Empty when the seed says nothing of Seedling.
 */
export function settingsFromSeed(
  userData: unknown,
  metaData: unknown,
  networkConfig: unknown
): GivenSettings {
  const user = asRecord(userData)
  const meta = asRecord(metaData)
  const own = asRecord(user['seedling'])
  if (Object.keys(own).length === 0) return {}
  const hostname = own['hostname'] ?? user['hostname'] ?? meta['local-hostname'] ?? meta['hostname']
  const keys = [own['keys'], user['ssh_authorized_keys'], meta['public-keys'] ?? meta['public_keys']].flatMap(
    keyList
  )
  return {
    ...withNetworkConfig(own, asRecord(networkConfig)),
    ...(hostname === undefined ? {} : { hostname: String(hostname).split('.')[0] }),
    keys: [...new Set(keys)]
  }
}

/** Keys are given as a list, as text, or by name. */
const keyList = (value: unknown): string[] =>
  value !== null && typeof value === 'object' && !Array.isArray(value)
    ? Object.values(value).flatMap(keyList)
    : list(value).flatMap((one) => (typeof one === 'object' ? keyList(one) : [String(one).trim()]))

/** Netplan's form (version 2): what `seedling` itself says goes before it. */
function withNetworkConfig(own: Record<string, unknown>, document: Record<string, unknown>): GivenSettings {
  const config = asRecord(document['network'] ?? document)
  if (Object.keys(config).length === 0) return own
  if (config['version'] !== 2)
    throw new AppError(
      'bad-config',
      'network-config must be version 2; or leave it out and say all in user-data, "seedling"'
    )
  const links: Record<string, unknown>[] = []
  let { interface: lan, address } = own
  for (const [id, value] of Object.entries(asRecord(config['ethernets']))) {
    const ethernet = asRecord(value)
    if (ethernet['dhcp4'] === true)
      throw new AppError(
        'bad-config',
        `network-config: ${id} asks for DHCP, and no DHCP client runs here; give it an address`
      )
    const name = asRecord(ethernet['match'])['macaddress'] ?? id
    if (lan === id || lan === name) {
      lan = name
      address ??= list(ethernet['addresses'])[0]
      continue
    }
    const route = list(ethernet['routes'])
      .map(asRecord)
      .find(({ to }) => to === 'default' || to === '0.0.0.0/0')
    const gateway = ethernet['gateway4'] ?? route?.['via']
    links.push({
      interface: name,
      address: ethernet['addresses'],
      ...(gateway === undefined ? {} : { gateway })
    })
  }
  return {
    ...own,
    ...(lan === undefined ? {} : { interface: lan }),
    ...(address === undefined ? {} : { address }),
    links: own['links'] ?? links
  }
}

/** Settings as they would be given again. */
export function givenAgain(settings: ApplianceSettings): GivenSettings {
  const { lan, pool, gateway, links, api, ...rest } = settings
  return {
    ...rest,
    interface: lan.mac,
    address: `${lan.address}/${lan.prefix}`,
    pool: `${pool.start}-${pool.end}`,
    ...(gateway === null ? {} : { gateway }),
    links: links.map(({ mac, addresses, gateway }) => ({
      interface: mac,
      address: addresses,
      ...(gateway === null ? {} : { gateway })
    })),
    api: api ?? ''
  }
}

const list = (value: unknown): unknown[] =>
  value === undefined || value === null ? [] : Array.isArray(value) ? value : [value]

const asRecord = (value: unknown): Record<string, unknown> =>
  value !== null && typeof value === 'object' && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {}

const text = (value: unknown): string =>
  (typeof value === 'string' ? value : JSON.stringify(value)).replace(/[^\x20-\x7e]/g, '?').slice(0, 60)
