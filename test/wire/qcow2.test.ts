import t from 'tap'
import {
  checkQcow2Layout,
  decodeQcow2Header,
  encodeQcow2Header,
  qcow2DataClusters,
  qcow2L2Offsets,
  type Qcow2Header
} from '../../src/wire/qcow2.ts'
import { WireError } from '../../src/wire/wire-error.ts'
import { noise } from '../services/images/disks.ts'

const GIB = 2 ** 30
const CAP = 4 * GIB

const V3: Qcow2Header = {
  version: 3,
  clusterBits: 16,
  virtualSize: GIB,
  l1Entries: 2,
  l1Offset: 3 * 65536,
  refcountTableOffset: 65536,
  refcountTableClusters: 1,
  refcountOrder: 4,
  compression: 'zlib',
  extendedL2: false
}
const V2: Qcow2Header = { ...V3, version: 2 }

/** A whole first cluster, changed. */
function header(from: Qcow2Header, change: (bytes: Buffer) => void = () => {}): Buffer {
  const bytes = Buffer.alloc(65536)
  encodeQcow2Header(from).copy(bytes)
  change(bytes)
  return bytes
}

function extension(type: number, data: string): (bytes: Buffer) => void {
  return (bytes) => {
    const at = bytes.readUInt32BE(4) === 2 ? 72 : bytes.readUInt32BE(100)
    bytes.writeUInt32BE(type, at)
    bytes.writeUInt32BE(data.length, at + 4)
    bytes.write(data, at + 8, 'latin1')
  }
}

const GOOD: Record<string, Qcow2Header> = {
  'version 3': V3,
  'version 2': V2,
  'zstd clusters': { ...V3, compression: 'zstd' },
  'extended L2 entries': { ...V3, extendedL2: true, l1Entries: 4 },
  'the smallest clusters': { ...V3, clusterBits: 9, l1Entries: 32768 },
  'the largest clusters': { ...V3, clusterBits: 21, l1Offset: 6 * 2 ** 20, refcountTableOffset: 2 ** 21 },
  'an L1 table larger than the disk needs': { ...V3, l1Entries: 4000 }
}

for (const [sentence, fields] of Object.entries(GOOD))
  t.test(`reads ${sentence}`, async (t) => {
    t.same(decodeQcow2Header(header(fields), CAP), fields)
  })

t.test('passes over extensions that say nothing about other files', async (t) => {
  t.same(decodeQcow2Header(header(V3, extension(0x6803f857, 'feature names')), CAP), V3)
})

const u32 = (at: number, value: number) => (bytes: Buffer) => void bytes.writeUInt32BE(value, at)
const u64 = (at: number, value: bigint) => (bytes: Buffer) => void bytes.writeBigUInt64BE(value, at)

/** One bad file for every field of the header. */
const BAD: Record<
  string,
  [from: Qcow2Header, change: (bytes: Buffer) => void, code: string, offset: number]
> = {
  'another magic': [V3, u32(0, 0x514649fa), 'qcow2-magic', 0],
  'version 1': [V3, u32(4, 1), 'qcow2-version', 4],
  'version 4': [V3, u32(4, 4), 'qcow2-version', 4],
  'a backing file': [V3, (b) => (u64(8, 512n)(b), u32(16, 9)(b)), 'qcow2-backing-file', 8],
  'a backing file in version 2': [V2, u64(8, 512n), 'qcow2-backing-file', 8],
  'a backing file name of some length at no place': [V3, u32(16, 9), 'qcow2-backing-file', 8],
  'clusters too small': [V3, u32(20, 8), 'qcow2-cluster-bits', 20],
  'clusters too large': [V3, u32(20, 22), 'qcow2-cluster-bits', 20],
  'no disk': [V3, u64(24, 0n), 'qcow2-virtual-size', 24],
  'half a sector': [V3, u64(24, 700n), 'qcow2-virtual-size', 24],
  'a disk above the cap': [V3, u64(24, BigInt(CAP) + 512n), 'qcow2-virtual-size', 24],
  'a disk of 100 TiB': [V3, u64(24, 100n << 40n), 'qcow2-virtual-size', 24],
  'a disk of 16 EiB': [V3, u64(24, 0xfffffffffffffe00n), 'qcow2-virtual-size', 24],
  'AES encryption': [V3, u32(32, 1), 'qcow2-encrypted', 32],
  'LUKS encryption': [V3, u32(32, 2), 'qcow2-encrypted', 32],
  'an L1 table too small for the disk': [V3, u32(36, 1), 'qcow2-l1-size', 36],
  'an L1 table too large': [V3, u32(36, 0xffffffff), 'qcow2-l1-size', 36],
  'an L1 table inside a cluster': [V3, u64(40, 3n * 65536n + 8n), 'qcow2-l1-offset', 40],
  'an L1 table at the header': [V3, u64(40, 0n), 'qcow2-l1-offset', 40],
  'an L1 table behind the end of numbers': [V3, u64(40, 1n << 63n), 'qcow2-l1-offset', 40],
  'a refcount table inside a cluster': [V3, u64(48, 100n), 'qcow2-refcount-table', 48],
  'a refcount table at the header': [V3, u64(48, 0n), 'qcow2-refcount-table', 48],
  'no refcount table': [V3, u32(56, 0), 'qcow2-refcount-table', 56],
  'a refcount table too large': [V3, u32(56, 1000), 'qcow2-refcount-table', 56],
  snapshots: [V3, u32(60, 1), 'qcow2-snapshots', 60],
  'the dirty bit': [V3, u64(72, 1n), 'qcow2-dirty', 72],
  'the corrupt bit': [V3, u64(72, 2n), 'qcow2-corrupt', 72],
  'the external data file bit': [V3, u64(72, 4n), 'qcow2-data-file', 72],
  'an incompatible bit nobody knows': [V3, u64(72, 32n), 'qcow2-features', 72],
  'the highest incompatible bit': [V3, u64(72, 1n << 63n), 'qcow2-features', 72],
  'extended L2 entries in small clusters': [
    { ...V3, clusterBits: 13, l1Entries: 300 },
    u64(72, 16n),
    'qcow2-cluster-bits',
    20
  ],
  'a refcount order that is none': [V3, u32(96, 7), 'qcow2-refcount-order', 96],
  'a header too short': [V3, u32(100, 96), 'qcow2-header-length', 100],
  'a header length between words': [V3, u32(100, 107), 'qcow2-header-length', 100],
  'a header longer than the file': [V3, u32(100, 70000), 'qcow2-header-length', 100],
  'a compression nobody knows': [V3, (b) => (u64(72, 8n)(b), b.writeUInt8(2, 104)), 'qcow2-compression', 104],
  'a compression that its bit does not announce': [V3, (b) => b.writeUInt8(1, 104), 'qcow2-compression', 104],
  'a compression bit without a compression': [V3, u64(72, 8n), 'qcow2-compression', 104],
  'a data file extension alone': [V3, extension(0x44415441, '/etc/hostname'), 'qcow2-data-file', 112],
  'a data file extension in version 2': [V2, extension(0x44415441, '/etc/hostname'), 'qcow2-data-file', 72],
  'a data file extension behind another': [
    V3,
    (b) => {
      extension(0x6803f857, 'feature')(b)
      extension(0x44415441, 'x')(b.subarray(0))
      b.copyWithin(128, 112, 128)
      extension(0x6803f857, 'feature')(b)
    },
    'qcow2-data-file',
    128
  ],
  'a backing format extension alone': [V3, extension(0xe2792aca, 'raw'), 'qcow2-backing-file', 112],
  'an encryption extension': [V3, extension(0x0537be77, 'luks'), 'qcow2-encrypted', 112],
  'an extension longer than the header': [
    V3,
    (b) => (extension(0x6803f857, '')(b), u32(116, 65536)(b)),
    'qcow2-extension',
    116
  ],
  'extensions without an end': [
    V3,
    (b) => (extension(0x6803f857, '')(b), u32(116, 65536 - 120)(b)),
    'qcow2-extension',
    65536
  ]
}

for (const [sentence, [from, change, code, offset]] of Object.entries(BAD))
  t.test(`refuses ${sentence}`, async (t) => {
    t.throws(() => decodeQcow2Header(header(from, change), CAP), { name: 'WireError', code, offset })
  })

t.test('refuses a header cut off at every byte', async (t) => {
  for (const from of [V2, V3]) {
    const whole = encodeQcow2Header(from)
    for (let length = 0; length < whole.length; length++)
      t.throws(
        () => decodeQcow2Header(whole.subarray(0, length), CAP),
        { name: 'WireError' },
        `${length} bytes`
      )
  }
})

t.test('whatever the bytes, what is accepted is within the limits and the rest is a WireError', async (t) => {
  let accepted = 0
  for (let seed = 1; seed <= 5_000; seed++) {
    const bytes = header(seed % 2 ? V3 : V2)
    bytes.writeUInt8(seed & 0xff, (seed * 7) % 120)
    if (seed % 3 === 0) noise(4, seed).copy(bytes, (seed * 13) % 116)
    try {
      const read = decodeQcow2Header(bytes, CAP)
      accepted++
      if (read.virtualSize > CAP || read.l1Entries * 8 > 32 * 2 ** 20 || read.clusterBits > 21)
        t.fail('accepted beyond a limit')
    } catch (error) {
      if (!(error instanceof WireError)) throw error
    }
  }
  t.ok(accepted > 0 && accepted < 5_000, `${accepted} of 5000 accepted`)
})

t.test('tables must lie inside the file', async (t) => {
  checkQcow2Layout(V3, 3 * 65536 + 16)
  t.throws(() => checkQcow2Layout(V3, 3 * 65536 + 15), { code: 'qcow2-short', offset: 40 })
  const far = { ...V3, refcountTableOffset: 100 * 65536 }
  checkQcow2Layout(far, 100 * 65536 + 1)
  t.throws(() => checkQcow2Layout(far, 100 * 65536), { code: 'qcow2-short', offset: 48 })
})

t.test('counts the clusters that hold data', async (t) => {
  const l1 = Buffer.alloc(16)
  l1.writeBigUInt64BE((1n << 63n) | 0x50000n, 0)
  t.same(qcow2L2Offsets(V3, l1), [0x50000])

  const table = (...entries: bigint[]) => {
    const l2 = Buffer.alloc(64)
    entries.forEach((entry, index) => l2.writeBigUInt64BE(entry, index * 8))
    return l2
  }
  const data = (1n << 63n) | 0x60000n
  const compressed = (1n << 62n) | 0x60123n
  t.equal(qcow2DataClusters(V3, table()), 0)
  t.equal(qcow2DataClusters(V3, table(data, 0n, compressed)), 2)
  t.equal(qcow2DataClusters(V3, table(1n, data | 1n)), 0, 'bit 0 says zeros')
  t.equal(qcow2DataClusters(V2, table(data | 1n)), 1, 'but not in version 2')
  t.equal(qcow2DataClusters({ ...V3, extendedL2: true }, table(data, 1n, 0n, data)), 1, 'entries of 16 bytes')
})
