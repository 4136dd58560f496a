// What would be answered to a request if it came now. Nothing is written, offered, probed or remembered for having asked.

import { decideDhcp, type DhcpSettings, type DhcpVerdict } from '../../src/decide/dhcp.ts'
import { placeOf } from '../../src/decide/dhcp-place.ts'
import { decideProxyDhcp } from '../../src/decide/proxy-dhcp.ts'
import type { DhcpMessage } from '../../src/wire/dhcp.ts'
import type { DhcpMode } from '../network-config.ts'
import { createDiscoveryPool } from './discovery-pool.ts'
import { gather, type GatherDeps } from './gather.ts'

export type DryRunDeps = Omit<GatherDeps, 'pool' | 'discovers'> & {
  /** In `listen`, what would be answered in `server`. */
  mode: DhcpMode
  settings: DhcpSettings
  now: () => number
  leaseNow: () => number
}

export function createDryRun(deps: DryRunDeps): (request: DhcpMessage) => DhcpVerdict {
  const { mode, settings, now, leaseNow, facts, conflict } = deps
  const newPool = () =>
    createDiscoveryPool({ facts, leaseNow, inUse: (ip) => conflict(ip) !== null, mayOffer: () => true })
  // One for each machine that is asked about, so that what it holds is on offer to nobody.
  let pool = newPool()
  let asked = ''
  return (request) => {
    if (request.chaddr !== asked) pool = newPool()
    asked = request.chaddr
    const place = placeOf(request, settings)
    const known = gather(request, place, { ...deps, pool, discovers: new Map() })
    const time = { now: now(), leaseNow: leaseNow() }
    if (mode !== 'proxy') return decideDhcp(request, place, known, settings, time)
    return decideProxyDhcp(request, { port: 67 }, place, { ...known, other: null }, settings, time)
  }
}
