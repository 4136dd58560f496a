// The rack's wires: three network namespaces, the machines' LAN (a bridge), the BMC network, and one link from the seed
// to the host. Nothing is bridged or routed to any network of the host.
//
//      host ──198.19.0.0/30── seed ──lan0 192.0.2.1── [bridge] ── tap-node1, tap-node2, …
//                               └───bmc0 198.18.0.1── 198.18.0.11, .12, … (one address per BMC)
import { readdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { METADATA_ADDRESS } from '../../src/decide/dhcp-reply.ts'
import type { MachinePlan, RackPlan } from './plan.ts'
import { inNamespace, run, startDetached } from './process.ts'

const namespaces = (rack: RackPlan) => [rack.lan.namespace, rack.bmcs.namespace, rack.seed.namespace]

/** Builds namespaces, bridge, links and taps. @throws Error if anything of that name is there already */
export function buildNetwork(rack: RackPlan): void {
  const { lan, otherLan, bmcs, seed, machines, appliance } = rack
  const { mtu, spanningTree, lossPercent, nics } = rack.options
  const ip = (line: string) => run(['ip', ...line.split(' ')])
  const ipIn = (namespace: string, line: string) => ip(`-n ${namespace} ${line}`)

  for (const namespace of namespaces(rack)) {
    ip(`netns add ${namespace}`)
    ipIn(namespace, 'link set lo up')
    // A new namespace may inherit forwarding from the host; the seed must never be a way out of the LAN.
    run(inNamespace(namespace, ['sysctl', '-qw', 'net.ipv4.ip_forward=0', 'net.ipv6.conf.all.forwarding=0']))
  }

  // forward_delay in hundredths of a second, spent twice: listening, then learning (IEEE 802.1D-1998, 8.4).
  const tree = spanningTree ? 'stp_state 1 forward_delay 1500' : 'stp_state 0 forward_delay 0'
  bridge(lan.bridge, tree)
  for (const machine of machines) connect(machine)

  cable(seed.lan.link, lan.namespace, lan.seedPort)
  ipIn(lan.namespace, `link set ${lan.seedPort} mtu ${mtu} master ${lan.bridge} up`)
  ipIn(seed.namespace, `link set ${seed.lan.link} mtu ${mtu}`)
  if (lossPercent > 0) {
    // Whole segments, or one loss would be that of forty packets; and lost on their way, since a sender notices what is dropped in its own house.
    ipIn(seed.namespace, `link set ${seed.lan.link} gso_max_segs 1`)
    for (const [namespace, link] of [
      [seed.namespace, seed.lan.link],
      [lan.namespace, lan.seedPort]
    ] as const)
      run(inNamespace(namespace, ['nft', lossyEnd(link, lossPercent)]))
  }

  if (nics > 1) {
    bridge(otherLan.bridge, 'stp_state 0 forward_delay 0')
    ipIn(lan.namespace, `address add ${otherLan.address}/${otherLan.prefix} dev ${otherLan.bridge}`)
    for (const { otherNics } of machines)
      otherNics.forEach(({ tap }, card) => port(tap, card === 0 ? otherLan.bridge : null))
  }

  if (appliance) {
    // Beside the LAN's bridge, because one QEMU is on both.
    const { tap, bridge: name } = appliance.bmc
    bridge(name, 'stp_state 0 forward_delay 0')
    port(tap, name)
    port(appliance.lan.tap, lan.bridge)
    cable(seed.bmc.link, lan.namespace, 'bmc-seed')
    ipIn(lan.namespace, `link set bmc-seed master ${name} up`)
    ipIn(lan.namespace, `link add bmc-rack type veth peer name ${bmcs.link} netns ${bmcs.namespace}`)
    ipIn(lan.namespace, `link set bmc-rack master ${name} up`)
  } else cable(seed.bmc.link, bmcs.namespace, bmcs.link)
  for (const { bmc } of machines)
    ipIn(bmcs.namespace, `address add ${bmc.address}/${bmcs.prefix} dev ${bmcs.link}`)
  ipIn(bmcs.namespace, `link set ${bmcs.link} up`)

  const { hostLink, hostAddress, prefix } = seed.management
  ip(`link add ${hostLink} type veth peer name ${seed.management.link} netns ${seed.namespace}`)
  ip(`address add ${hostAddress}/${prefix} dev ${hostLink}`)
  ip(`link set ${hostLink} up`)

  for (const { link, address, prefix } of [seed.lan, seed.bmc, seed.management]) {
    ipIn(seed.namespace, `address add ${address}/${prefix} dev ${link}`)
    ipIn(seed.namespace, `link set ${link} up`)
  }
  if (!appliance) ipIn(seed.namespace, `address add ${METADATA_ADDRESS}/32 dev ${seed.lan.link}`)

  function bridge(name: string, tree: string): void {
    ipIn(lan.namespace, `link add ${name} type bridge ${tree} mcast_snooping 0`)
    ipIn(lan.namespace, `link set ${name} up`)
  }
  /** A tap has no link while no QEMU holds it, at a reset for example. A switch that minds gets a port that is not the tap. */
  function connect({ tap, switchPort }: MachinePlan): void {
    if (switchPort === tap) return port(tap, lan.bridge)
    const wire = `w-${tap}`
    bridge(wire, 'stp_state 0 forward_delay 0')
    port(tap, wire)
    ipIn(lan.namespace, `link add ${switchPort} type veth peer name e-${tap}`)
    ipIn(lan.namespace, `link set e-${tap} mtu ${mtu} master ${wire} up`)
    ipIn(lan.namespace, `link set ${switchPort} mtu ${mtu} master ${lan.bridge} up`)
  }
  function port(tap: string, bridge: string | null): void {
    ipIn(lan.namespace, `tuntap add ${tap} mode tap`)
    ipIn(lan.namespace, `link set ${tap} mtu ${mtu} ${bridge ? `master ${bridge} ` : ''}up`)
  }
  function cable(seedEnd: string, namespace: string, otherEnd: string): void {
    ipIn(seed.namespace, `link add ${seedEnd} type veth peer name ${otherEnd} netns ${namespace}`)
  }
}

/** nftables' rules for an end of a cable at which packets that arrive are lost at random. */
export function lossyEnd(link: string, percent: number): string {
  return `table netdev lossy {
    chain arriving {
      type filter hook ingress device "${link}" priority 0
      numgen random mod 100 < ${percent} drop
    }
  }`
}

/** The DHCP server on the network of the machines' first cards: answers everybody, and knows nothing of booting. */
export function startOtherDhcp({ lan, otherLan }: RackPlan): void {
  const { bridge, log, pidFile } = otherLan
  const network = otherLan.address.replace(/\d+$/, '')
  const options = [
    ['--keep-in-foreground', '--conf-file=/dev/null', '--port=0', '--leasefile-ro', '--log-dhcp'],
    [`--interface=${bridge}`, '--bind-interfaces', '--log-facility=-', '--user=root', '--pid-file='],
    [`--dhcp-range=${network}100,${network}199,1h`, '--dhcp-authoritative']
  ].flat()
  startDetached(inNamespace(lan.namespace, ['dnsmasq', ...options]), { log, pidFile })
}

/** Pulls the cable of a machine's card out of the switch, or plugs it in: whatever the switch knew of that port is forgotten. */
export function setSwitchPort({ lan }: Pick<RackPlan, 'lan'>, port: string, up: boolean): void {
  run(['ip', '-n', lan.namespace, 'link', 'set', port, up ? 'up' : 'down'])
}

/** Ends whatever still runs in the rack's namespaces and removes them, and with them every link. Safe to repeat. */
export async function removeNetwork(rack: RackPlan): Promise<void> {
  for (const namespace of namespaces(rack).filter(namespaceExists)) {
    // The namespaces are ours alone, so what runs in one was started for this rack.
    for (let pids = processesIn(namespace); pids.length > 0; pids = processesIn(namespace)) {
      for (const pid of pids) kill(pid)
      await sleep(20)
    }
    run(['ip', 'netns', 'delete', namespace])
  }
  // The kernel takes a namespace apart in the background, and the host's end of the cable with it, if this is not quicker.
  const { hostLink } = rack.seed.management
  try {
    run(['ip', 'link', 'delete', hostLink])
  } catch (error) {
    if (hostLinks().includes(hostLink)) throw error
  }
}

/** What of the rack's network is there now, as names; empty when all is gone. */
export function networkRemains(rack: RackPlan): string[] {
  return [
    ...namespaces(rack).filter(namespaceExists),
    ...hostLinks().filter((link) => link === rack.seed.management.hostLink)
  ]
}

const hostLinks = (): string[] => readdirSync('/sys/class/net')

function namespaceExists(namespace: string): boolean {
  return run(['ip', 'netns', 'list'])
    .split('\n')
    .some((line) => line.split(' ')[0] === namespace)
}

function processesIn(namespace: string): number[] {
  return run(['ip', 'netns', 'pids', namespace]).split('\n').filter(Boolean).map(Number)
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended by itself in between.
  }
}
