// Waiting for several descriptors, for threads that block (epoll(7), eventfd(2)), through koffi. Layouts and numbers are Linux's, alike on x86-64
// and ARM64 but where it says so.

import type Koffi from 'koffi'

/** Something that can be waited for. */
export type Source = { fd: number; close(): void }

export type Watch<T extends Source> = {
  /** `readable`: told as long as something is there. `writable`: told each time that there is room again. */
  add(source: T, what: 'readable' | 'writable'): void
  remove(source: T): void
  /**
   * Blocks until one of them is ready, or so many milliseconds are over, or MOST_WAIT; then `ready` is called for each that is. Without a limit a
   * thread would keep the process from ending: its end waits until every thread is back from native code.
   */
  wait(milliseconds: number, ready: (source: T) => void): void
  close(): void
}

export type NativeEvents = {
  /** A descriptor that others write `WAKE` to; `clear` once woken. */
  openWake(): Source & { clear(): void }
  watch<T extends Source>(): Watch<T>
}

/** What an eventfd(2) adds up. */
export const WAKE = Buffer.from(new BigUint64Array([1n]).buffer)

const EFD_CLOEXEC = 0o2000000
const EPOLL_CLOEXEC = 0o2000000
const EPOLL_CTL_ADD = 1
const EPOLL_CTL_DEL = 2
const EPOLLIN = 1
const EPOLLOUT = 4
const EPOLLET = 2 ** 31
/** struct epoll_event: events, then 64 bits of our own; packed on x86-64 alone. */
const EPOLL_EVENT_BYTES = process.arch === 'x64' ? 12 : 16
const OWN = EPOLL_EVENT_BYTES - 8
/** Milliseconds. */
const MOST_WAIT = 500
/** Told in one call. */
const BATCH = 64

/** null: the optional dependency is not installed. */
export async function loadKoffi(): Promise<typeof Koffi | null> {
  try {
    return (await import('koffi')).default
  } catch {
    return null
  }
}

export function nativeEvents(koffi: typeof Koffi): NativeEvents {
  const libc = koffi.load('libc.so.6')
  const close = libc.func('int close(int)')
  const read = libc.func('int64_t read(int, void *, uint64_t)')
  const eventfd = libc.func('int eventfd(unsigned int, int)')
  const epollCreate = libc.func('int epoll_create1(int)')
  const epollControl = libc.func('int epoll_ctl(int, int, int, void *)')
  const epollWait = libc.func('int epoll_wait(int, void *, int, int)')
  const failed = (what: string) => new Error(`${what} failed (errno ${koffi.errno()})`)

  return {
    openWake() {
      const fd = eventfd(0, EFD_CLOEXEC) as number
      if (fd < 0) throw failed('eventfd')
      const count = Buffer.alloc(8)
      return { fd, clear: () => void read(fd, count, 8), close: () => void close(fd) }
    },
    watch<T extends Source>(): Watch<T> {
      const fd = epollCreate(EPOLL_CLOEXEC) as number
      if (fd < 0) throw failed('epoll_create1')
      const sources = new Map<number, T>()
      const event = Buffer.alloc(EPOLL_EVENT_BYTES)
      const events = Buffer.alloc(BATCH * EPOLL_EVENT_BYTES)
      return {
        add(source, what) {
          event.writeUInt32LE(what === 'readable' ? EPOLLIN : EPOLLOUT + EPOLLET, 0)
          event.writeUInt32LE(source.fd, OWN)
          if (epollControl(fd, EPOLL_CTL_ADD, source.fd, event) !== 0) throw failed('epoll_ctl')
          sources.set(source.fd, source)
        },
        remove(source) {
          sources.delete(source.fd)
          epollControl(fd, EPOLL_CTL_DEL, source.fd, event)
        },
        wait(milliseconds, ready) {
          const count = epollWait(fd, events, BATCH, Math.min(milliseconds, MOST_WAIT)) as number
          for (let turn = 0; turn < count; turn++) {
            const source = sources.get(events.readUInt32LE(turn * EPOLL_EVENT_BYTES + OWN))
            if (source) ready(source)
          }
        },
        close: () => void close(fd)
      }
    }
  }
}
