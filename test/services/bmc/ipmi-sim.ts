// OpenIPMI's ipmi_sim (Debian package openipmi) in a temporary folder, on loopback: cipher suite 3, chassis control by a
// script that keeps power and boot device in files. It keeps only the device of the boot flags.

import { spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { encodeAsf } from '../../../src/wire/ipmi/asf.ts'
import { encodeRmcp } from '../../../src/wire/ipmi/rmcp.ts'
import type { Namespace } from '../../support/namespace.ts'

export type IpmiSim = {
  port: number
  /** What the chassis script was last told: `power` is 0 or 1, `boot` a device. */
  chassis(what: 'power' | 'boot'): string
  /** Everything that it was ever told to set. */
  sets(): string[]
}

/**
 * Started, and answering pings. `serial`: a TCP port of 127.0.0.1 that is the machine's serial port. `machine: false`: without
 * the chassis script, so that a status costs it no process. `on`: its machine is.
 */
export async function startIpmiSim(
  t: Pick<Test, 'teardown'>,
  users: string[],
  where: {
    address?: string
    port?: number
    serial?: number
    machine?: boolean
    namespace?: Namespace
    on?: boolean
  } = {}
): Promise<IpmiSim> {
  const folder = mkdtempSync(join(tmpdir(), 'ipmi-sim-'))
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text)
    return join(folder, name)
  }
  const address = where.address ?? '127.0.0.1'
  const port = where.port ?? (await freePort())
  const script = file('chassis', chassisScript(folder))
  chmodSync(script, 0o755)
  file('power', where.on ? '1' : '0')
  file('sets', '')
  file('boot', 'none')
  mkdirSync(join(folder, 'state'))
  const config = file(
    'lan.conf',
    lanConfig(address, port, where.machine === false ? null : script, users, where.serial)
  )
  const args = [
    '-n',
    '-c',
    config,
    '-f',
    file('commands', managementController()),
    '-s',
    join(folder, 'state')
  ]
  const child =
    where.namespace?.spawn('ipmi_sim', args) ??
    spawn('ipmi_sim', args, { stdio: ['ignore', 'ignore', 'inherit'] })
  const ended = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
    rmSync(folder, { recursive: true })
  })
  if (where.namespace) await bound(where.namespace, port)
  else await pong(address, port)
  const kept = (name: string) => readFileSync(join(folder, name), 'utf8').trim()
  return { port, chassis: kept, sets: () => kept('sets').split('\n').filter(Boolean) }
}

/** ipmi_lan(5); the lines of the users as there. */
function lanConfig(
  address: string,
  port: number,
  script: string | null,
  users: string[],
  serial: number | undefined
): string {
  return `name "test"
set_working_mc 0x20
startlan 1
  addr ${address} ${port}
  priv_limit admin
  allowed_auths_user md5
  allowed_auths_operator md5
  allowed_auths_admin md5
  guid 00112233445566778899aabbccddeeff
endlan
${script === null ? '' : `chassis_control "${script}"`}
${serial === undefined ? '' : `sol "tcp:127.0.0.1:${serial}" 115200`}
${users.map((user, index) => `user ${index + 2} ${user}`).join('\n')}
`
}

/** ipmi_sim_cmd(5): one management controller at the BMC's address, able to do chassis control. */
function managementController(): string {
  return `mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02
sel_enable 0x20 100 0x0a
sel_add 0x20 2 0xe1 0xf5 0x5e 0x60 0x20 0x00 0x04 0x01 0x01 0x01 0x57 0x50 0x50
sel_add 0x20 2 0xe2 0xf5 0x5e 0x60 0x20 0x00 0x04 0x08 0x63 0xef 0x01 0xff 0xff
mc_add_fru_data 0x20 0 ${FRU.length / 2} data ${hexBytes(FRU)}
sensor_add 0x20 0 1 0x01 0x01
sensor_set_value 0x20 0 1 0x22 0
sensor_set_event_support 0x20 0 1 enable scanning per-state ${NO_EVENTS}
main_sdr_add 0x20 ${hexBytes(sensorRecord(1, 'MB Temp', 0x01, 0x01, [1, 0]))}
sensor_add 0x20 0 2 0x02 0x01
sensor_set_value 0x20 0 2 0xc8 0
sensor_set_event_support 0x20 0 2 enable scanning per-state ${NO_EVENTS}
main_sdr_add 0x20 ${hexBytes(sensorRecord(2, '12V', 0x02, 0x04, [6, 0xe0]))}
mc_enable 0x20
`
}

/** Of the 15 states none makes events, or is supported. */
const NO_EVENTS = Array.from({ length: 4 }, () => '0'.repeat(15)).join(' ')

/** Board and product area, as in test/wire/ipmi/fru.test.ts. */
const FRU =
  '01000001070000f7' +
  '010600000000c84c6162576f726b73c44c572d31c742524430303031c5422d31' +
  '3030c466727531c1000000000000001f' +
  '010700c84c6162576f726b73c44e6f6465c5502d313030c3312e30c74c414230' +
  '303031c87261636b312d7531c466727531c10000000000d5'

/** A full sensor record (IPMI 2.0, section 43.1) without thresholds; M, and the exponents of result and B. */
function sensorRecord(
  sensor: number,
  name: string,
  type: number,
  unit: number,
  [m, exponents]: [number, number]
): string {
  const record = Buffer.alloc(48 + name.length)
  record.set([0, 0, 0x51, 0x01, record.length - 5, 0x20, 0, sensor, 7, 1, 0, 0, type, 1])
  record.set([0, unit, 0, 0, m, 0, 0, 0, 0, exponents], 20)
  record[47] = 0xc0 | name.length
  record.write(name, 48)
  return record.toString('hex')
}

function hexBytes(hex: string): string {
  return hex.replace(/../g, ' 0x$&').trim()
}

/** Called as `get NAME …`, answered with `NAME:VALUE` lines, and as `set NAME VALUE …`. */
function chassisScript(folder: string): string {
  return `#!/bin/sh
mode=$1; shift
while [ $# -gt 0 ]; do
  if [ "$mode" = get ]; then echo "$1:$(cat ${folder}/$1)"; shift
  else echo "$2" > ${folder}/$1; echo "$1 $2" >> ${folder}/sets; shift 2; fi
done
`
}

/** In a namespace it cannot be pinged from here. */
async function bound(namespace: Namespace, port: number): Promise<void> {
  while (!(await namespace.run('ss', '-Hlun', 'sport', '=', `:${port}`)).includes(`:${port}`)) await sleep(20)
}

export async function freePort(): Promise<number> {
  const socket = createSocket('udp4')
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve))
  const { port } = socket.address() as AddressInfo
  await new Promise<void>((resolve) => socket.close(() => resolve()))
  return port
}

/** Pings until the first pong. */
async function pong(address: string, port: number): Promise<void> {
  const socket = createSocket('udp4')
  const ping = encodeRmcp('asf', encodeAsf({ type: 'ping', tag: 1 }))
  const timer = setInterval(() => socket.send(ping, port, address), 50)
  try {
    await once(socket, 'message', { signal: AbortSignal.timeout(20_000) })
  } finally {
    clearInterval(timer)
    socket.close()
  }
}
