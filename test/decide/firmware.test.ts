import t from 'tap'
import { bootPlace, firmwareOf, type BootFile, type FirmwareName } from '../../src/decide/firmware.ts'
import { ARCHITECTURES, LOADERS } from '../../src/decide/firmware/architectures.ts'
import type { DhcpMessage } from '../../src/wire/dhcp.ts'
import type { DhcpOptions } from '../../src/wire/dhcp-options.ts'
import { aRequest, recorded } from '../support/dhcp.ts'

const MAC = '52:54:00:00:00:01'
const SCRIPT = `http://192.0.2.1/boot/script?mac=${MAC}`

const asking = (options: DhcpOptions, chaddr = MAC): DhcpMessage => aRequest({ chaddr, options })
const pxe = (arch: number): DhcpMessage =>
  asking({ vendorClass: 'PXEClient:Arch:00000:UNDI:002001', clientArchitectures: [arch] })
const http = (arch: number): DhcpMessage =>
  asking({ vendorClass: 'HTTPClient:Arch:00016:UNDI:003001', clientArchitectures: [arch] })
const tftp = (name: (typeof LOADERS)[number]): BootFile => ({ by: 'tftp', name })
const url = (path: string): BootFile => ({ by: 'http', url: `http://192.0.2.1${path}` })

/** Option 175 with these features, each of version 1. */
const features = (...codes: number[]): Buffer => Buffer.from(codes.flatMap((code) => [code, 1, 1]))
const HTTP = 0x13
const BZIMAGE = 0x18
const EFI = 0x24

const cases: Record<string, { request: DhcpMessage; is: FirmwareName; takes: BootFile | 'nothing' }> = {
  'SeaBIOS with the iPXE ROM of QEMU': {
    request: recorded('seabios-ipxe-discover'),
    is: 'ipxe',
    takes: url(
      '/boot/script?mac=52:54:00:5e:ed:01&uuid=0000ed5e-0000-0040-8000-000000000001&client=ipxe&arch=0'
    )
  },
  'our iPXE on SeaBIOS': {
    request: recorded('ipxe-bios-discover'),
    is: 'ipxe',
    takes: url(
      '/boot/script?mac=52:54:00:dc:00:02&uuid=44332211-6655-8877-99aa-bbccddeeff00&client=ipxe&arch=0'
    )
  },
  'our iPXE on OVMF': {
    request: recorded('ipxe-uefi-discover'),
    is: 'ipxe',
    takes: url(
      '/boot/script?mac=52:54:00:5e:ed:03&uuid=0000ed5e-0000-0040-8000-000000000003&client=ipxe&arch=7'
    )
  },
  'OVMF, PXE': { request: recorded('ovmf-pxe-discover'), is: 'pxe-uefi', takes: tftp('snponly.efi') },
  'OVMF, PXE, when it takes the offer': {
    request: recorded('ovmf-pxe-request'),
    is: 'pxe-uefi',
    takes: tftp('snponly.efi')
  },
  'OVMF, HTTP boot': {
    request: recorded('ovmf-http-discover'),
    is: 'http-uefi',
    takes: url('/boot/loader/snponly.efi')
  },
  'the deploy ramdisk': { request: recorded('ramdisk-discover'), is: 'ramdisk', takes: 'nothing' },
  'udhcpc of an installed system': { request: recorded('udhcpc-discover'), is: 'system', takes: 'nothing' },
  'dhclient of an installed system': {
    request: recorded('dhclient-discover'),
    is: 'system',
    takes: 'nothing'
  },
  'a client that says nothing': { request: asking({}), is: 'system', takes: 'nothing' },
  Windows: { request: asking({ vendorClass: 'MSFT 5.0' }), is: 'system', takes: 'nothing' },

  BIOS: { request: pxe(0), is: 'pxe-bios', takes: tftp('undionly.kpxe') },
  'x86 UEFI of 32 bits': { request: pxe(6), is: 'pxe-uefi', takes: 'nothing' },
  'x64 UEFI': { request: pxe(7), is: 'pxe-uefi', takes: tftp('snponly.efi') },
  'x64 UEFI that says 9': { request: pxe(9), is: 'pxe-uefi', takes: tftp('snponly.efi') },
  'ARM UEFI of 32 bits': { request: pxe(10), is: 'pxe-uefi', takes: 'nothing' },
  'ARM64 UEFI': { request: pxe(11), is: 'pxe-uefi', takes: tftp('ipxe-arm64.efi') },
  'x86 UEFI HTTP of 32 bits': { request: http(15), is: 'http-uefi', takes: 'nothing' },
  'x64 UEFI HTTP': { request: http(16), is: 'http-uefi', takes: url('/boot/loader/snponly.efi') },
  'ARM UEFI HTTP of 32 bits': { request: http(18), is: 'http-uefi', takes: 'nothing' },
  'ARM64 UEFI HTTP': { request: http(19), is: 'http-uefi', takes: url('/boot/loader/ipxe-arm64.efi') },
  'an HTTP client that says 7': { request: http(7), is: 'http-uefi', takes: url('/boot/loader/snponly.efi') },
  'an HTTP architecture without the class': {
    request: asking({ clientArchitectures: [16] }),
    is: 'http-uefi',
    takes: url('/boot/loader/snponly.efi')
  },
  'an architecture that nobody has heard of': { request: pxe(4711), is: 'pxe-other', takes: 'nothing' },
  'PXE without an architecture': {
    request: asking({ vendorClass: 'PXEClient' }),
    is: 'pxe-other',
    takes: 'nothing'
  },
  'the architecture only in the vendor class': {
    request: asking({ vendorClass: 'PXEClient:Arch:00007:UNDI:003016' }),
    is: 'pxe-uefi',
    takes: tftp('snponly.efi')
  },
  'an architecture without a class': {
    request: asking({ clientArchitectures: [7] }),
    is: 'pxe-uefi',
    takes: tftp('snponly.efi')
  },
  'two architectures, the first unknown': {
    request: asking({ vendorClass: 'PXEClient', clientArchitectures: [4711, 7] }),
    is: 'pxe-uefi',
    takes: tftp('snponly.efi')
  },
  'U-Boot': { request: recorded('uboot-pxe-discover'), is: 'pxe-other', takes: 'nothing' },
  'U-Boot of old': {
    request: asking({ vendorClass: 'U-Boot.armv8', clientArchitectures: [256] }),
    is: 'pxe-other',
    takes: 'nothing'
  },
  'U-Boot that boots by UEFI': {
    request: recorded('uboot-efi-discover'),
    is: 'pxe-uefi',
    takes: tftp('ipxe-arm64.efi')
  },
  'a Raspberry Pi that says BIOS': {
    request: recorded('rpi4-discover'),
    is: 'pxe-other',
    takes: 'nothing'
  },
  'one with a MAC from elsewhere, known by its GUID': {
    request: recorded('rpi4-discover', { chaddr: '52:54:00:00:00:01' }),
    is: 'pxe-other',
    takes: 'nothing'
  },
  'one of before 2020, whose GUID says nothing, known by its MAC': {
    request: asking(
      { vendorClass: 'PXEClient:Arch:00000:UNDI:002001', clientArchitectures: [0] },
      'b8:27:eb:00:00:01'
    ),
    is: 'pxe-other',
    takes: 'nothing'
  },
  'the same Raspberry Pi with UEFI installed': {
    request: asking({ vendorClass: 'PXEClient:Arch:00011', clientArchitectures: [11] }, 'd8:3a:dd:00:00:01'),
    is: 'pxe-uefi',
    takes: tftp('ipxe-arm64.efi')
  },

  'iPXE with all it needs, on UEFI': {
    request: asking({
      userClass: Buffer.from('iPXE'),
      clientArchitectures: [7],
      ipxe: features(HTTP, EFI)
    }),
    is: 'ipxe',
    takes: { by: 'http', url: `${SCRIPT}&client=ipxe&arch=7` }
  },
  'iPXE with a counted user class': {
    request: asking({ userClass: Buffer.from('\x04iPXE'), ipxe: features(HTTP, BZIMAGE) }),
    is: 'ipxe',
    takes: { by: 'http', url: `${SCRIPT}&client=ipxe` }
  },
  'iPXE that does not say so but shows its features': {
    request: asking({
      vendorClass: 'PXEClient:Arch:00000:UNDI:002001',
      clientArchitectures: [0],
      ipxe: features(HTTP, BZIMAGE)
    }),
    is: 'ipxe',
    takes: { by: 'http', url: `${SCRIPT}&client=ipxe&arch=0` }
  },
  'iPXE without HTTP gets ours by TFTP': {
    request: asking({ userClass: Buffer.from('iPXE'), clientArchitectures: [0], ipxe: features(BZIMAGE) }),
    is: 'ipxe',
    takes: tftp('undionly.kpxe')
  },
  'iPXE that cannot start Linux gets ours by TFTP': {
    request: asking({ userClass: Buffer.from('iPXE'), clientArchitectures: [0], ipxe: features(HTTP) }),
    is: 'ipxe',
    takes: tftp('undionly.kpxe')
  },
  'iPXE that took HTTP back (version 0)': {
    request: asking({
      userClass: Buffer.from('iPXE'),
      clientArchitectures: [0],
      ipxe: Buffer.from([HTTP, 1, 0, BZIMAGE, 1, 1])
    }),
    is: 'ipxe',
    takes: tftp('undionly.kpxe')
  },
  'gPXE, of which nothing is known': {
    request: asking({ userClass: Buffer.from('gPXE'), clientArchitectures: [0] }),
    is: 'ipxe',
    takes: tftp('undionly.kpxe')
  },
  'option 175 of somebody else, not parseable': {
    request: asking({ clientArchitectures: [7], ipxe: Buffer.from([1, 200, 3]) }),
    is: 'pxe-uefi',
    takes: tftp('snponly.efi')
  }
}

t.test('who asks, and what it can boot', async (t) => {
  for (const [name, { request, is, takes }] of Object.entries(cases)) {
    const { firmware, client } = firmwareOf(request)
    const found = firmware.bootFiles(
      client,
      bootPlace('http://192.0.2.1', firmware.name, client, (loaders) => loaders)
    )[0]!
    t.equal(firmware.name, is, name)
    if (takes === 'nothing')
      t.ok('none' in found && found.none.length > 10, `${name}: ${JSON.stringify(found)}`)
    else t.same(found, takes, name)
  }
})

t.test('the reason for no boot file names what is missing', async (t) => {
  const reason = (request: DhcpMessage) => {
    const { firmware, client } = firmwareOf(request)
    const found = firmware.bootFiles(
      client,
      bootPlace('', firmware.name, client, (loaders) => loaders)
    )[0]!
    return 'none' in found ? found.none : ''
  }
  t.match(reason(pxe(4711)), /architecture 4711/)
  t.match(reason(pxe(6)), /x86 UEFI/)
  t.match(reason(recorded('rpi4-discover')), /Raspberry Pi.*UEFI firmware/)
  t.match(reason(recorded('uboot-pxe-discover')), /ARM64 U-Boot: let U-Boot boot by UEFI/)
})

t.test('the GUID stands in the URL only if it can mean something', async (t) => {
  const guids: Record<string, { bytes: Buffer; uuid: string | null }> = {
    'seventeen bytes': { bytes: Buffer.concat([Buffer.of(0), Buffer.alloc(16, 0xab)]), uuid: 'ab' },
    'all zero': { bytes: Buffer.alloc(17), uuid: null },
    'all ones': { bytes: Buffer.concat([Buffer.of(0), Buffer.alloc(16, 0xff)]), uuid: null },
    'another type': { bytes: Buffer.concat([Buffer.of(1), Buffer.alloc(16, 0xab)]), uuid: null },
    'sixteen bytes': { bytes: Buffer.alloc(16, 0xab), uuid: null }
  }
  for (const [name, { bytes, uuid }] of Object.entries(guids)) {
    const { client, firmware } = firmwareOf(asking({ clientMachineId: bytes }))
    const { scriptUrl } = bootPlace('http://192.0.2.1', firmware.name, client, (loaders) => loaders)
    t.equal(/uuid=(..)/.exec(scriptUrl)?.[1] ?? null, uuid, name)
  }
})

t.test('every loader of the table is one that is served', async (t) => {
  for (const [arch, { loaders }] of Object.entries(ARCHITECTURES))
    for (const loader of loaders) t.ok(LOADERS.includes(loader), `${arch}: ${loader}`)
})
