// Is this an image we can put on a disk? Judged by its own bytes, never by its name: what was declared must be what it is, a
// whole disk with a partition table that something can boot from, and all of it.

import { Buffer } from 'node:buffer'
import type { Change } from '../domain/change.ts'
import { AppError } from '../domain/error.ts'
import type { Image } from '../domain/image.ts'
import { decodePartitionTable, type PartitionTable } from '../wire/partition-table.ts'
import { checkQcow2Layout, decodeQcow2Header, type Qcow2Header } from '../wire/qcow2.ts'
import { WireError } from '../wire/wire-error.ts'

export type ImageFormat = Image['format']

export const IMAGE_FORMATS: readonly ImageFormat[] = ['raw', 'qcow2']

/** How much of a file's start the judgement needs: partition tables, and the magic numbers of file systems and ISO 9660. */
export const HEAD_BYTES = 128 * 1024

const GIB = 2 ** 30
/** What is refused whatever the disk could hold; bytes. */
export type ImageLimits = { maxUploadBytes: number; maxDiskBytes: number }
export const IMAGE_LIMITS: ImageLimits = { maxUploadBytes: 256 * GIB, maxDiskBytes: 256 * GIB }

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/

const CONVERT = 'convert it with "qemu-img convert -O qcow2" and upload the result'
const UNPACK = 'unpack it and upload the disk image inside'
const WHOLE_DISK = 'upload a whole-disk image, with partition table and boot loader'

type Signature = { offset: number; bytes: Buffer; what: string; todo: string }

const signature = (offset: number, bytes: string, what: string, todo: string): Signature => ({
  offset,
  bytes: Buffer.from(bytes, 'latin1'),
  what,
  todo
})

/** What people upload by mistake. First match wins, so what may sit inside something else comes later. */
const REFUSED: readonly Signature[] = [
  signature(0, 'KDMV', 'a VMDK disk', CONVERT),
  signature(0, 'COWD', 'a VMDK disk', CONVERT),
  signature(0, '# Disk DescriptorFile', 'a VMDK descriptor, which only names other files', CONVERT),
  signature(0, 'vhdxfile', 'a VHDX disk', CONVERT),
  signature(0, 'conectix', 'a VHD disk', CONVERT),
  signature(0, '<<< ', 'a VirtualBox (VDI) disk', CONVERT),
  signature(0, 'QED\0', 'a QED disk', CONVERT),
  signature(0, '\x1f\x8b', 'a gzip archive', UNPACK),
  signature(0, '\xfd7zXZ\0', 'an xz archive', UNPACK),
  signature(0, '\x28\xb5\x2f\xfd', 'a zstd archive', UNPACK),
  signature(0, 'BZh', 'a bzip2 archive', UNPACK),
  signature(0, 'PK\x03\x04', 'a zip archive', UNPACK),
  signature(0, '7z\xbc\xaf', 'a 7-zip archive', UNPACK),
  signature(257, 'ustar', 'a tar archive', UNPACK),
  signature(0, '070701', 'a cpio archive (an initramfs)', WHOLE_DISK),
  signature(0, '\x7fELF', 'an ELF program or kernel', WHOLE_DISK),
  signature(514, 'HdrS', 'a Linux kernel', WHOLE_DISK),
  signature(0, '<!DOCTYPE', 'a web page', 'check the address it was downloaded from'),
  signature(0, '<html', 'a web page', 'check the address it was downloaded from'),
  signature(
    32769,
    'CD001',
    'an ISO 9660 installer or live medium',
    'upload the disk image of an installed system'
  ),
  signature(0, 'hsqs', 'a squashfs file system', WHOLE_DISK),
  signature(0, 'LUKS\xba\xbe', 'a LUKS volume without a partition table', WHOLE_DISK),
  signature(512, 'LABELONE', 'an LVM volume without a partition table', WHOLE_DISK)
]

/** Boot sectors of these end in 55 AA as an MBR does; the others leave the first sector to whoever wants it. */
const BARE_FILE_SYSTEMS: readonly Signature[] = [
  signature(54, 'FAT', 'a FAT file system', WHOLE_DISK),
  signature(82, 'FAT32', 'a FAT file system', WHOLE_DISK),
  signature(3, 'NTFS    ', 'an NTFS file system', WHOLE_DISK),
  signature(3, 'EXFAT   ', 'an exFAT file system', WHOLE_DISK),
  signature(0, 'XFSB', 'an XFS file system', WHOLE_DISK),
  signature(1080, '\x53\xef', 'an ext2, ext3 or ext4 file system', WHOLE_DISK),
  signature(65600, '_BHRfS_M', 'a Btrfs file system', WHOLE_DISK),
  signature(4086, 'SWAPSPACE2', 'a swap area', WHOLE_DISK)
]

/** AppError `bad-request` unless `name` can be typed, logged and put into an address as it is. */
export function checkImageName(name: string): void {
  if (!NAME.test(name))
    throw new AppError(
      'bad-request',
      `"${name}" cannot be an image's name; use 1 to 128 letters, digits, dots, dashes and underscores, a letter or digit first`
    )
}

/**
 * The format of an upload, from its first `HEAD_BYTES` (or all of it when shorter). AppError `image-refused` says what else it is and what
 * to do; the rest is for `decideDisk`, when all
 * of the disk is there.
 */
export function decideUpload(upload: {
  name: string
  head: Uint8Array
  declared: string | undefined
  limits: ImageLimits
}): ImageFormat {
  const { name, declared, limits } = upload
  const head = Buffer.from(upload.head.buffer, upload.head.byteOffset, upload.head.byteLength)
  if (declared !== undefined && !IMAGE_FORMATS.includes(declared as ImageFormat))
    throw new AppError(
      'bad-request',
      `image ${name}: the format "${declared}" is not served; raw and qcow2 are`
    )
  if (head.length === 0) throw refused(name, 'the upload is empty', 'check the file and upload it again')
  refuseKnown(name, head, REFUSED)
  const detected: ImageFormat = head.toString('latin1', 0, 4) === 'QFI\xfb' ? 'qcow2' : 'raw'
  if (declared !== undefined && declared !== detected)
    throw refused(
      name,
      `it was declared ${declared} but is ${detected === 'qcow2' ? 'a qcow2 image' : 'not a qcow2 image'}`,
      `declare it as ${detected}, if that is the file you mean`
    )
  if (detected === 'qcow2') refusing(name, () => decodeQcow2Header(head, limits.maxDiskBytes))
  else bootableTable(name, head)
  return detected
}

/** The header of a qcow2 file that is all there; AppError `image-refused` when its tables are not. */
export function decideQcow2(file: {
  name: string
  head: Uint8Array
  size: number
  limits: ImageLimits
}): Qcow2Header {
  return refusing(file.name, () => {
    const header = decodeQcow2Header(file.head, file.limits.maxDiskBytes)
    checkQcow2Layout(header, file.size)
    return header
  })
}

/** How many bytes of data a qcow2 file of `fileSize` may unfold into; real ones stay below ten times their size. */
export function mostData(fileSize: number): number {
  return 64 * fileSize + 64 * 2 ** 20
}

/** AppError `image-refused` for a file whose tables name far more data than it can hold. */
export function decideExpansion(file: { name: string; size: number; dataBytes: number }): void {
  if (file.dataBytes > mostData(file.size))
    throw refused(
      file.name,
      `its ${file.size} bytes unfold into more than ${mostData(file.size)} bytes of data`,
      'upload the disk as raw if this is meant'
    )
}

/**
 * Whether a raw disk can be deployed: `head` are its first `HEAD_BYTES`, `tail` its last 512 bytes (or all of it when shorter).
 * AppError `image-refused` or `too-large`.
 */
export function decideDisk(disk: {
  name: string
  head: Uint8Array
  tail: Uint8Array
  size: number
  limits: ImageLimits
}): void {
  const { name, size, limits } = disk
  if (size > limits.maxDiskBytes)
    throw new AppError(
      'too-large',
      `image ${name}: a disk of ${size} bytes; at most ${limits.maxDiskBytes} are taken`
    )
  const { partitions } = bootableTable(name, disk.head)
  // A VHD of fixed size is a raw disk with a footer, which would become its last sector.
  if (Buffer.from(disk.tail).toString('latin1', 0, 8) === 'conectix')
    throw refused(name, 'it is a VHD disk', CONVERT)
  const last = Math.max(...partitions.map(({ end }) => end))
  if (last > size)
    throw refused(
      name,
      `its last partition ends at byte ${last}, but the disk has ${size}: the image was cut off`,
      'take it from its source again'
    )
  if (size % 512 !== 0)
    throw refused(name, `${size} bytes are not a whole number of sectors`, 'take it from its source again')
}

/** The disk's partition table; AppError `image-refused` when there is none or nothing can boot from it. */
function bootableTable(name: string, bytes: Uint8Array): PartitionTable {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  refuseKnown(name, head, REFUSED)
  const table = refusing(name, () => decodePartitionTable(head))
  if (!table) {
    // Only now: a boot loader may leave traces of a file system in front of a good partition table.
    refuseKnown(name, head, BARE_FILE_SYSTEMS)
    const blank = head.every((byte) => byte === 0)
    throw refused(
      name,
      blank ? 'the disk starts with nothing but zeros' : 'the disk has no partition table (MBR or GPT)',
      WHOLE_DISK
    )
  }
  if (table.partitions.length === 0) throw refused(name, 'its partition table is empty', WHOLE_DISK)
  if (!table.bootCode && !table.efiSystem)
    throw refused(
      name,
      'nothing can boot from it: no boot code in the MBR and no EFI system partition',
      'install a boot loader in it'
    )
  return table
}

/** What to keep of a finished import. AppError `name-taken` when other content has the name. */
export function decideImageAdded(facts: { sameName: Image | null; image: Image; now: number }): {
  image: Image
  changes: Change[]
} {
  const { sameName, image, now } = facts
  if (sameName?.digest === image.digest) return { image: sameName, changes: [] }
  if (sameName)
    throw new AppError(
      'name-taken',
      `another image is called ${image.name}; delete that one first, or choose another name`,
      { id: sameName.id }
    )
  const { id, name, size, digest } = image
  return {
    image,
    changes: [
      { put: 'image', row: image },
      {
        event: {
          kind: 'image-added',
          at: now,
          nodeUuid: null,
          orderId: null,
          subject: id,
          detail: { name, size, digest }
        }
      }
    ]
  }
}

/** AppError `not-found`, or `image-in-use` with the nodes that have the image or are getting it. */
export function decideImageRemoved(facts: {
  ident: string
  image: Image | null
  inUse: boolean
  /** Names of the nodes that have it or are getting it. */
  nodes: readonly string[]
  now: number
}): { image: Image; changes: Change[] } {
  const { ident, image, nodes, now } = facts
  if (!image) throw noImage(ident)
  if (facts.inUse || nodes.length > 0)
    throw new AppError(
      'image-in-use',
      `image ${image.name} is in use by ${nodes.length > 0 ? nodes.join(', ') : 'an instance'}; undeploy first`,
      { nodes }
    )
  return {
    image,
    changes: [
      { remove: 'image', id: image.id },
      {
        event: {
          kind: 'image-removed',
          at: now,
          nodeUuid: null,
          orderId: null,
          subject: image.id,
          detail: { name: image.name }
        }
      }
    ]
  }
}

export function noImage(ident: string): AppError {
  return new AppError('not-found', `there is no image ${ident}; list them with "seedling image list"`)
}

function refuseKnown(name: string, head: Buffer, signatures: readonly Signature[]): void {
  for (const { offset, bytes, what, todo } of signatures)
    if (head.subarray(offset, offset + bytes.length).equals(bytes)) throw refused(name, `it is ${what}`, todo)
}

function refused(name: string, why: string, todo: string): AppError {
  return new AppError('image-refused', `image ${name} is refused: ${why}; ${todo}`)
}

/** Runs a decoder; its WireError becomes the operator's AppError. */
function refusing<T>(name: string, decode: () => T): T {
  try {
    return decode()
  } catch (error) {
    if (!(error instanceof WireError)) throw error
    throw new AppError('image-refused', `image ${name} is refused: ${error.message}`, {
      reason: error.code,
      offset: error.offset
    })
  }
}
