// MBR and GPT partition tables, as far as needed to say whether a disk can boot and whether all of it is there.
// Sources: UEFI 2.10, 5.2 (MBR: code to 440, four entries of 16 bytes at 446, 55 AA at 510) and 5.3 (GPT header in block 1,
// entries from the block it names). MBR and GPT are little endian.

import { Buffer } from 'node:buffer'
import { WireError } from './wire-error.ts'

export type Partition = {
  /** Bytes from the start of the disk. */
  start: number
  /** First byte behind the partition. */
  end: number
  /** GPT: type GUID in lower case; MBR: type as two hex digits. */
  type: string
}

export type PartitionTable = {
  label: 'gpt' | 'mbr'
  partitions: Partition[]
  /** There is code in the MBR, which is what a BIOS starts. */
  bootCode: boolean
  /** There is an EFI system partition, which is what UEFI firmware starts from. */
  efiSystem: boolean
}

const EFI_SYSTEM_GUID = 'c12a7328-f81f-11d2-ba4b-00a0c93ec93b'
const EFI_SYSTEM_MBR = 'ef'
const PROTECTIVE_MBR = 'ee'
const GPT_SIGNATURE = 'EFI PART'
/** Block sizes of disks in use; most images are made for the first. */
const BLOCK_SIZES = [512, 4096]

/**
 * Decodes the table from the disk's first bytes (64 KiB hold every usual one); null when there is none. Throws WireError when
 * there is one that makes no sense.
 */
export function decodePartitionTable(head: Uint8Array): PartitionTable | null {
  const view = Buffer.from(head.buffer, head.byteOffset, head.byteLength)
  if (view.length < 512 || view.readUInt16LE(510) !== 0xaa55) return null
  const bootCode = view.subarray(0, 440).some((byte) => byte !== 0)
  const mbr = mbrPartitions(view)
  if (!mbr) return null
  for (const blockSize of BLOCK_SIZES)
    if (view.toString('latin1', blockSize, blockSize + 8) === GPT_SIGNATURE) {
      const partitions = gptPartitions(view, blockSize)
      return {
        label: 'gpt',
        partitions,
        bootCode,
        efiSystem: partitions.some(({ type }) => type === EFI_SYSTEM_GUID)
      }
    }
  const partitions = mbr.filter(({ type }) => type !== PROTECTIVE_MBR)
  if (partitions.length < mbr.length)
    throw new WireError('gpt-missing', 512, 'the MBR says that a GPT follows, but there is none')
  return {
    label: 'mbr',
    partitions,
    bootCode,
    efiSystem: partitions.some(({ type }) => type === EFI_SYSTEM_MBR)
  }
}

/** The used entries; null when these four entries cannot be a partition table (a boot sector of a file system, a kernel). */
function mbrPartitions(view: Buffer): Partition[] | null {
  const partitions: Partition[] = []
  for (let at = 446; at < 510; at += 16) {
    if ((view.readUInt8(at) & 0x7f) !== 0) return null
    const type = view.readUInt8(at + 4)
    const start = view.readUInt32LE(at + 8) * 512
    const length = view.readUInt32LE(at + 12) * 512
    if (type === 0) continue
    if (start === 0 || length === 0) return null
    partitions.push({ start, end: start + length, type: type.toString(16).padStart(2, '0') })
  }
  return partitions.length > 0 ? partitions : null
}

function gptPartitions(view: Buffer, blockSize: number): Partition[] {
  if (view.length < blockSize + 92)
    throw new WireError('gpt-cut', view.length, 'the disk ends inside its GPT')
  const first = view.readBigUInt64LE(blockSize + 72) * BigInt(blockSize)
  const count = view.readUInt32LE(blockSize + 80)
  const width = view.readUInt32LE(blockSize + 84)
  if (width < 128 || width % 8 !== 0 || first + BigInt(count) * BigInt(width) > BigInt(view.length))
    throw new WireError(
      'gpt-entries',
      blockSize + 72,
      'the GPT entries are not where they must be, at the start of the disk'
    )
  const partitions: Partition[] = []
  for (let index = 0; index < count; index++) {
    const at = Number(first) + index * width
    const type = guid(view, at)
    if (type === '00000000-0000-0000-0000-000000000000') continue
    const start = Number(view.readBigUInt64LE(at + 32)) * blockSize
    const end = (Number(view.readBigUInt64LE(at + 40)) + 1) * blockSize
    if (start === 0 || end <= start) throw new WireError('gpt-entry', at, 'a GPT entry ends before it starts')
    partitions.push({ start, end, type })
  }
  return partitions
}

/** The first three groups of a GUID are little endian (UEFI 2.10, appendix A). */
function guid(view: Buffer, at: number): string {
  const part = (from: number, to: number) => view.toString('hex', at + from, at + to)
  const swapped = (from: number, to: number) =>
    Buffer.from(view.subarray(at + from, at + to))
      .reverse()
      .toString('hex')
  return `${swapped(0, 4)}-${swapped(4, 6)}-${swapped(6, 8)}-${part(8, 10)}-${part(10, 16)}`
}
