import t from 'tap'
import { bootDeviceName, bootDeviceNumber } from '../../../src/wire/ipmi/boot-device.ts'

const SUPERMICRO = 10876
const flags = (efi: boolean, persistent: boolean) => ({ efi, persistent })

t.test('the standard’s numbers, there and back', async (t) => {
  const numbers = { none: 0, pxe: 1, disk: 2, safe: 3, cdrom: 5, bios: 6 } as const
  for (const [device, number] of Object.entries(numbers))
    for (const maker of [null, 674, SUPERMICRO]) {
      t.equal(bootDeviceNumber(device as 'pxe', flags(true, false), maker), number)
      t.equal(bootDeviceName(number, flags(true, false), maker), device)
    }
  t.equal(bootDeviceName(9, flags(true, true), null), 'other', 'remote media')
})

t.test('Supermicro: a UEFI disk for good has a number of its own', async (t) => {
  t.equal(bootDeviceNumber('disk', flags(true, true), SUPERMICRO), 9)
  t.equal(bootDeviceName(9, flags(true, true), SUPERMICRO), 'disk')
  t.equal(bootDeviceNumber('disk', flags(false, true), SUPERMICRO), 2)
  t.equal(bootDeviceNumber('disk', flags(true, false), SUPERMICRO), 2)
  t.equal(bootDeviceNumber('disk', flags(true, true), 674), 2)
})
