// Numbers of boot devices in boot parameter 5 (IPMI 2.0, table 28-14), and where a maker uses others. The remaining numbers
// are remote media and floppies.

const STANDARD = { none: 0, pxe: 1, disk: 2, safe: 3, cdrom: 5, bios: 6 } as const

export type BootDeviceName = keyof typeof STANDARD

type Departure = {
  /** IANA enterprise numbers. */
  makers: readonly number[]
  device: BootDeviceName
  efi: boolean
  persistent: boolean
  number: number
}

const DEPARTURES: readonly Departure[] = [
  // Supermicro: its own tool sends E0 24 for "always from the UEFI disk"; the standard's E0 08 is taken and not followed
  // (Ironic story 2008241, metal-stack).
  { makers: [10876, 47488], device: 'disk', efi: true, persistent: true, number: 9 }
]

type Flags = { efi: boolean; persistent: boolean }

/** The number that asks this maker's BMC for a device; `maker` null: not known. */
export function bootDeviceNumber(device: BootDeviceName, flags: Flags, maker: number | null): number {
  return departure(flags, maker, (row) => row.device === device)?.number ?? STANDARD[device]
}

/** The device that a number means; 'other': one without a word here. */
export function bootDeviceName(number: number, flags: Flags, maker: number | null): BootDeviceName | 'other' {
  const own = departure(flags, maker, (row) => row.number === number)
  if (own) return own.device
  const names = Object.keys(STANDARD) as BootDeviceName[]
  return names.find((name) => STANDARD[name] === number) ?? 'other'
}

function departure(
  { efi, persistent }: Flags,
  maker: number | null,
  fits: (row: Departure) => boolean
): Departure | undefined {
  if (maker === null) return undefined
  return DEPARTURES.find(
    (row) => row.makers.includes(maker) && row.efi === efi && row.persistent === persistent && fits(row)
  )
}
