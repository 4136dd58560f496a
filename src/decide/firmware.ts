// Which program is asking, and what it can boot: an ordered table, the first match wins. What it *may* boot is the
// gate's business (gate.ts).

import type { DhcpMessage } from '../wire/dhcp.ts'
import type { DhcpOptions } from '../wire/dhcp-options.ts'
import type { Loader, SCRIPT_NAME } from './firmware/architectures.ts'
import { clientOf, type Client } from './firmware/client.ts'
import { httpUefi } from './firmware/http-uefi.ts'
import { ipxe } from './firmware/ipxe.ts'
import { ramdisk, system } from './firmware/operating-system.ts'
import { pxeBios, pxeOther, pxeUefi } from './firmware/pxe.ts'

export type FirmwareName = 'ramdisk' | 'ipxe' | 'http-uefi' | 'pxe-bios' | 'pxe-uefi' | 'pxe-other' | 'system'

/** Where a boot file is; `none` tells people why there is none for this client. */
export type BootFile =
  { by: 'tftp'; name: Loader | typeof SCRIPT_NAME } | { by: 'http'; url: string } | { none: string }

/** Addresses of our own boot files, for one client. */
export type BootPlace = {
  scriptUrl: string
  loaderUrl(loader: Loader): string
  /** The loaders of an architecture, in the order for this machine. */
  ladder(loaders: readonly Loader[]): readonly Loader[]
}

export type Firmware = {
  name: FirmwareName
  matches(client: Client): boolean
  /** At least one: the first is for every machine, the others for one that gets nowhere with those before (boot-stage.ts). */
  bootFiles(client: Client, place: BootPlace): readonly BootFile[]
  /** Options that go into the answer together with a boot file, and never without one. */
  answer: Pick<DhcpOptions, 'vendorClass' | 'vendorOptions' | 'ipxe'>
  /** Options by which this client leaves the network at once when there is nothing for it; not said: it finds that out by itself. */
  leave?: Pick<DhcpOptions, 'vendorClass' | 'vendorOptions'>
}

const FIRMWARES: readonly Firmware[] = [ramdisk, ipxe, httpUefi, pxeBios, pxeUefi, pxeOther, system]

/** The program behind a request. */
export function firmwareOf(message: DhcpMessage): { firmware: Firmware; client: Client } {
  const client = clientOf(message)
  return { client, firmware: FIRMWARES.find((firmware) => firmware.matches(client)) ?? system }
}

/** Our boot files as one client is to be told of them. `base` is `http://ADDRESS[:PORT]`. */
export function bootPlace(
  base: string,
  firmware: FirmwareName,
  client: Client,
  ladder: BootPlace['ladder']
): BootPlace {
  const query = [`mac=${client.mac}`]
  if (client.guid) query.push(`uuid=${client.guid}`)
  query.push(`client=${firmware}`)
  if (client.arch !== null) query.push(`arch=${client.arch}`)
  return {
    scriptUrl: `${base}/boot/script?${query.join('&')}`,
    loaderUrl: (loader) => `${base}/boot/loader/${loader}`,
    ladder
  }
}
