// Reads the captures in test/fixtures/ipmi: real tools against simulators, with the keys in a text beside each.

import { readdirSync, readFileSync } from 'node:fs'
import { cipherSuite, type CipherSuite } from '../../../src/wire/ipmi/cipher-suite.ts'
import { decodePcap, type UdpPacket } from '../../../src/wire/pcap.ts'

const FOLDER = new URL('../../fixtures/ipmi/', import.meta.url)

export type CapturedPacket = { toBmc: boolean; clientPort: number; bytes: Buffer }

export type CapturedSession = {
  suite: number
  consoleSessionId: number
  bmcSessionId: number
  sik: string
  k1: string
  k2: string
}

export type Capture = {
  name: string
  packets: CapturedPacket[]
  sessions: CapturedSession[]
  password: Buffer
  /** K_g, or the password where none is set. */
  kg: Buffer
  /** How many codes of each kind the text says are right. */
  codes: { key: number; check: number; packet: number }
}

/** Only these: MD5 suites (6, 11) are nothing we speak, and in sim-lan15-* the session is IPMI 1.5. */
const FOREIGN = ['sim-c6-power-status', 'sim-c11-freeipmi-power', 'sim-lan15-md5', 'sim-lan15-none']

export function captures(): Capture[] {
  return readdirSync(FOLDER)
    .filter((file) => file.endsWith('.pcap'))
    .map((file) => file.slice(0, -'.pcap'.length))
    .filter((name) => !FOREIGN.includes(name))
    .map(capture)
}

export function capture(name: string): Capture {
  const text = readFileSync(new URL(`${name}.txt`, FOLDER), 'utf8')
  const password = Buffer.from(field(text, 'password'))
  const kg = field(text, 'kg')
  const count = (pattern: RegExp): number => (text.match(pattern) ?? []).length
  return {
    name,
    packets: decodePcap(readFileSync(new URL(`${name}.pcap`, FOLDER))).map(captured),
    sessions: text.split('\nsession ').slice(1).map(session),
    password,
    kg: kg.startsWith('(none') ? password : Buffer.from(kg),
    codes: { key: count(/keycode=ok/g), check: count(/icv=ok/g), packet: count(/authcode=ok/g) }
  }
}

/** The suite of a session; all that remain after FOREIGN are known. */
export function suiteOf({ suite }: CapturedSession): CipherSuite {
  const known = cipherSuite(suite)
  if (!known) throw new Error(`unknown cipher suite ${suite}`)
  return known
}

function session(block: string): CapturedSession {
  const id = (name: string): number => Buffer.from(word(block, name), 'hex').readUInt32LE()
  return {
    suite: Number(/suite (\d+)/.exec(block)?.[1]),
    consoleSessionId: id('sidc'),
    bmcSessionId: id('sidm'),
    sik: word(block, 'sik'),
    k1: word(block, 'k1'),
    k2: word(block, 'k2')
  }
}

function field(text: string, name: string): string {
  return new RegExp(`^${name}: (.*)$`, 'm').exec(text)?.[1] ?? ''
}

function word(block: string, name: string): string {
  return new RegExp(`^ +${name} +(\\S+)`, 'm').exec(block)?.[1] ?? ''
}

/** The BMC's port is the one below 1024. */
function captured({ from, to, bytes }: UdpPacket): CapturedPacket {
  const toBmc = to.port < 1024
  return { toBmc, clientPort: toBmc ? from.port : to.port, bytes: Buffer.from(bytes) }
}
