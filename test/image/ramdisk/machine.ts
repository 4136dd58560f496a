// One machine in QEMU that boots the built ramdisk, without KVM so that it runs everywhere.
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'

const top = resolve(import.meta.dirname, '../../..')
const ramdisk = `${top}/.cache/image/ramdisk`

/** Builds the ramdisk when it is absent or out of date. */
export const buildRamdisk = async (): Promise<void> => {
  const build = spawn(`${top}/image/ramdisk/build`, { stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  build.stderr.on('data', (data: Buffer) => (said += data.toString()))
  const code = await new Promise<number | null>((done) => build.on('exit', done))
  if (code !== 0) throw new Error(`image/ramdisk/build failed:\n${said}`)
}

/** OVMF's code and an empty variable store, wherever this Debian keeps them. */
export const ovmf = (): { code: string; vars: string } => {
  const pair = ['_4M', '']
    .map((size) => ({
      code: `/usr/share/OVMF/OVMF_CODE${size}.fd`,
      vars: `/usr/share/OVMF/OVMF_VARS${size}.fd`
    }))
    .find(({ code, vars }) => existsSync(code) && existsSync(vars))
  if (!pair) throw new Error('no OVMF in /usr/share/OVMF: apt-get install ovmf')
  return pair
}

export interface Machine {
  /** what the serial console has shown so far */
  console: () => string
  /** resolves with the exit status; a reboot of the machine ends QEMU with 0 */
  ended: Promise<number | null>
  kill: () => Promise<void>
}

/** Starts QEMU with `args` beside the usual; `append` boots the ramdisk with that command line. */
export const startMachine = (folder: string, args: string[], append?: string): Machine => {
  const log = `${folder}/console.log`
  const output = openSync(log, 'w')
  const boot =
    append === undefined
      ? []
      : ['-kernel', `${ramdisk}/vmlinuz`, '-initrd', `${ramdisk}/ramdisk.img`, '-append', append]
  const qemu: ChildProcess = spawn(
    'qemu-system-x86_64',
    // Both processors in one thread: in two, emulation now and then runs a kernel instruction that the other is just changing, and the
    // kernel dies of it.
    // prettier-ignore
    ['-accel', 'tcg,thread=single', '-cpu', 'qemu64', '-smp', '2', '-m', '768', '-nographic', '-monitor', 'none',
      '-nodefaults', '-serial', 'stdio', '-no-reboot', ...boot, ...args],
    { stdio: ['ignore', output, output] }
  )
  closeSync(output)
  const ended = new Promise<number | null>((done) => qemu.on('exit', done))
  return {
    console: () => readFileSync(log, 'latin1'),
    ended,
    kill: async () => {
      qemu.kill('SIGKILL')
      await ended
    }
  }
}
