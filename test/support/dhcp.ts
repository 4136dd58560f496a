// DHCP requests for tests: recorded ones by name, and built ones from a few words.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { DhcpPacket } from '../../src/domain/packet.ts'
import type { Mac } from '../../src/wire/address.ts'
import { BROADCAST_FLAG, decodeDhcp, type DhcpMessage } from '../../src/wire/dhcp.ts'
import type { DhcpOptions } from '../../src/wire/dhcp-options.ts'

const FIXTURES = join(import.meta.dirname, '../fixtures/dhcp')

/** A packet of a real client, by its file name without ending. */
export function recordedBytes(name: string): Buffer {
  const text = readFileSync(join(FIXTURES, `${name}.hex`), 'utf8').replace(/^#.*$/gm, '')
  return Buffer.from(text.replace(/\s/g, ''), 'hex')
}

/** The same, decoded, with some fields and options in place of its own. */
export function recorded(
  name: string,
  given: Partial<Omit<DhcpMessage, 'options'>> & { options?: DhcpOptions } = {}
): DhcpMessage {
  const message = decodeDhcp(recordedBytes(name))
  return { ...message, ...given, options: { ...message.options, ...given.options } }
}

/** A request of an ordinary installed system, everything not said being plain. */
export function aRequest(given: Partial<DhcpMessage> = {}): DhcpMessage {
  return {
    op: 'request',
    htype: 1,
    hops: 0,
    xid: 0x3903f326,
    secs: 0,
    flags: BROADCAST_FLAG,
    ciaddr: '0.0.0.0',
    yiaddr: '0.0.0.0',
    siaddr: '0.0.0.0',
    giaddr: '0.0.0.0',
    chaddr: '52:54:00:00:00:01',
    sname: '',
    file: '',
    options: { messageType: 'discover' },
    ...given
  }
}

/** The MAC of the n-th client of many. */
export function aMac(n: number): Mac {
  return `52:54:00${n.toString(16).padStart(6, '0').replace(/../g, ':$&')}`
}

/** A packet as it came from a client, everything not said being plain. */
export function aPacket(given: Partial<DhcpPacket> = {}): DhcpPacket {
  return {
    at: 1,
    direction: 'in',
    from: { address: '0.0.0.0', port: 68 },
    to: { address: '255.255.255.255', port: 67 },
    bytes: Buffer.from('packet'),
    decision: '',
    ...given
  }
}
