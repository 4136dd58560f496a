// A machine for the sample images' tests: QEMU on emulated firmware, one NIC, and one disk that is what the deploy ramdisk
// leaves behind: the image, the backup partition table moved to the disk's end, and a config-2 volume there.
// The machine's network reaches two things only: a port of ours, as an address of its network, and nothing beyond.

import { execFileSync, spawn } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'

const here = import.meta.dirname
const repository = resolve(here, '../../..')
const mebibyte = 1024 * 1024

export type Firmware = 'bios' | 'uefi'

/** Files of a config-drive, path → content; objects are written as JSON. */
export type ConfigDrive = Record<string, string | object>

/** Builds the image unless it is up to date, and returns the path of the qcow2 file. */
export const sampleImage = (name: 'tiny' | 'debian'): string => {
  execFileSync(join(repository, 'image/instance/build'), [name], { stdio: ['ignore', 2, 2] })
  return join(repository, '.cache/image/instance', `${name}.qcow2`)
}

/** A folder of the test's own, and how to remove it. */
export const workFolder = () => {
  const path = mkdtempSync(join(tmpdir(), 'seedling-instance-'))
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) }
}

/** Writes the image to a raw disk `spareMiB` larger than itself, with the config-drive as its last 64 MiB. */
export const deployedDisk = (image: string, path: string, drive: ConfigDrive, spareMiB = 100): void => {
  const run = (program: string, ...args: string[]) =>
    execFileSync(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  run('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', image, path)
  truncateSync(path, statSync(path).size + spareMiB * mebibyte)
  run(
    'sgdisk',
    '--move-second-header',
    '--new=0:-64M:0',
    '--change-name=4:config-2',
    '--typecode=4:0700',
    path
  )
  const first = Number(/First sector: (\d+)/.exec(run('sgdisk', '--info=4', path).toString())?.[1])
  run('mkfs.vfat', '-F', '16', '-n', 'config-2', '--offset', String(first), path, String(60 * 1024))
  const tree = `${path}.config-drive`
  for (const [name, content] of Object.entries(drive)) {
    mkdirSync(dirname(join(tree, name)), { recursive: true })
    writeFileSync(join(tree, name), typeof content === 'string' ? content : JSON.stringify(content))
  }
  run('mcopy', '-i', `${path}@@${first * 512}`, '-s', join(tree, 'openstack'), '::')
  rmSync(tree, { recursive: true })
}

export type Boot = {
  disk: string
  firmware: Firmware
  mac: string
  memoryMiB: number
  cpus: number
  /** Where the machine sees our HTTP server: an address of the /24 network that it gets its own from. */
  metadataAddress: string
  /** Our HTTP server's port on the loopback interface. */
  metadataPort: number
  /** A port on the loopback interface that leads to the machine's SSH server. */
  sshPort?: number
}

/** Switches a machine on. `console` is all that came over its serial port; `seen` waits until it matches. */
export const bootMachine = (boot: Boot) => {
  const network = boot.metadataAddress.replace(/\.\d+$/, '.0/24')
  const relay = `${process.execPath} ${join(here, 'relay.ts')} ${boot.metadataPort}`
  const firmware =
    boot.firmware === 'bios'
      ? []
      : [
          ...['-machine', 'q35'],
          ...['-drive', 'if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd'],
          ...['-drive', `if=pflash,format=raw,file=${boot.disk}.vars`]
        ]
  if (boot.firmware === 'uefi') copyFileSync('/usr/share/OVMF/OVMF_VARS_4M.fd', `${boot.disk}.vars`)
  const ssh = boot.sshPort ? `,hostfwd=tcp:127.0.0.1:${boot.sshPort}-:22` : ''
  const startedAt = performance.now()
  const qemu = spawn(
    'qemu-system-x86_64',
    [
      ...[
        '-nodefaults',
        '-accel',
        'tcg,thread=multi',
        '-m',
        String(boot.memoryMiB),
        '-smp',
        String(boot.cpus)
      ],
      ...firmware,
      ...['-display', 'none', '-serial', 'stdio', '-no-reboot'],
      ...[
        '-drive',
        `if=none,id=disk,format=raw,discard=unmap,file=${boot.disk}`,
        '-device',
        'virtio-blk-pci,drive=disk'
      ],
      ...[
        '-netdev',
        `user,id=lan,restrict=on,net=${network},guestfwd=tcp:${boot.metadataAddress}:80-cmd:${relay}${ssh}`
      ],
      ...['-device', `virtio-net-pci,netdev=lan,mac=${boot.mac},romfile=`]
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] }
  )
  let text = ''
  let ended = false
  let look = () => {}
  const append = (chunk: Buffer) => {
    text += chunk.toString('latin1')
    look()
  }
  qemu.stdout.on('data', append)
  qemu.stderr.on('data', append)
  qemu.on('exit', () => {
    ended = true
    look()
  })
  return {
    get console() {
      return text
    },
    /** Seconds since power-on. */
    seconds: () => Math.round((performance.now() - startedAt) / 100) / 10,
    /** Waits for the console to show `pattern`; throws with the console's end when the machine stops or the time is up. */
    seen: (pattern: RegExp, timeoutSeconds: number): Promise<RegExpExecArray> =>
      new Promise((done, fail) => {
        const giveUp = (why: string) =>
          fail(new Error(`${why}; no ${pattern} on the console, which ends:\n${text.slice(-3000)}`))
        const timer = setTimeout(() => giveUp(`${timeoutSeconds} s have passed`), timeoutSeconds * 1000)
        look = () => {
          const match = pattern.exec(text)
          if (!match && !ended) return
          clearTimeout(timer)
          look = () => {}
          if (match) done(match)
          else giveUp('the machine has stopped')
        }
        look()
      }),
    /** Pulls the plug. */
    stop: () =>
      new Promise<void>((done) => {
        if (ended) return done()
        qemu.on('exit', () => done())
        qemu.kill('SIGKILL')
      })
  }
}

export type Call = { method: string; path: string; type: string | undefined; body: string }

/** An HTTP server on a loopback port that records each call and answers with what `answer` returns (undefined: 404). */
export const metadataServer = async (answer: (call: Call) => string | undefined) => {
  const calls: Call[] = []
  const server = createServer((request: IncomingMessage, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk.toString()))
    request.on('end', () => {
      const call = {
        method: request.method ?? '',
        path: request.url ?? '',
        type: request.headers['content-type'],
        body
      }
      calls.push(call)
      const content = answer(call)
      response.writeHead(content === undefined ? 404 : 200, {
        'content-type': content?.startsWith('{') ? 'application/json' : 'text/plain'
      })
      response.end(request.method === 'HEAD' ? undefined : content)
    })
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  return {
    port: (server.address() as AddressInfo).port,
    calls,
    close: () => {
      server.closeAllConnections()
      server.close()
    }
  }
}
