import t from 'tap'
import {
  largestBlockFor,
  negotiate,
  smallerBlock,
  startTransfer,
  stepTransfer,
  type Transfer,
  type TransferEnd,
  type TransferStep
} from '../../src/decide/tftp-transfer.ts'
import { decodeTftp, encodeBlocks, type TftpPacket } from '../../src/wire/tftp.ts'

const options = (text: string): Map<string, string> =>
  new Map(
    text
      .split(' ')
      .filter(Boolean)
      .map((pair) => pair.split('=') as [string, string])
  )
const ack = (block: number): TftpPacket => ({ op: 'ack', block })

/** What a step sends, as the client gets it. */
function packets({ send, transfer }: TransferStep): TftpPacket[] {
  if (send?.op !== 'blocks') return send ? [send] : []
  const size = transfer.blockSize + 4
  const bytes = Buffer.alloc(size * (send.until - send.from + 1))
  const length = encodeBlocks(bytes, transfer.bytes, transfer.blockSize, send.from, send.until)
  const found: TftpPacket[] = []
  for (let start = 0; start < length; start += size)
    found.push(decodeTftp(bytes.subarray(start, Math.min(start + size, length))))
  return found
}

/** A packet in a word: `D1`, `D2:3` (three bytes), `OACK blksize=8`. */
function word(packet: TftpPacket): string {
  if (packet.op === 'data') return `D${packet.block}:${packet.data.length}`
  if (packet.op === 'option-ack') return `OACK ${[...packet.options].map((pair) => pair.join('=')).join(' ')}`
  if (packet.op === 'error') return `ERROR ${packet.code}`
  return packet.op
}

const NEGOTIATIONS: Record<string, [asked: string, agreed: string | null]> = {
  'nothing asked, nothing acknowledged': ['', null],
  'the block size is lowered to what fits one frame': ['blksize=65464', 'blksize=1468'],
  'a small block size is taken as it is': ['blksize=512', 'blksize=512'],
  'a block size out of range is passed over': ['blksize=7 tsize=0', 'tsize=1000'],
  'the true size': ['tsize=0', 'tsize=1000'],
  'the timeout is echoed exactly': ['timeout=6', 'timeout=6'],
  'a timeout out of range is passed over': ['timeout=0', null],
  'the window is lowered': ['windowsize=65535', 'windowsize=64'],
  'unknown names and words for numbers are passed over': ['multicast= blksize=big x=1', null],
  'all together, in the order asked': [
    'tsize=0 blksize=1432 timeout=1 windowsize=4',
    'tsize=1000 blksize=1432 timeout=1 windowsize=4'
  ]
}

t.test('options', async (t) => {
  for (const [name, [asked, agreed]] of Object.entries(NEGOTIATIONS)) {
    const found = negotiate(options(asked), 1000).options
    t.equal(found && [...found].map((pair) => pair.join('=')).join(' '), agreed, name)
  }
  t.equal(
    negotiate(options('blksize=1468'), 1, 512).blockSize,
    512,
    'a client that loses big blocks gets small ones'
  )
})

type Line = [input: TftpPacket | 'timer' | 'start', sent: string[], end?: TransferEnd['ended']]

/** 8-byte blocks of a file of `size` bytes, if not told otherwise. */
const CONVERSATIONS: Record<string, { size: number; asked: string; lines: Line[] }> = {
  'without options data comes at once': {
    size: 3,
    asked: '',
    lines: [
      ['start', ['D1:3']],
      [ack(1), [], 'complete']
    ]
  },
  'a file of whole blocks ends with an empty one': {
    size: 16,
    asked: 'blksize=8',
    lines: [
      ['start', ['OACK blksize=8']],
      [ack(0), ['D1:8']],
      [ack(1), ['D2:8']],
      [ack(2), ['D3:0']],
      [ack(3), [], 'complete']
    ]
  },
  'an empty file is one empty block': {
    size: 0,
    asked: '',
    lines: [
      ['start', ['D1:0']],
      [ack(1), [], 'complete']
    ]
  },
  'a repeated ACK sends nothing (no Sorcerer’s Apprentice)': {
    size: 20,
    asked: 'blksize=8',
    lines: [
      ['start', ['OACK blksize=8']],
      [ack(0), ['D1:8']],
      [ack(0), []],
      [ack(1), ['D2:8']],
      [ack(1), []],
      [ack(1), []],
      [ack(0), []],
      [ack(2), ['D3:4']],
      [ack(3), [], 'complete']
    ]
  },
  'an ACK of what was never sent is passed over': {
    size: 20,
    asked: 'blksize=8',
    lines: [
      ['start', ['OACK blksize=8']],
      [ack(1), []],
      [ack(0), ['D1:8']],
      [ack(2), []],
      [ack(1), ['D2:8']]
    ]
  },
  'to one who never answers three datagrams are sent': {
    size: 20,
    asked: 'blksize=8 windowsize=4',
    lines: [
      ['start', ['OACK blksize=8 windowsize=4']],
      ['timer', ['OACK blksize=8 windowsize=4']],
      ['timer', ['OACK blksize=8 windowsize=4']],
      ['timer', [], 'gave-up']
    ]
  },
  'the same without options': {
    size: 2000,
    asked: '',
    lines: [
      ['start', ['D1:512']],
      ['timer', ['D1:512']],
      ['timer', ['D1:512']],
      ['timer', [], 'gave-up']
    ]
  },
  'a lost block is sent again by the timer alone': {
    size: 20,
    asked: 'blksize=8',
    lines: [
      ['start', ['OACK blksize=8']],
      [ack(0), ['D1:8']],
      ['timer', ['D1:8']],
      ['timer', ['D1:8']],
      [ack(1), ['D2:8']]
    ]
  },
  'a window goes out whole and is acknowledged once': {
    size: 30,
    asked: 'blksize=8 windowsize=3',
    lines: [
      ['start', ['OACK blksize=8 windowsize=3']],
      [ack(0), ['D1:8', 'D2:8', 'D3:8']],
      [ack(3), ['D4:6']],
      [ack(4), [], 'complete']
    ]
  },
  'a gap resumes after the last block in order': {
    size: 40,
    asked: 'blksize=8 windowsize=3',
    lines: [
      ['start', ['OACK blksize=8 windowsize=3']],
      [ack(0), ['D1:8', 'D2:8', 'D3:8']],
      [ack(1), ['D2:8', 'D3:8', 'D4:8']],
      [ack(4), ['D5:8', 'D6:0']]
    ]
  },
  'the first block of a window lost: the repeated ACKs send nothing, the timer does': {
    size: 60,
    asked: 'blksize=8 windowsize=3',
    lines: [
      ['start', ['OACK blksize=8 windowsize=3']],
      [ack(0), ['D1:8', 'D2:8', 'D3:8']],
      [ack(3), ['D4:8', 'D5:8', 'D6:8']],
      [ack(3), []],
      [ack(3), []],
      ['timer', ['D4:8', 'D5:8', 'D6:8']],
      [ack(3), []],
      [ack(6), ['D7:8', 'D8:4']]
    ]
  },
  'a second gap in the same window sends only what was never sent': {
    size: 100,
    asked: 'blksize=8 windowsize=4',
    lines: [
      ['start', ['OACK blksize=8 windowsize=4']],
      [ack(0), ['D1:8', 'D2:8', 'D3:8', 'D4:8']],
      [ack(1), ['D2:8', 'D3:8', 'D4:8', 'D5:8']],
      [ack(2), ['D6:8']],
      [ack(3), ['D7:8']],
      ['timer', ['D4:8', 'D5:8', 'D6:8', 'D7:8']],
      [ack(7), ['D8:8', 'D9:8', 'D10:8', 'D11:8']]
    ]
  },
  'the client stops after the size: its good right': {
    size: 20,
    asked: 'tsize=0',
    lines: [
      ['start', ['OACK tsize=20']],
      [{ op: 'error', code: 8, message: '' }, [], 'aborted']
    ]
  },
  'what no reader sends ends it with an error, once': {
    size: 20,
    asked: '',
    lines: [
      ['start', ['D1:20']],
      [{ op: 'data', block: 1, data: Buffer.alloc(1) }, ['ERROR 4'], 'illegal']
    ]
  }
}

t.test('conversations', async (t) => {
  for (const [name, { size, asked, lines }] of Object.entries(CONVERSATIONS)) {
    let now = 1000
    let step: TransferStep | undefined
    for (const [index, [input, sent, ended]] of lines.entries()) {
      if (input === 'start') step = startTransfer(Buffer.alloc(size, 7), options(asked), now)
      else {
        now = input === 'timer' ? (step?.wakeAt ?? NaN) : now + 3
        step = stepTransfer((step as TransferStep).transfer, input, now)
      }
      t.same(packets(step).map(word), sent, `${name}: line ${index + 1}`)
      t.equal(step.end?.ended, ended, `${name}: line ${index + 1} ${ended ?? 'goes on'}`)
      t.equal(
        step.wakeAt === null,
        ended !== undefined,
        `${name}: line ${index + 1} wakes only when it goes on`
      )
    }
  }
})

t.test('the last ACK lost: sent again for a while, then taken as loaded', async (t) => {
  let step = startTransfer(Buffer.alloc(4), options('blksize=8'), 0)
  step = stepTransfer(step.transfer, ack(0), 5)
  let sent = packets(step).length
  while (step.wakeAt !== null) {
    step = stepTransfer(step.transfer, 'timer', step.wakeAt)
    sent += packets(step).length
  }
  t.equal(step.end?.ended, 'unconfirmed')
  t.ok(sent >= 3 && sent <= 10, `${sent} datagrams`)
})

t.test('in the middle, silence of half a minute ends it, with back-off', async (t) => {
  let step = startTransfer(Buffer.alloc(40_000), options('blksize=1468'), 0)
  step = stepTransfer(step.transfer, ack(0), 5)
  let sent = 0
  const waits: number[] = []
  while (step.wakeAt !== null) {
    const at = step.wakeAt
    step = stepTransfer(step.transfer, 'timer', at)
    sent += packets(step).length
    if (step.wakeAt !== null) waits.push(step.wakeAt - at)
  }
  t.equal(step.end?.ended, 'gave-up')
  t.same(
    waits,
    [...waits].sort((a, b) => a - b),
    'never shorter than the wait before'
  )
  t.ok(sent <= 17, `${sent} datagrams`)
  t.ok(
    waits.some((wait) => wait > 5500),
    'long enough for a client that speaks up after five seconds of silence only'
  )
  t.equal(smallerBlock(step.transfer), 1024, 'and it is remembered that no big block arrived')
})

t.test('a client that got blocks is not suspected of losing big ones', async (t) => {
  let step = startTransfer(Buffer.alloc(40_000), options('blksize=1468'), 0)
  for (const block of [0, 1]) step = stepTransfer(step.transfer, ack(block), 5)
  while (step.wakeAt !== null) step = stepTransfer(step.transfer, 'timer', step.wakeAt)
  t.equal(smallerBlock(step.transfer), null)
})

/** Small, repeatable randomness (a linear congruential generator). */
function dice(seed: number): () => number {
  let state = seed
  return () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32
}

type Network = { loss: number; duplicate: number; late: number }

/**
 * The server's steps against a reader that does what RFC 1350 and 7440 say, over a network in simulated time. What arrives is told together with
 * how many datagrams the server sent.
 */
function load(
  file: Buffer,
  asked: string,
  network: Network,
  seed: number
): { got: Buffer; sent: number; ended: string; milliseconds: number } {
  const random = dice(seed)
  const queue: { at: number; to: 'server' | 'client'; packet: TftpPacket }[] = []
  let now = 0
  let sent = 0
  const post = (to: 'server' | 'client', packet: TftpPacket): void => {
    if (random() < network.loss) return
    const copies = random() < network.duplicate ? 2 : 1
    for (let copy = 0; copy < copies; copy++)
      queue.push({ at: now + 1 + (random() < network.late ? 5 * random() : 0), to, packet })
  }
  let step = startTransfer(file, options(asked), now)
  let server: Transfer = step.transfer
  let wakeAt = step.wakeAt
  let ended: string | null = null
  const take = (next: TransferStep): void => {
    server = next.transfer
    wakeAt = next.wakeAt
    ended = next.end?.ended ?? null
    sent += packets(next).length
    for (const packet of packets(next)) post('client', packet)
  }
  take(step)

  const { blockSize, windowSize } = negotiate(options(asked), file.length)
  const parts: Buffer[] = []
  let inOrder = 0
  let inWindow = 0
  let finished = false
  let clientAt = 500
  const client = (packet: TftpPacket): void => {
    clientAt = now + 500
    if (packet.op === 'option-ack') {
      if (inOrder === 0) post('server', ack(0))
      return
    }
    if (packet.op !== 'data') return
    if (packet.block === ((inOrder + 1) & 0xffff) && !finished) {
      inOrder++
      inWindow++
      parts.push(Buffer.from(packet.data))
      finished = packet.data.length < blockSize
      if (finished || inWindow === windowSize) {
        inWindow = 0
        post('server', ack(inOrder & 0xffff))
      }
    } else {
      inWindow = 0
      post('server', ack(inOrder & 0xffff))
    }
  }
  while (ended === null && now < 600_000) {
    queue.sort((a, b) => a.at - b.at)
    const next = Math.min(queue[0]?.at ?? Infinity, wakeAt ?? Infinity, finished ? Infinity : clientAt)
    now = Math.max(now, next)
    if (queue[0] && queue[0].at <= now) {
      const { to, packet } = queue.shift() as (typeof queue)[number]
      if (to === 'client') client(packet)
      else take(stepTransfer(server, packet, now))
    } else if (wakeAt !== null && wakeAt <= now) take(stepTransfer(server, 'timer', now))
    else {
      clientAt = now + 500
      if (parts.length > 0 || server.acked >= 0) post('server', ack(inOrder & 0xffff))
    }
    step = { ...step, wakeAt }
  }
  return { got: Buffer.concat(parts), sent, ended: ended ?? 'nothing', milliseconds: now }
}

const NETWORKS: Record<string, Network & { most: number }> = {
  'a clean network': { loss: 0, duplicate: 0, late: 0, most: 1.05 },
  'one in a hundred lost': { loss: 0.01, duplicate: 0, late: 0, most: 2 },
  'one in ten lost': { loss: 0.1, duplicate: 0, late: 0, most: 6 },
  'one in five sent twice': { loss: 0, duplicate: 0.2, late: 0, most: 2.5 },
  'one in five late': { loss: 0, duplicate: 0, late: 0.2, most: 6 },
  'all of it': { loss: 0.05, duplicate: 0.05, late: 0.05, most: 6 }
}

t.test('a file arrives whole over any network, with a bounded number of datagrams', async (t) => {
  const random = dice(7)
  const file = Buffer.from(Uint8Array.from({ length: 300_000 }, () => Math.floor(random() * 256)))
  for (const [name, network] of Object.entries(NETWORKS))
    for (const windowSize of [1, 4, 16]) {
      const asked = `blksize=1468 tsize=0 windowsize=${windowSize}`
      const blocks = Math.floor(file.length / 1468) + 1
      for (const seed of [1, 2, 3]) {
        const { got, sent, ended, milliseconds } = load(file, asked, network, seed)
        const what = `${name}, window ${windowSize}, seed ${seed}`
        t.ok(got.equals(file), `${what}: every byte`)
        t.match(ended, /^(complete|unconfirmed)$/, `${what}: ${milliseconds} ms`)
        t.ok(sent <= blocks * network.most + 20, `${what}: ${sent} datagrams for ${blocks} blocks`)
      }
    }
})

t.test('block numbers go on at 0 after 65535', async (t) => {
  const file = Buffer.alloc(66_000 * 8 + 3)
  for (let offset = 0; offset < file.length - 4; offset += 8) file.writeUInt32BE(offset, offset)
  for (const windowSize of [1, 16]) {
    const { got, ended } = load(
      file,
      `blksize=8 windowsize=${windowSize}`,
      { loss: 0.0005, duplicate: 0, late: 0 },
      9
    )
    t.ok(got.equals(file), `window ${windowSize}: every byte`)
    t.equal(ended, 'complete')
  }
})

t.test('the largest block a path carries', async (t) => {
  for (const [mtu, block] of [
    [1500, 1468],
    [1300, 1268],
    [9000, 8968],
    [576, 544],
    [500, 512],
    [100_000, 65464]
  ] as const)
    t.equal(largestBlockFor(mtu), block, `MTU ${mtu}`)
})

t.test('big blocks that are lost again and again are made smaller, in steps', async (t) => {
  const lost = (largest: number, sends: number, bytes = 4000): Transfer => {
    let step = startTransfer(Buffer.alloc(bytes), options('blksize=1468'), 0, largest)
    step = stepTransfer(step.transfer, ack(0), 5)
    for (let count = 1; count < sends; count++)
      step = stepTransfer(step.transfer, 'timer', step.wakeAt as number)
    return step.transfer
  }
  t.equal(smallerBlock(lost(1468, 5)), null, 'it may be bad luck')
  t.equal(smallerBlock(lost(1468, 6)), 1024)
  t.equal(smallerBlock(lost(1024, 6)), 512)
  t.equal(smallerBlock(lost(512, 6)), null, 'smaller there is not')
  t.equal(smallerBlock(lost(1468, 6, 1467)), null, 'it may have all there is')
  t.equal(smallerBlock(startTransfer(Buffer.alloc(1), options(''), 0).transfer), null)
})

t.test('a client slower than the first round trips is not sent everything twice', async (t) => {
  let step = startTransfer(Buffer.alloc(200 * 512), options(''), 0)
  let now = 0
  let sent = 1
  for (let block = 1; block < 200; block++) {
    const arrives = now + (block < 50 ? 1 : 60)
    while (step.wakeAt !== null && step.wakeAt < arrives) {
      step = stepTransfer(step.transfer, 'timer', step.wakeAt)
      sent += packets(step).length
    }
    now = arrives
    step = stepTransfer(step.transfer, ack(block), now)
    sent += packets(step).length
  }
  t.ok(sent < 210, `${sent} datagrams for 200 blocks`)
})
