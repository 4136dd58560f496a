// Programs for the kernel's classic packet filter (linux/filter.h, Documentation/networking/filter.rst), which it runs over every datagram before that
// takes room in a socket: eight bytes an instruction, in the byte order of the machine, which is little-endian wherever we run.

import { macToBytes, type Mac } from './address.ts'

const INSTRUCTION_BYTES = 8
/**
 * How many addresses a program may compare with, the best first. BPF_MAXINSNS is 4096, and the search tree needs some; a kernel with a smaller
 * net.core.optmem_max (20 KiB was usual up to Linux 6.7) takes less.
 */
export const FILTER_KEYS = [3500, 800, 200] as const
/** How far a conditional jump reaches (its distance is one byte) bounds how many keys can share one way out. */
const KEYS_A_LEAF = 64
/** On a UDP socket the program sees the datagram from its UDP header on. */
const UDP_HEADER_BYTES = 8
const CHADDR = UDP_HEADER_BYTES + 28
const ALL = 0xffffffff
/** SKF_AD_OFF + SKF_AD_PKTTYPE and SKF_AD_OFF + SKF_AD_RANDOM: not of the packet, but about it. */
const PACKET_TYPE = 0xfffff004
const RANDOM = 0xfffff038
const PACKET_LOOPBACK = 5

type Instruction = readonly [code: number, whenTrue: number, whenFalse: number, operand: number]

const load = (offset: number): Instruction => [0x20, 0, 0, offset]
const shiftRight = (bits: number): Instruction => [0x74, 0, 0, bits]
const jump = (distance: number): Instruction => [0x05, 0, 0, distance]
const ifEqual = (operand: number, yes: number, no: number): Instruction => [0x15, yes, no, operand]
const ifAbove = (operand: number, yes: number, no: number): Instruction => [0x25, yes, no, operand]
const take = (bytes: number): Instruction => [0x06, 0, 0, bytes]

function assembled(instructions: readonly Instruction[]): Buffer {
  const program = Buffer.alloc(instructions.length * INSTRUCTION_BYTES)
  for (const [index, [code, whenTrue, whenFalse, operand]] of instructions.entries()) {
    const at = index * INSTRUCTION_BYTES
    program.writeUInt16LE(code, at)
    program.writeUInt8(whenTrue, at + 2)
    program.writeUInt8(whenFalse, at + 3)
    program.writeUInt32LE(operand, at + 4)
  }
  return program
}

/** Lets through all but what the kernel hands back to us of our own broadcasts. */
export const notOurOwn = (): Buffer =>
  assembled([load(PACKET_TYPE), ifEqual(PACKET_LOOPBACK, 0, 1), take(0), take(ALL)])

/**
 * For a DHCP socket on which strangers flood: lets through every message whose `chaddr` ends as one of `macs` does, and of the
 * others only `share` (0 to 1), drawn by lot. It looks at the last four bytes of the address, and where there are more than `most` addresses,
 * at fewer bits of them: a stranger may be taken for a friend, never a friend for a stranger.
 */
export function strangersByLot(macs: Iterable<Mac>, share: number, most: number = FILTER_KEYS[0]): Buffer {
  const ends = [...macs].map((mac) => macToBytes(mac).readUInt32BE(2))
  let bits = 0
  let keys = sortedOnce(ends)
  while (keys.length > most) {
    bits++
    keys = sortedOnce(keys.map((key) => key >>> 1))
  }
  const otherwise: Instruction[] = [
    load(RANDOM),
    ifAbove(Math.min(ALL, Math.floor(share * 2 ** 32)), 0, 1),
    take(0),
    take(ALL)
  ]
  return assembled([load(CHADDR + 2), ...(bits > 0 ? [shiftRight(bits)] : []), ...search(keys), ...otherwise])
}

const sortedOnce = (numbers: readonly number[]) => [...new Set(numbers)].sort((a, b) => a - b)

/** Takes the datagram when the accumulator is one of `keys`, else goes on behind its last instruction. */
function search(keys: readonly number[]): Instruction[] {
  if (keys.length === 0) return []
  if (keys.length <= KEYS_A_LEAF)
    return [...keys.map((key, index) => ifEqual(key, keys.length - index, 0)), jump(1), take(ALL)]
  const middle = keys.length >> 1
  const upper = search(keys.slice(middle))
  const lower = [...search(keys.slice(0, middle)), jump(upper.length)]
  // The distance to the upper half does not fit in a conditional jump.
  return [ifAbove(keys[middle - 1]!, 0, 1), jump(lower.length), ...lower, ...upper]
}
