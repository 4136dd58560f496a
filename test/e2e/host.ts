// One more host beside the seed, on the machines' LAN and on the BMCs' network.

import type { RackPlan } from '../../scripts/lab/plan.ts'
import { run } from '../../scripts/lab/process.ts'

const ip = (line: string) => run(['ip', ...line.split(' ')])

/** A namespace with the same links as the seed's, and these addresses on them. */
export function addHost(rack: RackPlan, namespace: string, addresses: { lan: string; bmcs: string }): void {
  const { seed, lan, bmcs } = rack
  ip(`netns add ${namespace}`)
  ip(`-n ${namespace} link set lo up`)
  const plug = (link: string, where: string, bridge: string, address: string) => {
    ip(`-n ${namespace} link add ${link} type veth peer name next netns ${where}`)
    ip(`-n ${where} link set next master ${bridge} up`)
    ip(`-n ${namespace} address add ${address}/24 dev ${link}`)
    ip(`-n ${namespace} link set ${link} up`)
  }
  // The seed's cable ends at the BMCs themselves: a switch takes its place.
  ip(`-n ${bmcs.namespace} link add switch type bridge`)
  ip(`-n ${bmcs.namespace} address flush dev ${bmcs.link}`)
  for (const { bmc } of rack.machines)
    ip(`-n ${bmcs.namespace} address add ${bmc.address}/${bmcs.prefix} dev switch`)
  ip(`-n ${bmcs.namespace} link set ${bmcs.link} master switch`)
  ip(`-n ${bmcs.namespace} link set switch up`)
  plug(seed.bmc.link, bmcs.namespace, 'switch', addresses.bmcs)
  plug(seed.lan.link, lan.namespace, lan.bridge, addresses.lan)
}
