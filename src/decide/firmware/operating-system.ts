// Clients that boot nothing from us: our own deploy ramdisk, and whatever is installed.

import type { Firmware } from '../firmware.ts'

/** What the deploy ramdisk sends as its vendor class (image/README.md, "Kernel command line"). */
export const RAMDISK_VENDOR_CLASS = 'seedling-ramdisk'

export const ramdisk: Firmware = {
  name: 'ramdisk',
  matches: ({ vendorClass }) => vendorClass === RAMDISK_VENDOR_CLASS,
  bootFiles: () => [{ none: 'the ramdisk is running' }],
  answer: {}
}

export const system: Firmware = {
  name: 'system',
  matches: () => true,
  bootFiles: () => [{ none: 'an installed system asks' }],
  answer: {}
}
