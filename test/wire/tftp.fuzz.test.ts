// Mutated datagrams: a packet or a WireError, nothing else, in bounded memory and time. FUZZ_PACKETS and FUZZ_SEED change the run.

import { deepStrictEqual } from 'node:assert'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { decodeTftp, encodeTftp, type TftpPacket } from '../../src/wire/tftp.ts'
import { WireError } from '../../src/wire/wire-error.ts'
import { mutate, seededRandom } from '../support/mutate.ts'

const SEED = Number(process.env.FUZZ_SEED ?? 69)
const PACKETS = Number(process.env.FUZZ_PACKETS ?? 1_000_000)

const SAMPLES: TftpPacket[] = [
  { op: 'read', file: 'undionly.kpxe', mode: 'octet', options: new Map() },
  {
    op: 'read',
    file: '/boot/snponly.efi',
    mode: 'octet',
    options: new Map([
      ['tsize', '0'],
      ['blksize', '1468'],
      ['windowsize', '4']
    ])
  },
  { op: 'write', file: 'f', mode: 'netascii', options: new Map([['timeout', '5']]) },
  { op: 'data', block: 65535, data: Buffer.alloc(40, 7) },
  { op: 'ack', block: 1 },
  { op: 'error', code: 8, message: 'User aborted the transfer' },
  { op: 'option-ack', options: new Map([['tsize', '1048576']]) }
]

t.test(`${PACKETS} mutated datagrams (seed ${SEED})`, { timeout: 600_000 }, async (t) => {
  const random = seededRandom(SEED)
  const samples = SAMPLES.map((packet) => encodeTftp(packet))
  const faults: string[] = []
  const seen: Record<string, number> = {}
  let before = 0
  for (let count = 0; count < PACKETS; count++) {
    // The heap after a while of it is what it stays at.
    if (count === Math.floor(PACKETS / 10)) before = settledHeap()
    const bytes = mutate(samples[count % samples.length] as Buffer, random)
    let outcome = 'refused'
    try {
      const packet = decodeTftp(bytes)
      outcome = packet.op
      // What was understood is understood again; text that no datagram can carry cannot have come in one.
      if (count % 16 === 0) deepStrictEqual(decodeTftp(encodeTftp(packet)), packet)
    } catch (error) {
      if (!(error instanceof WireError) || error.offset < 0 || error.offset > bytes.length)
        faults.push(`${bytes.toString('hex')}: ${String(error)}`)
    }
    seen[outcome] = (seen[outcome] ?? 0) + 1
  }
  t.same(faults.slice(0, 3), [])
  t.same(
    Object.keys(seen).sort(),
    ['ack', 'data', 'error', 'option-ack', 'read', 'refused', 'write'],
    'every kind came by'
  )
  const grown = (settledHeap() - before) / 2 ** 20
  t.ok(grown < 16, `the heap grew by ${grown.toFixed(1)} MiB`)
  t.comment(`${JSON.stringify(seen)}`)
})

function settledHeap(): number {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
  return process.memoryUsage().heapUsed
}
