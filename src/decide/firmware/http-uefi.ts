// UEFI's own HTTP boot (UEFI 2.10, 24.7): takes an answer only if it has HTTPClient in option 60 and a URL in option 67.

import type { Firmware } from '../firmware.ts'

export const httpUefi: Firmware = {
  name: 'http-uefi',
  matches: ({ vendorClass, architecture }) =>
    vendorClass.startsWith('HTTPClient') || architecture?.by === 'http',
  bootFiles: ({ architecture, archText }, place) =>
    architecture && architecture.loaders.length > 0
      ? place.ladder(architecture.loaders).map((loader) => ({ by: 'http', url: place.loaderUrl(loader) }))
      : [{ none: `no boot loader for ${archText}` }],
  answer: { vendorClass: 'HTTPClient' }
}
