import { deepStrictEqual } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { decodeTftp, encodeTftp, toNetascii, type TftpPacket } from '../../src/wire/tftp.ts'
import { WireError } from '../../src/wire/wire-error.ts'

const GOLDEN: Record<string, { hex: string; packet: TftpPacket }> = {
  'a plain read request': {
    hex: '0001 6c6f6164657200 6f6374657400',
    packet: { op: 'read', file: 'loader', mode: 'octet', options: new Map() }
  },
  'a write request in capitals': {
    hex: '0002 6600 4e45544153434949 00',
    packet: { op: 'write', file: 'f', mode: 'netascii', options: new Map() }
  },
  'a read request with options in mixed case': {
    hex: '0001 6600 6f6374657400 426c6b53697a6500 3134363800 7473697a6500 3000',
    packet: {
      op: 'read',
      file: 'f',
      mode: 'octet',
      options: new Map([
        ['blksize', '1468'],
        ['tsize', '0']
      ])
    }
  },
  'a block of data': {
    hex: '0003 ffff 0102',
    packet: { op: 'data', block: 65535, data: Buffer.from([1, 2]) }
  },
  'an empty last block': { hex: '0003 0002', packet: { op: 'data', block: 2, data: Buffer.alloc(0) } },
  'an acknowledgement': { hex: '0004 0001', packet: { op: 'ack', block: 1 } },
  'an error': { hex: '0005 0008 6e6f 00', packet: { op: 'error', code: 8, message: 'no' } },
  'an option acknowledgement': {
    hex: '0006 7473697a6500 353132 00',
    packet: { op: 'option-ack', options: new Map([['tsize', '512']]) }
  }
}

const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', ''), 'hex')

t.test('golden packets decode', async (t) => {
  for (const [name, { hex, packet }] of Object.entries(GOLDEN)) t.same(decodeTftp(bytes(hex)), packet, name)
})

t.test('every truncation is either refused as malformed or another whole packet', async (t) => {
  for (const [name, { hex }] of Object.entries(GOLDEN)) {
    const whole = bytes(hex)
    for (let length = 0; length < whole.length; length++) {
      try {
        const packet = decodeTftp(whole.subarray(0, length))
        t.same(decodeTftp(encodeTftp(packet)), packet, `${name}, first ${length} bytes`)
      } catch (error) {
        t.ok(error instanceof WireError, `${name}, first ${length} bytes: ${String(error)}`)
      }
    }
  }
})

t.test('what clients really send', async (t) => {
  t.same(
    decodeTftp(bytes('0001 6600 6f6374657400 000000000000')),
    { op: 'read', file: 'f', mode: 'octet', options: new Map() },
    'a request padded with zeros'
  )
  t.same(decodeTftp(bytes('0004 0007 0000000000')), { op: 'ack', block: 7 }, 'a padded ACK')
  t.same(
    decodeTftp(bytes('0005 0000 756e')),
    { op: 'error', code: 0, message: 'un' },
    'an ERROR without its final zero'
  )
  t.same(
    (decodeTftp(bytes('0001 6600 6f6374657400 7473697a6500 3000 5453495a4500 3900')) as { options: unknown })
      .options,
    new Map([['tsize', '0']]),
    'of an option named twice the first counts'
  )
})

t.test('what cannot be sent is refused', async (t) => {
  for (const message of ['a\0b', 'ś'])
    t.throws(() => encodeTftp({ op: 'error', code: 0, message }), { code: 'tftp-text' })
})

t.test('packets survive the round trip', async (t) => {
  const word = fc.string({
    unit: fc.integer({ min: 1, max: 255 }).map((code) => String.fromCharCode(code)),
    minLength: 1
  })
  const options = fc
    .dictionary(fc.stringMatching(/^[a-z]{1,12}$/), word, { noNullPrototype: true })
    .map((found) => new Map(Object.entries(found)))
  const block = fc.integer({ min: 0, max: 65535 })
  const packet: fc.Arbitrary<TftpPacket> = fc.oneof(
    fc.record({
      op: fc.constantFrom('read' as const, 'write' as const),
      file: word,
      mode: fc.stringMatching(/^[a-z]{1,9}$/),
      options
    }),
    fc.record({ op: fc.constant('data' as const), block, data: fc.uint8Array({ maxLength: 600 }) }),
    fc.record({ op: fc.constant('ack' as const), block }),
    fc.record({ op: fc.constant('error' as const), code: block, message: word }),
    fc.record({ op: fc.constant('option-ack' as const), options })
  )
  fc.assert(
    fc.property(packet, (given) => {
      const back = decodeTftp(encodeTftp(given))
      if (back.op === 'data') deepStrictEqual({ ...back, data: Uint8Array.from(back.data) }, { ...given })
      else deepStrictEqual(back, { ...given })
    }),
    { seed: 69, numRuns: 2000 }
  )
  t.pass('2000 packets')
})

t.test('any bytes: a packet or a WireError, nothing else', async (t) => {
  let refused = 0
  fc.assert(
    fc.property(
      fc
        .uint8Array({ maxLength: 64 })
        .map((bytes) => (bytes.length > 1 ? bytes.with(0, 0).with(1, (bytes[1] as number) % 8) : bytes)),
      (bytes) => {
        try {
          decodeTftp(bytes)
        } catch (error) {
          if (!(error instanceof WireError)) throw error
          if (error.offset < 0 || error.offset > bytes.length)
            throw new Error('offset outside', { cause: error })
          refused++
        }
      }
    ),
    { seed: 1350, numRuns: 20_000 }
  )
  t.ok(refused > 1000, `${refused} refused`)
})

t.test('netascii', async (t) => {
  t.same(toNetascii(Buffer.from('a\nb\rc\r\n')), Buffer.from('a\r\nb\r\0c\r\0\r\n'))
})
