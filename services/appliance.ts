// `seedling appliance`: the settings of the appliance that this runs in (image/appliance). As root.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  checkSettings,
  givenAgain,
  settingsFromKernel,
  type HostLink
} from '../src/decide/appliance-settings.ts'
import { LAN } from '../src/decide/appliance-files.ts'
import { AppError } from '../src/domain/error.ts'
import { findSettings, hostLinks } from './appliance/seed.ts'
import { readSettings, STATE, writeSettings } from './appliance/write.ts'

const USAGE = `usage:
  seedling appliance first-boot             settings from the seed or the kernel's arguments, if there are any
  seedling appliance ask                    asks for them
  seedling appliance network                asks for other settings, and takes them at once
  seedling appliance network NAME=VALUE...  the same without questions: address=192.0.2.1/24 pool=192.0.2.100-192.0.2.199;
                                            also interface, gateway, dns, mode, api, hostname, key, link=MAC,ADDRESS/PREFIX[,GATEWAY]`
/** For questions before there is any address on a link; another for each console, which asks at the same time. */
const ASKING = `169.254.${64 + ((process.pid >> 8) % 64)}.${1 + (process.pid % 250)}`
/** Patience with other DHCP servers (dnsmasq pings an address for 3 s before it offers it), and with a link that comes up. */
const LISTEN_MILLISECONDS = 4500
const CARRIER_MILLISECONDS = 3000

/** Runs `seedling appliance …`; AppError when it cannot be done. */
export async function appliance([command, ...args]: string[]): Promise<void> {
  if (!existsSync(STATE))
    throw new AppError(
      'wrong-state',
      'this is no Seedling appliance: its settings are in the file given to "serve"'
    )
  if (command === 'first-boot') return firstBoot()
  if (command === 'ask') return ask()
  if (command === 'network') return network(args)
  throw new AppError('bad-request', USAGE)
}

/** Loads as little as it can: the first offer waits for it. */
async function firstBoot(): Promise<void> {
  const found = findSettings()
  if (!found)
    return console.log('no settings in a seed or in kernel arguments; they are asked for on the console')
  await writeSettings(checkSettings(found.given, hostLinks(), found.from))
  console.log(`settings taken from ${found.from}`)
}

/** On a first boot every console asks; the first to be answered is the one. */
async function ask(): Promise<void> {
  const ended = new AbortController()
  const look = setInterval(() => {
    if (readSettings()) ended.abort()
  }, 1000)
  try {
    await dialogue(ended.signal)
  } catch (error) {
    if ((error as Error).name !== 'AbortError') throw error
    console.log('\nSet up on another console.')
    return
  } finally {
    clearInterval(look)
  }
  run('systemctl', 'restart', 'seedling-network.service', 'ssh.service')
}

async function dialogue(signal: AbortSignal): Promise<void> {
  const { askSettings } = await import('./appliance/dialogue.ts')
  const links = await linksUp()
  const answers = new Map<string, Promise<string[]>>()
  const before = readSettings()
  const settings = await askSettings({
    input: process.stdin,
    output: process.stdout,
    links,
    signal,
    before: before ? givenAgain(before) : {},
    servers(link) {
      const known = answers.get(link.name) ?? otherServers(link)
      answers.set(link.name, known)
      return known
    }
  })
  await writeSettings(settings)
}

async function network(args: string[]): Promise<void> {
  if (args.length === 0) await dialogue(new AbortController().signal)
  else {
    const before = readSettings()
    const bad = args.find((arg) => !/^[a-z]+=/.test(arg))
    if (bad !== undefined) throw new AppError('bad-request', `not NAME=VALUE: "${bad}"\n${USAGE}`)
    const given = settingsFromKernel(args.map((arg) => `seedling.${arg.replaceAll(' ', ',')}`).join(' '))
    await writeSettings(
      checkSettings({ ...(before ? givenAgain(before) : {}), ...given }, hostLinks(), 'the settings')
    )
  }
  // The sockets are bound to the link, which may be another from now on.
  run('systemctl', 'stop', 'seedling.service', 'seedling-*.socket')
  run('systemctl', 'restart', 'seedling-network.service', 'ssh.service')
}

/** The links, switched on, so that one with a cable is told from one without. */
async function linksUp(): Promise<HostLink[]> {
  for (const { name } of hostLinks()) spawnSync('ip', ['link', 'set', name, 'up'])
  const deadline = performance.now() + CARRIER_MILLISECONDS
  while (hostLinks().some(({ carrier }) => !carrier) && performance.now() < deadline) await sleep(100)
  return hostLinks()
}

/** Who answers DHCP on a link: one question under an address of our own, and the answers of a few seconds. */
async function otherServers(link: HostLink): Promise<string[]> {
  if (link.name === LAN) return []
  const { startDhcpWatch } = await import('./dhcp/watch.ts')
  const { listenDhcp } = await import('./listen.ts')
  const { openLog } = await import('./log.ts')
  const where = { interface: link.name, address: ASKING }
  run('ip', 'address', 'add', `${ASKING}/32`, 'dev', link.name)
  try {
    const sockets = await listenDhcp(where, new Map(), 'dhcp-client')
    const watch = startDhcpWatch({
      link: where,
      mac: link.mac,
      sockets,
      mark: null,
      gaveWay: () => false,
      tolerate: [],
      quiet: false,
      onChange: () => {},
      answer: () => {},
      log: openLog('silent').log,
      now: () => Date.now()
    })
    await sleep(LISTEN_MILLISECONDS)
    const { servers } = watch.status()
    await watch.close()
    return servers.map(({ address }) => address)
  } finally {
    run('ip', 'address', 'delete', `${ASKING}/32`, 'dev', link.name)
  }
}

function run(program: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(program, args, { encoding: 'utf8' })
  if (status !== 0) throw new AppError('wrong-state', `${[program, ...args].join(' ')}: ${stderr.trim()}`)
}
