// A small whole-disk image with a GPT and an EFI system partition, and the same image as chunks and manifest.
// Everything is made here, so the tests know each byte. Sizes are bytes.
import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { readFileSync, rmSync } from 'node:fs'
import { crc32, zstdCompressSync } from 'node:zlib'

export const MiB = 1024 * 1024
export const sha256 = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex')

const ESP = 'c12a7328-f81f-11d2-ba4b-00a0c93ec93b'
const LINUX = '0fc63daf-8483-4772-8e79-3d69d8477de4'

/** GUIDs are stored with their first three groups little-endian (UEFI 2.10, appendix A). */
const guid = (text: string): Buffer => {
  const hex = Buffer.from(text.replaceAll('-', ''), 'hex')
  return Buffer.concat([
    hex.subarray(0, 4).reverse(),
    hex.subarray(4, 6).reverse(),
    hex.subarray(6, 8).reverse(),
    hex.subarray(8)
  ])
}

interface Partition {
  type: string
  /** first sector */
  start: number
  /** sectors */
  size: number
}

/** Writes both GPT copies and the protective MBR into a disk of `disk.length` bytes (UEFI 2.10, 5.3). */
const writeGpt = (disk: Buffer, sector: number, partitions: Partition[]): void => {
  const last = disk.length / sector - 1
  const tableSectors = Math.ceil((128 * 128) / sector)
  const table = Buffer.alloc(tableSectors * sector)
  partitions.forEach(({ type, start, size }, index) => {
    const at = index * 128
    guid(type).copy(table, at)
    randomBytes(16).copy(table, at + 16)
    table.writeBigUInt64LE(BigInt(start), at + 32)
    table.writeBigUInt64LE(BigInt(start + size - 1), at + 40)
  })
  const id = randomBytes(16)
  const header = (own: number, other: number, tableAt: number): Buffer => {
    const h = Buffer.alloc(92)
    h.write('EFI PART')
    h.writeUInt32LE(0x00010000, 8)
    h.writeUInt32LE(92, 12)
    h.writeBigUInt64LE(BigInt(own), 24)
    h.writeBigUInt64LE(BigInt(other), 32)
    h.writeBigUInt64LE(BigInt(2 + tableSectors), 40)
    h.writeBigUInt64LE(BigInt(last - tableSectors - 1), 48)
    id.copy(h, 56)
    h.writeBigUInt64LE(BigInt(tableAt), 72)
    h.writeUInt32LE(128, 80)
    h.writeUInt32LE(128, 84)
    h.writeUInt32LE(crc32(table.subarray(0, 128 * 128)), 88)
    h.writeUInt32LE(crc32(h), 16)
    return h
  }
  disk[446 + 4] = 0xee
  disk.writeUInt32LE(1, 446 + 8)
  disk.writeUInt32LE(last, 446 + 12)
  disk.writeUInt16LE(0xaa55, 510)
  header(1, last, 2).copy(disk, sector)
  table.copy(disk, 2 * sector)
  header(last, 1, last - tableSectors).copy(disk, last * sector)
  table.copy(disk, (last - tableSectors) * sector)
}

export interface TestImage {
  bytes: Buffer
  chunkSize: number
  manifest: string
  digest: string
  /** zstd frames by the sha256 of their content */
  chunks: Map<string, Buffer>
}

/**
 * An image of `size` bytes: 2 MiB of ESP with a fallback loader, then data with runs of zeros in it. `sector` is the
 * sector size it is made for; `folder` is a place for scratch files.
 */
export const makeImage = (folder: string, size: number, sector: number): TestImage => {
  const bytes = Buffer.alloc(size)
  // Two of three stretches hold data; the last one reaches into a chunk of its own half.
  for (let at = 12 * MiB; at + 2 * MiB < size; at += 3 * MiB) randomBytes(1.5 * MiB).copy(bytes, at)
  const espSize = 8 * MiB
  const file = `${folder}/esp.img`
  execFileSync('truncate', ['-s', String(espSize), file])
  execFileSync('mkfs.vfat', ['-S', String(sector), '-n', 'ESP', file], { stdio: 'ignore' })
  execFileSync('mmd', ['-i', file, '::/EFI', '::/EFI/BOOT'])
  execFileSync('mcopy', ['-i', file, '-', '::/EFI/BOOT/BOOTX64.EFI'], { input: 'not a program' })
  readFileSync(file).copy(bytes, MiB)
  rmSync(file)
  writeGpt(bytes, sector, [
    { type: ESP, start: MiB / sector, size: espSize / sector },
    { type: LINUX, start: (12 * MiB) / sector, size: (size - 14 * MiB) / sector }
  ])
  return chunked(bytes, MiB)
}

const chunked = (bytes: Buffer, chunkSize: number): TestImage => {
  const chunks = new Map<string, Buffer>()
  const lines: string[] = []
  for (let at = 0; at < bytes.length; at += chunkSize) {
    const piece = bytes.subarray(at, at + chunkSize)
    if (piece.equals(Buffer.alloc(piece.length))) {
      lines.push(`${at}\t${piece.length}\t-\n`)
    } else {
      const sum = sha256(piece)
      lines.push(`${at}\t${piece.length}\t${sum}\n`)
      chunks.set(sum, zstdCompressSync(piece))
    }
  }
  const manifest = lines.join('')
  return { bytes, chunkSize, manifest, digest: sha256(manifest), chunks }
}
