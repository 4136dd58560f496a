import t from 'tap'
import {
  checkImageName,
  decideDisk,
  decideExpansion,
  decideImageAdded,
  decideImageRemoved,
  decideQcow2,
  decideUpload,
  HEAD_BYTES,
  IMAGE_LIMITS
} from '../../src/decide/image.ts'
import { encodeQcow2Header } from '../../src/wire/qcow2.ts'
import { gptHead, MIB } from '../services/images/disks.ts'
import { anImage, NOW } from '../support/builders.ts'

const SIZE = 64 * MIB
const limits = IMAGE_LIMITS

function head(change: (bytes: Buffer) => void = () => {}): Buffer {
  const bytes = Buffer.alloc(HEAD_BYTES)
  gptHead(SIZE).copy(bytes)
  change(bytes)
  return bytes
}

/** Nothing but these bytes at this place. */
function only(offset: number, text: string): Buffer {
  const bytes = Buffer.alloc(HEAD_BYTES)
  bytes.write(text, offset, 'latin1')
  return bytes
}

const QCOW2 = encodeQcow2Header({
  version: 3,
  clusterBits: 16,
  virtualSize: SIZE,
  l1Entries: 1,
  l1Offset: 3 * 65536,
  refcountTableOffset: 65536,
  refcountTableClusters: 1,
  refcountOrder: 4,
  compression: 'zlib',
  extendedL2: false
})

const upload = (bytes: Buffer, declared?: string) =>
  decideUpload({ name: 'web', head: bytes, declared, limits })
const disk = (bytes: Buffer, size = SIZE, tail = Buffer.alloc(512)) =>
  decideDisk({ name: 'web', head: bytes, tail, size, limits })

t.test('takes a whole disk and a qcow2 file, declared or not', async (t) => {
  t.equal(upload(head()), 'raw')
  t.equal(upload(head(), 'raw'), 'raw')
  t.equal(upload(QCOW2), 'qcow2')
  t.equal(upload(QCOW2, 'qcow2'), 'qcow2')
  disk(head())
})

/** Bytes, and what the operator has to be told. */
const REFUSED: Record<string, [bytes: Buffer, ...words: RegExp[]]> = {
  'an empty upload': [Buffer.alloc(0), /empty/],
  'a blank disk': [Buffer.alloc(HEAD_BYTES), /nothing but zeros/, /whole-disk image/],
  'a file of text': [Buffer.from('hello, world\n'.repeat(100)), /no partition table/],
  'an ISO': [only(32769, 'CD001'), /ISO 9660/, /installed system/],
  'an ISO that can also be put on a stick': [head((b) => b.write('CD001', 32769)), /ISO 9660/],
  'a VMDK disk': [only(0, 'KDMV'), /VMDK/, /qemu-img convert/],
  'a VMDK descriptor that names other files': [
    only(0, '# Disk DescriptorFile\nRW 128 FLAT "/etc/passwd" 0\n'),
    /VMDK descriptor/
  ],
  'a VHD disk': [only(0, 'conectix'), /VHD/, /qemu-img convert/],
  'a VHDX disk': [only(0, 'vhdxfile'), /VHDX/, /qemu-img convert/],
  'a VirtualBox disk': [only(0, '<<< Oracle VM VirtualBox Disk Image >>>'), /VDI/, /qemu-img convert/],
  'a QED disk': [only(0, 'QED\0'), /QED/],
  'a gzip archive': [only(0, '\x1f\x8b\x08'), /gzip/, /unpack/],
  'an xz archive': [only(0, '\xfd7zXZ\0'), /xz archive/, /unpack/],
  'a zstd archive': [only(0, '\x28\xb5\x2f\xfd'), /zstd/, /unpack/],
  'a bzip2 archive': [only(0, 'BZh91AY'), /bzip2/, /unpack/],
  'a zip archive': [only(0, 'PK\x03\x04'), /zip/, /unpack/],
  'a tar archive': [only(257, 'ustar\x0000'), /tar archive/, /unpack/],
  'an initramfs': [only(0, '070701'), /initramfs/],
  'an ELF kernel': [only(0, '\x7fELF'), /ELF/, /whole-disk/],
  'a kernel, whose first sector ends as an MBR does': [
    head((b) => b.write('HdrS', 514, 'latin1')),
    /Linux kernel/
  ],
  'a web page': [Buffer.from('<!DOCTYPE html><title>Sign in</title>'), /web page/, /address/],
  'a bare ext4': [only(1080, '\x53\xef'), /ext4/, /whole-disk/],
  'a bare XFS': [only(0, 'XFSB'), /XFS/],
  'a bare Btrfs': [only(65600, '_BHRfS_M'), /Btrfs/],
  'a bare FAT, whose boot sector ends as an MBR does': [
    (() => {
      const bytes = only(82, 'FAT32   ')
      bytes.writeUInt16LE(0xaa55, 510)
      return bytes
    })(),
    /FAT/
  ],
  'a bare LVM volume': [only(512, 'LABELONE'), /LVM/],
  'a LUKS volume': [only(0, 'LUKS\xba\xbe'), /LUKS/],
  'a swap area': [only(4086, 'SWAPSPACE2'), /swap/],
  'a GPT without partitions': [head((b) => b.fill(0, 1024, 1152)), /partition table is empty/],
  'a disk nothing boots from': [
    head((b) => Buffer.from('af3dc60f838472478e793d69d8477de4', 'hex').copy(b, 1024)),
    /nothing can boot/,
    /boot loader/
  ],
  'a protective MBR without its GPT': [head((b) => b.fill(0, 512, 520)), /GPT/]
}

for (const [sentence, [bytes, ...words]] of Object.entries(REFUSED))
  t.test(`refuses ${sentence}, and says what it is and what to do`, async (t) => {
    // The disk inside a qcow2 file is judged by the same words as an upload.
    for (const judge of bytes.length > 0 ? [upload, disk] : [upload])
      for (const message of words)
        t.throws(() => judge(bytes), { name: 'AppError', code: 'image-refused', message })
  })

t.test('what was declared must be what it is', async (t) => {
  t.throws(() => upload(QCOW2, 'raw'), { code: 'image-refused', message: /declared raw but is a qcow2/ })
  t.throws(() => upload(head(), 'qcow2'), { code: 'image-refused', message: /declared qcow2 but is not/ })
  t.throws(() => upload(head(), 'vmdk'), { code: 'bad-request', message: /"vmdk" is not served/ })
})

t.test('a qcow2 header that is refused says why, with the place', async (t) => {
  const backed = Buffer.from(QCOW2)
  backed.writeBigUInt64BE(512n, 8)
  t.throws(() => upload(backed), {
    code: 'image-refused',
    message: /backing file/,
    detail: { reason: 'qcow2-backing-file', offset: 8 }
  })
  t.throws(() => decideQcow2({ name: 'web', head: QCOW2, size: 65536, limits }), {
    code: 'image-refused',
    message: /cut off/
  })
  t.match(decideQcow2({ name: 'web', head: QCOW2, size: 5 * 65536, limits }), { virtualSize: SIZE })
})

t.test('a qcow2 file may not unfold beyond reason', async (t) => {
  decideExpansion({ name: 'web', size: MIB, dataBytes: 128 * MIB })
  t.throws(() => decideExpansion({ name: 'web', size: MIB, dataBytes: 128 * MIB + 1 }), {
    code: 'image-refused',
    message: /unfold/
  })
})

t.test('all of the disk must be there, and not too much', async (t) => {
  t.throws(() => disk(head(), SIZE / 2), { code: 'image-refused', message: /cut off/ })
  t.throws(() => disk(head(), SIZE + 100), { code: 'image-refused', message: /sectors/ })
  t.throws(() => disk(head(), limits.maxDiskBytes + 512), { code: 'too-large', message: /at most/ })
  t.throws(() => disk(head(), SIZE, Buffer.from('conectix'.padEnd(512))), { message: /VHD/ })
})

t.test('a boot loader may leave traces of a file system in front of a good table', async (t) => {
  t.equal(upload(head((b) => b.write('FAT', 54))), 'raw')
  t.equal(upload(head((b) => b.write('\x53\xef', 1080, 'latin1'))), 'raw')
})

t.test('names are plain words', async (t) => {
  for (const name of ['debian', 'debian-13', 'Ubuntu_24.04', '9']) checkImageName(name)
  for (const name of ['', '.', '-x', '../x', 'a b', 'a/b', 'ä', 'a\n', 'x'.repeat(129)])
    t.throws(() => checkImageName(name), { code: 'bad-request' }, JSON.stringify(name))
})

t.test(
  'a new image is a row and an event; the same again is neither; another of the name is refused',
  async (t) => {
    const image = anImage({ name: 'web' })
    const added = decideImageAdded({ sameName: null, image, now: NOW })
    t.same(added.changes, [
      { put: 'image', row: image },
      {
        event: {
          kind: 'image-added',
          at: NOW,
          nodeUuid: null,
          orderId: null,
          subject: image.id,
          detail: { name: 'web', size: image.size, digest: image.digest }
        }
      }
    ])
    const again = decideImageAdded({ sameName: image, image: { ...image, id: 'new' }, now: NOW })
    t.same(again, { image, changes: [] })
    t.throws(
      () => decideImageAdded({ sameName: image, image: { ...image, digest: 'f'.repeat(64) }, now: NOW }),
      { code: 'name-taken', message: /delete that one first, or choose another name/ }
    )
  }
)

t.test('an image goes only when nobody has it', async (t) => {
  const image = anImage({ name: 'web' })
  const facts = { ident: 'web', image, inUse: false, nodes: [], now: NOW }
  t.match(decideImageRemoved(facts).changes, [
    { remove: 'image', id: image.id },
    { event: { kind: 'image-removed' } }
  ])
  t.throws(() => decideImageRemoved({ ...facts, image: null }), { code: 'not-found', message: /web/ })
  t.throws(() => decideImageRemoved({ ...facts, inUse: true }), { code: 'image-in-use' })
  t.throws(() => decideImageRemoved({ ...facts, nodes: ['ctl-1', 'ctl-2'] }), {
    code: 'image-in-use',
    message: /ctl-1, ctl-2/
  })
})
