// What RFC 1350, 1123, 2347, 2348, 2349 and 7440 ask of a server, over raw datagrams; one case a line.

import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { encodeTftp, type TftpPacket } from '../../../src/wire/tftp.ts'
import { RAMDISK_WINDOW } from '../../support/machine-facing.ts'
import { aClient, aServer, read, type Client } from './serving.ts'

const FILES = { 'a.efi': 2000, 'block.efi': 1024, 'empty.efi': 0 }

/** What a case has at hand: a client, and where the transfer answers from once it was heard. */
type Talk = {
  t: Test
  client: Client
  /** Another end on the machine's address. */
  other: Client
  /** To port 69. */
  ask(packet: TftpPacket | Buffer): void
  /** To where the last datagram came from. */
  say(packet: TftpPacket | Buffer): void
  /** The next datagram that was not heard before, in a word: `D1:512`, `OACK blksize=8`, `E5`; `-` when nothing comes. */
  hear(milliseconds?: number): Promise<string>
  /** The next one, also when it repeats one. */
  hearAny(milliseconds?: number): Promise<string>
  /** The port that the last datagram came from. */
  from(): number
  /** Asserts that no transfer is left. */
  none(): Promise<void>
}

const ack = (block: number): TftpPacket => ({ op: 'ack', block })
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')
const padded = (packet: TftpPacket, length: number, fill = 0): Buffer =>
  Buffer.concat([encodeTftp(packet), Buffer.alloc(length, fill)])

function word(packet: TftpPacket): string {
  if (packet.op === 'data') return `D${packet.block}:${packet.data.length}`
  if (packet.op === 'option-ack') return `OACK ${[...packet.options].map((pair) => pair.join('=')).join(' ')}`
  return packet.op === 'error' ? `E${packet.code}` : packet.op
}

/** Asks, and expects this answer to each ACK in turn. */
const exchange =
  (request: TftpPacket, ...answers: string[]) =>
  async ({ t, ask, say, hear }: Talk): Promise<void> => {
    ask(request)
    let block = answers[0]?.startsWith('OACK') ? 0 : 1
    for (const answer of answers) {
      t.equal(await hear(answer === '-' ? 60 : 2000), answer)
      if (!/^[-E]/.test(answer)) say(ack(block++ & 0xffff))
    }
  }
const agreed =
  (asked: Record<string, string>, answer: string) =>
  async ({ t, ask, hear }: Talk) => {
    ask(read('a.efi', asked))
    t.equal(await hear(), answer)
  }

const CASES: Record<string, (talk: Talk) => Promise<void>> = {
  // RFC 1350
  'blocks of 512, the last one shorter': exchange(read('a.efi'), 'D1:512', 'D2:512', 'D3:512', 'D4:464', '-'),
  'a file of whole blocks ends with an empty one': exchange(
    read('block.efi'),
    'D1:512',
    'D2:512',
    'D3:0',
    '-'
  ),
  'an empty file is one empty block': exchange(read('empty.efi'), 'D1:0', '-'),
  'the mode in mixed case': exchange(read('a.efi', {}, 'OcTeT'), 'D1:512'),
  'netascii is served': exchange(read('a.efi', {}, 'netascii'), 'D1:512'),
  'mail is refused as illegal': exchange(read('a.efi', {}, 'mail'), 'E4', '-'),
  'a file that is not there': exchange(read('b.efi'), 'E1', '-'),
  'an upload is refused': exchange(
    { op: 'write', file: 'a.efi', mode: 'octet', options: new Map() },
    'E2',
    '-'
  ),
  'an upload with options is refused': exchange(
    { op: 'write', file: 'new', mode: 'octet', options: new Map([['tsize', '5']]) },
    'E2',
    '-'
  ),
  'the transfer comes from a port of its own': async ({ t, ask, hear, from }) => {
    const asked = from()
    ask(read('a.efi'))
    await hear()
    t.not(from(), asked)
  },
  'the next transfer to the same port comes from another': async ({
    t,
    client,
    ask,
    say,
    hear,
    hearAny,
    from
  }) => {
    ask(read('a.efi'))
    await hear()
    const first = from()
    ask(read('block.efi'))
    await hearAny()
    t.not(from(), first)
    say(ack(1))
    t.equal(await hear(), 'D2:512')
    client.send(ack(1), first)
    t.match((await client.next())?.from.port, first, 'which of the two goes on is for the client to say')
    client.send({ op: 'error', code: 0, message: 'the other one' }, first)
  },
  'a packet from a wrong port is answered with error 5': async ({ t, other, ask, hear, from }) => {
    ask(read('a.efi'))
    await hear()
    other.send(ack(1), from())
    t.match((await other.next())?.packet, { op: 'error', code: 5 })
  },
  'and the transfer goes on, from its own port': async ({ t, other, ask, say, hear, from }) => {
    ask(read('a.efi'))
    await hear()
    other.send(ack(1), from())
    other.send({ op: 'error', code: 0, message: 'die' }, from())
    await other.next()
    say(ack(1))
    t.equal(await hear(), 'D2:512')
  },
  'an error from a wrong port is not answered': async ({ t, other, ask, hear, from }) => {
    ask(read('a.efi'))
    await hear()
    other.send({ op: 'error', code: 0, message: '' }, from())
    t.equal(await other.next(60), null)
  },
  'an error ends the transfer, unanswered': async ({ t, ask, say, hear, none }) => {
    ask(read('a.efi'))
    await hear()
    say({ op: 'error', code: 0, message: 'enough' })
    t.equal(await hear(100), '-')
    await none()
  },
  'data where an ACK belongs is illegal and ends it': async ({ t, ask, say, hear, none }) => {
    ask(read('a.efi'))
    await hear()
    say({ op: 'data', block: 1, data: Buffer.alloc(1) })
    t.equal(await hear(), 'E4')
    await none()
  },
  'an ACK to port 69 belongs to no transfer': exchange(ack(1), 'E5', '-'),
  'an error to port 69 is not answered': exchange({ op: 'error', code: 0, message: '' }, '-'),
  // Malformed
  'an opcode that does not exist is illegal, told once': async ({ t, ask, hear, none }) => {
    ask(hex('0007 6100'))
    t.equal(await hear(), 'E4')
    t.equal(await hear(60), '-')
    await none()
  },
  'a request cut off is illegal': async ({ t, ask, hear }) => {
    ask(hex('0001 612e656669'))
    t.equal(await hear(), 'E4')
  },
  'an empty datagram to a transfer disturbs nothing': async ({ t, ask, say, hear }) => {
    ask(read('a.efi'))
    await hear()
    for (const noise of ['', '04', '0004', '000401', 'ffff']) say(hex(noise))
    say(ack(1))
    t.equal(await hear(), 'D2:512')
  },
  'a malformed error is not answered': async ({ t, ask, hear }) => {
    ask(hex('0005'))
    t.equal(await hear(60), '-')
  },
  'a padded ACK counts': async ({ t, ask, say, hear }) => {
    ask(read('a.efi'))
    await hear()
    say(padded(ack(1), 42))
    t.equal(await hear(), 'D2:512')
  },
  'a request padded with zeros': async ({ t, ask, hear }) => {
    ask(padded(read('a.efi', { blksize: '600' }), 100))
    t.equal(await hear(), 'OACK blksize=600')
  },
  'a request padded with rubbish': async ({ t, ask, hear }) => {
    ask(padded(read('a.efi', { blksize: '600' }), 100, 0xaa))
    t.equal(await hear(), 'OACK blksize=600')
  },
  // RFC 1123, 4.2.3.1
  'a repeated ACK sends nothing': async ({ t, ask, say, hear, hearAny }) => {
    ask(read('a.efi', { timeout: '5' }))
    t.equal(await hear(), 'OACK timeout=5')
    say(ack(0))
    t.equal(await hear(), 'D1:512')
    say(ack(1))
    t.equal(await hear(), 'D2:512')
    for (let time = 0; time < 20; time++) say(ack(1))
    let again = 0
    while ((await hearAny(10)) !== '-') again++
    t.ok(again < 5, `sent again ${again} times, by the timer alone`)
    say(ack(2))
    t.equal(await hear(), 'D3:512')
  },
  'an ACK of a block never sent sends nothing': async ({ t, ask, say, hear }) => {
    ask(read('a.efi'))
    t.equal(await hear(), 'D1:512')
    say(ack(3))
    say(ack(65535))
    say(ack(1))
    t.equal(await hear(), 'D2:512')
  },
  'what is not acknowledged is sent again': async ({ t, ask, say, hear, hearAny }) => {
    ask(read('a.efi', { tsize: '0' }))
    await hear()
    say(ack(0))
    t.same([await hearAny(), await hearAny(), await hearAny()], ['D1:512', 'D1:512', 'D1:512'])
    say(ack(1))
    t.equal(await hear(), 'D2:512')
  },
  // RFC 2347
  'without options there is no OACK': exchange(read('a.efi', {}), 'D1:512'),
  'option names in any case': agreed({ BLKSIZE: '1024' }, 'OACK blksize=1024'),
  'unknown options are passed over': agreed({ multicast: '', blksize: '8' }, 'OACK blksize=8'),
  'only unknown options: no OACK at all': agreed({ foo: 'bar' }, 'D1:512'),
  'nothing that was not asked for': agreed({ tsize: '0' }, 'OACK tsize=2000'),
  'an OACK is acknowledged by block 0, then comes block 1': exchange(
    read('a.efi', { blksize: '1000' }),
    'OACK blksize=1000',
    'D1:1000',
    'D2:1000',
    'D3:0',
    '-'
  ),
  'error 8 after the OACK is a probe, and ends in peace': async ({ t, ask, say, hear, none }) => {
    ask(read('a.efi', { tsize: '0', blksize: '1468' }))
    t.equal(await hear(), 'OACK tsize=2000 blksize=1468')
    say({ op: 'error', code: 8, message: 'User aborted the transfer' })
    await none()
    ask(read('a.efi', { blksize: '1468' }))
    t.equal(await hear(), 'OACK blksize=1468')
  },
  // RFC 2348
  'the smallest block': agreed({ blksize: '8' }, 'OACK blksize=8'),
  'a block beyond the path is lowered': agreed({ blksize: '65464' }, 'OACK blksize=1468'),
  'a block out of range is passed over': agreed({ blksize: '7', tsize: '0' }, 'OACK tsize=2000'),
  // RFC 2349
  'the timeout is echoed exactly': agreed({ timeout: '255' }, 'OACK timeout=255'),
  'a timeout of 0 is passed over': agreed({ timeout: '0', tsize: '0' }, 'OACK tsize=2000'),
  'the size of an empty file is not told': exchange(read('empty.efi', { tsize: '0' }), 'D1:0', '-'),
  // RFC 7440
  'a window is sent whole and acknowledged once': async ({ t, ask, say, hear }) => {
    ask(read('a.efi', { blksize: '500', windowsize: '3' }))
    t.equal(await hear(), 'OACK blksize=500 windowsize=3')
    say(ack(0))
    t.same([await hear(), await hear(), await hear()], ['D1:500', 'D2:500', 'D3:500'])
    say(ack(3))
    t.same([await hear(), await hear()], ['D4:500', 'D5:0'])
  },
  'a window above ours is lowered': agreed({ windowsize: '65535' }, 'OACK windowsize=64'),
  'a window of 0 is passed over': agreed({ windowsize: '0', tsize: '0' }, 'OACK tsize=2000'),
  'a gap resumes after the last block in order': async ({ t, ask, say, hear, hearAny }) => {
    ask(read('a.efi', { blksize: '100', windowsize: '4' }))
    await hear()
    say(ack(0))
    for (const block of [1, 2, 3, 4]) t.equal(await hear(), `D${block}:100`)
    say(ack(2))
    const again: string[] = []
    while (!again.includes('D6:100')) again.push(await hearAny())
    t.match(again.join(' '), /D3:100 D4:100 D5:100 D6:100$/)
  }
}

for (const singlePort of [false, true])
  t.test(singlePort ? 'from one port' : 'from ports of its own', { timeout: 60_000 }, async (t) => {
    const { port, tftp } = await aServer(t, FILES, RAMDISK_WINDOW, { singlePort, oneThread: false })
    t.ok(Object.keys(CASES).length >= 40, `${Object.keys(CASES).length} cases`)
    for (const [name, play] of Object.entries(CASES)) {
      // What tells transfers apart by our port cannot be so from one port; the client's port does.
      if (singlePort && /port|opcode/.test(name)) continue
      await t.test(name, async (t) => {
        const [client, other] = [await aClient(t), await aClient(t)]
        let from = port
        const heard = new Set<string>()
        const talk: Talk = {
          t,
          client,
          other,
          ask: (packet) => client.send(packet, port),
          say: (packet) => client.send(packet, from),
          async hear(milliseconds) {
            // The machine that tests may be slow, and what looks lost is sent again.
            for (;;) {
              const word = await talk.hearAny(milliseconds)
              if (word === '-' || !heard.has(word)) return (heard.add(word), word)
            }
          },
          async hearAny(milliseconds) {
            const next = await client.next(milliseconds)
            if (next) from = next.from.port
            return next ? word(next.packet) : '-'
          },
          from: () => from,
          async none() {
            for (let wait = 0; tftp.transfers() > 0 && wait < 200; wait++) await sleep(5)
            t.equal(tftp.transfers(), 0, 'no transfer is left')
          }
        }
        await play(talk)
        // So that its neighbours meet none of it: each client has four transfers at most.
        client.send({ op: 'error', code: 0, message: 'the case is over' }, from)
        for (let wait = 0; tftp.transfers() > 0 && wait < 100; wait++) await sleep(5)
      })
    }
  })
