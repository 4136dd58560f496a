// Address plans and what was promised from them.

import type { Ip, Mac } from '../wire/address.ts'

export type Subnet = {
  /** `192.0.2.0/24`. */
  cidr: string
  /** The addresses Seedling may give out, both ends included. */
  pool: { start: Ip; end: Ip }
  gateway: Ip | null
  dns: Ip[]
  ntp: Ip[]
  domain: string | null
  /** Bytes; null: say nothing. */
  mtu: number | null
  leaseSeconds: number
}

export type Lease = {
  mac: Mac
  ip: Ip
  state: 'bound' | 'released' | 'declined'
  expiresAt: number
  hostname: string | null
  updatedAt: number
}
