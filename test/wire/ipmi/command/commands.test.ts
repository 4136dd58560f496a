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
  getSystemBootOptions,
  setSystemBootOptions
} from '../../../../src/wire/ipmi/command/system-boot-options.ts'
import {
  activatePayload,
  deactivatePayload,
  getPayloadActivationStatus
} from '../../../../src/wire/ipmi/command/activate-payload.ts'
import { chassisIdentify } from '../../../../src/wire/ipmi/command/chassis-identify.ts'
import { clearSel } from '../../../../src/wire/ipmi/command/clear-sel.ts'
import { getChannelInfo } from '../../../../src/wire/ipmi/command/get-channel-info.ts'
import { getFruInventoryAreaInfo } from '../../../../src/wire/ipmi/command/get-fru-inventory-area-info.ts'
import { getSdr } from '../../../../src/wire/ipmi/command/get-sdr.ts'
import { getSdrRepositoryInfo } from '../../../../src/wire/ipmi/command/get-sdr-repository-info.ts'
import { getSelEntry } from '../../../../src/wire/ipmi/command/get-sel-entry.ts'
import { getSelInfo } from '../../../../src/wire/ipmi/command/get-sel-info.ts'
import { getSensorReading } from '../../../../src/wire/ipmi/command/get-sensor-reading.ts'
import { getUserAccess } from '../../../../src/wire/ipmi/command/get-user-access.ts'
import { getLanParameter, setLanParameter } from '../../../../src/wire/ipmi/command/lan-parameter.ts'
import { readFruData } from '../../../../src/wire/ipmi/command/read-fru-data.ts'
import { reserveSdrRepository } from '../../../../src/wire/ipmi/command/reserve-sdr-repository.ts'
import { reserveSel } from '../../../../src/wire/ipmi/command/reserve-sel.ts'
import { setUserAccess } from '../../../../src/wire/ipmi/command/set-user-access.ts'
import { setUserPassword } from '../../../../src/wire/ipmi/command/set-user-password.ts'
import { getSolParameter, setSolParameter } from '../../../../src/wire/ipmi/command/sol-parameter.ts'
import { getUserName, setUserName } from '../../../../src/wire/ipmi/command/user-name.ts'
import { refusesTruncations } from '../truncations.ts'

/** A command's number, and values with the bytes they travel as. */
type Row<Request, Response> = {
  command: Command<Request, Response>
  number: [netFn: number, command: number]
  requests: [value: Request, hex: string][]
  responses: [value: Response, hex: string][]
  /** False: a shorter message is one too. */
  whole?: boolean
  /** False: what the bytes hold besides is not kept. */
  exact?: boolean
}

const ACCESS = {
  userIds: 63,
  enabledUsers: 4,
  fixedNames: 1,
  callbackOnly: false,
  linkAuthentication: false,
  ipmiMessaging: false
}

function agree<Request, Response>(row: Row<Request, Response>): void {
  const { command, number, requests, responses, whole = true, exact = true } = row
  t.test(command.name, (t) => {
    t.same([command.netFn, command.command], number)
    for (const [value, hex] of requests) {
      const bytes = Buffer.from(hex, 'hex')
      t.same(command.encodeRequest(value), bytes)
      t.same(command.decodeRequest(bytes), value)
      if (whole) refusesTruncations(t, bytes, (cut) => command.decodeRequest(cut))
    }
    for (const [value, hex] of responses) {
      const bytes = Buffer.from(hex, 'hex')
      if (exact) t.same(command.encodeResponse(value), bytes)
      else t.same(command.decodeResponse(command.encodeResponse(value)), value)
      t.same(command.decodeResponse(bytes), value)
      if (whole) refusesTruncations(t, bytes, (cut) => command.decodeResponse(cut))
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
  responses: [[{ sessionId: 0x00000104, inboundSequence: 0x8fffda08, privilege: 4 }, '020401000008daff8f04']]
})
agree({
  command: getChassisStatus,
  number: [0x00, 0x01],
  requests: [],
  responses: [
    [
      {
        powerOn: true,
        powerOverload: false,
        powerFault: false,
        powerControlFault: false,
        powerPolicy: 'off',
        identify: null
      },
      '010000'
    ],
    [
      {
        powerOn: false,
        powerOverload: true,
        powerFault: true,
        powerControlFault: true,
        powerPolicy: 'on',
        identify: 'timed'
      },
      '5a0050'
    ]
  ]
})
agree({
  command: chassisControl,
  number: [0x00, 0x02],
  requests: [
    [{ control: 'off' }, '00'],
    [{ control: 'on' }, '01'],
    [{ control: 'soft-off' }, '05']
  ],
  responses: []
})
const flags = { valid: true, persistent: false, efi: false, device: 1 }
agree({
  command: setSystemBootOptions,
  number: [0x00, 0x08],
  requests: [
    [{ parameter: 0, state: 0 }, '0000'],
    [{ parameter: 3, keep: 0x08 }, '0308'],
    [{ parameter: 4, mask: 1, bits: 1 }, '040101'],
    [{ parameter: 5, flags }, '058004000000'],
    [{ parameter: 5, flags: { ...flags, efi: true } }, '05a004000000'],
    [{ parameter: 5, flags: { ...flags, efi: true, persistent: true } }, '05e004000000'],
    [{ parameter: 5, flags: { ...flags, persistent: true, device: 2 } }, '05c008000000'],
    [{ parameter: 5, flags: { ...flags, valid: false, device: 0 } }, '050000000000']
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

agree({
  command: chassisIdentify,
  number: [0x00, 0x04],
  requests: [
    [{ identify: 0 }, '00'],
    [{ identify: 255 }, 'ff'],
    [{ identify: 'always' }, '0001']
  ],
  responses: [],
  // Shorter ones have meanings of their own.
  whole: false
})
agree({
  command: getChannelInfo,
  number: [0x06, 0x42],
  requests: [[{ channel: 0x0e }, '0e']],
  responses: [[{ channel: 1, medium: 4, activeSessions: 1 }, '01040181f21b000000']],
  whole: false
})
agree({
  command: getUserAccess,
  number: [0x06, 0x44],
  requests: [[{ channel: 1, user: 30 }, '011e']],
  responses: [
    [{ ...ACCESS, enabled: null, ipmiMessaging: true, privilege: 4 }, '3f040114'],
    [{ ...ACCESS, enabled: true, linkAuthentication: true, privilege: 15 }, '3f44012f'],
    [{ ...ACCESS, enabled: false, callbackOnly: true, privilege: 2 }, '3f840142']
  ]
})
agree({
  command: setUserAccess,
  number: [0x06, 0x43],
  requests: [
    [
      {
        channel: 1,
        user: 3,
        callbackOnly: false,
        linkAuthentication: false,
        ipmiMessaging: true,
        privilege: 3
      },
      '910303'
    ]
  ],
  responses: []
})
agree({
  command: setUserName,
  number: [0x06, 0x45],
  requests: [[{ user: 3, name: 'oper' }, '036f706572000000000000000000000000']],
  responses: []
})
agree({
  command: getUserName,
  number: [0x06, 0x46],
  requests: [[{ user: 2 }, '02']],
  responses: [
    [{ name: 'admin' }, '61646d696e0000000000000000000000'],
    [{ name: 'sixteen letters!' }, Buffer.from('sixteen letters!').toString('hex')]
  ]
})
agree({
  command: setUserPassword,
  number: [0x06, 0x47],
  requests: [
    [{ user: 3, operation: 'enable' }, '0301'],
    [{ user: 3, operation: 'disable' }, '0300'],
    [
      { user: 3, operation: 'set', password: Buffer.from('secret'), size: 16 },
      '0302736563726574' + '00'.repeat(10)
    ],
    [
      { user: 3, operation: 'test', password: Buffer.from('secret'), size: 20 },
      '8303736563726574' + '00'.repeat(14)
    ]
  ],
  responses: []
})
agree({
  command: activatePayload,
  number: [0x06, 0x48],
  requests: [[{ instance: 1, encrypted: true }, '0101c6000000']],
  responses: [[{ inboundSize: 0x20, outboundSize: 0x4000, port: 623 }, '00000000200000406f02ffff']],
  whole: false
})
agree({
  command: deactivatePayload,
  number: [0x06, 0x49],
  requests: [[{ instance: 1 }, '010100000000']],
  responses: []
})
agree({
  command: getPayloadActivationStatus,
  number: [0x06, 0x4a],
  requests: [],
  responses: [[{ instances: 1, active: 1 }, '010100']]
})
agree({
  command: getSelInfo,
  number: [0x0a, 0x40],
  requests: [],
  responses: [
    [
      { entries: 3, freeBytes: 0x1000, lastAddedAt: 0x00178a1f, lastErasedAt: 0, overflow: false },
      '51030000101f8a17000000000002'
    ],
    [
      { entries: 0, freeBytes: 16, lastAddedAt: null, lastErasedAt: 5, overflow: true },
      '5100001000ffffffff0500000080'
    ]
  ],
  // Which of the log's commands it has is not looked at.
  exact: false
})
agree({
  command: reserveSel,
  number: [0x0a, 0x42],
  requests: [],
  responses: [[{ reservation: 0x1234 }, '3412']]
})
agree({
  command: getSelEntry,
  number: [0x0a, 0x43],
  requests: [[{ recordId: 2 }, '0000020000ff']],
  responses: [
    [
      { nextRecordId: 0xffff, record: Buffer.from('0300028a170000200004010101575050', 'hex') },
      'ffff0300028a170000200004010101575050'
    ]
  ]
})
agree({
  command: clearSel,
  number: [0x0a, 0x47],
  requests: [
    [{ reservation: 1, step: 'begin' }, '0100434c52aa'],
    [{ reservation: 1, step: 'status' }, '0100434c5200']
  ],
  responses: [
    [{ done: true }, '01'],
    [{ done: false }, '00']
  ]
})
agree({
  command: getSdrRepositoryInfo,
  number: [0x0a, 0x20],
  requests: [],
  responses: [
    [
      { records: 5, freeBytes: 0xfffe, lastAddedAt: 0x6b03e175, lastErasedAt: 0 },
      '510500feff75e1036b0000000002'
    ]
  ]
})
agree({
  command: reserveSdrRepository,
  number: [0x0a, 0x22],
  requests: [],
  responses: [[{ reservation: 1 }, '0100']]
})
agree({
  command: getSdr,
  number: [0x0a, 0x23],
  requests: [[{ reservation: 1, recordId: 5, offset: 37, count: 14 }, '01000500250e']],
  responses: [[{ nextRecordId: 2, bytes: Buffer.from('0100511211', 'hex') }, '02000100511211']],
  whole: false
})
agree({
  command: getSensorReading,
  number: [0x04, 0x2d],
  requests: [[{ sensor: 2 }, '02']],
  responses: [
    [{ raw: 0x64, available: true, states: 0 }, '64400000'],
    [{ raw: 0, available: false, states: 0x0102 }, '00200201']
  ],
  whole: false
})
agree({
  command: getFruInventoryAreaInfo,
  number: [0x0a, 0x10],
  requests: [[{ fru: 0 }, '00']],
  responses: [[{ bytes: 256, byWords: false }, '000100']]
})
agree({
  command: readFruData,
  number: [0x0a, 0x11],
  requests: [[{ fru: 0, offset: 0x158, count: 16 }, '00580110']],
  responses: [[{ count: 2, bytes: Buffer.from('0106', 'hex') }, '020106']],
  whole: false
})
agree({
  command: getLanParameter,
  number: [0x0c, 0x02],
  requests: [[{ channel: 1, parameter: 3, set: 0 }, '01030000']],
  responses: [[{ value: Buffer.from('525400bc0001', 'hex') }, '11525400bc0001']],
  whole: false
})
agree({
  command: setLanParameter,
  number: [0x0c, 0x01],
  requests: [[{ channel: 1, parameter: 4, value: Buffer.from([1]) }, '010401']],
  responses: [],
  whole: false
})
agree({
  command: getSolParameter,
  number: [0x0c, 0x22],
  requests: [[{ channel: 1, parameter: 6, set: 0 }, '01060000']],
  responses: [[{ value: Buffer.from([10]) }, '110a']],
  whole: false
})
agree({
  command: setSolParameter,
  number: [0x0c, 0x21],
  requests: [[{ channel: 1, parameter: 1, value: Buffer.from([1]) }, '010101']],
  responses: [],
  whole: false
})

t.test('a password or a name is never cut to fit', (t) => {
  const password = Buffer.from('x'.repeat(17))
  const set = { user: 2, operation: 'set', password, size: 16 } as const
  t.throws(() => setUserPassword.encodeRequest(set))
  t.doesNotThrow(() => setUserPassword.encodeRequest({ ...set, size: 20 }))
  t.throws(() => setUserPassword.encodeRequest({ ...set, size: 20, password: Buffer.alloc(21, 'x') }))
  t.throws(() => setUserName.encodeRequest({ user: 2, name: 'x'.repeat(17) }))
  const holed = Buffer.concat([Buffer.from([0x82, 2]), Buffer.from('a\0b'), Buffer.alloc(17)])
  t.throws(() => setUserPassword.decodeRequest(holed), { code: 'password' })
  t.end()
})

t.test('only the word CLR clears the log', (t) => {
  t.throws(() => clearSel.decodeRequest(Buffer.from('0100434c53aa', 'hex')), { code: 'clear-sel' })
  t.throws(() => clearSel.decodeRequest(Buffer.from('0100434c5201', 'hex')), { code: 'clear-sel' })
  t.end()
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
  for (const control of [2, 3, 4, 6]) {
    t.throws(() => chassisControl.decodeRequest(Buffer.from([control])), { code: 'chassis-control' })
  }
  t.throws(() => setSystemBootOptions.decodeRequest(Buffer.from([7, 1, 1])), { code: 'boot-parameter' })
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
