// The command line of the virtual rack; scripts/rack runs it.
import { Command, InvalidArgumentError, Option } from 'commander'
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join, parse, resolve } from 'node:path'
import { startCapture } from './capture.ts'
import { attachConsole } from './console.ts'
import { enrol, followToActive, nodeState, order } from './deploy.ts'
import type { SampleImage } from './deploy.ts'
import { daemonStatus, findRack, ipmitool, isRunning, putUp, root, takeDown } from './lab.ts'
import { cpuArch, defaults } from './plan.ts'
import type { BootDevice, Firmware, MachinePlan, RackOptions, RackPlan } from './plan.ts'
import { inNamespace } from './process.ts'
import { api, seedling, seedlingHere, seedPid, startSeed } from './seed.ts'
import { say, step } from './step.ts'

const logs = join(root, '.cache/log')
const sampleImages = ['tiny', 'debian']

const cli = new Command('rack')
  .description(
    'A rack of virtual machines with BMCs, on networks of its own: put it up, and Seedling takes the machines from ' +
      'powered off to running instances.'
  )
  .addOption(new Option('--name <name>', 'which rack, when there are several').default(defaults.name))
  .showHelpAfterError()
  // What follows ssh, exec and seedling belongs to them.
  .enablePositionalOptions()

type UpOptions = {
  nodes?: number
  firmware?: Firmware[]
  memory?: number
  disk?: number
  mtu?: number
  spanningTree?: boolean
  loss?: number
  nics?: number
  bootOrder?: BootDevice
  image: string
  userData?: string
  appliance?: boolean
  capture?: boolean
  deploy: boolean
}

cli
  .command('up')
  .description('put the rack up and deploy every machine; again: finish or do nothing')
  .option('--nodes <n>', `number of machines (${defaults.nodes})`, wholeNumber)
  .option(
    '--firmware <list>',
    `bios, uefi, http (UEFI without PXE), secure (UEFI with Secure Boot), bios-cd, uefi-stick (iPXE in a USB port), arm64, arm64-http; in turn (${defaults.firmware})`,
    list<Firmware>
  )
  .option('--memory <MiB>', `memory of each (${defaults.memoryMiB})`, wholeNumber)
  .option('--disk <GiB>', `disk of each (${defaults.diskGiB})`, wholeNumber)
  .option('--mtu <bytes>', `what the LAN carries in one piece (${defaults.mtu})`, wholeNumber)
  .option('--spanning-tree', 'a switch that forwards nothing for 30 s after a link came up')
  .option('--loss <percent>', 'packets lost each way between LAN and Seedling', wholeNumber)
  .option('--nics <n>', `network cards of each; the last is on the LAN (${defaults.nics})`, wholeNumber)
  .option('--boot-order <first>', `what machines try first: network or disk (${defaults.bootFirst})`)
  .option('--image <image>', `${sampleImages.join(', ')}, or a file`, 'debian')
  .option('--user-data <file>', 'user data for the instances')
  .option('--appliance', 'Seedling is the appliance image in a virtual machine, set up by its seed alone')
  .option('--capture', "record every packet of the machines' LAN from now on (pcap; see logs)")
  .option('--no-deploy', 'only put the rack and Seedling up')
  .action(up)

cli
  .command('down')
  .description('end everything and remove every trace of the rack (built images stay)')
  .action(async () => {
    const rack = findRack(rackName())
    if (!rack) return say(`there is no rack "${rackName()}"; nothing to do`)
    await takeDown(rack)
    say(`rack "${rack.name}" is down`)
  })

cli.command('status').description('what runs, and the state of each machine').action(status)

cli
  .command('console <node>')
  .description("a machine's serial console, live")
  .action((node: string) => attachConsole(machineOf(theRack(), node)))

cli
  .command('ssh <node> [command...]')
  .description('log in to an instance with the key of the rack')
  .passThroughOptions()
  .action(async (node: string, command: string[]) => {
    const rack = theRack()
    process.exitCode = spawnInSeed(rack, [...(await sshCommand(rack, machineOf(rack, node))), ...command])
  })

cli
  .command('power <node> <verb>')
  .description('on, off, soft, cycle, reset or status, through the BMC with ipmitool')
  .action((node: string, verb: string) => {
    const rack = theRack()
    say(ipmitool(rack, machineOf(rack, node), 'chassis', 'power', verb))
  })

cli
  .command('seedling [args...]')
  .description("run Seedling's command line against this rack")
  .passThroughOptions()
  .allowUnknownOption()
  .helpOption(false)
  .action(async (args: string[]) => {
    process.exitCode = await seedlingHere(theRack(), args)
  })

cli
  .command('exec <command...>')
  .description("run a command in the seed's network namespace: LAN, BMCs and API in reach")
  .passThroughOptions()
  .action((command: string[]) => {
    process.exitCode = spawnInSeed(theRack(), command)
  })

cli
  .command('logs')
  .description('where all the logs are')
  .action(() => tellLogs(theRack()))

try {
  await cli.parseAsync()
} catch (error) {
  console.error(`rack: ${(error as Error).message}`)
  process.exitCode = 1
}

async function up(options: UpOptions): Promise<void> {
  if (process.getuid?.() !== 0) throw new Error('network namespaces need root: run this as root')
  const image = findImage(options.image)
  const rack = await rackAsWanted(options)
  if (options.capture) await startCapture(rack)
  if (seedPid(rack) === undefined) {
    await buildBootFiles(rack)
    await startSeed(rack)
    say(`Seedling is up: process ${seedPid(rack)}`)
  }
  if (options.deploy) {
    if (image.build) await step(logs, `image-${image.name}`, `sample image "${image.name}"`, image.build)
    await deployAll(rack, image, options.userData && resolve(options.userData))
  }
  tellAccess(rack)
}

/** The rack of that name, put up if need be; an error if it is up with other options. */
async function rackAsWanted(options: UpOptions): Promise<RackPlan> {
  const wanted: Partial<RackOptions> = Object.fromEntries(
    Object.entries({
      nodes: options.nodes,
      firmware: options.firmware,
      memoryMiB: options.memory,
      diskGiB: options.disk,
      bootFirst: options.bootOrder,
      mtu: options.mtu,
      spanningTree: options.spanningTree,
      lossPercent: options.loss,
      nics: options.nics,
      appliance: options.appliance
    }).filter(([, value]) => value !== undefined)
  )
  const there = findRack(rackName())
  if (there && isRunning(there)) {
    for (const [option, value] of Object.entries(wanted))
      if (String(there.options[option as keyof RackOptions]) !== String(value))
        throw new Error(`rack "${there.name}" is up with other options; run "scripts/rack down" first`)
    return there
  }
  if (there) {
    say(`rack "${there.name}" was left without its daemon; clearing it away`)
    await takeDown(there)
  }
  const rack = await putUp({ ...defaults, ...wanted, name: rackName() })
  say(
    `rack "${rack.name}" is up: ${rack.machines.map(({ name, firmware }) => `${name} (${firmware})`).join(', ')}`
  )
  return rack
}

async function buildBootFiles(rack: RackPlan): Promise<void> {
  if (rack.appliance) return step(logs, 'appliance', 'appliance image', [join(root, 'image/appliance/build')])
  await step(logs, 'ramdisk', 'deploy ramdisk', [join(root, 'image/ramdisk/build')])
  if (rack.machines.some(({ firmware }) => cpuArch(firmware) === 'aarch64'))
    await step(logs, 'ramdisk-arm64', 'deploy ramdisk for arm64', [
      join(root, 'image/ramdisk/build'),
      'arm64'
    ])
  await step(logs, 'ipxe', 'boot loaders', [join(root, 'image/ipxe/fetch')])
  await step(logs, 'shim', 'boot loaders for Secure Boot', [join(root, 'image/shim/fetch')])
}

/** A sample image with the command that builds it (which does nothing when it is built), or an image file. */
function findImage(image: string): SampleImage & { build?: string[] } {
  if (sampleImages.includes(image))
    return {
      name: image,
      file: join(root, `.cache/image/instance/${image}.qcow2`),
      build: [join(root, 'image/instance/build'), image]
    }
  if (!existsSync(image))
    throw new Error(`no such image: ${image} (give ${sampleImages.join(', ')}, or a file)`)
  return { name: parse(image).name, file: resolve(image) }
}

async function deployAll(rack: RackPlan, image: SampleImage, userData: string | undefined): Promise<void> {
  const names = rack.machines.map(({ name }) => name)
  say(`enrolling ${names.join(', ')}; adding image "${image.name}"`)
  await enrol(rack, image)
  const states = await Promise.all(names.map((name) => nodeState(rack, name)))
  if (states.every(({ provision_state: state }) => state === 'active'))
    return say(`all ${names.length} machines are active already; "down" and "up" again deploys them anew`)
  const idle = states.filter(
    ({ provision_state: state }) => !/^active$|^deploying$|^wait call-back$/.test(state)
  )
  if (idle.length > 0) {
    const named = idle.map(({ name }) => name)
    await order(rack, named, image, userData)
    say(`ordered "${image.name}" for ${named.join(', ')}`)
  }
  await followToActive(rack, names)
  say(`all ${names.length} machines are active`)
  for (const name of names) {
    console.log(`\n${name}:`)
    console.log((await seedling(rack, 'event', 'list', '--node', name)).trimEnd())
  }
}

async function status(): Promise<void> {
  const rack = theRack()
  const machines = await daemonStatus(rack).catch(() => [])
  const seed = seedPid(rack)
  console.log(
    `rack "${rack.name}": daemon ${isRunning(rack) ? 'runs' : 'is gone'}; Seedling ${seed ? 'runs' : 'is down'}`
  )
  for (const { name, firmware, mac, bmc } of rack.machines) {
    const { power = 'unknown' } = machines.find((machine) => machine.name === name) ?? {}
    const provision = seed && (await nodeState(rack, name).catch(() => undefined))?.provision_state
    console.log(
      `  ${name}  ${firmware}  ${mac}  BMC ${bmc.address}  power ${power}  ${provision || 'not enrolled'}`
    )
  }
}

function tellAccess(rack: RackPlan): void {
  const { management, apiPort, apiSocket, dataDir } = rack.seed
  const flag = rack.name === defaults.name ? '' : ` --name ${rack.name}`
  const api = rack.appliance
    ? `the socket ${apiSocket} (by SSH to the appliance, root@${rack.appliance.bmc.address})`
    : `http://${management.address}:${apiPort} (token: ${join(dataDir, 'api-token')}), or the socket ${apiSocket}`
  console.log(`
API:     ${api}
Log in:  scripts/rack${flag} ssh ${rack.machines[0]!.name}
Console: scripts/rack${flag} console ${rack.machines[0]!.name}
Ask:     scripts/rack${flag} seedling node list
Stop:    scripts/rack${flag} down`)
}

function tellLogs(rack: RackPlan): void {
  console.log(`builds    ${logs}`)
  console.log(`Seedling  ${rack.appliance?.console ?? rack.seed.log}`)
  console.log(`rack      ${rack.daemon.log}`)
  if (existsSync(rack.capture.pcap)) console.log(`packets   ${rack.capture.pcap}`)
  for (const { name, consoleLog, bmc } of rack.machines)
    console.log(`${name}     ${consoleLog}, BMC ${bmc.log}`)
}

async function sshCommand(rack: RackPlan, machine: MachinePlan): Promise<string[]> {
  const path = `/v1/dhcp/leases?mac=${machine.mac}&state=bound`
  const [lease] = (await api<{ leases: { ip: string }[] }>(rack, 'GET', path)).leases
  if (!lease) throw new Error(`${machine.name} has no address; is it active? (scripts/rack status)`)
  // The instance's host key is new with every deployment, so there is nothing to compare it with.
  const unchecked = [
    '-o',
    'StrictHostKeyChecking=no',
    '-o',
    'UserKnownHostsFile=/dev/null',
    '-o',
    'LogLevel=ERROR'
  ]
  return ['ssh', '-i', rack.sshKey, ...unchecked, `debian@${lease.ip}`]
}

function spawnInSeed(rack: RackPlan, command: readonly string[]): number {
  const [program, ...args] = inNamespace(rack.seed.namespace, command)
  return spawnSync(program!, args, { stdio: 'inherit' }).status ?? 1
}

function rackName(): string {
  return cli.opts<{ name: string }>().name
}

function theRack(): RackPlan {
  const rack = findRack(rackName())
  if (!rack) throw new Error(`there is no rack "${rackName()}"; run "scripts/rack up" first`)
  return rack
}

function machineOf(rack: RackPlan, name: string): MachinePlan {
  const machine = rack.machines.find((machine) => machine.name === name)
  if (!machine)
    throw new Error(`no machine "${name}"; there are ${rack.machines.map(({ name }) => name).join(', ')}`)
  return machine
}

function wholeNumber(value: string): number {
  if (!/^\d+$/.test(value)) throw new InvalidArgumentError('a whole number is needed')
  return Number(value)
}

function list<T extends string>(value: string): T[] {
  return value.split(',') as T[]
}
