// qcow2 → raw by qemu-img, as a child that can reach nothing but these two files: own mount, network and process
// namespaces, an empty root with the host's libraries read-only, no capabilities, limits on memory, processor time and
// output, a time-out. Its header was checked before (src/decide/image.ts); this is the second wall.

import { spawn } from 'node:child_process'
import { chmod, mkdir, open, statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Logger } from 'pino'
import { AppError } from '../../src/domain/error.ts'

export type Confinement = 'jail, as nobody' | 'jail in a user namespace' | 'limits only'

const NAMESPACES = ['--mount', '--net', '--pid', '--fork', '--kill-child']
const NO_PRIVILEGES = 'setpriv --no-new-privs --bounding-set=-all --inh-caps=-all --pdeathsig=KILL'

/** Strongest first; which of them a host allows is found out by trying. `inside` runs last, in the new root. */
const CONFINEMENTS: readonly { name: Confinement; outside: string[]; inside: string }[] = [
  {
    name: 'jail, as nobody',
    outside: ['setpriv', '--pdeathsig=KILL', 'unshare', ...NAMESPACES],
    inside: `${NO_PRIVILEGES} --reuid=65534 --regid=65534 --clear-groups`
  },
  {
    name: 'jail in a user namespace',
    outside: [
      'setpriv',
      '--no-new-privs',
      '--pdeathsig=KILL',
      'unshare',
      '--user',
      '--map-root-user',
      ...NAMESPACES
    ],
    inside: NO_PRIVILEGES
  },
  { name: 'limits only', outside: [], inside: '' }
]

const SCRIPT = `
set -eu
root=$1 image=$2 disk=$3 inside=$4
shift 4
if [ -n "$inside" ]; then
  mount -t tmpfs -o mode=0755,size=64k,nr_inodes=32 jail "$root"
  for folder in usr bin sbin lib lib32 lib64; do
    if [ -L "/$folder" ]; then ln -s "$(readlink "/$folder")" "$root/$folder"
    elif [ -d "/$folder" ]; then
      mkdir "$root/$folder"
      # With what is mounted below: what covers a part of it may be there to hide that, and is not to be taken away.
      mount --rbind "/$folder" "$root/$folder"
      mount -o remount,bind,ro,nosuid,nodev "$root/$folder"
    fi
  done
  mkdir "$root/dev"
  # QEMU tries out on it how files can be locked.
  : >"$root/dev/null"
  mount --bind /dev/null "$root/dev/null"
  : >"$root/image"
  mount --bind "$image" "$root/image"
  mount -o remount,bind,ro "$root/image"
  : >"$root/disk"
  mount --bind "$disk" "$root/disk"
  mount -o remount,bind,ro "$root"
  cd "$root"
fi
ulimit -c 0
ulimit -v "$MEMORY_KIB"
ulimit -t "$CPU_SECONDS"
ulimit -f "$FILE_BLOCKS"
# Machines that boot meanwhile come first.
renice -n 5 $$ >/dev/null 2>&1 || :
[ -z "$inside" ] || exec chroot "$root" $inside "$@"
exec "$@"
`

const MEMORY_KIB = 1024 * 1024
/** A converter slower than this is stuck; even compressed images unfold ten times as fast. */
const SLOWEST_BYTES_PER_SECOND = 10e6

export type Conversion = {
  name: string
  image: string
  /** Made here, sparse. */
  disk: string
  /** An empty folder for the new root. */
  root: string
  /** Bytes of the disk. */
  size: number
  /** Free bytes that are to be left on the disk; below, the conversion is ended. */
  reserveBytes: number
  signal: AbortSignal
  onProgress: (done: number) => void
}

export type Converter = {
  /** AppError `image-refused` (also when there is no qemu-img) or `storage-full`. */
  convert(conversion: Conversion): Promise<void>
}

/** `only`: this confinement and no other, for tests. */
export function createConverter(log: Logger, only?: Confinement): Converter {
  let found: (typeof CONFINEMENTS)[number] | undefined

  async function confinement(conversion: Conversion): Promise<(typeof CONFINEMENTS)[number]> {
    if (found) return found
    // The probe is too short to be stopped, and must not fail for want of space: it would settle for less.
    const probe = { ...conversion, reserveBytes: 0, signal: new AbortController().signal }
    const tried: string[] = []
    for (const candidate of CONFINEMENTS) {
      if (only && candidate.name !== only) continue
      const { status, errors } = await run(candidate, probe, () => ['qemu-img', '--version'])
      if (status === 0) {
        const level = candidate.name === 'limits only' ? 'warn' : 'info'
        log[level]({ confinement: candidate.name, tried }, `qemu-img runs confined: ${candidate.name}`)
        // Less than a jail is never taken for granted: next time may be better.
        if (candidate.inside) found = candidate
        return candidate
      }
      tried.push(`${candidate.name}: ${errors}`)
    }
    log.error({ tried }, 'qemu-img cannot be run')
    throw new AppError(
      'image-refused',
      `image ${conversion.name} cannot be converted: qemu-img does not run on this host; install the package qemu-utils, ` +
        'or upload the disk as raw',
      { tried }
    )
  }

  return {
    async convert(conversion) {
      const { name, disk, image, size, root } = conversion
      await mkdir(root)
      const file = await open(disk, 'wx', 0o600)
      await file.truncate(size)
      await file.close()
      // For the user nobody in the jail; here outside, the folders above are closed to others.
      await chmod(disk, 0o666)
      await chmod(image, 0o644)
      const chosen = await confinement(conversion)
      const { status, signal, errors, full } = await run(chosen, conversion, (imagePath, diskPath) => [
        'qemu-img',
        'convert',
        '-p',
        '-n',
        '--target-is-zero',
        '-W',
        '-O',
        'raw',
        // The format is said, not probed, and a backing file is refused even if the header names one.
        'json:' +
          JSON.stringify({
            driver: 'qcow2',
            backing: null,
            file: { driver: 'file', filename: imagePath, locking: 'off' }
          }),
        diskPath
      ])
      conversion.signal.throwIfAborted()
      if (status === 0) return
      if (full || /no space left|quota exceeded/i.test(errors))
        throw new AppError('storage-full', `image ${name}: the disk became full while it was converted`)
      throw new AppError(
        'image-refused',
        `image ${name} is refused: qemu-img could not convert it (${errors || `ended by ${signal ?? status}`}); ` +
          'check it with "qemu-img check", or upload the disk as raw'
      )
    }
  }
}

type Outcome = { status: number | null; signal: string | null; errors: string; full: boolean }

/** Runs a command under a confinement; `command` gets the paths under which it sees the two files. */
function run(
  { outside, inside }: (typeof CONFINEMENTS)[number],
  conversion: Conversion,
  command: (image: string, disk: string) => string[]
): Promise<Outcome> {
  const { root, image, disk, size, reserveBytes, signal, onProgress } = conversion
  const [program, ...args] = [
    ...outside,
    'sh',
    '-c',
    SCRIPT,
    'convert',
    root,
    image,
    disk,
    inside,
    ...(inside ? command('/image', '/disk') : command(image, disk))
  ] as [string, ...string[]]
  const seconds = 60 + Math.ceil(size / SLOWEST_BYTES_PER_SECOND)
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
        LC_ALL: 'C',
        // Each thread's arena reserves address space, which is what the memory limit counts.
        MALLOC_ARENA_MAX: '2',
        MEMORY_KIB: String(MEMORY_KIB),
        CPU_SECONDS: String(seconds),
        FILE_BLOCKS: String(Math.ceil(size / 512))
      }
    })
    let errors = ''
    let full = false
    const kill = () => child.kill('SIGKILL')
    const patience = setTimeout(() => {
      errors = `not done after ${seconds} s`
      kill()
    }, seconds * 1000)
    const look = async () => {
      const { bavail, bsize } = await statfs(dirname(disk))
      if (bavail * bsize >= reserveBytes) return
      full = true
      kill()
    }
    const watch = setInterval(() => void look(), 250)
    void look()
    signal.addEventListener('abort', kill)
    if (signal.aborted) kill()
    child.stdout.setEncoding('latin1').on('data', (text: string) => {
      const percent = /([\d.]+)\/100%\)\s*$/.exec(text)?.[1]
      if (percent !== undefined) onProgress(Math.round((Number(percent) / 100) * size))
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      if (errors.length < 2000) errors += text
    })
    const done = (status: number | null, ended: string | null) => {
      clearTimeout(patience)
      clearInterval(watch)
      signal.removeEventListener('abort', kill)
      resolve({ status, signal: ended, errors: errors.trim(), full })
    }
    child.on('error', (error) => {
      errors = error.message
      done(null, null)
    })
    child.on('close', done)
  })
}
