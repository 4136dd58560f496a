import fc from 'fast-check'
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { decodeDhcp, encodeDhcp, type DhcpMessage } from '../../src/wire/dhcp.ts'
import { MESSAGE_TYPES, type DhcpOptions } from '../../src/wire/dhcp-options.ts'
import { WireError } from '../../src/wire/wire-error.ts'

const FIXTURES = join(import.meta.dirname, '../fixtures/dhcp')

/** Packets of real clients, by file name; lines that start with # say what they are. */
const fixtures = new Map(
  readdirSync(FIXTURES)
    .filter((file) => file.endsWith('.hex'))
    .map((file) => {
      const text = readFileSync(join(FIXTURES, file), 'utf8').replace(/^#.*$/gm, '')
      return [file.replace('.hex', ''), Buffer.from(text.replace(/\s/g, ''), 'hex')]
    })
)

const bytes = (hex: string): Buffer => Buffer.from(hex.replace(/\s/g, ''), 'hex')

const fixed =
  '01 01 06 00 3903f326 0000 8000 00000000 00000000 00000000 00000000 525400000001 00000000000000000000'
const blank = { sname: '00'.repeat(64), file: '00'.repeat(128) }

/** A request with these options, given as hex without the end mark unless told otherwise. */
function packet(options: string, { sname, file } = blank, end = 'ff'): Buffer {
  const pad = (hex: string, size: number) => Buffer.concat([bytes(hex), Buffer.alloc(size)]).subarray(0, size)
  return Buffer.concat([bytes(fixed), pad(sname, 64), pad(file, 128), bytes('63825363' + options + end)])
}

const message: DhcpMessage = {
  op: 'reply',
  htype: 1,
  hops: 0,
  xid: 0x3903f326,
  secs: 0,
  flags: 0x8000,
  ciaddr: '0.0.0.0',
  yiaddr: '192.0.2.100',
  siaddr: '192.0.2.1',
  giaddr: '0.0.0.0',
  chaddr: '52:54:00:00:00:01',
  sname: '',
  file: 'snponly.efi',
  options: {}
}

/** The message as it stands in the .json beside a packet: bytes as hex. */
function readable(message: DhcpMessage): unknown {
  const isBuffer = (value: unknown): value is { data: number[] } =>
    typeof value === 'object' && value !== null && (value as { type?: unknown }).type === 'Buffer'
  const text = JSON.stringify(message, (_, value: unknown) =>
    isBuffer(value) ? Buffer.from(value.data).toString('hex') : value
  )
  return JSON.parse(text)
}

t.test('packets of real clients decode to what stands beside them', async (t) => {
  t.ok(fixtures.size >= 9, `${fixtures.size} fixtures`)
  for (const [name, packet] of fixtures) {
    const told: unknown = JSON.parse(readFileSync(join(FIXTURES, `${name}.json`), 'utf8'))
    t.same(readable(decodeDhcp(packet)), told, name)
  }
})

t.test('a real packet survives decoding, encoding and decoding', async (t) => {
  for (const [name, packet] of fixtures) {
    const once = decodeDhcp(packet)
    t.same(decodeDhcp(encodeDhcp(once, 1500)), once, name)
  }
})

t.test('an offer, byte by byte', async (t) => {
  const encoded = encodeDhcp({
    ...message,
    options: {
      // The message type is written first wherever it stands, the relay's option last.
      relayAgent: bytes('0104 00010002'),
      serverId: '192.0.2.1',
      messageType: 'offer',
      leaseSeconds: 3600,
      vendorClass: 'PXEClient',
      bootFileName: 'snponly.efi',
      subnetMask: '255.255.255.0',
      classlessRoutes: [
        { network: '169.254.169.254/32', router: '192.0.2.1' },
        { network: '198.51.100.0/22', router: '192.0.2.2' },
        { network: '0.0.0.0/0', router: '192.0.2.254' }
      ],
      '#224': bytes('dead')
    }
  })
  const expected = `
    02 01 06 00  3903f326  0000 8000
    00000000 c0000264 c0000201 00000000
    525400000001 00000000000000000000
    ${'00'.repeat(64)}
    736e706f6e6c792e656669 ${'00'.repeat(117)}
    63825363
    35 01 02
    36 04 c0000201
    33 04 00000e10
    3c 09 505845436c69656e74
    43 0b 736e706f6e6c792e656669  00
    01 04 ffffff00
    79 16 20 a9fea9fe c0000201  16 c63364 c0000202  00 c00002fe
    e0 02 dead
    52 06 0104 00010002
    ff`
  t.equal(encoded.toString('hex').replace(/0+$/, ''), bytes(expected).toString('hex').replace(/0+$/, ''))
  t.equal(encoded.length, Math.max(300, bytes(expected).length))
})

t.test('a small answer is padded to 300 bytes', async (t) => {
  const encoded = encodeDhcp({ ...message, options: { messageType: 'nak' } })
  t.equal(encoded.length, 300)
  t.equal(encoded.subarray(244).toString('hex'), '00'.repeat(56))
})

const options: Record<string, { hex: string; options: DhcpOptions }> = {
  'pads between options are skipped': {
    hex: '00 35 01 01 00 00 0c 01 78 00',
    options: { messageType: 'discover', hostName: 'x' }
  },
  'what follows the end mark is not looked at': {
    hex: '35 01 01 ff 0c ff',
    options: { messageType: 'discover' }
  },
  'parts of one option are joined before they are read': {
    hex: '0c 02 6374 35 01 03 0c 03 6c2d31',
    options: { hostName: 'ctl-1', messageType: 'request' }
  },
  'a number cut in two is joined too': { hex: '33 02 0000 33 02 0e10', options: { leaseSeconds: 3600 } },
  'trailing NULs of text are dropped': { hex: '0c 03 780000', options: { hostName: 'x' } },
  'an empty name is let pass': { hex: '0c 00', options: { hostName: '' } },
  'unknown options are kept as bytes': {
    hex: 'e0 01 07 fe 00',
    options: { '#224': bytes('07'), '#254': bytes('') }
  },
  'several architectures': { hex: '5d 04 0007 0010', options: { clientArchitectures: [7, 16] } },
  'bits of a route beyond its prefix are cleared': {
    hex: '79 08 14 0a01ff c0000201',
    options: { classlessRoutes: [{ network: '10.1.240.0/20', router: '192.0.2.1' }] }
  }
}

t.test('options', async (t) => {
  for (const [name, { hex, options: expected }] of Object.entries(options))
    t.same(decodeDhcp(packet(hex)).options, expected, name)
})

t.test('option overload', async (t) => {
  const file = '0c 02 6374 ff'
  const sname = '0c 03 6c2d31 ff'
  t.same(decodeDhcp(packet('34 01 03 0c 01 61', { sname, file })).options, { hostName: 'actl-1' }, 'both')
  t.same(decodeDhcp(packet('34 01 03', { sname, file })).file, '', 'no text where options are')
  t.same(decodeDhcp(packet('34 01 02', { sname, file: '78 00' })).file, 'x', 'only sname: file is text')
  t.same(decodeDhcp(packet('34 01 01', { sname, file })).options, { hostName: 'ct' }, 'only file')
  const wrong = /overload|runs over|no end/
  t.throws(() => decodeDhcp(packet('34 01 00', { sname, file })), wrong, 'overload 0')
  t.throws(() => decodeDhcp(packet('34 02 0101', { sname, file })), WireError, 'overload of two bytes')
  t.throws(() => decodeDhcp(packet('34 01 01', { sname, file: '0c ff' })), wrong, 'cut in file')
  t.throws(() => decodeDhcp(packet('34 01 01', { sname, file: '00' })), wrong, 'no end in file')
})

const broken: Record<string, { bytes: Buffer; code: string; offset?: number }> = {
  'an empty datagram': { bytes: Buffer.alloc(0), code: 'dhcp-short', offset: 0 },
  'one byte too few': { bytes: packet('').subarray(0, 239), code: 'dhcp-short', offset: 239 },
  'neither request nor reply': {
    bytes: Buffer.concat([Buffer.of(3), packet('').subarray(1)]),
    code: 'dhcp-op'
  },
  'another cookie': {
    bytes: Buffer.concat([packet('').subarray(0, 236), bytes('63825362 ff')]),
    code: 'dhcp-cookie',
    offset: 236
  },
  'a hardware address of 17 bytes': {
    bytes: Buffer.concat([bytes('010111'), packet('').subarray(3)]),
    code: 'dhcp-hlen'
  },
  'an option over the end': { bytes: packet('0c 05 6374', blank, ''), code: 'dhcp-option-cut', offset: 240 },
  'an option without length': { bytes: packet('0c', blank, ''), code: 'dhcp-option-cut', offset: 240 },
  'no end mark': { bytes: packet('35 01 01', blank, ''), code: 'dhcp-no-end', offset: 243 },
  'message type 0': { bytes: packet('35 01 00'), code: 'dhcp-message-type', offset: 242 },
  'message type 9': { bytes: packet('35 01 09'), code: 'dhcp-message-type' },
  'message type twice': { bytes: packet('35 01 01 35 01 03'), code: 'dhcp-message-type' },
  'an address of three bytes': { bytes: packet('36 03 c00002'), code: 'dhcp-option', offset: 242 },
  'half an architecture': { bytes: packet('5d 03 000700'), code: 'dhcp-option' },
  'a prefix above 32': { bytes: packet('79 09 21 0a010203 c0000201'), code: 'dhcp-route' },
  'a route without router': { bytes: packet('79 04 18 0a0102'), code: 'dhcp-route' }
}

t.test('broken packets say what is wrong and where', async (t) => {
  for (const [name, { bytes, code, offset }] of Object.entries(broken)) {
    const expected = offset === undefined ? { code } : { code, offset }
    t.throws(() => decodeDhcp(bytes), { name: 'WireError', ...expected }, name)
  }
})

t.test('no packet cut short is taken for a whole one', async (t) => {
  for (const [name, whole] of fixtures) {
    const end = contentEnd(whole)
    for (let length = 0; length < end; length++) {
      try {
        decodeDhcp(whole.subarray(0, length))
        t.fail(`${name} decodes when cut to ${length} of ${end} bytes`)
      } catch (error) {
        if (!(error instanceof WireError)) t.fail(`${name} cut to ${length}: ${String(error)}`)
      }
    }
    t.ok(decodeDhcp(whole.subarray(0, end)), `${name} needs its first ${end} bytes`)
  }
})

/** The offset behind the end mark. */
function contentEnd(packet: Buffer): number {
  let at = 240
  while (packet[at] !== 255) at += packet[at] === 0 ? 1 : 2 + (packet[at + 1] as number)
  return at + 1
}

const anIp = fc
  .nat(0xffffffff)
  .map((value) => [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join('.'))
const someBytes = (maxLength: number) => fc.uint8Array({ minLength: 1, maxLength }).map((b) => Buffer.from(b))
const someText = (maxLength: number) =>
  fc.string({ unit: fc.integer({ min: 1, max: 255 }).map((code) => String.fromCharCode(code)), maxLength })

const anOptions: fc.Arbitrary<DhcpOptions> = fc.record(
  {
    messageType: fc.constantFrom(...MESSAGE_TYPES.filter((name) => name !== '')),
    serverId: anIp,
    subnetMask: anIp,
    routers: fc.array(anIp, { minLength: 1, maxLength: 4 }),
    interfaceMtu: fc.nat(65535),
    leaseSeconds: fc.nat(0xffffffff),
    parameterList: fc.array(fc.nat(255), { minLength: 1, maxLength: 40 }),
    clientArchitectures: fc.array(fc.nat(65535), { minLength: 1, maxLength: 4 }),
    hostName: someText(60),
    bootFileName: someText(300),
    vendorOptions: someBytes(600),
    relayAgent: someBytes(300),
    autoConfigure: fc.nat(255),
    classlessRoutes: fc.array(
      fc
        .tuple(fc.constantFrom('0.0.0.0/0', '10.0.0.0/8', '10.1.240.0/20', '10.1.2.3/32'), anIp)
        .map(([network, router]) => ({ network, router })),
      { minLength: 1, maxLength: 4 }
    ),
    '#224': someBytes(300),
    '#225': someBytes(300),
    '#254': someBytes(300)
  },
  { requiredKeys: [], noNullPrototype: true }
)

const aMessage: fc.Arbitrary<DhcpMessage> = fc.record(
  {
    op: fc.constantFrom('request', 'reply'),
    htype: fc.nat(255),
    hops: fc.nat(255),
    xid: fc.nat(0xffffffff),
    secs: fc.nat(65535),
    flags: fc.nat(65535),
    ciaddr: anIp,
    yiaddr: anIp,
    siaddr: anIp,
    giaddr: anIp,
    chaddr: fc
      .array(fc.nat(255), { maxLength: 16 })
      .map((octets) => octets.map((octet) => octet.toString(16).padStart(2, '0')).join(':')),
    sname: someText(63),
    file: someText(127),
    options: anOptions
  },
  { noNullPrototype: true }
)

t.test('every message survives encoding and decoding', async () => {
  fc.assert(
    fc.property(aMessage, (message) => {
      assert.deepEqual(decodeDhcp(encodeDhcp(message, 9000)), message)
    }),
    { numRuns: 300, seed: 1 }
  )
})

t.test('whatever the options, the client’s size is kept and the end mark is there', async () => {
  fc.assert(
    fc.property(aMessage, fc.nat(1600), (message, size) => {
      const encoded = encodeDhcp(message, size)
      assert.ok(encoded.length <= Math.max(size, 576) - 28, `${encoded.length} bytes for ${size}`)
      const back = decodeDhcp(encoded)
      for (const [name, value] of Object.entries(back.options))
        assert.deepEqual(value, message.options[name as keyof DhcpOptions], name)
    }),
    { numRuns: 200, seed: 2 }
  )
})

t.test('what does not fit is left out from the end, the relay’s option kept', async (t) => {
  const many: DhcpOptions = {
    messageType: 'ack',
    serverId: '192.0.2.1',
    relayAgent: Buffer.alloc(100, 1),
    vendorOptions: Buffer.alloc(190, 2),
    bootFileName: 'b'.repeat(60)
  }
  const { options } = decodeDhcp(encodeDhcp({ ...message, options: many }))
  t.same(Object.keys(options), ['messageType', 'serverId', 'vendorOptions', 'relayAgent'])
  t.same(Object.keys(decodeDhcp(encodeDhcp({ ...message, options: many }, 800)).options).length, 5)
  const huge = decodeDhcp(encodeDhcp({ ...message, options: { ...many, relayAgent: Buffer.alloc(600) } }))
  t.same(huge.options.relayAgent, undefined, 'a relay option that cannot fit is left out whole')
})

t.test('values that no packet can hold are refused', async (t) => {
  const cases: Record<string, Partial<DhcpMessage>> = {
    'a file name of 128 bytes': { file: 'x'.repeat(128) },
    'a name in place of an address': { siaddr: 'boot.example.org' },
    'a name in place of an option’s address': { options: { serverId: 'boot.example.org' } },
    'a network with host bits': {
      options: { classlessRoutes: [{ network: '10.0.0.1/8', router: '192.0.2.1' }] }
    }
  }
  for (const [name, wrong] of Object.entries(cases))
    t.throws(() => encodeDhcp({ ...message, ...wrong }), WireError, name)
})
