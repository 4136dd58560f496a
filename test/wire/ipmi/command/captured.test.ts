// Every command that ipmitool and FreeIPMI exchanged with the simulators, read by our codecs: what they ask is asked by us
// in the same bytes, and what was answered is understood.

import t, { type Test } from 'tap'
import * as payload from '../../../../src/wire/ipmi/command/activate-payload.ts'
import { getChassisStatus } from '../../../../src/wire/ipmi/command/chassis-status.ts'
import { closeSession } from '../../../../src/wire/ipmi/command/close-session.ts'
import type { Command } from '../../../../src/wire/ipmi/command/command.ts'
import { getChannelInfo } from '../../../../src/wire/ipmi/command/get-channel-info.ts'
import { getDeviceId } from '../../../../src/wire/ipmi/command/get-device-id.ts'
import { getFruInventoryAreaInfo } from '../../../../src/wire/ipmi/command/get-fru-inventory-area-info.ts'
import { getSdr } from '../../../../src/wire/ipmi/command/get-sdr.ts'
import { getSdrRepositoryInfo } from '../../../../src/wire/ipmi/command/get-sdr-repository-info.ts'
import { getSelEntry } from '../../../../src/wire/ipmi/command/get-sel-entry.ts'
import { getSelInfo } from '../../../../src/wire/ipmi/command/get-sel-info.ts'
import { getSensorReading } from '../../../../src/wire/ipmi/command/get-sensor-reading.ts'
import { getUserAccess } from '../../../../src/wire/ipmi/command/get-user-access.ts'
import { getLanParameter } from '../../../../src/wire/ipmi/command/lan-parameter.ts'
import { readFruData } from '../../../../src/wire/ipmi/command/read-fru-data.ts'
import { reserveSdrRepository } from '../../../../src/wire/ipmi/command/reserve-sdr-repository.ts'
import { setSessionPrivilege } from '../../../../src/wire/ipmi/command/set-session-privilege.ts'
import { setSystemBootOptions } from '../../../../src/wire/ipmi/command/system-boot-options.ts'
import { getUserName } from '../../../../src/wire/ipmi/command/user-name.ts'
import { sessionKeys } from '../../../../src/wire/ipmi/keys.ts'
import { decodeRequest, decodeResponse } from '../../../../src/wire/ipmi/message.ts'
import { decodeRmcp } from '../../../../src/wire/ipmi/rmcp.ts'
import { decodeHeader, open, PAYLOAD } from '../../../../src/wire/ipmi/rmcp-plus.ts'
import { decodeSol, encodeSol } from '../../../../src/wire/ipmi/sol.ts'
import { capture, suiteOf, type Capture } from '../captures.ts'

type Message = { payloadType: number; payload: Buffer; toBmc: boolean }

/** What is inside the sessions of a capture, decrypted. */
function messages({ packets, sessions }: Capture): Message[] {
  return packets.flatMap(({ bytes, toBmc }) => {
    const { messageClass, body } = decodeRmcp(bytes)
    if (messageClass !== 'ipmi' || body[0] !== 0x06) return []
    const { sessionId, payloadType } = decodeHeader(body)
    if (sessionId === 0) return []
    for (const session of sessions) {
      if (sessionId !== (toBmc ? session.bmcSessionId : session.consoleSessionId)) continue
      const keys = sessionKeys(suiteOf(session), Buffer.from(session.sik, 'hex'))
      try {
        return [{ payloadType, payload: open(keys, body).payload, toBmc }]
      } catch {
        // ipmitool gives all its sessions the same ID; another one's keys fit.
      }
    }
    throw new Error('a packet of no session')
  })
}

function count(
  t: Test,
  command: Command<never, never>,
  found: Message[]
): [requests: number, responses: number] {
  const sides: [number, number] = [0, 0]
  for (const { payloadType, payload, toBmc } of found) {
    if (payloadType !== PAYLOAD.ipmi) continue
    const message = toBmc ? decodeRequest(payload) : decodeResponse(payload, { authenticated: true })
    if (message.command !== command.command || (message.netFn & ~1) !== command.netFn) continue
    if (toBmc) {
      const again = command.encodeRequest(command.decodeRequest(message.data))
      if (!again.equals(message.data)) t.same(again, message.data, command.name)
      sides[0]++
    } else if ('completionCode' in message && message.completionCode === 0) {
      command.decodeResponse(message.data)
      sides[1]++
    }
  }
  return sides
}

const HELD: Record<string, [command: Command<never, never>, requests: number, responses: number][]> = {
  'sim-c3-sel-sdr-fru': [
    row(getDeviceId, 6, 6),
    row(getSelInfo, 1, 1),
    row(getSelEntry, 3, 3),
    row(getSdrRepositoryInfo, 2, 2),
    row(reserveSdrRepository, 2, 2),
    row(getSdr, 19, 19),
    row(getSensorReading, 3, 3),
    row(getFruInventoryAreaInfo, 1, 1),
    row(readFruData, 7, 7),
    row(closeSession, 3, 3)
  ],
  'sim-c3-users-lan': [
    row(getUserAccess, 63, 63),
    row(getUserName, 63, 62),
    row(getChannelInfo, 2, 2),
    row(getLanParameter, 21, 18)
  ],
  'sim-c3-sol': [row(payload.activatePayload, 1, 1), row(payload.deactivatePayload, 1, 1)],
  'sim-c3-bootdev-pxe-persistent-efi': [row(setSystemBootOptions, 5, 5)],
  'fake-c17-power-status': [row(getChassisStatus, 1, 1), row(setSessionPrivilege, 1, 1)]
}

function row<Request, Response>(
  command: Command<Request, Response>,
  requests: number,
  responses: number
): [Command<never, never>, number, number] {
  return [command as unknown as Command<never, never>, requests, responses]
}

for (const [name, commands] of Object.entries(HELD)) {
  t.test(name, (t) => {
    const found = messages(capture(name))
    for (const [command, ...sides] of commands) t.same(count(t, command, found), sides, command.name)
    t.end()
  })
}

t.test('serial over LAN: every packet of two recorded consoles, read and written again', (t) => {
  for (const name of ['sim-c3-sol', 'fake-c17-sol']) {
    const packets = messages(capture(name)).filter(({ payloadType }) => payloadType === PAYLOAD.sol)
    t.ok(packets.length > 50, `${packets.length} packets in ${name}`)
    const changed = packets.filter(({ payload }) => !encodeSol(decodeSol(payload)).equals(payload))
    t.same(changed, [])
  }
  const text = messages(capture('sim-c3-sol'))
    .filter(({ payloadType, toBmc }) => payloadType === PAYLOAD.sol && !toBmc)
    .map(({ payload }) => decodeSol(payload).characters.toString('latin1'))
    .join('')
  t.match(text, 'SeaBIOS (version 1.16.2')
  t.end()
})
