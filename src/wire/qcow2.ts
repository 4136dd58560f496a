// The qcow2 header and its tables, read before any tool is let near the file: QEMU's own reader would follow a backing file
// or an external data file to whatever path the image names. What is not plainly a self-contained disk is refused.
// Source: QEMU, docs/interop/qcow2.txt ("Header", "Header extensions", "Cluster mapping"). All numbers are big endian.
//
//   0 magic "QFI\xfb"      4 version             8 backing file offset (u64)   16 backing file size
//  20 cluster bits        24 virtual size (u64) 32 encryption method          36 L1 entries
//  40 L1 offset (u64)     48 refcount table offset (u64)                      56 refcount table clusters
//  60 snapshots           64 snapshots offset (u64)
//  version 3:             72 incompatible (u64) 80 compatible (u64)           88 autoclear (u64)
//  96 refcount order     100 header length     104 compression type (u8, when the header is longer than 104)
//  then extensions: type, length, data padded to 8 bytes; type 0 ends them.

import { Buffer } from 'node:buffer'
import { WireError } from './wire-error.ts'

export const QCOW2_MAGIC = 0x514649fb

/** The longest header, extensions included, that is looked at; QEMU writes less than 1 KiB. */
export const QCOW2_HEADER_MAX = 64 * 1024

export type Qcow2Header = {
  version: 2 | 3
  clusterBits: number
  /** Bytes of the disk that the guest sees. */
  virtualSize: number
  l1Entries: number
  l1Offset: number
  refcountTableOffset: number
  refcountTableClusters: number
  refcountOrder: number
  compression: 'zlib' | 'zstd'
  /** Extended L2 entries: 16 bytes each, with subclusters. */
  extendedL2: boolean
}

const EXTENDED_L2 = 1n << 4n
const COMPRESSION_TYPE = 1n << 3n
const INCOMPATIBLE_REFUSED: readonly [bit: bigint, code: string, message: string][] = [
  [
    1n << 0n,
    'qcow2-dirty',
    'the image was not closed properly; run "qemu-img check -r all" on it and upload it again'
  ],
  [1n << 1n, 'qcow2-corrupt', 'the image is marked corrupt; take it from its source again'],
  [
    1n << 2n,
    'qcow2-data-file',
    'the image keeps its data in another file; "qemu-img convert -O qcow2" makes one file of it'
  ]
]

const EXTENSION_BACKING_FORMAT = 0xe2792aca
const EXTENSION_DATA_FILE = 0x44415441
const EXTENSION_ENCRYPTION = 0x0537be77

/** QEMU's own limits (block/qcow2.h): 32 MiB of L1 table, 8 MiB of refcount table. */
const L1_BYTES_MAX = 32 * 2 ** 20
const REFCOUNT_TABLE_BYTES_MAX = 8 * 2 ** 20

/**
 * Decodes the header from the file's first bytes (`QCOW2_HEADER_MAX` of them, or the whole file when it is shorter) and refuses
 * everything that is not a self-contained, unencrypted disk of at most `maxVirtualSize` bytes. Throws WireError.
 */
export function decodeQcow2Header(bytes: Uint8Array, maxVirtualSize: number): Qcow2Header {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.byteLength, QCOW2_HEADER_MAX))
  if (view.length < 72)
    throw new WireError('qcow2-short', view.length, 'the file ends inside the qcow2 header: it was cut off')
  if (view.readUInt32BE(0) !== QCOW2_MAGIC) throw new WireError('qcow2-magic', 0, 'not a qcow2 image')
  const version = view.readUInt32BE(4)
  if (version !== 2 && version !== 3)
    throw new WireError(
      'qcow2-version',
      4,
      `qcow version ${version}; versions 2 and 3 are served, "qemu-img convert -O qcow2" makes one`
    )
  if (view.readBigUInt64BE(8) !== 0n || view.readUInt32BE(16) !== 0)
    throw new WireError(
      'qcow2-backing-file',
      8,
      'the image needs a backing file; "qemu-img convert -O qcow2" makes a self-contained one'
    )

  const clusterBits = view.readUInt32BE(20)
  if (clusterBits < 9 || clusterBits > 21)
    throw new WireError('qcow2-cluster-bits', 20, `cluster bits ${clusterBits}; 9 to 21 are possible`)
  const virtualSize = u64(view, 24, 'qcow2-virtual-size', 'virtual size')
  if (virtualSize === 0) throw new WireError('qcow2-virtual-size', 24, 'the disk in the image has no bytes')
  if (virtualSize % 512 !== 0)
    throw new WireError('qcow2-virtual-size', 24, `a disk of ${virtualSize} bytes is not a number of sectors`)
  if (virtualSize > maxVirtualSize)
    throw new WireError(
      'qcow2-virtual-size',
      24,
      `the disk in the image has ${virtualSize} bytes; at most ${maxVirtualSize} are taken`
    )
  if (view.readUInt32BE(32) !== 0)
    throw new WireError(
      'qcow2-encrypted',
      32,
      'the image is encrypted; "qemu-img convert" makes a plain one of it'
    )

  let extendedL2 = false
  let refcountOrder = 4
  let compression: Qcow2Header['compression'] = 'zlib'
  let headerLength = 72
  if (version === 3) {
    if (view.length < 104)
      throw new WireError('qcow2-short', view.length, 'the file ends inside the qcow2 header: it was cut off')
    const incompatible = view.readBigUInt64BE(72)
    for (const [bit, code, message] of INCOMPATIBLE_REFUSED)
      if (incompatible & bit) throw new WireError(code, 72, message)
    if (incompatible & ~(COMPRESSION_TYPE | EXTENDED_L2))
      throw new WireError(
        'qcow2-features',
        72,
        `incompatible features ${incompatible.toString(2)} (bits) are not known; "qemu-img convert -O qcow2" with default options leaves them out`
      )
    extendedL2 = (incompatible & EXTENDED_L2) !== 0n
    if (extendedL2 && clusterBits < 14)
      throw new WireError('qcow2-cluster-bits', 20, 'extended L2 entries need clusters of 16 KiB or more')
    refcountOrder = view.readUInt32BE(96)
    if (refcountOrder > 6)
      throw new WireError('qcow2-refcount-order', 96, `refcount order ${refcountOrder}; 0 to 6 are possible`)
    headerLength = view.readUInt32BE(100)
    if (headerLength < 104 || headerLength % 8 !== 0 || headerLength > view.length)
      throw new WireError('qcow2-header-length', 100, `header length ${headerLength} is not possible`)
    const type = headerLength > 104 ? view.readUInt8(104) : 0
    if (type > 1 || (type !== 0) !== ((incompatible & COMPRESSION_TYPE) !== 0n))
      throw new WireError('qcow2-compression', 104, `compression type ${type} is not known`)
    if (type === 1) compression = 'zstd'
  }
  checkExtensions(view, headerLength, 2 ** clusterBits)

  const l1Entries = view.readUInt32BE(36)
  const tablesNeeded = Math.ceil(virtualSize / (2 ** clusterBits * l2EntriesOf(clusterBits, extendedL2)))
  if (l1Entries < tablesNeeded)
    throw new WireError(
      'qcow2-l1-size',
      36,
      `an L1 table of ${l1Entries} entries does not cover the disk (${tablesNeeded} do)`
    )
  if (l1Entries * 8 > L1_BYTES_MAX)
    throw new WireError('qcow2-l1-size', 36, `an L1 table of ${l1Entries} entries is too large`)
  const l1Offset = clusterOffset(view, 40, clusterBits, 'qcow2-l1-offset', 'L1 table')

  const refcountTableOffset = clusterOffset(view, 48, clusterBits, 'qcow2-refcount-table', 'refcount table')
  const refcountTableClusters = view.readUInt32BE(56)
  if (refcountTableClusters === 0 || refcountTableClusters * 2 ** clusterBits > REFCOUNT_TABLE_BYTES_MAX)
    throw new WireError(
      'qcow2-refcount-table',
      56,
      `a refcount table of ${refcountTableClusters} clusters is not possible`
    )
  if (view.readUInt32BE(60) !== 0)
    throw new WireError(
      'qcow2-snapshots',
      60,
      'the image holds snapshots, so which disk is meant is not clear; "qemu-img convert -O qcow2" keeps only the newest state'
    )
  return {
    version,
    clusterBits,
    virtualSize,
    l1Entries,
    l1Offset,
    refcountTableOffset,
    refcountTableClusters,
    refcountOrder,
    compression,
    extendedL2
  }
}

/** Tables must lie inside the file; needs the file's size, so it comes after the upload. Throws WireError. */
export function checkQcow2Layout(header: Qcow2Header, fileSize: number): void {
  const cutOff = (offset: number, what: string): WireError =>
    new WireError('qcow2-short', offset, `the ${what} lies beyond the end of the file: it was cut off`)
  if (header.l1Offset + header.l1Entries * 8 > fileSize) throw cutOff(40, 'L1 table')
  if (
    header.refcountTableOffset + header.refcountTableClusters * 2 ** header.clusterBits >
    alignUp(fileSize, 2 ** header.clusterBits)
  )
    throw cutOff(48, 'refcount table')
}

/** A header of the given fields, without extensions; the rest of its first cluster is up to the caller. */
export function encodeQcow2Header(header: Qcow2Header): Buffer {
  const bytes = Buffer.alloc(header.version === 2 ? 80 : 120)
  bytes.writeUInt32BE(QCOW2_MAGIC, 0)
  bytes.writeUInt32BE(header.version, 4)
  bytes.writeUInt32BE(header.clusterBits, 20)
  bytes.writeBigUInt64BE(BigInt(header.virtualSize), 24)
  bytes.writeUInt32BE(header.l1Entries, 36)
  bytes.writeBigUInt64BE(BigInt(header.l1Offset), 40)
  bytes.writeBigUInt64BE(BigInt(header.refcountTableOffset), 48)
  bytes.writeUInt32BE(header.refcountTableClusters, 56)
  if (header.version === 2) return bytes
  const zstd = header.compression === 'zstd'
  bytes.writeBigUInt64BE((zstd ? COMPRESSION_TYPE : 0n) | (header.extendedL2 ? EXTENDED_L2 : 0n), 72)
  bytes.writeUInt32BE(header.refcountOrder, 96)
  bytes.writeUInt32BE(112, 100)
  bytes.writeUInt8(zstd ? 1 : 0, 104)
  return bytes
}

/** Where the L2 tables lie: the L1 entries that the disk needs, unallocated ones left out. `l1` are the table's bytes. */
export function qcow2L2Offsets(header: Qcow2Header, l1: Buffer): number[] {
  const needed = Math.ceil(
    header.virtualSize / (2 ** header.clusterBits * l2EntriesOf(header.clusterBits, header.extendedL2))
  )
  const offsets: number[] = []
  for (let index = 0; index < needed; index++) {
    const offset = hostOffset(l1, index * 8)
    if (offset !== 0) offsets.push(offset)
  }
  return offsets
}

/** How many clusters of one L2 table (one cluster of bytes) hold data: neither unallocated nor known to be zero. */
export function qcow2DataClusters(header: Qcow2Header, l2: Buffer): number {
  const width = header.extendedL2 ? 16 : 8
  let count = 0
  for (let at = 0; at + width <= l2.length; at += width) {
    const compressed = (l2.readUInt8(at) & 0x40) !== 0
    // Bit 0 says "reads as zeros", in version 3 without extended entries; there the bitmap does.
    const zero = header.version === 3 && !header.extendedL2 && (l2.readUInt8(at + 7) & 1) !== 0
    if (compressed || (!zero && hostOffset(l2, at) !== 0)) count++
  }
  return count
}

function l2EntriesOf(clusterBits: number, extendedL2: boolean): number {
  return 2 ** clusterBits / (extendedL2 ? 16 : 8)
}

/** Bits 9 to 55 of an L1 or L2 entry. */
function hostOffset(table: Buffer, at: number): number {
  return (table.readUInt32BE(at) & 0x00ffffff) * 2 ** 32 + ((table.readUInt32BE(at + 4) & 0xfffffe00) >>> 0)
}

function checkExtensions(view: Buffer, headerLength: number, clusterSize: number): void {
  const end = Math.min(view.length, clusterSize)
  let at = headerLength
  while (at + 8 <= end) {
    const type = view.readUInt32BE(at)
    if (type === 0) return
    const length = view.readUInt32BE(at + 4)
    if (type === EXTENSION_DATA_FILE)
      throw new WireError(
        'qcow2-data-file',
        at,
        'the image names an external data file; "qemu-img convert -O qcow2" makes one file of it'
      )
    if (type === EXTENSION_BACKING_FORMAT)
      throw new WireError(
        'qcow2-backing-file',
        at,
        'the image names the format of a backing file; "qemu-img convert -O qcow2" makes a self-contained one'
      )
    if (type === EXTENSION_ENCRYPTION)
      throw new WireError('qcow2-encrypted', at, 'the image has an encryption header')
    if (length > end - at - 8)
      throw new WireError(
        'qcow2-extension',
        at + 4,
        `a header extension of ${length} bytes runs past the header`
      )
    at += 8 + alignUp(length, 8)
  }
  // Fail closed: what lies behind the part that was looked at could be any of the above.
  throw new WireError('qcow2-extension', Math.min(at, end), 'the header extensions do not end')
}

function clusterOffset(view: Buffer, at: number, clusterBits: number, code: string, what: string): number {
  const offset = u64(view, at, code, `${what} offset`)
  if (offset === 0 || offset % 2 ** clusterBits !== 0)
    throw new WireError(code, at, `${what} at ${offset} is not at the start of a cluster`)
  return offset
}

function u64(view: Buffer, at: number, code: string, what: string): number {
  const value = view.readBigUInt64BE(at)
  if (value > 2n ** 52n) throw new WireError(code, at, `${what} ${value} is not possible`)
  return Number(value)
}

function alignUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit
}
