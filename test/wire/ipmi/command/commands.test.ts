import t from 'tap'
import { activateSession } from '../../../../src/wire/ipmi/command/activate-session.ts'
import { chassisControl } from '../../../../src/wire/ipmi/command/chassis-control.ts'
import { getChassisStatus } from '../../../../src/wire/ipmi/command/chassis-status.ts'
import { closeSession } from '../../../../src/wire/ipmi/command/close-session.ts'
import type { Command } from '../../../../src/wire/ipmi/command/command.ts'
import { getChannelAuthCapabilities } from '../../../../src/wire/ipmi/command/get-channel-auth-capabilities.ts'
import {
  decodeSuiteRecords,
  encodeSuiteRecord,
  getChannelCipherSuites
} from '../../../../src/wire/ipmi/command/get-channel-cipher-suites.ts'
import { getDeviceId } from '../../../../src/wire/ipmi/command/get-device-id.ts'
import { getSessionChallenge } from '../../../../src/wire/ipmi/command/get-session-challenge.ts'
import { getSystemGuid } from '../../../../src/wire/ipmi/command/get-system-guid.ts'
import { setSessionPrivilege } from '../../../../src/wire/ipmi/command/set-session-privilege.ts'
import {
  BOOT_DEVICE,
  getSystemBootOptions,
  setSystemBootOptions
} from '../../../../src/wire/ipmi/command/system-boot-options.ts'
import { refusesTruncations } from '../truncations.ts'

/** A command's number, and values with the bytes they travel as. */
type Row<Request, Response> = {
  command: Command<Request, Response>
  number: [netFn: number, command: number]
  requests: [value: Request, hex: string][]
  responses: [value: Response, hex: string][]
}

function agree<Request, Response>({ command, number, requests, responses }: Row<Request, Response>): void {
  t.test(command.name, (t) => {
    t.same([command.netFn, command.command], number)
    for (const [value, hex] of requests) {
      const bytes = Buffer.from(hex, 'hex')
      t.same(command.encodeRequest(value), bytes)
      t.same(command.decodeRequest(bytes), value)
      refusesTruncations(t, bytes, (cut) => command.decodeRequest(cut))
    }
    for (const [value, hex] of responses) {
      const bytes = Buffer.from(hex, 'hex')
      t.same(command.encodeResponse(value), bytes)
      t.same(command.decodeResponse(bytes), value)
      refusesTruncations(t, bytes, (cut) => command.decodeResponse(cut))
    }
    t.end()
  })
}

agree({
  command: getChannelAuthCapabilities,
  number: [0x06, 0x38],
  requests: [[{ channel: 0x0e, privilege: 4 }, '8e04']],
  responses: [
    [{ channel: 1, kgSet: false, ipmi15: false, ipmi20: true }, '0180040200000000'],
    [{ channel: 1, kgSet: true, ipmi15: true, ipmi20: true }, '0180240300000000']
  ]
})
agree({
  command: getChannelCipherSuites,
  number: [0x06, 0x54],
  requests: [[{ channel: 0x0e, index: 1 }, '0e0081']],
  responses: [[{ channel: 1, records: Buffer.alloc(0) }, '01']]
})
agree({
  command: getDeviceId,
  number: [0x06, 0x01],
  requests: [],
  responses: [
    [
      {
        deviceId: 0x20,
        deviceRevision: 1,
        firmwareMajor: 2,
        firmwareMinor: 0x33,
        ipmiVersion: 0x02,
        manufacturer: 0x1291,
        product: 0x0f02
      },
      '200102330200911200020f'
    ]
  ]
})
agree({
  command: getSystemGuid,
  number: [0x06, 0x37],
  requests: [],
  responses: [
    [{ guid: Buffer.from('755baaf6f7415bd2846ef9582e7327b5', 'hex') }, '755baaf6f7415bd2846ef9582e7327b5']
  ]
})
agree({
  command: setSessionPrivilege,
  number: [0x06, 0x3b],
  requests: [[{ privilege: 4 }, '04']],
  responses: [[{ privilege: 4 }, '04']]
})
agree({
  command: closeSession,
  number: [0x06, 0x3c],
  requests: [[{ bmcSessionId: 0x5496c181 }, '81c19654']],
  responses: []
})
agree({
  command: getSessionChallenge,
  number: [0x06, 0x39],
  requests: [[{ username: Buffer.from('admin') }, '0261646d696e0000000000000000000000']],
  responses: [
    [
      {
        temporarySessionId: 0x00000085,
        challenge: Buffer.from('04d2e62bfae2b5585d0254ff544425d5', 'hex')
      },
      '8500000004d2e62bfae2b5585d0254ff544425d5'
    ]
  ]
})
agree({
  command: activateSession,
  number: [0x06, 0x3a],
  requests: [
    [
      {
        privilege: 4,
        challenge: Buffer.from('04d2e62bfae2b5585d0254ff544425d5', 'hex'),
        outboundSequence: 0x745bb810
      },
      '020404d2e62bfae2b5585d0254ff544425d510b85b74'
    ]
  ],
  responses: [
    [{ sessionId: 0x00000104, inboundSequence: 0x8fffda08, privilege: 4 }, '020401000008daff8f04']
  ]
})
agree({
  command: getChassisStatus,
  number: [0x00, 0x01],
  requests: [],
  responses: [
    [{ powerOn: true, powerOverload: false, powerFault: false, powerControlFault: false }, '010000'],
    [{ powerOn: false, powerOverload: true, powerFault: true, powerControlFault: true }, '1a0000']
  ]
})
agree({
  command: chassisControl,
  number: [0x00, 0x02],
  requests: [
    [{ power: 'off' }, '00'],
    [{ power: 'on' }, '01']
  ],
  responses: []
})
const flags = { valid: true, persistent: false, efi: false, device: BOOT_DEVICE.pxe }
agree({
  command: setSystemBootOptions,
  number: [0x00, 0x08],
  requests: [
    [{ parameter: 0, state: 0 }, '0000'],
    [{ parameter: 3, keep: 0x08 }, '0308'],
    [{ parameter: 5, flags }, '058004000000'],
    [{ parameter: 5, flags: { ...flags, efi: true } }, '05a004000000'],
    [{ parameter: 5, flags: { ...flags, efi: true, persistent: true } }, '05e004000000'],
    [{ parameter: 5, flags: { ...flags, persistent: true, device: BOOT_DEVICE.disk } }, '05c008000000'],
    [{ parameter: 5, flags: { ...flags, valid: false, device: BOOT_DEVICE.none } }, '050000000000']
  ],
  responses: []
})
agree({
  command: getSystemBootOptions,
  number: [0x00, 0x09],
  requests: [[{ parameter: 5 }, '050000']],
  responses: [
    [{ value: { parameter: 5, flags }, locked: false }, '01058004000000'],
    [{ value: { parameter: 3, keep: 8 }, locked: true }, '018308'],
    [{ value: { parameter: 0, state: 1 }, locked: false }, '010001']
  ]
})

t.test('answers that are longer than they should be are read as far as they are known', (t) => {
  // Four bytes of chassis status, auxiliary firmware data, and the 12 bytes that HP DL380 G5 appends to parameter 5.
  t.equal(getChassisStatus.decodeResponse(Buffer.from('40004000', 'hex')).powerOn, false)
  t.equal(getDeviceId.decodeResponse(Buffer.from('2001023302bf911200020f00000000', 'hex')).product, 0x0f02)
  const appended = Buffer.concat([Buffer.from('01058004000000', 'hex'), Buffer.alloc(12)])
  t.same(getSystemBootOptions.decodeResponse(appended).value, { parameter: 5, flags })
  t.end()
})

t.test('an IPMI 1.5 BMC is known by the missing extended data', (t) => {
  const answer = getChannelAuthCapabilities.decodeResponse(Buffer.from('0117050000000000', 'hex'))
  t.match(answer, { ipmi15: true, ipmi20: false, kgSet: false })
  t.end()
})

t.test('chassis cycle and reset, and boot parameters we do not serve, are refused', (t) => {
  for (const control of [2, 3, 4, 5]) {
    t.throws(() => chassisControl.decodeRequest(Buffer.from([control])), { code: 'chassis-control' })
  }
  t.throws(() => setSystemBootOptions.decodeRequest(Buffer.from([4, 1, 1])), { code: 'boot-parameter' })
  t.end()
})

t.test('the list of cipher suites', (t) => {
  const captured = Buffer.from('c011034481c003014181c010034480c0' + '02014180', 'hex')
  const suites = [
    { id: 17, oem: false, authentication: 3, integrity: 4, confidentiality: 1 },
    { id: 3, oem: false, authentication: 1, integrity: 1, confidentiality: 1 },
    { id: 16, oem: false, authentication: 3, integrity: 4, confidentiality: 0 },
    { id: 2, oem: false, authentication: 1, integrity: 1, confidentiality: 0 }
  ]
  t.same(decodeSuiteRecords(captured), suites)
  t.same(Buffer.concat(suites.map(encodeSuiteRecord)), captured)
  const oem = Buffer.from('c180010203014181' + 'c00301', 'hex')
  t.same(
    decodeSuiteRecords(oem).map(({ id, oem }) => [id, oem]),
    [
      [0x80, true],
      [3, false]
    ]
  )
  t.same(decodeSuiteRecords(Buffer.from('ffffffff', 'hex')), [], 'rubbish is an empty list')
  t.same(decodeSuiteRecords(Buffer.from('c0', 'hex')), [], 'a record cut short is left out')
  t.end()
})
