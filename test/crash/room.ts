// A server's namespace and one for a crowd of clients behind a relay, on a network of 65,534 addresses.

import type { Test } from 'tap'
import type { Subnet } from '../../src/domain/subnet.ts'
import { formatIp, parseIp } from '../../src/wire/address.ts'
import { createApply } from '../../services/store/apply.ts'
import { openStore } from '../../services/store/open.ts'
import { aNode, aPort } from '../support/builders.ts'
import { aMac } from '../support/dhcp.ts'
import { addNamespace, connect, type Namespace } from '../support/namespace.ts'

export const SERVER = '10.77.0.1'
export const RELAY = '10.77.255.254'

const RESERVED = { start: '10.77.16.0', end: '10.77.63.255' }
const SUBNET: Subnet = {
  cidr: '10.77.0.0/16',
  pool: RESERVED,
  gateway: null,
  dns: [],
  ntp: [],
  domain: null,
  mtu: null,
  leaseSeconds: 86_400
}

/** What the server in the room serves (test/services/dhcp/serve.ts). */
export const SERVED = { link: { interface: 'lan', address: SERVER }, subnets: [SUBNET], quiet: true }

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
  const first = parseIp(RESERVED.start) ?? 0
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
            reservedIp: formatIp(first + n)
          })
        }
      ])
    }
  })
  store.close()
}

const uuid = (start: string, n: number) => `${start}-0000-4000-8000-${String(n).padStart(12, '0')}`
