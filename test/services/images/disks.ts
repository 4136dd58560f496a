// Disks and qcow2 files for the image tests, made from nothing: a GPT disk with an EFI system partition, and data whose
// every byte is known.

import { execFileSync } from 'node:child_process'
import {
  closeSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  writeSync
} from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

export const MIB = 2 ** 20

/** The first 64 KiB of a GPT disk of `size` bytes: protective MBR, header, an EFI system partition from 1 MiB to the end. */
export function gptHead(size: number): Buffer {
  const head = Buffer.alloc(64 * 1024)
  const blocks = size / 512
  head.writeUInt8(0xee, 446 + 4)
  head.writeUInt32LE(1, 446 + 8)
  head.writeUInt32LE(Math.min(blocks - 1, 0xffffffff), 446 + 12)
  head.writeUInt16LE(0xaa55, 510)
  head.write('EFI PART', 512, 'latin1')
  head.writeBigUInt64LE(2n, 512 + 72)
  head.writeUInt32LE(128, 512 + 80)
  head.writeUInt32LE(128, 512 + 84)
  Buffer.from('28732ac11ff8d211ba4b00a0c93ec93b', 'hex').copy(head, 1024)
  head.writeBigUInt64LE(2048n, 1024 + 32)
  head.writeBigUInt64LE(BigInt(blocks - 34), 1024 + 40)
  return head
}

/** `length` bytes that do not compress, the same for the same seed (xorshift32). */
export function noise(length: number, seed: number): Buffer {
  const words = new Uint32Array(Math.ceil(length / 4))
  let state = seed | 1
  for (let index = 0; index < words.length; index++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    words[index] = state
  }
  return Buffer.from(words.buffer, 0, length)
}

/**
 * Writes a sparse disk of 41 MiB and a bit: chunk 0 head and noise, 1 zeros, 2 noise, 3 text with holes, 4 the same as 2, 5 a short last
 * one with data in its last sector.
 */
export function writeDisk(path: string, seed = 1): { size: number } {
  const size = 41 * MIB + 3 * 512
  const fd = openSync(path, 'w')
  ftruncateSync(fd, size)
  const put = (bytes: Buffer, at: number) => writeSync(fd, bytes, 0, bytes.length, at)
  put(gptHead(size), 0)
  put(noise(MIB, seed), 2 * MIB)
  const same = Buffer.alloc(8 * MIB, noise(MIB, seed + 100))
  put(same, 16 * MIB)
  put(Buffer.from('the same line again\n'.repeat(50_000)), 25 * MIB)
  put(same, 32 * MIB)
  put(noise(512, seed + 200), size - 512)
  closeSync(fd)
  return { size }
}

export function qemuImg(...args: string[]): void {
  execFileSync('qemu-img', args, { stdio: ['ignore', 'ignore', 'inherit'] })
}

/** Process ids of running qemu-img whose root lies below `folder`. */
export function jailed(folder: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return (
          readFileSync(`/proc/${pid}/comm`, 'utf8') === 'qemu-img\n' &&
          readlinkSync(`/proc/${pid}/root`).startsWith(folder)
        )
      } catch {
        // It ended meanwhile.
        return false
      }
    })
}

/** Whether something becomes true within ten seconds. */
export async function soon(check: () => boolean): Promise<boolean> {
  for (let turn = 0; turn < 2000; turn++) {
    if (check()) return true
    await sleep(5)
  }
  return false
}
