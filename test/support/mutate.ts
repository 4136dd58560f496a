// Seeded mutations of packets for fuzz tests: the same seed makes the same packets.

/** Numbers in [0, 1), the same for the same seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000
  }
}

/** One to three changes: a bit flipped, a byte set, a piece cut out, doubled or appended, the end cut off. */
export function mutate(packet: Buffer, random: () => number): Buffer {
  const below = (limit: number): number => Math.floor(random() * limit)
  let bytes = Buffer.from(packet)
  for (let changes = 1 + below(3); changes > 0; changes--) {
    const at = below(bytes.length || 1)
    const piece = below(17)
    const kind = below(6)
    if (kind === 0 && bytes.length > 0) bytes[at] = bytes.readUInt8(at) ^ (1 << below(8))
    if (kind === 1 && bytes.length > 0) bytes[at] = [0, 1, 0x7f, 0x80, 0xff][below(5)] ?? 0
    if (kind === 2) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + piece)])
    if (kind === 3) bytes = Buffer.concat([bytes.subarray(0, at + piece), bytes.subarray(at)])
    if (kind === 4)
      bytes = Buffer.concat([bytes, Buffer.from(Array.from({ length: piece }, () => below(256)))])
    if (kind === 5) bytes = Buffer.from(bytes.subarray(0, at))
  }
  return bytes
}
