// The packets of the machines' LAN, recorded by tcpdump at the bridge and read back.
import { readFileSync, rmSync, statSync } from 'node:fs'
import { formatIp } from '../../src/wire/address.ts'
import { decodeFrames } from '../../src/wire/pcap.ts'
import { until } from './lab.ts'
import type { RackPlan } from './plan.ts'
import { inNamespace, startDetached, stopRecorded } from './process.ts'

/** Whole Ethernet frames, and the beginning of the long ones that virtual NICs hand over in one piece. */
const snapLength = 2048
/** A burst waits here while the machines have the processor. */
const bufferKiB = 16_384

/** Records every packet of the LAN to `rack.capture.pcap` from now on, in place of what was recorded before. */
export async function startCapture(rack: RackPlan): Promise<void> {
  const { pcap, log, pidFile } = rack.capture
  await stopRecorded(pidFile)
  for (const file of [pcap, log]) rmSync(file, { force: true })
  startDetached(
    inNamespace(rack.lan.namespace, [
      'tcpdump',
      // The rack's folder is root's. Each packet is written at once: whoever reads in the meantime misses none.
      ...['-Z', 'root', '--immediate-mode', '-U', '-B', `${bufferKiB}`],
      ...['-i', rack.lan.bridge, '-s', `${snapLength}`, '-w', pcap]
    ]),
    rack.capture
  )
  // The file gets its header when tcpdump hears already.
  await until(
    () => (statSync(pcap, { throwIfNoEntry: false })?.size ?? 0) > 0,
    `tcpdump does not record; see ${log}`
  )
}

/** Ends the recording; the file stays until the rack is taken down. @throws Error when packets are missing in it */
export async function stopCapture(rack: RackPlan): Promise<void> {
  const { log, pidFile } = rack.capture
  await stopRecorded(pidFile)
  const said = readFileSync(log, 'utf8')
  if (!/^0 packets dropped by kernel$/m.test(said)) throw new Error(`the recording is not whole: ${said}`)
}

/** One UDP datagram or TCP segment in IPv4. */
export type Packet = {
  /** Milliseconds since the epoch. */
  at: number
  protocol: 'udp' | 'tcp'
  /** MAC, address and port of both ends. */
  from: { mac: string; ip: string; port: number }
  to: { mac: string; ip: string; port: number }
  /** What is in it, as far as it was recorded. */
  payload: Buffer
}

/** The UDP and TCP of a recording, which may still go on. @throws WireError when `file` is none */
export function readCapture(file: string): Packet[] {
  return decodeFrames(readFileSync(file)).flatMap(({ at, bytes }) => readFrame(bytes, at) ?? [])
}

const ipv4 = 0x0800
const protocols: Record<number, Packet['protocol']> = { 6: 'tcp', 17: 'udp' }

function readFrame(frame: Buffer, at: number): Packet | undefined {
  if (frame.length < 34 || frame.readUInt16BE(12) !== ipv4) return undefined
  // What follows the first fragment has no ports.
  if (frame.readUInt16BE(20) & 0x1fff) return undefined
  const protocol = protocols[frame[23]!]
  const transport = 14 + (frame[14]! & 15) * 4
  if (!protocol || frame.length < transport + (protocol === 'tcp' ? 20 : 8)) return undefined
  const content = transport + (protocol === 'tcp' ? (frame[transport + 12]! >> 4) * 4 : 8)
  // Short frames are padded, so the end is where IP says.
  const end = 14 + frame.readUInt16BE(16)
  const mac = (offset: number) => frame.toString('hex', offset, offset + 6).replace(/..(?!$)/g, '$&:')
  return {
    at,
    protocol,
    from: { mac: mac(6), ip: formatIp(frame.readUInt32BE(26)), port: frame.readUInt16BE(transport) },
    to: { mac: mac(0), ip: formatIp(frame.readUInt32BE(30)), port: frame.readUInt16BE(transport + 2) },
    payload: frame.subarray(content, end)
  }
}
