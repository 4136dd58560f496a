// DHCP put together: the server, what looks around for it (other servers, addresses in use), and what remembers packets for people.

import type { Socket } from 'node:dgram'
import { addressConflict, type DhcpVerdict } from '../../src/decide/dhcp.ts'
import type { WatchStatus } from '../../src/decide/dhcp-watch.ts'
import type { Ip, Mac } from '../../src/wire/address.ts'
import { encodeDhcp, type DhcpMessage } from '../../src/wire/dhcp.ts'
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
  close(): Promise<void>
}

/** After a pause as short as this the link is taken to be as it was: whoever came back need not wait until we have looked around. */
const SHORT_PAUSE_MILLISECONDS = 10 * 60_000

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
      store.commit(() => apply(addressConflict({ node, order, time }, ip, holder, 1)))
    }
  })

  let foreign = false
  const watch = startDhcpWatch({
    link,
    mac: deps.mac,
    mark: deps.succession.mark,
    gaveWay: deps.succession.heard,
    sockets: sockets.client,
    tolerate,
    quiet: mode === 'listen' || facts.standing().finishedAt !== null,
    log,
    now,
    onChange: (status) => tellChange(status),
    onAnswer: (message, from) => seen.answered(message, from),
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
    store.commit(() => apply([{ event: { ...event, detail: { state, servers } } }]))
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
    async close() {
      probe.close()
      await Promise.all([watch.close(), server.close()])
    }
  }
}
