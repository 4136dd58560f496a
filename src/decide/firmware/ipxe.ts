// iPXE, from a NIC's ROM or loaded by us; also what is iPXE without saying so (FlexBoot), known by its features.

import { IPXE_NO_PROXY_WAIT } from '../../wire/pxe.ts'
import type { Firmware } from '../firmware.ts'
import { SCRIPT_NAME } from './architectures.ts'

export const ipxe: Firmware = {
  name: 'ipxe',
  matches: ({ userClass, ipxe }) =>
    userClass === 'iPXE' || userClass === 'gPXE' || (ipxe !== null && ipxe.features.length > 0),
  bootFiles({ ipxe, architecture, archText }, place) {
    const can = (feature: string) => ipxe?.features.includes(feature) ?? false
    // An old ROM may lack HTTP or Linux kernels; the iPXE that we serve lacks neither, so this does not loop.
    if (can('http') && (can('bzimage') || can('efi')))
      return [
        { by: 'http', url: place.scriptUrl },
        { by: 'tftp', name: SCRIPT_NAME }
      ]
    if (architecture && architecture.loaders.length > 0)
      return place.ladder(architecture.loaders).map((name) => ({ by: 'tftp', name }))
    return [{ none: `iPXE without HTTP, and no boot loader for ${archText}` }]
  },
  // No PXEClient here: with it iPXE looks for a boot server on port 4011.
  answer: { ipxe: IPXE_NO_PROXY_WAIT }
}
