// What a BMC tells of itself and its machine when an operator asks.

/** Who made it and what it runs. */
export type BmcIdentity = {
  /** IANA enterprise number, and the maker's own number of the product. */
  manufacturer: number
  product: number
  /** `2.33` */
  firmware: string
  /** `2.0` */
  ipmiVersion: string
  /** As 32 hex digits in the order they travel; makers differ in the order. Null: it tells none. */
  systemGuid: string | null
}

/** One record of the event log. */
export type SystemEvent = {
  recordId: number
  /** ISO 8601 by the BMC's clock; null: its clock was not set. */
  at: string | null
  /** The sensor's name where the BMC has one, else its type. */
  subject: string
  /** `upper critical going high` */
  event: string
  /** The state began to hold; false: it ceased to. */
  asserted: boolean
  /** The three bytes of the event, or what an OEM record holds; hex. */
  data: string
}

export type SensorReport = {
  sensor: number
  name: string
  type: string
  /** Null: the sensor has states instead, or no reading now. */
  value: number | null
  unit: string
  /** Thresholds passed, or states that hold. */
  states: string[]
  /** False: switched off, or the machine is. */
  available: boolean
}

/** One field-replaceable unit; fields by their names in the FRU definition. */
export type FruReport = {
  fru: number
  name: string
  chassis: Readonly<Record<string, string>> | null
  board: Readonly<Record<string, string>> | null
  product: Readonly<Record<string, string>> | null
  faults: string[]
}

export type LanReport = {
  channel: number
  address: string
  source: 'unspecified' | 'static' | 'dhcp' | 'bios' | 'other'
  netmask: string
  gateway: string | null
  mac: string
  vlan: number | null
  /** Suites it lists, with the highest privilege each gives (0: off); null where it does not tell. */
  suites: { id: number; privilege: number | null }[] | null
}

export type BmcUser = {
  id: number
  name: string
  /** Null: the BMC does not tell. */
  enabled: boolean | null
  ipmi: boolean
  /** 1 callback, 2 user, 3 operator, 4 administrator, 15 none. */
  privilege: number
}
