// One BMC: OpenIPMI's ipmi_sim on its own address, suite 3, with our module (bmc-chassis.c) for power and boot flags.
import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { hardware, serialPort } from './plan.ts'
import type { MachinePlan, RackPlan } from './plan.ts'
import { inNamespace, run } from './process.ts'

const restartAfterMs = 1000

/** Compiles the module that joins ipmi_sim to the daemon. */
export function buildBmcModule(rack: RackPlan): void {
  const object = `${rack.daemon.bmcModule}.o`
  run(['tcc', '-c', '-o', object, join(import.meta.dirname, 'bmc-chassis.c')])
  // tcc does not say that it needs no executable stack, and glibc from 2.41 on loads only what says so; ld says it.
  run(['ld', '-shared', '-z', 'noexecstack', '-o', rack.daemon.bmcModule, object])
}

/** Starts a machine's BMC and keeps it running until closed; malformed packets can end ipmi_sim, as they do real BMCs. */
export function startBmc(
  rack: RackPlan,
  machine: MachinePlan,
  log: (message: string) => void
): { silence(ms: number): void; close(): Promise<void> } {
  const { bmc } = machine
  const config = join(bmc.dir, 'lan.conf')
  const commands = join(bmc.dir, 'commands')
  mkdirSync(bmc.dir, { recursive: true, mode: 0o700 })
  writeFileSync(config, lanConfig(rack, machine))
  writeFileSync(commands, managementController)

  let closing = false
  let timer: NodeJS.Timeout | undefined
  let sim = begin()

  function begin() {
    const [program, ...args] = inNamespace(rack.bmcs.namespace, [
      ...['ipmi_sim', '-n', '-c', config, '-f', commands, '-s', bmc.dir]
    ])
    const output = openSync(bmc.log, 'a')
    const child = spawn(program!, args, { stdio: ['ignore', output, output] })
    closeSync(output)
    const ended = new Promise<void>((resolve) => child.on('close', () => resolve()))
    void ended.then(() => {
      if (closing) return
      log(`${machine.name}: its BMC ended (see ${bmc.log}); starting it again`)
      timer = setTimeout(() => (sim = begin()), restartAfterMs)
    })
    return {
      child,
      async stop() {
        child.kill('SIGKILL')
        await ended
      }
    }
  }

  return {
    /** It hears and says nothing for a while, as a BMC that hangs. */
    silence(ms) {
      const hung = sim.child
      hung.kill('SIGSTOP')
      setTimeout(() => hung.kill('SIGCONT'), ms).unref()
    },
    async close() {
      closing = true
      clearTimeout(timer)
      await sim.stop()
    }
  }
}

/** ipmi_lan(5). The GUID is the machine's SMBIOS UUID; only log-ins with a password are taken. */
function lanConfig(rack: RackPlan, { name, uuid, bmc }: MachinePlan): string {
  return `name "${name}"
set_working_mc 0x20
startlan 1
  addr ${bmc.address} ${bmc.port}
  priv_limit admin
  allowed_auths_user md5
  allowed_auths_operator md5
  allowed_auths_admin md5
  guid ${uuid.replaceAll('-', '')}
endlan
user 2 true "${bmc.username}" "${bmc.password}" admin 10
sol "tcp:${bmc.address}:${serialPort}" 115200
loadlib "${rack.daemon.bmcModule}" "${rack.daemon.socket} ${name}"
`
}

/** FRU 0 as SMBIOS has it too: a header (Platform Management FRU 1.3, section 8), then a product area (section 12) of maker and product. */
const fru = fruOf(hardware.manufacturer, hardware.product)

function fruOf(...fields: readonly string[]): Buffer {
  // Two bits say 8-bit text, the others how long; C1h ends the list.
  const text = fields.flatMap((field) => [0xc0 | field.length, ...Buffer.from(field)])
  const used = 3 + text.length + 2
  const length = Math.ceil(used / 8) * 8
  const area = Buffer.alloc(length - 1)
  area.set([1, length / 8, 0, ...text, 0xc1])
  return Buffer.concat([checked(Buffer.from([1, 0, 0, 0, 1, 0, 0])), checked(area)])
}

/** All bytes with the last one add up to a multiple of 256. */
function checked(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.from([-bytes.reduce((sum, byte) => sum + byte, 0) & 0xff])])
}

/** ipmi_sim_cmd(5): one management controller at the BMC's address, able to do chassis control. */
const managementController = `mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02
mc_add_fru_data 0x20 0 ${fru.length} data ${[...fru].map((byte) => `0x${byte.toString(16)}`).join(' ')}
mc_enable 0x20
`
