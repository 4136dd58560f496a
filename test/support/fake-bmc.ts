// A reference BMC on UDP: the server's side of src/wire/ipmi, with users, sessions, power, boot options, and faults to
// switch on. It is strict where a good BMC is, so what it accepts, a good BMC accepts (test/services/bmc/fake-bmc.test.ts
// proves it with ipmitool).

import { randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import type { AddressInfo } from 'node:net'
import type { BmcAccess, PowerState } from '../../src/domain/bmc.ts'
import { decodeAsf, encodeAsf } from '../../src/wire/ipmi/asf.ts'
import {
  algorithmNumbers,
  cipherSuite,
  suiteOfAlgorithms,
  type CipherSuite
} from '../../src/wire/ipmi/cipher-suite.ts'
import { COMPLETION, RMCP_PLUS_STATUS } from '../../src/wire/ipmi/codes.ts'
import {
  activatePayload,
  deactivatePayload,
  PAYLOAD_ACTIVE_ELSEWHERE
} from '../../src/wire/ipmi/command/activate-payload.ts'
import { activateSession } from '../../src/wire/ipmi/command/activate-session.ts'
import { chassisIdentify } from '../../src/wire/ipmi/command/chassis-identify.ts'
import { chassisControl, type ChassisControl } from '../../src/wire/ipmi/command/chassis-control.ts'
import { getChassisStatus } from '../../src/wire/ipmi/command/chassis-status.ts'
import { closeSession } from '../../src/wire/ipmi/command/close-session.ts'
import type { Command } from '../../src/wire/ipmi/command/command.ts'
import { getChannelAuthCapabilities } from '../../src/wire/ipmi/command/get-channel-auth-capabilities.ts'
import {
  CIPHER_SUITE_PIECE,
  encodeSuiteRecord,
  getChannelCipherSuites
} from '../../src/wire/ipmi/command/get-channel-cipher-suites.ts'
import { getChannelInfo, LAN_MEDIUM } from '../../src/wire/ipmi/command/get-channel-info.ts'
import { getDeviceId } from '../../src/wire/ipmi/command/get-device-id.ts'
import { getSessionChallenge } from '../../src/wire/ipmi/command/get-session-challenge.ts'
import { getSystemGuid } from '../../src/wire/ipmi/command/get-system-guid.ts'
import { getUserAccess } from '../../src/wire/ipmi/command/get-user-access.ts'
import { PASSWORD_TEST_FAILED, setUserPassword } from '../../src/wire/ipmi/command/set-user-password.ts'
import { getUserName } from '../../src/wire/ipmi/command/user-name.ts'
import { PRIVILEGE, setSessionPrivilege } from '../../src/wire/ipmi/command/set-session-privilege.ts'
import {
  BOOT_PARAMETER,
  getSystemBootOptions,
  KEEP_AFTER_60_SECONDS,
  SET_IN_PROGRESS,
  setSystemBootOptions,
  type BootFlags,
  type BootParameter
} from '../../src/wire/ipmi/command/system-boot-options.ts'
import {
  rakp2Code,
  rakp3Code,
  rakp4Check,
  sameCode,
  sessionIntegrityKey,
  sessionKeys,
  type RakpFacts,
  type SessionKeys
} from '../../src/wire/ipmi/keys.ts'
import { MD5_AUTHENTICATION, openMd5, sealMd5 } from '../../src/wire/ipmi/md5-packet.ts'
import { decodeRequest, encodeResponse, type IpmiRequest } from '../../src/wire/ipmi/message.ts'
import { decodeOpenSessionRequest, encodeOpenSessionResponse } from '../../src/wire/ipmi/open-session.ts'
import { decodeRakp1, decodeRakp3, encodeRakp2, encodeRakp4 } from '../../src/wire/ipmi/rakp.ts'
import { decodeRmcp, encodeRmcp } from '../../src/wire/ipmi/rmcp.ts'
import { decodeHeader, encodePlain, open, PAYLOAD, seal } from '../../src/wire/ipmi/rmcp-plus.ts'
import {
  EMPTY_WINDOW,
  nextSequence,
  receiveSequence,
  type SequenceWindow
} from '../../src/wire/ipmi/sequence-window.ts'
import { decodeSessionless, encodeSessionless } from '../../src/wire/ipmi/sessionless.ts'
import { WireError } from '../../src/wire/wire-error.ts'
import { fakeSol, type FakeSol } from './fake-sol.ts'

export type FakeBmcOptions = {
  /** Passwords by user name. */
  users?: Record<string, string>
  /** Highest privilege by user name; administrator where nothing is said. */
  privilegeLimits?: Record<string, number>
  /** Cipher suites it accepts. */
  suites?: readonly number[]
  /** The BMC key as hex; empty: none is set. */
  kg?: string
  address?: string
  port?: number
  power?: PowerState
  /** Told of every change of power. */
  onPower?: (power: PowerState) => void
}

/** Change these at any time; all are off at first. */
export type FakeBmcFaults = {
  /** Hears nothing. */
  silent: boolean
  /** So many of the next packets are lost on their way in. */
  dropNext: number
  /** Asked for each packet, in and out: is it lost? */
  loses: () => boolean
  /** Every answer is sent twice. */
  duplicates: boolean
  /** Asked for each answer: is a byte of it spoiled on its way? */
  corrupts: () => boolean
  /** Milliseconds an answer is late. */
  delay: number
  /** A session is forgotten after so many milliseconds without a word; a half-open one too. */
  sessionLife: number
  /** So many of the next commands "on" are answered, and nothing happens. */
  ignoresOn: number
  /** The operating system does not listen to the power button. */
  ignoresSoft: boolean
  /** So many milliseconds after "off" the machine is on again, once. */
  offComesBackAfter: number | null
  /** Without parameter 3, the boot flags lapse after so many milliseconds unless a chassis control comes. */
  flagsLapseAfter: number
  /** The longest password it can keep; a longer one is refused, or cut in silence. */
  passwordBytes: number
  cutsPasswords: boolean
  /** What it makes of boot flags before it keeps them. */
  keepsFlags: (flags: BootFlags) => BootFlags
  /** So many of the next commands are answered with `busyCode`. */
  busy: number
  busyCode: number
  /** Open sessions there may be. */
  sessionLimit: number
  /** Boot parameters it says it does not have. */
  refusedParameters: readonly number[]
  /** Parameter 5 is refused until "set in progress" is cleared. */
  bootOptionsTaken: boolean
  /** Every RAKP 1 is answered with another random number, one that was sent again too. */
  newRandoms: boolean
  /** Privilege a session begins with. */
  beginsAt: number
  /** Spoils a byte of its answer. */
  tamper: 'rakp-2' | 'rakp-4' | 'command' | null
  /** Open Session chooses this suite, whatever was asked. */
  chooses: number | null
  /** Every Open Session Request is answered with this status. */
  openStatus: number | null
  /** Knows no RMCP+. */
  only15: boolean
  /**
   * Departs from the standard: `open-privilege` hashes the privilege of Open Session for RAKP 1's role, `intel-20` wants
   * padded names and hashes RAKP 3's role bare, `long-code` sends a byte after the end of RAKP 2's code.
   */
  quirk: 'open-privilege' | 'intel-20' | 'long-code' | null
  /** Commands (by name) that are carried out and not answered, and how many times. */
  mute: Record<string, number>
  /** Commands (by name) refused with this completion code. */
  refuses: Record<string, number>
  /** Answers end after so many bytes of data. */
  cutAnswers: number
}

export type FakeBmc = {
  address: string
  port: number
  power: PowerState
  /** Parameter 5 as last set. */
  boot: BootFlags
  /** Every Chassis Control, and the power before it. */
  controls: { control: ChassisControl; power: PowerState }[]
  /** Takes power away or gives it, as a power button does. */
  button(power: PowerState): void
  /** Another password for a user, as if somebody had set it on the BMC. */
  setPassword(user: string, password: string): void
  /** Chassis Identify as last told: seconds, or until told otherwise. */
  identify: number | 'always'
  /** Parameter 3 as last set. */
  keep: number
  faults: FakeBmcFaults
  /** Its serial port over LAN. */
  sol: FakeSol
  /** What was asked, in order: "Open Session Request", "RAKP 1", …, or a command's name. */
  asked: string[]
  /** Sessions that are open now. */
  sessions(): number
  /** Loses all sessions, as a restart of the BMC does. */
  restart(): void
  /** What it answers to a packet: the BMC without its socket. */
  answer(bytes: Uint8Array): Buffer[]
  /** How to reach it as its first user. */
  access(changes?: Partial<BmcAccess>): BmcAccess
  close(): Promise<void>
}

type Session = {
  suite: CipherSuite
  /** Privilege of Open Session. */
  openPrivilege: number
  lastHeardAt: number
  consoleSessionId: number
  bmcSessionId: number
  bmcRandom: Buffer
  facts: RakpFacts | null
  sik: Buffer
  keys: SessionKeys | null
  privilege: number
  limit: number
  sequence: number
  window: SequenceWindow
  /** Where its last packet came from. */
  peer: Peer | null
}
type Peer = { address: string; port: number }

/** A session of IPMI 1.5; before it is active its ID is only that of a challenge. */
type Md5Session = {
  password: Buffer
  challenge: Buffer
  active: boolean
  firstSequence: number
  privilege: number
  limit: number
  sequence: number
  window: SequenceWindow
}
/** What a command has to know of its session. */
type Raised = { privilege: number; limit: number; bmcSessionId?: number }

/** Milliseconds until a packet of serial over LAN is sent again. */
const SOL_RETRY = 200
/** The least privilege there is. */
const CALLBACK = 1
const GUID = Buffer.from('00112233445566778899aabbccddeeff', 'hex')
const CHANNEL = 1

export async function startFakeBmc(options: FakeBmcOptions = {}): Promise<FakeBmc> {
  const users = { ...(options.users ?? { admin: 'secret123' }) }
  const suites = options.suites ?? [17, 3]
  const kg = Buffer.from(options.kg ?? '', 'hex')
  const address = options.address ?? '127.0.0.1'
  const sessions = new Map<number, Session>()
  const md5Sessions = new Map<number, Md5Session>()
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4')
  let lapsing: NodeJS.Timeout | undefined
  const timers = new Set<NodeJS.Timeout>()
  let bootOptionsTakenCleared = false
  /** Who sent the packet at hand; null: it came by no socket. */
  let peer: Peer | null = null

  const bmc: FakeBmc = {
    address,
    port: 0,
    power: options.power ?? 'off',
    boot: { valid: false, persistent: false, efi: false, device: 0 },
    identify: 0,
    controls: [],
    button,
    setPassword: (user, password) => void (users[user] = password),
    keep: 0,
    faults: {
      silent: false,
      dropNext: 0,
      loses: () => false,
      duplicates: false,
      corrupts: () => false,
      delay: 0,
      sessionLife: 60_000,
      ignoresOn: 0,
      ignoresSoft: false,
      offComesBackAfter: null,
      flagsLapseAfter: 60_000,
      passwordBytes: 20,
      cutsPasswords: false,
      keepsFlags: (flags) => flags,
      busy: 0,
      busyCode: COMPLETION.nodeBusy,
      sessionLimit: 16,
      refusedParameters: [],
      bootOptionsTaken: false,
      newRandoms: false,
      beginsAt: PRIVILEGE.user,
      tamper: null,
      chooses: null,
      openStatus: null,
      only15: false,
      quirk: null,
      mute: {},
      refuses: {},
      cutAnswers: Infinity
    },
    sol: fakeSol(sendSol),
    asked: [],
    sessions: () =>
      [...sessions.values()].filter(({ keys }) => keys !== null).length +
      [...md5Sessions.values()].filter(({ active }) => active).length,
    restart() {
      sessions.clear()
      md5Sessions.clear()
      bmc.sol.owner = null
    },
    access(changes = {}) {
      const [username = '', password = ''] = Object.entries(users)[0] ?? []
      return {
        driver: 'ipmi',
        address,
        port: bmc.port,
        username,
        password,
        protocol: '2.0',
        cipherSuites: [17, 3],
        kg: options.kg ?? '',
        privilege: 'highest',
        loginQuirk: null,
        ...changes
      }
    },
    answer(bytes) {
      if (faults.silent || faults.loses()) return []
      if (faults.dropNext > 0) {
        faults.dropNext--
        return []
      }
      try {
        return answersTo(Buffer.from(bytes)).flatMap(onItsWay)
      } catch (error) {
        if (error instanceof WireError) return []
        throw error
      }
    },
    close() {
      clearInterval(repeating)
      for (const timer of timers) clearTimeout(timer)
      return new Promise((resolve) => socket.close(() => resolve()))
    }
  }
  const { faults } = bmc

  socket.on('message', (bytes, from) => {
    peer = from
    for (const answer of bmc.answer(bytes)) sendTo(from, answer)
    peer = null
  })

  function sendTo({ address: to, port }: Peer, packet: Buffer): void {
    if (faults.delay === 0) socket.send(packet, port, to)
    else timers.add(setTimeout(() => socket.send(packet, port, to), faults.delay))
  }

  /** What comes of a packet to the console. */
  function onItsWay(packet: Buffer): Buffer[] {
    if (faults.loses()) return []
    if (faults.corrupts()) spoil(packet)
    return faults.duplicates ? [packet, packet] : [packet]
  }

  const repeating = setInterval(() => {
    for (const payload of bmc.sol.repeat()) sendSol(payload)
  }, SOL_RETRY).unref()

  /** A payload to the console that has the serial port. */
  function sendSol(payload: Buffer): void {
    const session = sessions.get(bmc.sol.owner ?? 0)
    if (!session?.peer || faults.silent) return
    for (const packet of onItsWay(inSessionPacket(session, PAYLOAD.sol, payload)))
      sendTo(session.peer, packet)
  }

  function answersTo(bytes: Buffer): Buffer[] {
    const { messageClass, body } = decodeRmcp(bytes)
    if (messageClass === 'ipmi' && body[0] === 0x06 && !faults.only15) {
      const { sessionId } = decodeHeader(body)
      if (sessionId !== 0) return inSession(sessionId, body)
    }
    const answer = answerTo(bytes)
    return answer ? [answer] : []
  }

  /** Outside sessions, and in those of IPMI 1.5. */
  function answerTo(bytes: Buffer): Buffer | null {
    const { messageClass, body } = decodeRmcp(bytes)
    if (messageClass === 'asf') {
      const { type, tag } = decodeAsf(body)
      return type === 'ping' ? encodeRmcp('asf', encodeAsf({ type: 'pong', tag, ipmi: true })) : null
    }
    if (body[0] === MD5_AUTHENTICATION) return inMd5Session(body)
    if (body[0] !== 0x06) {
      const answer = command(decodeRequest(decodeSessionless(body)), null)
      return answer && encodeRmcp('ipmi', encodeSessionless(answer))
    }
    if (faults.only15) return null
    const { payloadType, payload } = decodeHeader(body)
    switch (payloadType) {
      case PAYLOAD.ipmi: {
        const answer = command(decodeRequest(payload), null)
        return answer && plain(PAYLOAD.ipmi, answer)
      }
      case PAYLOAD.openSessionRequest:
        return plain(PAYLOAD.openSessionResponse, openSession(payload))
      case PAYLOAD.rakp1:
        return plain(PAYLOAD.rakp2, rakp1(payload))
      case PAYLOAD.rakp3: {
        const answer = rakp3(payload)
        return answer && plain(PAYLOAD.rakp4, answer)
      }
      default:
        return null
    }
  }

  function openSession(payload: Buffer): Buffer {
    const { tag, privilege, consoleSessionId, algorithms } = decodeOpenSessionRequest(payload)
    bmc.asked.push('Open Session Request')
    for (const [id, { lastHeardAt }] of sessions) {
      if (performance.now() - lastHeardAt > faults.sessionLife) sessions.delete(id)
    }
    const refuse = (status: number) =>
      encodeOpenSessionResponse({ tag, status, consoleSessionId, refused: true })
    if (faults.openStatus !== null) return refuse(faults.openStatus)
    // A console that tries again has only one log-in under way.
    for (const [id, session] of sessions) {
      if (session.keys === null && session.consoleSessionId === consoleSessionId) sessions.delete(id)
    }
    if (sessions.size >= faults.sessionLimit) return refuse(RMCP_PLUS_STATUS.noResources)
    const asked = suiteOfAlgorithms(algorithms)
    const suite = faults.chooses === null ? asked : cipherSuite(faults.chooses)
    if (!suite || (faults.chooses === null && !suites.includes(suite.id))) {
      return refuse(RMCP_PLUS_STATUS.noMatchingSuite)
    }
    const bmcSessionId = randomBytes(4).readUInt32LE() || 1
    sessions.set(bmcSessionId, {
      suite,
      openPrivilege: privilege,
      lastHeardAt: performance.now(),
      consoleSessionId,
      bmcSessionId,
      bmcRandom: randomBytes(16),
      facts: null,
      sik: Buffer.alloc(0),
      keys: null,
      privilege: faults.beginsAt,
      limit: PRIVILEGE.administrator,
      sequence: 0,
      window: EMPTY_WINDOW,
      peer: null
    })
    return encodeOpenSessionResponse({
      tag,
      status: 0,
      privilege: privilege || PRIVILEGE.administrator,
      consoleSessionId,
      bmcSessionId,
      algorithms: algorithmNumbers(suite)
    })
  }

  function rakp1(payload: Buffer): Buffer {
    const { tag, bmcSessionId, consoleRandom, role, username } = decodeRakp1(payload)
    bmc.asked.push('RAKP 1')
    const session = sessions.get(bmcSessionId)
    const consoleSessionId = session?.consoleSessionId ?? 0
    const refuse = (status: number) => encodeRakp2({ tag, status, consoleSessionId, refused: true })
    if (!session) return refuse(RMCP_PLUS_STATUS.invalidSessionId)
    const name = faults.quirk === 'intel-20' ? unpadded(username) : username
    const password = users[String(name)]
    if (password === undefined) return refuse(RMCP_PLUS_STATUS.unauthorizedName)
    const limit = limitOf(username)
    if ((role & 0x0f) > limit) return refuse(RMCP_PLUS_STATUS.unauthorizedRole)
    if (faults.newRandoms) session.bmcRandom = randomBytes(16)
    const { bmcRandom } = session
    session.facts = {
      consoleSessionId,
      bmcSessionId,
      consoleRandom: Buffer.from(consoleRandom),
      bmcRandom,
      bmcGuid: GUID,
      role: faults.quirk === 'open-privilege' ? session.openPrivilege : role,
      username: Buffer.from(username)
    }
    session.limit = role & 0x0f
    const code = rakp2Code(session.suite, Buffer.from(password), session.facts)
    if (faults.tamper === 'rakp-2') spoil(code)
    const tail = Buffer.alloc(faults.quirk === 'long-code' ? 1 : 0)
    const codeField = Buffer.concat([code, tail])
    return encodeRakp2({ tag, status: 0, consoleSessionId, bmcRandom, bmcGuid: GUID, code: codeField })
  }

  function rakp3(payload: Buffer): Buffer | null {
    const { tag, status, bmcSessionId, code } = decodeRakp3(payload)
    bmc.asked.push('RAKP 3')
    const session = sessions.get(bmcSessionId)
    const consoleSessionId = session?.consoleSessionId ?? 0
    const refuse = (words: number) => encodeRakp4({ tag, status: words, consoleSessionId, refused: true })
    if (!session?.facts) return refuse(RMCP_PLUS_STATUS.inactiveSessionId)
    if (status !== 0) {
      sessions.delete(bmcSessionId)
      return null
    }
    const { facts, suite } = session
    const password = Buffer.from(users[String(unpadded(facts.username))] ?? '')
    const hashedRole = faults.quirk === 'intel-20' ? facts.role & 0x0f : facts.role
    if (!sameCode(code, rakp3Code(suite, password, { ...facts, role: hashedRole }))) {
      sessions.delete(bmcSessionId)
      return refuse(RMCP_PLUS_STATUS.invalidIntegrityCheck)
    }
    session.sik = sessionIntegrityKey(suite, kg.length > 0 ? kg : password, facts)
    session.keys ??= sessionKeys(suite, session.sik)
    const check = Buffer.from(rakp4Check(suite, session.sik, facts))
    if (faults.tamper === 'rakp-4') spoil(check)
    return encodeRakp4({ tag, status: 0, consoleSessionId, check })
  }

  function inSession(bmcSessionId: number, body: Buffer): Buffer[] {
    const session = sessions.get(bmcSessionId)
    if (!session?.keys) return []
    const packet = open(session.keys, body)
    const window = receiveSequence(session.window, packet.sequence)
    if (window === null) return []
    session.window = window
    session.lastHeardAt = performance.now()
    session.peer = peer ?? session.peer
    if (packet.payloadType === PAYLOAD.sol) {
      if (bmc.sol.owner !== bmcSessionId) return []
      return bmc.sol.receive(packet.payload).map((payload) => inSessionPacket(session, PAYLOAD.sol, payload))
    }
    if (packet.payloadType !== PAYLOAD.ipmi) return []
    const payload = command(decodeRequest(packet.payload), session)
    return payload ? [inSessionPacket(session, PAYLOAD.ipmi, payload)] : []
  }

  function inSessionPacket(session: Session, payloadType: number, payload: Buffer): Buffer {
    if (!session.keys) throw new Error('a packet of a session that is not open')
    session.sequence = nextSequence(session.sequence)
    const { sequence, consoleSessionId: sessionId } = session
    const sealed = seal(session.keys, { payloadType, sessionId, sequence, payload }, randomBytes(16))
    if (faults.tamper === 'command') spoil(sealed)
    return encodeRmcp('ipmi', sealed)
  }

  /** IPMI 1.5: Activate Session under a challenge, everything else in an open session. */
  function inMd5Session(body: Buffer): Buffer | null {
    const sessionId = body.readUInt32LE(5)
    const session = md5Sessions.get(sessionId)
    if (!session) return null
    const { sequence, message } = openMd5(session.password, body)
    const request = decodeRequest(message)
    if (!session.active) {
      if (request.command !== activateSession.command || sequence !== 0) return null
      const { challenge, outboundSequence, privilege } = activateSession.decodeRequest(request.data)
      bmc.asked.push(activateSession.name)
      const { netFn, ...rest } = request
      const respond = (completionCode: number, data: Buffer = Buffer.alloc(0)): Buffer => {
        const message = encodeResponse({ ...rest, netFn: netFn + 1, completionCode, data })
        return encodeRmcp('ipmi', sealMd5(session.password, { sessionId, sequence: 0, message }))
      }
      if (!challenge.equals(session.challenge)) return respond(COMPLETION.invalidField)
      if (bmc.sessions() >= faults.sessionLimit) return respond(0x81)
      if (privilege > session.limit) return respond(0x86)
      Object.assign(session, { active: true, limit: privilege, sequence: outboundSequence - 1 })
      const activated = { sessionId, inboundSequence: session.firstSequence, privilege }
      return respond(COMPLETION.ok, activateSession.encodeResponse(activated))
    }
    const window = receiveSequence(session.window, sequence)
    if (window === null) return null
    session.window = window
    const answer = command(request, session)
    if (!answer) return null
    session.sequence = nextSequence(session.sequence)
    const sealed = sealMd5(session.password, { sessionId, sequence: session.sequence, message: answer })
    if (faults.tamper === 'command') spoil(sealed)
    return encodeRmcp('ipmi', sealed)
  }

  function button(power: PowerState): void {
    if (power === bmc.power) return
    bmc.power = power
    options.onPower?.(power)
  }

  /** User 1 is the anonymous one. */
  function nameOf(user: number): string | undefined {
    return Object.keys(users)[user - 2]
  }

  function limitOf(username: Buffer): number {
    return options.privilegeLimits?.[String(unpadded(username))] ?? PRIVILEGE.administrator
  }

  /** Carries a command out; null: it is not answered. */
  function command(request: IpmiRequest, session: Raised | null): Buffer | null {
    const row = COMMANDS.find(
      ({ codec }) => codec.netFn === request.netFn && codec.command === request.command
    )
    if (!row) return answer(COMPLETION.invalidCommand)
    const { name } = row.codec
    bmc.asked.push(name)
    const refused = faults.refuses[name]
    if (refused !== undefined) return answer(refused)
    if (session && faults.busy > 0 && name !== closeSession.name) {
      faults.busy--
      return answer(faults.busyCode)
    }
    if ((session?.privilege ?? 0) < row.privilege) return answer(COMPLETION.insufficientPrivilege)
    const done = carryOut()
    const silent = faults.mute[name] ?? 0
    if (silent > 0) {
      faults.mute[name] = silent - 1
      return null
    }
    return typeof done === 'number' ? answer(done) : answer(COMPLETION.ok, done)

    function carryOut(): Buffer | number {
      try {
        return row?.serve(request.data, session) ?? COMPLETION.invalidCommand
      } catch (error) {
        if (!(error instanceof WireError)) throw error
        if (error.code === 'boot-parameter') return 0x80
        return error.code === 'short' ? COMPLETION.requestLength : COMPLETION.invalidField
      }
    }

    function answer(completionCode: number, data: Buffer = Buffer.alloc(0)): Buffer {
      const { netFn, ...rest } = request
      return encodeResponse({
        ...rest,
        netFn: netFn + 1,
        completionCode,
        data: data.subarray(0, faults.cutAnswers)
      })
    }
  }

  /** A command, the privilege it takes (0: outside sessions too), and what it does: a response or a completion code. */
  type Row = {
    codec: Command<never, never>
    privilege: number
    serve(data: Buffer, session: Raised | null): Buffer | number
  }
  function serve<Request, Response>(
    codec: Command<Request, Response>,
    privilege: number,
    work: (request: Request, session: Raised | null) => Response | number
  ): Row {
    return {
      codec: codec as unknown as Command<never, never>,
      privilege,
      serve(data, session) {
        const response = work(codec.decodeRequest(data), session)
        return typeof response === 'number' ? response : codec.encodeResponse(response)
      }
    }
  }

  const COMMANDS: readonly Row[] = [
    serve(getChannelAuthCapabilities, 0, () => ({
      channel: CHANNEL,
      kgSet: kg.length > 0,
      ipmi15: true,
      ipmi20: !faults.only15
    })),
    serve(getChannelCipherSuites, 0, ({ index }) => {
      const all = Buffer.concat(suites.map(suiteRecord))
      return {
        channel: CHANNEL,
        records: all.subarray(index * CIPHER_SUITE_PIECE).subarray(0, CIPHER_SUITE_PIECE)
      }
    }),
    serve(getDeviceId, PRIVILEGE.user, () => ({
      deviceId: 0x20,
      deviceRevision: 1,
      firmwareMajor: 1,
      firmwareMinor: 0x00,
      ipmiVersion: 0x02,
      manufacturer: 0,
      product: 1
    })),
    serve(getChannelInfo, PRIVILEGE.user, () => ({
      channel: CHANNEL,
      medium: LAN_MEDIUM,
      activeSessions: 1
    })),
    serve(getUserAccess, PRIVILEGE.operator, ({ user }) => ({
      userIds: 4,
      enabledUsers: Object.keys(users).length,
      fixedNames: 0,
      enabled: nameOf(user) !== undefined,
      callbackOnly: false,
      linkAuthentication: false,
      ipmiMessaging: nameOf(user) !== undefined,
      privilege: limitOf(Buffer.from(nameOf(user) ?? ''))
    })),
    serve(getUserName, PRIVILEGE.operator, ({ user }) => {
      const name = nameOf(user)
      return name === undefined ? COMPLETION.invalidField : { name }
    }),
    serve(setUserPassword, PRIVILEGE.administrator, (request) => {
      const name = nameOf(request.user)
      if (name === undefined) return COMPLETION.invalidField
      if (!('password' in request)) return
      if (request.size > faults.passwordBytes && !faults.cutsPasswords) return COMPLETION.requestLength
      const password = request.password.subarray(0, faults.passwordBytes).toString()
      if (request.operation === 'set') users[name] = password
      else if (users[name] !== password) return PASSWORD_TEST_FAILED
    }),
    serve(getSystemGuid, PRIVILEGE.user, () => ({ guid: GUID })),
    serve(setSessionPrivilege, CALLBACK, ({ privilege }, session) => {
      if (!session || privilege > session.limit) return 0x81
      session.privilege = privilege
      return { privilege }
    }),
    serve(closeSession, PRIVILEGE.user, ({ bmcSessionId }) => {
      if (bmc.sol.owner === bmcSessionId) bmc.sol.owner = null
      if (!sessions.delete(bmcSessionId) && !md5Sessions.delete(bmcSessionId)) return 0x87
    }),
    serve(getSessionChallenge, 0, ({ username }) => {
      const password = users[username.toString()]
      if (password === undefined) return 0x81
      const temporarySessionId = randomBytes(4).readUInt32LE() || 1
      const challenge = randomBytes(16)
      md5Sessions.set(temporarySessionId, {
        password: Buffer.from(password),
        challenge,
        active: false,
        firstSequence: randomBytes(4).readUInt32LE() || 1,
        privilege: PRIVILEGE.user,
        limit: limitOf(username),
        sequence: 0,
        window: EMPTY_WINDOW
      })
      return { temporarySessionId, challenge }
    }),
    serve(getChassisStatus, PRIVILEGE.user, () => ({
      powerOn: bmc.power === 'on',
      powerOverload: false,
      powerFault: false,
      powerControlFault: false,
      powerPolicy: 'as-before' as const,
      identify:
        bmc.identify === 'always'
          ? ('always' as const)
          : bmc.identify > 0
            ? ('timed' as const)
            : ('off' as const)
    })),
    serve(chassisIdentify, PRIVILEGE.operator, ({ identify }) => {
      bmc.identify = identify
    }),
    serve(chassisControl, PRIVILEGE.operator, ({ control }) => {
      clearTimeout(lapsing)
      bmc.controls.push({ control, power: bmc.power })
      if (control === 'on' && faults.ignoresOn > 0) {
        faults.ignoresOn--
        return
      }
      if (control === 'soft-off' && faults.ignoresSoft) return
      const power = control === 'on' ? 'on' : 'off'
      if (control !== 'on' && faults.offComesBackAfter !== null) {
        const back = setTimeout(() => button('on'), faults.offComesBackAfter)
        faults.offComesBackAfter = null
        timers.add(back)
      }
      button(power)
    }),
    serve(activatePayload, PRIVILEGE.user, (_request, session) => {
      // The session of a console that is gone.
      if (!sessions.has(bmc.sol.owner ?? 0)) bmc.sol.owner = null
      if (bmc.sol.owner !== null) return PAYLOAD_ACTIVE_ELSEWHERE
      bmc.sol.activate(session?.bmcSessionId ?? 0)
      return { inboundSize: 0x20, outboundSize: 0x68, port: bmc.port }
    }),
    serve(deactivatePayload, PRIVILEGE.user, (_request, session) => {
      if (bmc.sol.owner === null) return 0x80
      if (bmc.sol.owner === session?.bmcSessionId) bmc.sol.owner = null
      else bmc.sol.deactivate()
    }),
    serve(setSystemBootOptions, PRIVILEGE.operator, setBootOptions),
    serve(getSystemBootOptions, PRIVILEGE.operator, ({ parameter }) => {
      if (faults.refusedParameters.includes(parameter)) return 0x80
      return { value: bootParameter(parameter), locked: false }
    })
  ]

  function setBootOptions(value: BootParameter): number | void {
    if (faults.refusedParameters.includes(value.parameter)) return 0x80
    switch (value.parameter) {
      case BOOT_PARAMETER.setInProgress:
        if (faults.bootOptionsTaken && !bootOptionsTakenCleared && value.state === 1) return SET_IN_PROGRESS
        if (value.state === 0) bootOptionsTakenCleared = true
        return
      case BOOT_PARAMETER.validBitClearing:
        bmc.keep = value.keep
        return
      case BOOT_PARAMETER.acknowledge:
        return
      case BOOT_PARAMETER.bootFlags:
        if (faults.bootOptionsTaken && !bootOptionsTakenCleared) return SET_IN_PROGRESS
        bmc.boot = faults.keepsFlags(value.flags)
        clearTimeout(lapsing)
        if ((bmc.keep & KEEP_AFTER_60_SECONDS) === 0) {
          lapsing = setTimeout(() => (bmc.boot = { ...bmc.boot, valid: false }), faults.flagsLapseAfter)
          timers.add(lapsing)
        }
    }
  }

  function bootParameter(parameter: BootParameter['parameter']): BootParameter {
    if (parameter === BOOT_PARAMETER.setInProgress) return { parameter, state: 0 }
    if (parameter === BOOT_PARAMETER.validBitClearing) return { parameter, keep: bmc.keep }
    if (parameter === BOOT_PARAMETER.acknowledge) return { parameter, mask: 0, bits: 0 }
    return { parameter, flags: bmc.boot }
  }

  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject)
    socket.bind(options.port ?? 0, address, resolve)
  })
  bmc.port = (socket.address() as AddressInfo).port
  return bmc
}

function plain(payloadType: number, payload: Buffer): Buffer {
  return encodeRmcp('ipmi', encodePlain(payloadType, payload))
}

function suiteRecord(id: number): Buffer {
  const suite = cipherSuite(id)
  if (!suite) throw new Error(`the reference BMC does not know cipher suite ${id}`)
  return encodeSuiteRecord({ id, oem: false, ...algorithmNumbers(suite) })
}

/** A name up to its first zero. */
function unpadded(name: Buffer): Buffer {
  const end = name.indexOf(0)
  return end < 0 ? name : name.subarray(0, end)
}

function spoil(bytes: Buffer): void {
  const last = bytes.length - 1
  bytes[last] = bytes.readUInt8(last) ^ 0x01
}
