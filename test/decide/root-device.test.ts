import t from 'tap'
import { chooseRootDevice } from '../../src/decide/root-device.ts'
import type { Disk } from '../../src/domain/inventory.ts'
import { aDisk } from '../support/builders.ts'

const GiB = 2 ** 30
const two = [
  aDisk({ path: '/dev/sda', serial: 'A' }),
  aDisk({ path: '/dev/sdb', serial: 'B', wwn: '0x5000c500' })
]

const cases: Record<
  string,
  { disks: Disk[]; hints?: Record<string, unknown>; chosen?: string; code?: string }
> = {
  'the only disk is taken': { disks: [aDisk()], chosen: '/dev/vda' },
  'two disks and no hint are refused': { disks: two, code: 'disk-ambiguous' },
  'a serial decides': { disks: two, hints: { serial: 'b' }, chosen: '/dev/sdb' },
  'a WWN decides, with or without 0x': { disks: two, hints: { wwn: '5000C500' }, chosen: '/dev/sdb' },
  'a name decides': { disks: two, hints: { name: '/dev/sda' }, chosen: '/dev/sda' },
  'hints that fit none are refused': { disks: two, hints: { serial: 'C' }, code: 'disk-missing' },
  'a hint nobody knows is refused, not ignored': {
    disks: [aDisk()],
    hints: { colour: 'red' },
    code: 'disk-missing'
  },
  'size in GiB with an operator': {
    disks: [aDisk({ path: '/dev/sda', size: 4 * GiB }), aDisk({ path: '/dev/sdb', size: 100 * GiB })],
    hints: { size: '>= 50' },
    chosen: '/dev/sdb'
  },
  'a number is an exact size': {
    disks: [aDisk({ path: '/dev/sda', size: 4 * GiB + 5 }), aDisk({ path: '/dev/sdb', size: 100 * GiB })],
    hints: { size: 4 },
    chosen: '/dev/sda'
  },
  'a USB stick does not count': {
    disks: [aDisk(), aDisk({ path: '/dev/sdz', removable: true })],
    chosen: '/dev/vda'
  },
  'one that says it is no stick does not count either': {
    disks: [aDisk(), aDisk({ path: '/dev/sda', serial: 'U', usb: true })],
    chosen: '/dev/vda'
  },
  'it is not taken because it is the only one that is big enough': {
    disks: [aDisk({ size: GiB / 2 }), aDisk({ path: '/dev/sda', usb: true })],
    code: 'disk-too-small'
  },
  'nor because a hint happens to fit': {
    disks: [aDisk({ path: '/dev/sda', size: 4 * GiB, usb: true })],
    hints: { size: 4 },
    code: 'disk-missing'
  },
  'a disk on USB that is named is taken': {
    disks: [aDisk(), aDisk({ path: '/dev/sda', serial: 'U', usb: true })],
    hints: { serial: 'U' },
    chosen: '/dev/sda'
  },
  'a read-only disk does not count': { disks: [aDisk({ readOnly: true })], code: 'disk-missing' },
  'an empty card reader does not count': { disks: [aDisk({ size: 0 })], code: 'disk-missing' },
  'no disk at all is said': { disks: [], code: 'disk-missing' },
  'a disk that is too small is said': { disks: [aDisk({ size: 1000 })], code: 'disk-too-small' },
  'a disk that would only hold the image without the config-drive is too small': {
    disks: [aDisk({ size: GiB })],
    code: 'disk-too-small'
  },
  'of two the one that is big enough is taken': {
    disks: [aDisk({ path: '/dev/sda', size: GiB / 2 }), aDisk({ path: '/dev/sdb' })],
    chosen: '/dev/sdb'
  },
  'rotational as text': {
    disks: [aDisk({ path: '/dev/sda', rotational: true }), aDisk({ path: '/dev/nvme0n1' })],
    hints: { rotational: 'false' },
    chosen: '/dev/nvme0n1'
  }
}

for (const [sentence, { disks, hints = {}, chosen, code }] of Object.entries(cases))
  t.test(sentence, async (t) => {
    const choice = chooseRootDevice(disks, hints, GiB)
    if ('disk' in choice) t.equal(choice.disk.path, chosen)
    else {
      t.equal(choice.code, code, choice.refused)
      for (const disk of disks)
        if (choice.code !== 'disk-missing' || !hints['colour']) t.match(choice.refused, disk.path)
    }
  })
