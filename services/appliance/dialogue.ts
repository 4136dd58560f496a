// The questions of a first boot, on a console. Nothing is written, and nothing answers DHCP, before the last of them.

import { createInterface } from 'node:readline/promises'
import type { Readable, Writable } from 'node:stream'
import {
  checkSettings,
  proposedPool,
  type ApplianceSettings,
  type GivenSettings,
  type HostLink
} from '../../src/decide/appliance-settings.ts'
import { AppError } from '../../src/domain/error.ts'
import { parseIp } from '../../src/wire/address.ts'

export type DialogueDeps = {
  input: Readable
  output: Writable
  links: readonly HostLink[]
  /** Who answers DHCP on a link, in words; asks there, and so sends something. */
  servers: (link: HostLink) => Promise<string[]>
  /** What holds now: the proposals. */
  before: GivenSettings
  /** Ends the dialogue; another console was answered. */
  signal: AbortSignal
}

/** Asks until the answers make settings. Rejects with `AbortError` when `signal` ends it. */
export async function askSettings(deps: DialogueDeps): Promise<ApplianceSettings> {
  const { input, output, links, servers, signal } = deps
  const lines = createInterface({ input, output })
  const say = (text: string) => void output.write(`${text}\n`)
  const ask = async (question: string, proposal = ''): Promise<string> =>
    (await lines.question(`${question}${proposal ? ` [${proposal}]` : ''}: `, { signal })).trim() || proposal

  let given: GivenSettings = { ...deps.before }
  try {
    for (;;) {
      say(
        '\nSeedling: first settings. Enter takes what stands in brackets.\n\nNetwork cards, and who answers DHCP there:'
      )
      for (const [index, link] of links.entries()) {
        const found = link.carrier ? await servers(link) : []
        const heard = !link.carrier ? 'no cable' : found.join(', ') || 'no DHCP server answers'
        say(`  ${index + 1}  ${link.name}  ${link.mac}  ${heard}`)
      }
      const chosen = await ask("\nWhich one is on the machines' LAN", numberOf(links, given.interface))
      const lan = links[Number(chosen) - 1]
      if (!lan) {
        say(`There is no ${chosen}.`)
        continue
      }
      const found = lan.carrier ? await servers(lan) : []
      if (found.length > 0)
        say(
          `\nA DHCP server answers there: ${found.join(', ')}. Two do not go together: switch it off; or take mode "listen"\n` +
            'to look only, or "proxy" to add boot files to what it gives. In mode "server" Seedling stands down while it answers.'
        )
      const mode = await ask(
        'Mode: server, listen or proxy',
        String(given.mode ?? (found.length > 0 ? 'listen' : 'server'))
      )
      const address = await ask("Seedling's own address there", String(given.address ?? '192.0.2.1/24'))
      const [ip = '', bits = ''] = address.split('/')
      const proposal =
        parseIp(ip) !== undefined && /^([1-9]|[12]\d|3[0-2])$/.test(bits)
          ? proposedPool({ address: ip, prefix: Number(bits) })
          : ''
      const same = address === given.address && given.pool !== undefined
      const pool = await ask('Addresses for machines, first-last', same ? String(given.pool) : proposal)
      const gateway = await ask('Router that machines are told of, or none', String(given.gateway ?? 'none'))
      const others: Record<string, unknown>[] = []
      for (const link of links.filter((one) => one !== lan)) {
        const known = linkBefore(given, link)
        const its = await ask(
          `Address on ${link.name} (BMCs, operators), or none`,
          String(known?.['address'] ?? 'none')
        )
        if (its === 'none') continue
        const way = await ask('  Router there, or none', String(known?.['gateway'] ?? 'none'))
        others.push({
          interface: link.mac,
          address: its.split(','),
          ...(way === 'none' ? {} : { gateway: way })
        })
      }
      const keys = Array.isArray(given.keys) ? (given.keys as string[]) : []
      const key = await ask(
        `SSH public key of an administrator, or none${keys.length > 0 ? ` (${keys.length} there)` : ''}`,
        'none'
      )
      given = {
        ...given,
        interface: lan.mac,
        mode,
        address,
        pool,
        gateway: gateway === 'none' ? undefined : gateway,
        links: others,
        keys: key === 'none' ? keys : [...keys, key]
      }
      // Where the API is follows the links, unless it still is one of their addresses.
      delete given.api
      try {
        const settings = checkSettings(given, links, 'That cannot be')
        if ((await ask('\nTake this', 'yes')) === 'yes') return settings
      } catch (error) {
        if (!(error instanceof AppError)) throw error
        say(`\n${error.message}`)
      }
    }
  } finally {
    lines.close()
  }
}

const numberOf = (links: readonly HostLink[], name: unknown): string =>
  String(
    1 +
      Math.max(
        0,
        links.findIndex((link) => link.mac === name || link.name === name)
      )
  )

function linkBefore(given: GivenSettings, link: HostLink): Record<string, unknown> | undefined {
  const links = Array.isArray(given.links) ? (given.links as Record<string, unknown>[]) : []
  return links.find((one) => one['interface'] === link.mac || one['interface'] === link.name)
}
