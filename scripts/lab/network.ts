// The rack's wires: three network namespaces, the machines' LAN (a bridge), the BMC network, and one link from the seed
// to the host. Nothing is bridged or routed to any network of the host.
//
//      host ──198.19.0.0/30── seed ──lan0 192.0.2.1── [bridge] ── tap-node1, tap-node2, …
//                               └───bmc0 198.18.0.1── 198.18.0.11, .12, … (one address per BMC)
import { readdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { METADATA_ADDRESS } from '../../src/decide/dhcp-reply.ts'
import type { RackPlan } from './plan.ts'
import { inNamespace, run } from './process.ts'

const namespaces = (rack: RackPlan) => [rack.lan.namespace, rack.bmcs.namespace, rack.seed.namespace]

/** Builds namespaces, bridge, links and taps. @throws Error if anything of that name is there already */
export function buildNetwork(rack: RackPlan): void {
  const { lan, bmcs, seed, machines } = rack
  const ip = (line: string) => run(['ip', ...line.split(' ')])
  const ipIn = (namespace: string, line: string) => ip(`-n ${namespace} ${line}`)

  for (const namespace of namespaces(rack)) {
    ip(`netns add ${namespace}`)
    ipIn(namespace, 'link set lo up')
    // A new namespace may inherit forwarding from the host; the seed must never be a way out of the LAN.
    run(inNamespace(namespace, ['sysctl', '-qw', 'net.ipv4.ip_forward=0', 'net.ipv6.conf.all.forwarding=0']))
  }

  ipIn(lan.namespace, `link add ${lan.bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0`)
  ipIn(lan.namespace, `link set ${lan.bridge} up`)
  for (const { tap } of machines) {
    ipIn(lan.namespace, `tuntap add ${tap} mode tap`)
    ipIn(lan.namespace, `link set ${tap} master ${lan.bridge} up`)
  }

  cable(seed.lan.link, lan.namespace, lan.seedPort)
  ipIn(lan.namespace, `link set ${lan.seedPort} master ${lan.bridge} up`)

  cable(seed.bmc.link, bmcs.namespace, bmcs.link)
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
  ipIn(seed.namespace, `address add ${METADATA_ADDRESS}/32 dev ${seed.lan.link}`)

  function cable(seedEnd: string, namespace: string, otherEnd: string): void {
    ipIn(seed.namespace, `link add ${seedEnd} type veth peer name ${otherEnd} netns ${namespace}`)
  }
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
