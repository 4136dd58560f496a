import { createSecretKey } from 'node:crypto'
import t from 'tap'
import { decodeAsf } from '../../../src/wire/ipmi/asf.ts'
import { cipherSuite } from '../../../src/wire/ipmi/cipher-suite.ts'
import { chassisControl } from '../../../src/wire/ipmi/command/chassis-control.ts'
import { getChassisStatus } from '../../../src/wire/ipmi/command/chassis-status.ts'
import { closeSession } from '../../../src/wire/ipmi/command/close-session.ts'
import { getChannelAuthCapabilities } from '../../../src/wire/ipmi/command/get-channel-auth-capabilities.ts'
import {
  decodeSuiteRecords,
  getChannelCipherSuites
} from '../../../src/wire/ipmi/command/get-channel-cipher-suites.ts'
import { getDeviceId } from '../../../src/wire/ipmi/command/get-device-id.ts'
import { getSystemGuid } from '../../../src/wire/ipmi/command/get-system-guid.ts'
import { setSessionPrivilege } from '../../../src/wire/ipmi/command/set-session-privilege.ts'
import {
  getSystemBootOptions,
  setSystemBootOptions
} from '../../../src/wire/ipmi/command/system-boot-options.ts'
import {
  activatePayload,
  deactivatePayload,
  getPayloadActivationStatus
} from '../../../src/wire/ipmi/command/activate-payload.ts'
import { activateSession } from '../../../src/wire/ipmi/command/activate-session.ts'
import { chassisIdentify } from '../../../src/wire/ipmi/command/chassis-identify.ts'
import { clearSel } from '../../../src/wire/ipmi/command/clear-sel.ts'
import { getChannelInfo } from '../../../src/wire/ipmi/command/get-channel-info.ts'
import { getFruInventoryAreaInfo } from '../../../src/wire/ipmi/command/get-fru-inventory-area-info.ts'
import { getSdr } from '../../../src/wire/ipmi/command/get-sdr.ts'
import { getSdrRepositoryInfo } from '../../../src/wire/ipmi/command/get-sdr-repository-info.ts'
import { getSelEntry } from '../../../src/wire/ipmi/command/get-sel-entry.ts'
import { getSelInfo } from '../../../src/wire/ipmi/command/get-sel-info.ts'
import { getSensorReading } from '../../../src/wire/ipmi/command/get-sensor-reading.ts'
import { getSessionChallenge } from '../../../src/wire/ipmi/command/get-session-challenge.ts'
import { getUserAccess } from '../../../src/wire/ipmi/command/get-user-access.ts'
import { getLanParameter, setLanParameter } from '../../../src/wire/ipmi/command/lan-parameter.ts'
import { readFruData } from '../../../src/wire/ipmi/command/read-fru-data.ts'
import { reserveSdrRepository } from '../../../src/wire/ipmi/command/reserve-sdr-repository.ts'
import { reserveSel } from '../../../src/wire/ipmi/command/reserve-sel.ts'
import { setUserAccess } from '../../../src/wire/ipmi/command/set-user-access.ts'
import { setUserPassword } from '../../../src/wire/ipmi/command/set-user-password.ts'
import { getSolParameter, setSolParameter } from '../../../src/wire/ipmi/command/sol-parameter.ts'
import { getUserName, setUserName } from '../../../src/wire/ipmi/command/user-name.ts'
import { decodeFru } from '../../../src/wire/ipmi/fru.ts'
import * as lan from '../../../src/wire/ipmi/lan.ts'
import { openMd5 } from '../../../src/wire/ipmi/md5-packet.ts'
import { convertReading, decodeSdr } from '../../../src/wire/ipmi/sdr.ts'
import { decodeSelRecord } from '../../../src/wire/ipmi/sel-record.ts'
import { decodeSol } from '../../../src/wire/ipmi/sol.ts'
import { sessionKeys } from '../../../src/wire/ipmi/keys.ts'
import { decodeRequest, decodeResponse } from '../../../src/wire/ipmi/message.ts'
import { decodeOpenSessionRequest, decodeOpenSessionResponse } from '../../../src/wire/ipmi/open-session.ts'
import { decodeRakp1, decodeRakp2, decodeRakp3, decodeRakp4 } from '../../../src/wire/ipmi/rakp.ts'
import { decodeRmcp } from '../../../src/wire/ipmi/rmcp.ts'
import { decodeHeader, open, seal } from '../../../src/wire/ipmi/rmcp-plus.ts'
import { decodeSessionless } from '../../../src/wire/ipmi/sessionless.ts'
import { WireError } from '../../../src/wire/wire-error.ts'
import { mutate, seededRandom } from '../../support/mutate.ts'
import { captures } from './captures.ts'

const SEED = Number(process.env.FUZZ_SEED ?? 20)
const PACKETS = Number(process.env.FUZZ_PACKETS ?? 50_000)

const COMMANDS = [
  chassisControl,
  getChassisStatus,
  closeSession,
  getChannelAuthCapabilities,
  getChannelCipherSuites,
  getDeviceId,
  getSystemGuid,
  setSessionPrivilege,
  getSystemBootOptions,
  setSystemBootOptions,
  activatePayload,
  deactivatePayload,
  getPayloadActivationStatus,
  activateSession,
  chassisIdentify,
  clearSel,
  getChannelInfo,
  getFruInventoryAreaInfo,
  getSdr,
  getSdrRepositoryInfo,
  getSelEntry,
  getSelInfo,
  getSensorReading,
  getSessionChallenge,
  getUserAccess,
  getLanParameter,
  setLanParameter,
  readFruData,
  reserveSdrRepository,
  reserveSel,
  setUserAccess,
  setUserPassword,
  getSolParameter,
  setSolParameter,
  getUserName,
  setUserName
]

const keysOf = (id: number) => {
  const suite = cipherSuite(id)
  if (!suite) throw new Error(`no suite ${id}`)
  return sessionKeys(suite, Buffer.alloc(20))
}
const [keys17, keys1] = [keysOf(17), keysOf(1)]

const PAYLOAD_DECODERS: ((payload: Buffer) => unknown)[] = [
  decodeRequest,
  (payload) => decodeResponse(payload, { authenticated: false }),
  (payload) => decodeResponse(payload, { authenticated: true }),
  decodeOpenSessionRequest,
  decodeOpenSessionResponse,
  decodeRakp1,
  decodeRakp2,
  decodeRakp3,
  decodeRakp4,
  decodeSuiteRecords,
  decodeSelRecord,
  decodeSol,
  decodeFru,
  // The checksum of the header is seldom right by chance.
  (payload) => decodeFru(Buffer.concat([Buffer.from([1, 0, 1, 2, 3, 0, 0, 0xf9]), payload])),
  (payload) => {
    const record = decodeSdr(payload)
    if (record.kind === 'sensor' && record.conversion) convertReading(record.conversion, payload.length)
  },
  // Of any type of record.
  ...[0x01, 0x02, 0x03, 0x11, 0x12].map(
    (type) => (payload: Buffer) => decodeSdr(Buffer.concat([Buffer.from([0, 0, 0x51, type, 60]), payload]))
  ),
  (payload) => openMd5(Buffer.from('secret123'), payload),
  ...[lan.decodeLanAddress, lan.decodeLanMac, lan.decodeAddressSource, lan.decodeLanVlan],
  (payload) => lan.decodeLanSuites(payload, 16),
  (payload) => lan.decodeSuitePrivileges(payload, 16),
  ...COMMANDS.flatMap((command) => [command.decodeRequest, command.decodeResponse])
]

/** Errors of a decoder that are no WireError: there must be none. */
function surprise(decode: (bytes: Buffer) => unknown, bytes: Buffer): string | null {
  try {
    decode(bytes)
    return null
  } catch (error) {
    if (error instanceof WireError) return null
    return `${bytes.toString('hex')}: ${String(error)}`
  }
}

t.test(`${PACKETS} mutated packets raise nothing but WireError (seed ${SEED})`, (t) => {
  const random = seededRandom(SEED)
  const recorded = captures().flatMap(({ packets }) => packets.map(({ bytes }) => bytes))
  const surprises: (string | null)[] = []
  for (let count = 0; count < PACKETS; count++) {
    const packet = mutate(recorded[Math.floor(random() * recorded.length)] ?? Buffer.alloc(0), random)
    surprises.push(surprise(decodeRmcp, packet))
    const body = packet.subarray(4)
    for (const decode of [decodeAsf, decodeSessionless, decodeHeader]) surprises.push(surprise(decode, body))
    surprises.push(surprise((bytes) => open(keys1, bytes), body))
    surprises.push(surprise((bytes) => open(keys17, bytes), body))
    const decoder = PAYLOAD_DECODERS[count % PAYLOAD_DECODERS.length]
    const offset = [10, 12, 16, 18, 22][Math.floor(random() * 5)] ?? 0
    if (decoder) surprises.push(surprise(decoder, body.subarray(offset)))
  }
  t.same(surprises.filter(Boolean).slice(0, 3), [])
  t.end()
})

t.test('decrypted rubbish under a good authentication code raises nothing but WireError', (t) => {
  const random = seededRandom(SEED + 1)
  const foreign = { ...keys17, aes: createSecretKey(Buffer.alloc(16, 9)) }
  const surprises = Array.from({ length: 2000 }, () => {
    const payload = Buffer.from(Array.from({ length: Math.floor(random() * 40) }, () => random() * 256))
    const packet = { payloadType: 0, sessionId: 1, sequence: 1, payload }
    return surprise((bytes) => open(foreign, bytes), seal(keys17, packet, Buffer.alloc(16)))
  })
  t.same(surprises.filter(Boolean).slice(0, 3), [])
  t.end()
})
