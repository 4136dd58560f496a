import t from 'tap'
import { tftpName, type TftpName } from '../../src/decide/tftp-names.ts'

const ASKER = '192.0.2.100'
const LOADERS = new Set(['snponly.efi', 'undionly.kpxe', 'grubx64.efi', 'shimx64.efi'])

const loader = (name: string): TftpName => ({ means: 'loader', name })
const script = (dialect: 'ipxe' | 'grub' | 'pxelinux', mac?: string): TftpName =>
  mac === undefined ? { means: 'script', dialect } : { means: 'script', dialect, mac }
const nothing: TftpName = { means: 'nothing' }

/** The name as asked → what is meant, and who asks so. */
const NAMES: [asked: string, meant: TftpName, who: string][] = [
  ['snponly.efi', loader('snponly.efi'), 'UEFI, told by option 67'],
  ['/boot/snponly.efi', loader('snponly.efi'), 'with a folder'],
  ['\\BOOT\\SNPONLY.EFI', loader('snponly.efi'), 'with back-slashes, in capitals'],
  ['undionly.kpxe\xff', loader('undionly.kpxe'), 'a boot agent that read one byte too far'],
  ['undionly.kpxe  ', loader('undionly.kpxe'), 'blanks at the end'],
  ['missing.efi', loader('missing.efi'), 'anything else is taken for a loader'],
  ['', loader(''), 'an empty name'],
  ['/', loader(''), 'a folder'],
  ['autoexec.ipxe', script('ipxe'), 'iPXE'],
  ['ipxe/AUTOEXEC.IPXE', script('ipxe'), 'iPXE from a folder'],
  ['grub/grub.cfg-01-52-54-00-00-00-01', script('grub', '52:54:00:00:00:01'), 'GRUB by MAC'],
  ['/grub/grub.cfg-01-52-54-00-AB-CD-EF', script('grub', '52:54:00:ab:cd:ef'), 'GRUB by MAC, capitals'],
  ['grub/grub.cfg-4c4c4544-0042-3510-8052-b4c04f564231', script('grub'), 'GRUB by UUID'],
  ['grub/grub.cfg-C0000264', script('grub'), 'GRUB by address'],
  ['grub/grub.cfg-C00002', script('grub'), 'GRUB by a part of it'],
  ['grub/grub.cfg-C', script('grub'), 'GRUB by its first digit'],
  ['grub/grub.cfg-C0000265', nothing, 'another’s address'],
  ['grub/grub.cfg-', loader('grub.cfg-'), 'no name of GRUB’s'],
  ['EFI/debian/grub.cfg', script('grub'), 'Debian’s signed GRUB'],
  ['grub/x86_64-efi/command.lst', nothing, 'GRUB’s lists'],
  ['grub/x86_64-efi/net.mod', nothing, 'GRUB’s modules'],
  [
    'pxelinux.cfg/01-52-54-00-00-00-01',
    script('pxelinux', '52:54:00:00:00:01'),
    'PXELINUX and U-Boot by MAC'
  ],
  ['pxelinux.cfg/C0000264', script('pxelinux'), 'by address'],
  ['pxelinux.cfg/default', script('pxelinux'), 'by no name'],
  ['pxelinux.cfg/default-arm-bcm283x', nothing, 'U-Boot by board'],
  ['pxelinux.cfg/b8945908-d6a6-41a9-611d-74a6ab80b83d', script('pxelinux'), 'by UUID'],
  ['c0000264', loader('c0000264'), 'the same name elsewhere is just a name'],
  ['boot.scr.uimg', loader('boot.scr.uimg'), 'U-Boot, by itself'],
  ['C0000264.img', loader('c0000264.img'), 'U-Boot that was told no file'],
  ['10000001/start4.elf', loader('start4.elf'), 'a Raspberry Pi, below its serial number'],
  ['bootcode.bin', loader('bootcode.bin'), 'an older Raspberry Pi'],
  ['revocations.efi', nothing, 'shim 15.8'],
  ['revocations_sbat.efi', nothing, 'shim 16'],
  ['shim_certificate_0.efi', nothing, 'shim 15.8'],
  ['grubx64.efi', loader('grubx64.efi'), 'shim'],
  ['EFI\\BOOT\\grubx64.efi', loader('grubx64.efi'), 'shim that keeps the path'],
  ['\x01\xe0P\x8f\x7f', loader('grubx64.efi'), 'shim with garbage from the firmware'],
  ['EFI/\xc3\x28', loader('grubx64.efi'), 'the same below its folder'],
  ['../../../../etc/shadow', loader('shadow'), 'a climb is a name like any other'],
  ['..', loader('..'), 'and so are dots']
]

t.test('names', async (t) => {
  for (const [asked, meant, who] of NAMES)
    t.same(tftpName(asked, ASKER, LOADERS), meant, `${who}: ${JSON.stringify(asked)}`)
})

t.test('garbage without a second stage is garbage', async (t) => {
  t.same(tftpName('\x01\xe0', ASKER, new Set(['snponly.efi'])), loader('\x01\xe0'))
  t.same(tftpName('\x01\xe0', ASKER, new Set(['grubaa64.efi'])), loader('grubaa64.efi'), 'on ARM64')
})
