// Capture files: read back by ourselves, and by Wireshark's tshark, which recomputes every checksum.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { formatIp } from '../../src/wire/address.ts'
import { decodeDhcp } from '../../src/wire/dhcp.ts'
import { MESSAGE_TYPES } from '../../src/wire/dhcp-options.ts'
import { decodeFrames, decodePcap, encodePcap, type UdpPacket } from '../../src/wire/pcap.ts'
import { WireError } from '../../src/wire/wire-error.ts'
import { recordedBytes } from '../support/dhcp.ts'
import { mutate, seededRandom } from '../support/mutate.ts'

const CLIENT = { address: '0.0.0.0', port: 68 }
const SERVER = { address: '192.0.2.1', port: 67 }
const EVERYBODY = { address: '255.255.255.255', port: 67 }

const packet = (given: Partial<UdpPacket> = {}): UdpPacket => ({
  at: 1_800_000_000_000,
  from: CLIENT,
  to: EVERYBODY,
  bytes: Buffer.from('content'),
  ...given
})
const plain = (packets: UdpPacket[]) => packets.map((one) => ({ ...one, bytes: Buffer.from(one.bytes) }))

/** What tshark says of every packet, one list of the asked fields each. */
function tshark(file: Buffer, fields: readonly string[]): string[][] {
  const folder = mkdtempSync(join(tmpdir(), 'seedling-pcap-'))
  const path = join(folder, 'written.pcap')
  try {
    writeFileSync(path, file)
    const checks = ['-o', 'ip.check_checksum:TRUE', '-o', 'udp.check_checksum:TRUE']
    const shown = fields.flatMap((field) => ['-e', field])
    const text = execFileSync(
      'tshark',
      ['-n', '-r', path, ...checks, '-T', 'fields', '-E', 'occurrence=f', ...shown],
      {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
        env: { ...process.env, TZ: 'UTC' }
      }
    )
    return text
      .split('\n')
      .slice(0, -1)
      .map((line) => line.split('\t'))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

t.test(
  'tshark reads every packet of a real client as we sent it, and finds nothing wrong with it',
  async (t) => {
    const names = readdirSync(join(import.meta.dirname, '../fixtures/dhcp'))
      .filter((file) => file.endsWith('.hex'))
      .map((file) => file.slice(0, -'.hex'.length))
    const packets = names.map((name, index) =>
      packet({
        at: 1_800_000_000_000 + index * 1000.25,
        bytes: recordedBytes(name),
        ...(index % 2 === 0 ? {} : { from: SERVER, to: { address: '192.0.2.100', port: 68 } })
      })
    )
    const fields = [
      'frame.time_epoch',
      'ip.src',
      'udp.srcport',
      'ip.dst',
      'udp.dstport',
      'dhcp.hw.mac_addr',
      'dhcp.option.dhcp',
      'udp.length',
      'ip.checksum.status',
      'udp.checksum.status',
      '_ws.malformed'
    ]
    const told = tshark(encodePcap(packets), fields)
    t.ok(told.length >= 9)
    const GOOD = '1'
    t.same(
      told,
      packets.map(({ at, from, to, bytes }) => {
        const { chaddr, options } = decodeDhcp(bytes)
        const [seconds, rest] = [Math.floor(at / 1000), Math.round((at % 1000) * 1000)]
        return [
          `${seconds}.${String(rest).padStart(6, '0')}000`,
          ...[from.address, String(from.port), to.address, String(to.port)],
          ...[chaddr, String(MESSAGE_TYPES.indexOf(options.messageType!)), String(8 + bytes.length)],
          ...[GOOD, GOOD, '']
        ]
      })
    )
  }
)

t.test('checksums hold for any length and content, also where they would come out as 0', async (t) => {
  // Addresses, ports, protocol and length add up to what the one word in the content makes 0xffff of.
  const head = 0xc000 + 0x0201 + 0xffff + 0xffff + 17 + 10 + 67 + 68 + 10
  const folded = (head & 0xffff) + (head >>> 16)
  const word = 0xffff - ((folded & 0xffff) + (folded >>> 16))
  const zero = packet({
    from: SERVER,
    to: { address: '255.255.255.255', port: 68 },
    bytes: Buffer.of(word >> 8, word & 255)
  })
  const packets = [
    packet({ bytes: Buffer.alloc(0) }),
    packet({ bytes: Buffer.of(1) }),
    packet({ bytes: Buffer.alloc(1471, 0xff) }),
    packet({ bytes: Buffer.alloc(0xffff - 28, 0xa5), from: { address: '255.255.255.254', port: 65535 } }),
    zero
  ]
  const told = tshark(encodePcap(packets), ['ip.checksum.status', 'udp.checksum.status', 'udp.checksum'])
  t.same(
    told.map(([ip, udp]) => [ip, udp]),
    packets.map(() => ['1', '1'])
  )
  t.equal(told.at(-1)?.[2], '0xffff')
})

t.test('what is written is read back', async () => {
  const PLAIN = { noNullPrototype: true }
  const address = fc.integer({ min: 0, max: 0xffffffff }).map(formatIp)
  const end = fc.record({ address, port: fc.integer({ min: 0, max: 0xffff }) }, PLAIN)
  const at = fc
    .integer({ min: 0, max: 0xffffffff * 1e6 + 999_999 })
    .map((microseconds) => microseconds / 1000)
  const bytes = fc.uint8Array({ maxLength: 700 }).map((content) => Buffer.from(content))
  fc.assert(
    fc.property(
      fc.array(fc.record({ at, from: end, to: end, bytes }, PLAIN), { maxLength: 5 }),
      (packets) => {
        assert.deepEqual(plain(decodePcap(encodePcap(packets))), packets)
      }
    ),
    { numRuns: 100 }
  )
})

t.test('times are kept to the microsecond, and carry over into the next second', async (t) => {
  const times = [0, 999.9996, 1_800_000_000_000.999, 1_800_000_000_000 + 999.9996]
  const again = decodePcap(encodePcap(times.map((at) => packet({ at })))).map(({ at }) => at)
  t.same(again, [0, 1000, 1_800_000_000_000.999, 1_800_000_001_000])
})

t.test(
  'captures of others: Ethernet, both byte orders, nanoseconds, and what is no UDP between',
  async (t) => {
    const ethernet = (type: number, content: Uint8Array) =>
      Buffer.concat([Buffer.alloc(12, 0x52), Buffer.of(type >> 8, type & 255), content])
    const raw = encodePcap([packet()]).subarray(24 + 16)
    const change = (offset: number, value: number) => {
      const changed = Buffer.from(raw)
      changed[offset] = value
      return changed
    }
    const cases: Record<string, [Buffer, boolean]> = {
      'a datagram': [ethernet(0x0800, raw), true],
      'a datagram with padding behind it': [Buffer.concat([ethernet(0x0800, raw), Buffer.alloc(9)]), true],
      'a datagram that may not be split': [ethernet(0x0800, change(6, 0x40)), true],
      'the first piece of a split one': [ethernet(0x0800, change(6, 0x20)), false],
      'a later piece': [ethernet(0x0800, change(7, 1)), false],
      ARP: [ethernet(0x0806, Buffer.alloc(28)), false],
      TCP: [ethernet(0x0800, change(9, 6)), false],
      IPv6: [ethernet(0x86dd, Buffer.alloc(40, 0x60)), false],
      'a frame without anything': [ethernet(0x0800, Buffer.alloc(0)), false],
      'less than a frame': [Buffer.alloc(13), false]
    }
    for (const [name, [frame, taken]] of Object.entries(cases))
      for (const little of [true, false]) {
        const file = Buffer.alloc(24 + 16)
        const u32 = (value: number, at: number) =>
          little ? file.writeUInt32LE(value, at) : file.writeUInt32BE(value, at)
        u32(0xa1b23c4d, 0)
        u32(1, 20)
        u32(1_800_000_000, 24)
        u32(250_000_000, 28)
        u32(frame.length, 32)
        u32(frame.length, 36)
        const whole = Buffer.concat([file, frame])
        t.same(plain(decodePcap(whole)), taken ? [packet({ at: 1_800_000_000_250 })] : [], name)
        t.same(decodeFrames(whole), [{ at: 1_800_000_000_250, bytes: frame }], `${name}, as a frame`)
        const growing = Buffer.concat([whole, whole.subarray(24, -1)])
        t.same(decodeFrames(growing), decodeFrames(whole), `${name}, and the next one not yet whole`)
      }
  }
)

t.test('cut short anywhere but between two packets, a file is refused', async (t) => {
  const packets = [packet(), packet({ bytes: recordedBytes('ovmf-pxe-discover') })]
  const whole = encodePcap(packets)
  const ends = [24, 24 + 16 + 28 + 7, whole.length]
  for (let length = 0; length <= whole.length; length++) {
    const read = () => decodePcap(whole.subarray(0, length))
    if (ends.includes(length)) t.same(plain(read()), packets.slice(0, ends.indexOf(length)))
    else t.throws(read, { name: 'WireError', code: 'pcap-short' }, `${length} bytes`)
  }
})

t.test('what is no capture, and no packet', async (t) => {
  const whole = encodePcap([packet()])
  const change = (offset: number, value: number) => {
    const changed = Buffer.from(whole)
    changed.writeUInt32LE(value, offset)
    return changed
  }
  t.throws(() => decodePcap(change(0, 0x0a0d0d0a)), { code: 'pcap-magic' }, 'pcapng')
  t.throws(() => decodePcap(change(20, 113)), { code: 'pcap-link' }, 'Linux cooked')
  t.throws(() => decodeFrames(whole), { code: 'pcap-link' }, 'RAW has no frames')
  t.throws(
    () => decodePcap(change(24 + 16 + 24, 0xffff0000)),
    { code: 'pcap-datagram' },
    'UDP longer than IP'
  )
  const none: [Partial<UdpPacket>, string][] = [
    [{ from: { address: 'fe80::1', port: 68 } }, 'pcap-address'],
    [{ to: { address: '192.0.2.1', port: 65536 } }, 'pcap-port'],
    [{ to: { address: '192.0.2.1', port: NaN } }, 'pcap-port'],
    [{ at: -1 }, 'pcap-time'],
    [{ at: NaN }, 'pcap-time'],
    [{ at: 2 ** 32 * 1000 }, 'pcap-time'],
    [{ bytes: Buffer.alloc(0xffff - 27) }, 'pcap-length']
  ]
  for (const [given, code] of none) t.throws(() => encodePcap([packet(given)]), { name: 'WireError', code })
})

t.test('ten thousand damaged captures end in packets or a WireError', async (t) => {
  const seed = Number(process.env['SEED'] ?? 1)
  const random = seededRandom(seed)
  const folder = new URL('../fixtures/ipmi/', import.meta.url)
  const files = [
    encodePcap([packet(), packet({ bytes: recordedBytes('dhclient-discover') })]),
    readFileSync(new URL('sim-asf-ping.pcap', folder))
  ]
  let refused = 0
  for (let n = 0; n < 10_000; n++)
    try {
      decodePcap(mutate(files[n % files.length] as Buffer, random))
    } catch (error) {
      if (!(error instanceof WireError)) throw error
      refused++
    }
  t.ok(refused > 1000, `${refused} refused (SEED=${seed})`)
})
