// What systemd is told of us (sd_notify(3)): that we serve, that we still live, that we stop. A datagram to a Unix socket, which Node does not
// have, so through koffi; with a word where systemd waits for one and koffi is not there.

import { AppError } from '../src/domain/error.ts'
import { loadKoffi } from './native-events.ts'

const AF_UNIX = 1
const SOCK_DGRAM = 2
const SOCK_CLOEXEC = 0o2000000

export type Systemd = {
  /** We serve; from now on it is told that we live, as often as it wants to hear it, for as long as the event loop turns. */
  ready(): void
  stopping(): void
}

/** Silent when we were not started by systemd with `Type=notify`. AppError `bad-config` when it waits and cannot be told. */
export async function openSystemd(env: NodeJS.ProcessEnv): Promise<Systemd> {
  const path = env['NOTIFY_SOCKET']
  const microseconds = Number(env['WATCHDOG_USEC'] ?? 0)
  // Children are not to speak for us.
  for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) delete env[name]
  if (!path) return { ready() {}, stopping() {} }
  const koffi = await loadKoffi()
  if (!koffi)
    throw new AppError(
      'bad-config',
      'systemd waits for a sign of life (Type=notify), which needs the optional dependency koffi; install it, or take Type=simple and no WatchdogSec='
    )
  const libc = koffi.load('libc.so.6')
  const socket = libc.func('int socket(int, int, int)')
  const sendto = libc.func('int64_t sendto(int, const void *, uint64_t, int, const void *, uint32_t)')
  const fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) as number
  // struct sockaddr_un; "@" stands for the zero byte that abstract names begin with.
  const name = Buffer.from(path)
  if (path.startsWith('@')) name[0] = 0
  const address = Buffer.concat([Buffer.of(AF_UNIX, 0), name])
  const tell = (text: string): boolean => {
    const bytes = Buffer.from(text)
    return Number(sendto(fd, bytes, bytes.length, 0, address, address.length)) === bytes.length
  }
  return {
    ready() {
      if (!tell('READY=1'))
        throw new AppError('bad-config', `systemd cannot be told at ${path} that we serve`)
      if (microseconds > 0) setInterval(() => tell('WATCHDOG=1'), microseconds / 3000).unref()
    },
    stopping: () => void tell('STOPPING=1')
  }
}
