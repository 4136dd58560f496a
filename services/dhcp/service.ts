// DHCP put together: the server, what looks around for it (other servers, addresses in use), and what remembers packets for people.

import type { Socket } from 'node:dgram'
import { setTimeout as sleep } from 'node:timers/promises'
import { addressConflict, type DhcpVerdict } from '../../src/decide/dhcp.ts'
import { seenClient } from '../../src/decide/dhcp-seen.ts'
import { WATCH_TIMES, type WatchStatus } from '../../src/decide/dhcp-watch.ts'
import type { Ip, Mac } from '../../src/wire/address.ts'
import { encodeDhcp, NO_ADDRESS, type DhcpMessage } from '../../src/wire/dhcp.ts'
import type { DatagramSockets } from '../listen.ts'
import type { Succession } from '../succession.ts'
import { startConflictProbe } from './conflict-probe.ts'
import { createDryRun } from './dry-run.ts'
import { createObservations, type Observations } from './observations.ts'
import { createPacketRing, type PacketRing } from './packet-ring.ts'
import { dhcpSettings, startDhcp, type DhcpCounters, type DhcpDeps, type DhcpServer } from './server.ts'
import { startDhcpWatch } from './watch.ts'

export type DhcpServiceDeps = Pick<
  DhcpDeps,
  'config' | 'loaders' | 'store' | 'facts' | 'apply' | 'log' | 'now' | 'leaseNow' | 'wake'
> & {
  /** The link's own MAC. */
  mac: Mac
  succession: Pick<Succession, 'mark' | 'heard'>
  /** Ports 67 and 68 of the link, and 4011 in proxyDHCP mode. `close` closes them. */
  sockets: { server: DatagramSockets; client: DatagramSockets; proxy?: Socket | undefined }
  /** How long nothing ran before this run, ms (services/clock.ts). */
  away: number | null
}

export type DhcpService = {
  counters: Readonly<DhcpCounters>
  strangersShare: DhcpServer['strangersShare']
  packets: PacketRing
  seen: Pick<Observations, 'clients' | 'servers'>
  dryRun(request: DhcpMessage): DhcpVerdict
  conflict(ip: Ip): { mac: Mac | null } | null
  watch(): WatchStatus
  /** The DHCP server on the link that must not be there, in words; null: there is none. */
  intruder(): string | null
  /** What other servers offer these MACs, asked now; null: we send nothing. */
  answersFor(macs: readonly Mac[]): Promise<Map<Mac, { server: Ip; ip: Ip | null }[]> | null>
  /** When a boot program of this MAC last asked, of what is kept of its packets, ms. */
  bootedAt(mac: Mac): number | null
  close(): Promise<void>
}

/** After a pause as short as this the link is taken to be as it was: whoever came back need not wait until we have looked around. */
const SHORT_PAUSE_MILLISECONDS = 10 * 60_000
/** Servers answer a hundred machines a second. */
const BETWEEN_MACS_MILLISECONDS = 10

export function startDhcpService(deps: DhcpServiceDeps): DhcpService {
  const { config, store, facts, apply, log, now, leaseNow, sockets, away } = deps
  const { network } = config
  const { mode, exclusive, tolerate } = network.dhcp
  const link = { interface: network.interface, address: network.address }
  const packets = createPacketRing()
  const seen = createObservations({ ring: packets, now })
  const stages: DhcpDeps['stages'] = new Map()

  const probe = startConflictProbe({
    link,
    log,
    now,
    onConflict(ip, holder) {
      const port = facts.portByIp(ip)
      if (!port) return
      const { node, order } = facts.machineByMac(port.address)
      const time = { now: now(), leaseNow: leaseNow() }
      store.note(() => apply(addressConflict({ node, order, time }, ip, holder, 1)))
    }
  })

  let foreign = false
  const quiet = mode === 'listen' || facts.standing().finishedAt !== null
  const hearers = new Set<(message: DhcpMessage, from: Ip) => void>()
  const watch = startDhcpWatch({
    link,
    mac: deps.mac,
    mark: deps.succession.mark,
    gaveWay: deps.succession.heard,
    sockets: sockets.client,
    tolerate,
    quiet,
    log,
    now,
    onChange: (status) => tellChange(status),
    onAnswer(message, from) {
      seen.answered(message, from)
      for (const hear of hearers) hear(message, from)
    },
    answer(_, reply) {
      sockets.server.send.send(encodeDhcp(reply), 68, '255.255.255.255')
    }
  })

  /** Servers that must not be there. Beside a proxy, a DHCP server is what there must be. */
  function intruders({ servers }: WatchStatus) {
    return servers.filter(
      ({ harmless, kind, twin }) => !harmless && (mode !== 'proxy' || kind === 'proxy' || twin)
    )
  }

  function tellChange(status: WatchStatus): void {
    const found = intruders(status)
    const is = found.length > 0
    if (is === foreign) return
    foreign = is
    const servers = found.map(({ address, mac, kind }) => ({ address, mac, kind }))
    const state = is ? 'seen' : 'gone'
    const event = { kind: 'foreign-dhcp', at: now(), nodeUuid: null, orderId: null, subject: state } as const
    store.note(() => apply([{ event: { ...event, detail: { state, servers } } }]))
  }

  function intruder(): string | null {
    if (!exclusive || mode === 'listen') return null
    const [first] = intruders(watch.status())
    if (!first) return null
    const { address, mac, kind } = first
    return `another ${kind === 'proxy' ? 'proxyDHCP' : 'DHCP'} server on ${link.interface}: ${address}${mac ? ` (${mac})` : ''}`
  }

  const strange = away === null || away > SHORT_PAUSE_MILLISECONDS
  function standDown(): string | null {
    const found = intruder()
    if (found !== null || !exclusive || mode === 'listen') return found
    return strange && watch.status().state === 'probing' ? 'still looking for other DHCP servers' : null
  }

  async function answersFor(macs: readonly Mac[]) {
    if (quiet) return null
    const answers = new Map(macs.map((mac) => [mac, new Map<Ip, Ip | null>()]))
    const hear = ({ chaddr, yiaddr, options }: DhcpMessage, from: Ip) =>
      void answers.get(chaddr)?.set(options.serverId ?? from, yiaddr === NO_ADDRESS ? null : yiaddr)
    hearers.add(hear)
    for (const mac of macs) {
      watch.askFor(mac)
      await sleep(BETWEEN_MACS_MILLISECONDS)
    }
    await sleep(WATCH_TIMES.start)
    hearers.delete(hear)
    return new Map(
      [...answers].map(([mac, servers]) => [mac, [...servers].map(([server, ip]) => ({ server, ip }))])
    )
  }

  function bootedAt(mac: Mac): number | null {
    const boots = packets.of(mac).filter((packet) => {
      const client = seenClient(packet)?.client
      return client !== undefined && client !== 'system'
    })
    return boots.at(-1)?.at ?? null
  }

  const conflict = (ip: Ip) => probe.conflict(ip)
  const server = startDhcp({
    ...deps,
    stages,
    ring: packets,
    standDown,
    sockets: { ...sockets.server, proxy: sockets.proxy },
    heard: (bytes, from) => watch.heard(bytes, from),
    conflicts: probe
  })
  const dryRun = createDryRun({
    facts,
    mode,
    settings: dhcpSettings(deps),
    stages,
    conflict,
    standDown,
    now,
    leaseNow
  })

  return {
    counters: server.counters,
    strangersShare: server.strangersShare,
    packets,
    seen,
    dryRun,
    conflict,
    watch: watch.status,
    intruder,
    answersFor,
    bootedAt,
    async close() {
      probe.close()
      await Promise.all([watch.close(), server.close()])
    }
  }
}
