// A server's namespace and one for a crowd of clients behind a relay, on a network of 65,534 addresses.

import type { Test } from 'tap'
import { formatIp, parseIp, type Ip } from '../../src/wire/address.ts'
import { createApply } from '../../services/store/apply.ts'
import { openStore } from '../../services/store/open.ts'
import { aNode, aPort, aSubnet } from '../support/builders.ts'
import { aMac } from '../support/dhcp.ts'
import { addNamespace, connect, type Namespace } from '../support/namespace.ts'

export const SERVER = '10.77.0.1'
export const RELAY = '10.77.255.254'

/** The first address of enrolled machines, and of strangers. */
const [RESERVED, DISCOVERY] = ['10.77.16.0', '10.77.64.0']

/** What the server in the room serves (test/services/dhcp/serve.ts): so many addresses for strangers, a day for each. */
export function served(addresses: number, leaseSeconds = 86_400) {
  const start = DISCOVERY
  const discovery = { start, end: ipAfter(start, addresses - 1), leaseSeconds, perSecond: 100_000 }
  const pool = { start: RESERVED, end: ipAfter(DISCOVERY, -1) }
  const subnet = aSubnet({ cidr: '10.77.0.0/16', pool, discovery, gateway: null, leaseSeconds })
  return { link: { interface: 'lan', address: SERVER }, subnets: [subnet], quiet: true }
}

/** `host` is for the server, `site` for the clients. */
export async function addRoom(t: Test): Promise<{ host: Namespace; site: Namespace }> {
  const [host, site] = [await addNamespace('host'), await addNamespace('site')]
  t.teardown(() => Promise.all([host.remove(), site.remove()]))
  await connect([host, 'lan'], [site, 'eth0'])
  await host.run('ip', 'address', 'add', `${SERVER}/16`, 'dev', 'lan')
  await site.run('ip', 'address', 'add', `${RELAY}/16`, 'dev', 'eth0')
  return { host, site }
}

/** Puts machines into a store that nobody has open, each with one port and its address. */
export function enrol(state: string, count: number): void {
  const store = openStore(state)
  const apply = createApply(store)
  store.commit(() => {
    for (let n = 0; n < count; n++) {
      const nodeUuid = uuid('6e6f6465', n)
      apply([
        { put: 'node', row: aNode({ uuid: nodeUuid, name: `ctl-${n}` }) },
        {
          put: 'port',
          row: aPort({
            uuid: uuid('706f7274', n),
            nodeUuid,
            address: aMac(n),
            reservedIp: ipAfter(RESERVED, n)
          })
        }
      ])
    }
  })
  store.close()
}

const ipAfter = (ip: Ip, count: number): Ip => formatIp((parseIp(ip) ?? 0) + count)

const uuid = (start: string, n: number) => `${start}-0000-4000-8000-${String(n).padStart(12, '0')}`
