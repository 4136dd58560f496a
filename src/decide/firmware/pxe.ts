// PXE firmware: takes a boot file by TFTP. BIOS ROMs, UEFI, and whatever else names a client architecture.

import { PXE_LOCAL_BOOT, PXE_TAKE_THE_FILE } from '../../wire/pxe.ts'
import type { Firmware } from '../firmware.ts'
import type { Client } from './client.ts'

const isPxe = ({ vendorClass, arch }: Client) => vendorClass.startsWith('PXEClient') || arch !== null

// The class and the discovery control only together: with the class alone, UEFI goes to port 4011 and hangs there.
const answer = { vendorClass: 'PXEClient', vendorOptions: PXE_TAKE_THE_FILE }
const leave = { vendorClass: 'PXEClient', vendorOptions: PXE_LOCAL_BOOT }

const bootFiles: Firmware['bootFiles'] = ({ architecture, archText, instead }, place) =>
  architecture && architecture.loaders.length > 0
    ? place.ladder(architecture.loaders).map((name) => ({ by: 'tftp', name }))
    : [{ none: `no boot loader for ${archText}${instead ? `: ${instead}` : ''}` }]

export const pxeBios: Firmware = {
  name: 'pxe-bios',
  matches: (client) => isPxe(client) && client.architecture?.firmware === 'bios',
  bootFiles,
  answer,
  leave
}

export const pxeUefi: Firmware = {
  name: 'pxe-uefi',
  matches: (client) => isPxe(client) && client.architecture?.firmware === 'uefi',
  bootFiles,
  answer,
  leave
}

export const pxeOther: Firmware = { name: 'pxe-other', matches: isPxe, bootFiles, answer, leave }
