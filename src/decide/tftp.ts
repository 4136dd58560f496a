// A TFTP request → a loader, the machine's own script, or a refusal. Names mean what the table in tftp-names.ts says.

import type { Change } from '../domain/change.ts'
import type { Port } from '../domain/node.ts'
import type { Lease, Subnet } from '../domain/subnet.ts'
import { parseCidr, parseIp, type Ip } from '../wire/address.ts'
import { TFTP_ERROR, type TftpRequest } from '../wire/tftp.ts'
import {
  decideFile,
  fileRefused,
  type BootFacts,
  type BootSettings,
  type FileRefusal,
  type LoaderNames
} from './boot-file.ts'
import { decideScript } from './script.ts'
import { tftpName } from './tftp-names.ts'
import { USUAL_MTU } from './tftp-transfer.ts'

export type TftpVerdict =
  | { serve: 'loader'; name: string; changes: Change[] }
  | { serve: 'text'; name: string; text: string; changes: Change[] }
  | { serve: 'nothing'; refusal: FileRefusal; code: number; message: string; changes: Change[] }

/**
 * Whether anything at all is sent to an address, be it an error: only to one that an enrolled machine holds from us. Source addresses of
 * datagrams are easily forged, and nobody shall be flooded with our answers. A lease that is over counts: boot ROMs do not renew
 * theirs, and the address is kept for the machine.
 */
export function mayAnswer(address: Ip, port: Port | null, lease: Lease | null): boolean {
  return port !== null && lease?.ip === address && lease.mac === port.address && lease.state === 'bound'
}

/** The MTU on the way to an address: its subnet's, where one is configured. */
export function pathMtu(address: Ip, subnets: readonly Pick<Subnet, 'cidr' | 'mtu'>[]): number {
  const value = parseIp(address) ?? 0
  const subnet = subnets.find(({ cidr }) => {
    const range = parseCidr(cidr)
    return range !== undefined && value >= range.first && value <= range.last
  })
  return subnet?.mtu ?? USUAL_MTU
}

/** `facts` are those of the asking address. */
export function decideTftp(
  request: TftpRequest,
  facts: BootFacts,
  loaders: LoaderNames,
  settings: BootSettings,
  now: number
): TftpVerdict {
  const refuse = (refusal: FileRefusal, code: number, reason: string, message = reason): TftpVerdict => ({
    serve: 'nothing',
    refusal,
    code,
    message,
    changes: fileRefused(facts, 'tftp', request.file, refusal, reason, now)
  })

  if (request.op === 'write') return refuse('write', TFTP_ERROR.access, 'nothing may be written here')
  if (request.mode !== 'octet' && request.mode !== 'netascii')
    return refuse('unknown-file', TFTP_ERROR.illegal, 'the mode is neither octet nor netascii')
  const asked = tftpName(request.file, facts.port?.reservedIp ?? '', loaders)
  if (asked.means === 'nothing')
    return {
      serve: 'nothing',
      refusal: 'unknown-file',
      code: TFTP_ERROR.notFound,
      message: 'no such file',
      changes: []
    }
  if (asked.means === 'script' && asked.dialect !== 'pxelinux') {
    const verdict = decideScript(asked.dialect, asked.mac, facts, settings, now)
    if ('refuse' in verdict) return refuse('stranger', TFTP_ERROR.access, verdict.reason, 'not enrolled')
    return { serve: 'text', name: loaderName(request.file), text: verdict.script, changes: verdict.changes }
  }
  // The gate before the name: a stranger learns nothing of what there is.
  const name = asked.means === 'loader' ? asked.name : loaderName(request.file)
  const verdict = decideFile({ file: 'loader', name }, facts)
  if (!verdict.serve)
    return refuse(
      verdict.refusal,
      TFTP_ERROR.access,
      verdict.reason,
      verdict.refusal === 'stranger' ? 'not enrolled' : verdict.reason
    )
  if (asked.means === 'script')
    return refuse(
      'unknown-file',
      TFTP_ERROR.notFound,
      `there is no configuration in the words of ${asked.dialect}`
    )
  if (!loaders.has(name)) return refuse('unknown-file', TFTP_ERROR.notFound, 'no such file')
  return { serve: 'loader', name, changes: [] }
}

/** The last part of a path with slashes of either kind, in lower case: firmware is not careful with either. */
export function loaderName(path: string): string {
  return path.slice(Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\')) + 1).toLowerCase()
}
