// Why a machine is slow to boot, told from what it sends: a switch port that does not forward yet, packets that are lost, a path that carries less
// than it should. For people; nothing is decided by it.

import type { Change } from '../domain/change.ts'
import type { BootDelayCause } from '../domain/event.ts'
import type { DhcpMessage } from '../wire/dhcp.ts'
import { machineEvent, type BootFacts } from './boot-file.ts'

/** The last DISCOVER that came from a machine; a hint. `at` in ms. */
export type Heard = { xid: number; at: number }

export type BootDelay = { cause: BootDelayCause; evidence: string }

/**
 * Unheard for so long, in seconds, is hardly chance: firmware has asked at least twice before. A port with spanning tree forwards nothing for 30 s
 * (IEEE 802.1D-1998, 8.10: twice the forward delay of 15 s), of which the firmware's own start takes a part.
 */
const BLOCKED_SECONDS = 10
/** Who has our answer does not ask again within this. Shorter than any firmware's patience, longer than packets doubled on the way. Milliseconds. */
const ASKED_AGAIN = 900
/** Blocks or segments sent again, of a hundred: more than a tidy LAN loses, and more of them than one hiccup. */
const LOSSY_PERCENT = 2
const LOSSY_LEAST = 5

/**
 * From a DISCOVER: `secs` is how long its sender has been asking (RFC 2131, 2), `file` whether it is told a boot file: without one iPXE asks again
 * for some seconds, in the hope of a proxyDHCP server.
 */
export function discoverDelay(
  { xid, secs }: Pick<DhcpMessage, 'xid' | 'secs'>,
  heard: Heard | null,
  file: boolean,
  now: number
): BootDelay | null {
  // iPXE takes the same number at each start, and then has not been asking for long.
  if (heard?.xid === xid && secs > 0) {
    if (!file || now - heard.at < ASKED_AGAIN) return null
    return { cause: 'packets-lost', evidence: 'it asks again although it was answered' }
  }
  return secs < BLOCKED_SECONDS
    ? null
    : blocked(`it had been asking for ${secs} s before anything of it arrived here`)
}

/** From the ramdisk's report: how long its NIC waited for an address, and how often the link was lost meanwhile. */
export function ramdiskDelay(addressSeconds: number, linkLosses: number): BootDelay | null {
  if (linkLosses > 0)
    return {
      cause: 'link-lost',
      evidence: `the ramdisk saw its link go down ${linkLosses === 1 ? 'once' : `${linkLosses} times`}`
    }
  return addressSeconds < BLOCKED_SECONDS
    ? null
    : blocked(`the ramdisk waited ${addressSeconds} s for an address`)
}

/** From the sending of a file: in how many pieces, and how many of them were sent again. */
export function sendingDelay(pieces: number, resent: number): BootDelay | null {
  const percent = Math.round((100 * resent) / Math.max(1, pieces))
  return resent < LOSSY_LEAST || percent < LOSSY_PERCENT
    ? null
    : { cause: 'packets-lost', evidence: `${resent} of ${pieces} packets had to be sent again` }
}

/** From blocks that did not arrive while smaller packets did: `smaller` is what comes instead, null: nothing is amiss. */
export function blockSizeDelay(blockSize: number, smaller: number | null): BootDelay | null {
  return smaller === null
    ? null
    : {
        cause: 'path-mtu',
        evidence: `blocks of ${blockSize} bytes did not arrive, so ${smaller} are sent from now on`
      }
}

const blocked = (evidence: string): BootDelay => ({ cause: 'port-blocked', evidence })

/** The line in the timeline of a machine that has an order to boot for; `client` is the program concerned. */
export function bootDelayed(
  facts: Pick<BootFacts, 'node' | 'order'>,
  client: string,
  delay: BootDelay | null,
  now: number
): Change[] {
  if (!delay || facts.order?.state !== 'open') return []
  return machineEvent(facts, now, 'boot-delayed', `${client} ${delay.cause}`, { client, ...delay })
}
