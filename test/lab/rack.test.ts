import { closeSync, existsSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs'
import t from 'tap'
import { readCapture, startCapture } from '../../scripts/lab/capture.ts'
import { dhcpExchanges } from '../../scripts/lab/exchanges.ts'
import { consoleText, daemonStatus, ipmitool, putUp, takeDown, until } from '../../scripts/lab/lab.ts'
import { networkRemains } from '../../scripts/lab/network.ts'
import { defaults } from '../../scripts/lab/plan.ts'
import type { MachinePlan } from '../../scripts/lab/plan.ts'

// A name of its own, so that another rack may be up beside it.
const name = `t${(process.pid % 36 ** 5).toString(36)}`
const rack = await putUp({
  ...defaults,
  ...{ name, nodes: 3, firmware: ['bios', 'uefi', 'http'], memoryMiB: 256, diskGiB: 1 }
})
t.teardown(() => takeDown(rack))
await startCapture(rack)

const [bios, uefi, http] = rack.machines as [MachinePlan, MachinePlan, MachinePlan]
const power = (machine: MachinePlan, verb: string) => ipmitool(rack, machine, 'chassis', 'power', verb)
const saysInConsole = (machine: MachinePlan, words: RegExp) =>
  until(() => words.exec(consoleText(machine)), `${machine.name} never said ${words}`, { patienceMs: 40_000 })
const powerBecomes = (machine: MachinePlan, state: 'on' | 'off') =>
  until(() => power(machine, 'status') === `Chassis Power is ${state}`, `${machine.name} never went ${state}`)

t.test('machines are off until their BMC is asked, and the BMCs are told apart', async (t) => {
  for (const machine of rack.machines) t.equal(power(machine, 'status'), 'Chassis Power is off')
  for (const machine of [bios, http]) {
    power(machine, 'on')
    await powerBecomes(machine, 'on')
  }
  t.equal(power(uefi, 'status'), 'Chassis Power is off')
})

t.test('a wrong password is refused', async (t) => {
  const stranger = { ...bios, bmc: { ...bios.bmc, password: 'not-the-password' } }
  t.throws(() => power(stranger, 'status'), /Unable to establish IPMI/)
})

t.test('boot flags come back in every bit, and are used up by one boot', async (t) => {
  ipmitool(rack, uefi, ...'raw 0x00 0x08 0x05 0xa0 0x04 0 0 0'.split(' '))
  t.match(ipmitool(rack, uefi, ...'raw 0x00 0x09 0x05 0 0'.split(' ')), /^01 05 a0 04 00 00 00$/)
  power(uefi, 'on')
  await powerBecomes(uefi, 'on')
  t.match(ipmitool(rack, uefi, ...'raw 0x00 0x09 0x05 0 0'.split(' ')), /^01 05 20 04 00 00 00$/)
})

t.test('each firmware boots from the network as it should, and the recording has what it asks', async (t) => {
  await saysInConsole(bios, /SeaBIOS/)
  await saysInConsole(bios, /iPXE .*Open Source Network Boot Firmware/)
  await saysInConsole(uefi, /Start PXE over IPv4/)
  await saysInConsole(http, /Start HTTP Boot over IPv4/)
  t.notMatch(consoleText(uefi) + consoleText(http), /iPXE/, 'the UEFI machines have no iPXE in their cards')
  const firstAsks = (machine: MachinePlan) =>
    until(
      () => dhcpExchanges(readCapture(rack.capture.pcap)).find(({ mac }) => mac === machine.mac)?.client,
      `${machine.name} asked for no address`
    )
  t.equal(await firstAsks(bios), 'iPXE')
  t.equal(await firstAsks(uefi), 'PXEClient:Arch:00007')
  t.equal(await firstAsks(http), 'HTTPClient:Arch:00016')
  for (const machine of [uefi, http]) power(machine, 'off')
})

t.test(
  'an override for one boot holds for that boot; after a reset the machine follows its own order',
  async (t) => {
    power(bios, 'off')
    await powerBecomes(bios, 'off')
    writeBootSector(bios, resetsTheMachine)
    const before = consoleText(bios).length
    ipmitool(rack, bios, 'chassis', 'bootdev', 'disk')
    power(bios, 'on')
    const booted = () =>
      consoleText(bios)
        .slice(before)
        .match(/Booting from Hard Disk|starting execution/g) ?? []
    await until(() => booted().length >= 2, 'the machine did not boot twice', { patienceMs: 30_000 })
    t.same(booted().slice(0, 2), ['Booting from Hard Disk', 'starting execution'])
  }
)

t.test('a machine that turns itself off is off in the eyes of its BMC', async (t) => {
  power(bios, 'off')
  await powerBecomes(bios, 'off')
  writeBootSector(bios, turnsItselfOff)
  const before = consoleText(bios).length
  ipmitool(rack, bios, 'chassis', 'bootdev', 'disk')
  power(bios, 'on')
  await until(() => /Booting from Hard Disk/.test(consoleText(bios).slice(before)), 'the disk was not booted')
  await powerBecomes(bios, 'off')
  t.equal((await daemonStatus(rack)).find(({ name }) => name === bios.name)?.power, 'off')
})

t.test('nothing is left of a rack that was taken down', async (t) => {
  await takeDown(rack)
  t.same(networkRemains(rack), [])
  t.notOk(existsSync(rack.dir))
  const commandLines = readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map(commandLine)
  t.same(
    commandLines.filter((line) => line.includes(rack.dir)),
    []
  )
})

/** Real-mode programs of a few bytes, run by the BIOS from the disk's first sector. */
const resetsTheMachine = 'b0fe e664 f4 ebfd' // the keyboard controller's reset line, then halt
const turnsItselfOff = 'b80153 31db cd15 b80e53 31db b90201 cd15 b80753 bb0100 b90300 cd15 f4 ebfd' // APM 1.2: connect, power off

function writeBootSector(machine: MachinePlan, program: string): void {
  const sector = Buffer.alloc(512)
  sector.write(program.replaceAll(' ', ''), 'hex')
  sector.writeUInt16BE(0x55aa, 510)
  const disk = openSync(machine.disk, 'r+')
  writeSync(disk, sector)
  closeSync(disk)
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
  } catch {
    return ''
  }
}
