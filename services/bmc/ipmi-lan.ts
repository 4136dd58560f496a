// The BMC's own network settings (IPMI 2.0, section 23); only reads.

import type { LanReport } from '../../src/domain/bmc-report.ts'
import { COMPLETION } from '../../src/wire/ipmi/codes.ts'
import { getChannelInfo, LAN_MEDIUM } from '../../src/wire/ipmi/command/get-channel-info.ts'
import { THIS_CHANNEL } from '../../src/wire/ipmi/command/get-channel-auth-capabilities.ts'
import { getLanParameter } from '../../src/wire/ipmi/command/lan-parameter.ts'
import {
  decodeAddressSource,
  decodeLanAddress,
  decodeLanMac,
  decodeLanSuites,
  decodeLanVlan,
  decodeSuitePrivileges,
  LAN_PARAMETER
} from '../../src/wire/ipmi/lan.ts'
import type { Exchange } from './ipmi-exchange.ts'
import { malformedAnswer } from '../../src/decide/bmc-failure.ts'
import { WireError } from '../../src/wire/wire-error.ts'

/** The number of the channel we speak over, for commands that do not take "this one". */
export async function lanChannel(exchange: Exchange): Promise<number> {
  const { channel, medium } = await exchange.run(getChannelInfo, { channel: THIS_CHANNEL })
  // A few repeat the question for an answer; channel 1 is the LAN nearly everywhere.
  return medium === LAN_MEDIUM && channel !== THIS_CHANNEL ? channel : 1
}

export async function readLan(exchange: Exchange): Promise<LanReport> {
  const channel = await lanChannel(exchange)
  /** Null: a parameter this BMC does not have. */
  async function value<T>(parameter: number, decode: (value: Buffer) => T): Promise<T | null> {
    const answer = await exchange.ask(getLanParameter, { channel, parameter, set: 0 })
    if (answer.completionCode !== COMPLETION.ok) return null
    try {
      return decode(exchange.read(getLanParameter, answer).value)
    } catch (error) {
      if (!(error instanceof WireError)) throw error
      throw malformedAnswer(exchange.access, `${getLanParameter.name} ${parameter}`, error.message)
    }
  }
  const count = await value(LAN_PARAMETER.suiteCount, (bytes) => bytes.readUInt8(0) & 0x1f)
  const ids = count ? await value(LAN_PARAMETER.suites, (bytes) => decodeLanSuites(bytes, count)) : null
  const privileges = count
    ? await value(LAN_PARAMETER.suitePrivileges, (bytes) => decodeSuitePrivileges(bytes, count))
    : null
  return {
    channel,
    address: (await value(LAN_PARAMETER.address, decodeLanAddress)) ?? '',
    source: (await value(LAN_PARAMETER.addressSource, decodeAddressSource)) ?? 'unspecified',
    netmask: (await value(LAN_PARAMETER.netmask, decodeLanAddress)) ?? '',
    gateway: await value(LAN_PARAMETER.gateway, decodeLanAddress),
    mac: (await value(LAN_PARAMETER.mac, decodeLanMac)) ?? '',
    vlan: await value(LAN_PARAMETER.vlan, decodeLanVlan),
    suites: ids && ids.map((id, at) => ({ id, privilege: privileges?.[at] ?? null }))
  }
}
