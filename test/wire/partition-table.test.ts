import t from 'tap'
import { decodePartitionTable } from '../../src/wire/partition-table.ts'
import { gptHead, noise } from '../services/images/disks.ts'

function mbrHead(entries: { status?: number; type: number; start: number; blocks: number }[]): Buffer {
  const head = Buffer.alloc(64 * 1024)
  entries.forEach(({ status = 0, type, start, blocks }, index) => {
    const at = 446 + index * 16
    head.writeUInt8(status, at)
    head.writeUInt8(type, at + 4)
    head.writeUInt32LE(start, at + 8)
    head.writeUInt32LE(blocks, at + 12)
  })
  head.writeUInt16LE(0xaa55, 510)
  return head
}

t.test('a GPT disk: its partitions in bytes, and that UEFI can start it', async (t) => {
  t.same(decodePartitionTable(gptHead(64 * 2 ** 20)), {
    label: 'gpt',
    partitions: [{ start: 2 ** 20, end: (131072 - 33) * 512, type: 'c12a7328-f81f-11d2-ba4b-00a0c93ec93b' }],
    bootCode: false,
    efiSystem: true
  })
})

t.test('an MBR disk with boot code', async (t) => {
  const head = mbrHead([
    { status: 0x80, type: 0x83, start: 2048, blocks: 4096 },
    { type: 0xef, start: 6144, blocks: 1 }
  ])
  head.write('\xeb\x63\x90', 0, 'latin1')
  t.same(decodePartitionTable(head), {
    label: 'mbr',
    partitions: [
      { start: 2 ** 20, end: 3 * 2 ** 20, type: '83' },
      { start: 6144 * 512, end: 6145 * 512, type: 'ef' }
    ],
    bootCode: true,
    efiSystem: true
  })
})

const NONE: Record<string, Buffer> = {
  nothing: Buffer.alloc(0),
  'less than a sector': gptHead(64 * 2 ** 20).subarray(0, 511),
  zeros: Buffer.alloc(4096),
  'an MBR without entries': mbrHead([]),
  'a status that is none': mbrHead([{ status: 0x41, type: 0x83, start: 1, blocks: 1 }]),
  'a partition that starts with the disk': mbrHead([{ type: 0x83, start: 0, blocks: 1 }]),
  'a partition of no length': mbrHead([{ type: 0x83, start: 1, blocks: 0 }])
}

for (const [sentence, head] of Object.entries(NONE))
  t.test(`no table in ${sentence}`, async (t) => {
    t.equal(decodePartitionTable(head), null)
  })

t.test('a table that makes no sense is an error, with the place', async (t) => {
  const size = 64 * 2 ** 20
  const changed = (change: (head: Buffer) => void) => {
    const head = gptHead(size)
    change(head)
    return () => decodePartitionTable(head)
  }
  t.throws(
    changed((head) => head.fill(0, 512, 520)),
    { code: 'gpt-missing' }
  )
  t.throws(
    changed((head) => head.writeUInt32LE(64, 512 + 84)),
    { code: 'gpt-entries', offset: 584 }
  )
  t.throws(
    changed((head) => head.writeUInt32LE(0xffffffff, 512 + 80)),
    { code: 'gpt-entries' }
  )
  t.throws(
    changed((head) => head.writeBigUInt64LE(2n ** 60n, 512 + 72)),
    { code: 'gpt-entries' }
  )
  t.throws(
    changed((head) => head.writeBigUInt64LE(1n, 1024 + 40)),
    { code: 'gpt-entry', offset: 1024 }
  )
  t.throws(() => decodePartitionTable(gptHead(size).subarray(0, 600)), { code: 'gpt-cut' })
})

t.test('whatever the bytes, it answers or says why not', async (t) => {
  for (let seed = 1; seed <= 2000; seed++) {
    const head = seed % 2 ? gptHead(64 * 2 ** 20) : noise(65536, seed)
    head.writeUInt16LE(0xaa55, 510)
    noise(64, seed).copy(head, [0, 440, 512, 560, 1024][seed % 5])
    try {
      decodePartitionTable(head.subarray(0, 65536 - (seed % 7) * 9000))
    } catch (error) {
      t.equal((error as Error).name, 'WireError')
    }
  }
})
