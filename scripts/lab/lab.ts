// The virtual rack as a whole: put it up, take it down, look at it, and reach into it. Everything is found again from
// its plan (`rack.json` in the rack's folder), so any process can do the next step.
import { randomBytes } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  closeSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync
} from 'node:fs'
import { connect } from 'node:net'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { buildBmcModule } from './bmc.ts'
import type { Faults } from './faults.ts'
import type { MachineStatus } from './machine.ts'
import { buildNetwork, networkRemains, removeNetwork, setSwitchPort, startOtherDhcp } from './network.ts'
import { bootMode, planRack, rackDir } from './plan.ts'
import type { MachinePlan, RackOptions, RackPlan } from './plan.ts'
import { inNamespace, recordedPid, run, startDetached, stopRecorded } from './process.ts'
import { flashOf } from './qemu.ts'

/** The project's folder. */
export const root = dirname(dirname(import.meta.dirname))

/** What goes onto USB sticks; image/ipxe/fetch makes the first two. */
const ipxe = {
  image: join(root, '.cache/image/ipxe-usb.iso'),
  efi: join(root, '.cache/image/ipxe/ipxe.efi'),
  script: join(root, 'image/ipxe/autoexec.ipxe')
}

/** sun_path of unix(7) holds 108 bytes with the final zero. */
const longestSocketPath = 107

/** The plan of a rack that is up (or was left behind), if there is one of that name. */
export function findRack(name: string): RackPlan | undefined {
  const file = planFile(rackDir(root, name))
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as RackPlan) : undefined
}

/**
 * Puts a rack up: networks, disks, BMCs, and every machine powered off. Nothing of it is kept when it fails.
 * @throws Error when a rack of that name is there already, or with what failed
 */
export async function putUp(options: RackOptions): Promise<RackPlan> {
  const rack = planRack(root, options, () => randomBytes(12).toString('base64url'))
  if (existsSync(rack.dir) || networkRemains(rack).length > 0)
    throw new Error(`a rack "${rack.name}" is there already; take it down first`)
  if (rack.machines.some(({ consoleSocket }) => Buffer.byteLength(consoleSocket) > longestSocketPath))
    throw new Error(
      `the project's path is too long for Unix sockets (${longestSocketPath} bytes): ${rack.dir}`
    )
  try {
    mkdirSync(rack.dir, { recursive: true, mode: 0o700 })
    // Secrets inside: the BMCs' passwords.
    writeFileSync(planFile(rack.dir), JSON.stringify(rack, null, 2), { mode: 0o600 })
    rack.machines.forEach(makeDisks)
    buildBmcModule(rack)
    buildNetwork(rack)
    if (options.nics > 1) startOtherDhcp(rack)
    startDetached([process.execPath, join(import.meta.dirname, 'daemon.ts'), planFile(rack.dir)], rack.daemon)
    await until(
      () => daemonStatus(rack).catch(() => undefined),
      `the rack daemon does not answer; see ${rack.daemon.log}`
    )
    for (const machine of rack.machines) checkBmc(rack, machine)
    return rack
  } catch (error) {
    await takeDown(rack)
    throw error
  }
}

/** Ends every process of the rack and removes namespaces, links and files. Safe to repeat. */
export async function takeDown(rack: RackPlan): Promise<void> {
  if (rack.appliance) await stopRecorded(rack.appliance.tunnel.pidFile)
  await stopRecorded(rack.seed.pidFile)
  await stopRecorded(rack.daemon.pidFile)
  await removeNetwork(rack)
  rmSync(rack.dir, { recursive: true, force: true })
}

/** Each machine's power and boot flags. @throws Error when the daemon is not running */
export async function daemonStatus(rack: RackPlan): Promise<MachineStatus[]> {
  return JSON.parse(await askDaemon(rack, 'status')) as MachineStatus[]
}

/** The cable between a machine and the LAN: both ends see at once whether it is plugged in. @throws Error when the machine is off */
export async function setCable(rack: RackPlan, machine: MachinePlan, plugged: boolean): Promise<void> {
  const answer = await askDaemon(rack, `link ${machine.name} ${plugged ? 'on' : 'off'}`)
  if (answer.trim() !== 'done') throw new Error(`${machine.name}: ${answer.trim() || 'no answer'}`)
  setSwitchPort(rack, machine.switchPort, plugged)
}

function askDaemon(rack: RackPlan, line: string): Promise<string> {
  const connection = connect(rack.daemon.socket)
  connection.write(`${line}\n`)
  return text(connection)
}

/** What is to go wrong with a machine from now on, and nothing else; what is not said is all right. */
export async function setFaults(
  rack: RackPlan,
  { name }: MachinePlan,
  faults: Partial<Faults>
): Promise<void> {
  const connection = connect(rack.daemon.socket)
  connection.write(`fault ${name} ${JSON.stringify(faults)}\n`)
  const answer = (await text(connection)).trim()
  if (answer !== 'ok') throw new Error(`the rack daemon did not take the faults: ${answer || 'no answer'}`)
}

/** True while the rack's daemon, and with it every machine and BMC, is under control. */
export const isRunning = (rack: RackPlan): boolean => recordedPid(rack.daemon.pidFile) !== undefined

/** Runs a command in the seed's namespace, where the LAN, the BMCs and the API are in reach. */
export function inSeed(rack: RackPlan, command: readonly string[], env: NodeJS.ProcessEnv = {}): string {
  return run(inNamespace(rack.seed.namespace, command), { env: { ...process.env, ...env } })
}

/** Asks a machine's BMC over the BMC network with ipmitool, and answers what it prints. */
export function ipmitool(rack: RackPlan, { bmc }: MachinePlan, ...args: string[]): string {
  // The password goes by the environment: a command line can be read by everyone.
  return inSeed(
    rack,
    [
      'ipmitool',
      '-I',
      'lanplus',
      '-C',
      '3',
      '-H',
      bmc.address,
      '-p',
      `${bmc.port}`,
      '-U',
      bmc.username,
      '-E',
      ...args
    ],
    { IPMI_PASSWORD: bmc.password }
  ).trim()
}

function checkBmc(rack: RackPlan, machine: MachinePlan): void {
  try {
    ipmitool(rack, machine, 'chassis', 'power', 'status')
  } catch (error) {
    const said = readFileSync(machine.bmc.log, 'utf8').trim().split('\n').slice(-2).join('\n')
    throw new Error(`the BMC of ${machine.name} does not answer: ${(error as Error).message}\n${said}`, {
      cause: error
    })
  }
}

/** What a machine has said on its serial port since the rack was put up. */
export function consoleText(machine: MachinePlan): string {
  return existsSync(machine.consoleLog) ? readFileSync(machine.consoleLog, 'utf8') : ''
}

/** Polls until the answer is neither undefined nor false. @throws Error with `complaint` when time is up */
export async function until<T>(
  look: () => T | Promise<T>,
  complaint: string,
  { patienceMs = 10_000, everyMs = 50 }: { patienceMs?: number; everyMs?: number } = {}
): Promise<NonNullable<T>> {
  const deadline = Date.now() + patienceMs
  for (;;) {
    const found = await look()
    if (found) return found
    if (Date.now() > deadline) throw new Error(complaint)
    await sleep(everyMs)
  }
}

const planFile = (dir: string): string => join(dir, 'rack.json')

function makeDisks(machine: MachinePlan): void {
  closeSync(openSync(machine.disk, 'w'))
  truncateSync(machine.disk, machine.diskGiB * 1024 ** 3)
  if (bootMode(machine.firmware) === 'uefi')
    copyFileSync(flashOf(machine.firmware).variables, machine.efiVariables)
  if (machine.stick) makeStick(machine, machine.stick)
}

/** iPXE as operators put it into a USB port: for BIOS the image as it is, for UEFI a FAT file system with the loader that is looked for. */
function makeStick(machine: MachinePlan, stick: string): void {
  if (bootMode(machine.firmware) === 'bios') return copyFileSync(ipxe.image, stick)
  closeSync(openSync(stick, 'w'))
  truncateSync(stick, machine.diskGiB * 1024 ** 3)
  const mtools = (program: string, ...args: string[]) => run([program, '-i', stick, ...args])
  mtools('mformat', '-F', '::')
  mtools('mmd', '::/EFI', '::/EFI/BOOT')
  mtools('mcopy', ipxe.efi, '::/EFI/BOOT/BOOTX64.EFI')
  mtools('mcopy', ipxe.script, '::/EFI/BOOT/autoexec.ipxe')
}
