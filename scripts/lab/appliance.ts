// Seedling as operators run it: the appliance image in a virtual machine on the rack's LAN, set up by a NoCloud seed and nothing else, and
// reached by SSH.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root, until } from './lab.ts'
import type { AppliancePlan, RackPlan } from './plan.ts'
import { inNamespace, recordedPid, run, startDetached, stopRecorded } from './process.ts'
import { api } from './seed.ts'

const image = join(root, '.cache/image/appliance/seedling.qcow2')
/** Emulated, and with the machines' processors busy beside it. */
const bootPatienceMs = 300_000
const MOST_RESETS = 2

/**
 * Starts the appliance, with its disk as it was left, and waits until its API answers.
 * @param config what its seed says of seedling.json, at its first start
 * @throws Error naming the log when it does not
 */
export async function startAppliance(
  rack: RackPlan,
  appliance: AppliancePlan,
  config: object = {}
): Promise<void> {
  if (!existsSync(appliance.disk))
    run(['qemu-img', 'create', '-q', '-f', 'qcow2', '-b', image, '-F', 'qcow2', appliance.disk])
  if (!existsSync(appliance.seedDisk)) makeSeed(rack, appliance, config)
  const powerOn = () =>
    startDetached(
      inNamespace(rack.lan.namespace, ['qemu-system-x86_64', ...qemuArguments(appliance)]),
      rack.seed
    )
  powerOn()
  let resets = 0
  if (recordedPid(appliance.tunnel.pidFile) === undefined) openTunnel(rack, appliance)
  await until(
    async () => {
      if (recordedPid(rack.seed.pidFile) === undefined) {
        // It starts anew after a panic (QEMU's translator is not always right about code that a kernel patches on two processors).
        if (resets++ === MOST_RESETS) throw new Error('the appliance ends again and again')
        powerOn()
      }
      return api(rack, 'GET', '/v1/nodes').catch(() => undefined)
    },
    'the appliance does not answer',
    { patienceMs: bootPatienceMs, everyMs: 250 }
  ).catch((error: Error) => {
    const last = existsSync(appliance.console)
      ? readFileSync(appliance.console, 'utf8').trimEnd().split('\n').slice(-15)
      : []
    const { log } = appliance.tunnel
    throw new Error(
      [`${error.message}; ${rack.seed.log}, ${log} and the end of ${appliance.console}:`, ...last].join('\n')
    )
  })
}

/** The command that logs in to the appliance, to be run on the host. */
export function sshToAppliance(rack: RackPlan, appliance: AppliancePlan, ...command: string[]): string[] {
  const options = [
    'BatchMode=yes',
    'ConnectTimeout=5',
    'StrictHostKeyChecking=no',
    'UserKnownHostsFile=/dev/null',
    'LogLevel=ERROR'
  ]
  return inNamespace(rack.seed.namespace, [
    'ssh',
    '-i',
    rack.sshKey,
    ...options.flatMap((option) => ['-o', option]),
    `root@${appliance.bmc.address}`,
    ...command
  ])
}

/** The API's socket of the appliance, as a socket here; opened again whenever the appliance was away. */
function openTunnel(rack: RackPlan, appliance: AppliancePlan): void {
  const forward = [
    '-N',
    '-o',
    'ServerAliveInterval=5',
    '-o',
    'ServerAliveCountMax=3',
    '-o',
    'StreamLocalBindUnlink=yes',
    '-o',
    'ExitOnForwardFailure=yes'
  ]
  const [program, ...args] = sshToAppliance(rack, appliance)
  const line = [program!, ...args, ...forward, '-L', `${rack.seed.apiSocket}:/run/seedling/api.sock`]
  startDetached(['sh', '-c', 'while :; do "$@"; sleep 0.5; done', 'tunnel', ...line], appliance.tunnel)
}

/** What an operator puts into the appliance's virtual drive. */
function makeSeed(rack: RackPlan, appliance: AppliancePlan, config: object): void {
  if (!existsSync(rack.sshKey))
    run(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', 'rack', '-f', rack.sshKey])
  const { seedFolder: folder, seedDisk: disk, lan, bmc } = appliance
  mkdirSync(folder, { recursive: true })
  const userData = {
    hostname: 'seed',
    ssh_authorized_keys: [readFileSync(`${rack.sshKey}.pub`, 'utf8').trim()],
    seedling: {
      interface: lan.mac,
      address: `${lan.address}/24`,
      pool: '192.0.2.100-192.0.2.199',
      gateway: lan.address,
      links: [{ interface: bmc.mac, address: `${bmc.address}/24` }],
      config
    }
  }
  // JSON is YAML.
  writeFileSync(join(folder, 'user-data'), `#cloud-config\n${JSON.stringify(userData, null, 2)}\n`)
  writeFileSync(join(folder, 'meta-data'), `instance-id: ${rack.name}\n`)
  rmSync(disk, { force: true })
  run(['mkfs.vfat', '-C', '-n', 'CIDATA', disk, '1024'])
  run(['mcopy', '-i', disk, join(folder, 'user-data'), join(folder, 'meta-data'), '::'])
}

/** Ends the appliance as a power cut does. */
export const cutAppliance = (rack: RackPlan): Promise<void> =>
  stopRecorded(rack.seed.pidFile, { signal: 'SIGKILL' })

function qemuArguments({ disk, seedDisk, console, memoryMiB, lan, bmc }: AppliancePlan): string[] {
  const card = (name: string, { mac, tap }: { mac: string; tap: string }) => [
    ['-netdev', `tap,id=${name},ifname=${tap},script=no,downscript=no`],
    ['-device', `virtio-net-pci,netdev=${name},mac=${mac},romfile=`]
  ]
  return [
    ['-name', 'appliance'],
    // A reboot ends it, as it does the machines of the rack; `rack up` starts it again.
    ['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none'],
    ['-machine', 'q35,graphics=off', '-cpu', 'qemu64,svm=off'],
    ['-accel', 'tcg,tb-size=256'],
    ['-smp', '2', '-m', `${memoryMiB}`],
    // Nothing that it was told to be on disk is lost with its power.
    ['-drive', `if=virtio,format=qcow2,file=${disk},cache=writethrough`],
    ['-drive', `if=virtio,format=raw,file=${seedDisk},readonly=on`],
    ...card('lan', lan),
    ...card('bmc', bmc),
    ['-device', 'virtio-rng-pci'],
    ['-chardev', `file,id=serial,path=${console},append=on`, '-serial', 'chardev:serial'],
    // A watchdog as servers have one; systemd feeds it.
    ['-device', 'i6300esb', '-watchdog-action', 'reset']
  ].flat()
}
