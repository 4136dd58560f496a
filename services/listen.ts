// Every socket is opened here, before anything is served: taken over from systemd, or bound under the safety rule.
// The rule: DHCP hears and speaks on the one configured link only. Whatever cannot be held to that is refused.

import dgram, { type RemoteInfo } from 'node:dgram'
import { readFileSync, unlinkSync } from 'node:fs'
import net from 'node:net'
import { networkInterfaces } from 'node:os'
import { AppError } from '../src/domain/error.ts'
import { notOurOwn } from '../src/wire/socket-filter.ts'
import type { Ip } from '../src/wire/address.ts'
import { bindFault, loadNative, RECEIVE_BUFFER_BYTES, type Native } from './native-sockets.ts'

/** The names that socket units give in `FileDescriptorName=`. */
export const SOCKET_NAMES = ['dhcp', 'dhcp-client', 'proxydhcp', 'tftp', 'http', 'api', 'api-socket'] as const

export type SocketName = (typeof SOCKET_NAMES)[number]

/** File descriptors passed by systemd, by name. */
export type InheritedSockets = ReadonlyMap<SocketName, number>

/**
 * What is heard and what is answered with. `send` is bound to our address, so that answers carry it as their source. `filter`: runs a
 * program (src/wire/socket-filter.ts) over all that comes, null none, and tells whether the kernel took it; only with koffi, and not on the clients' port.
 */
export type DatagramSockets = {
  receive: dgram.Socket[]
  send: dgram.Socket
  filter?: (program: Buffer | null) => boolean
}

export type Link = { interface: string; address: Ip }

/**
 * The ports that must keep to the link, by the name of their socket. `client`: the port is the clients' (RFC 2131 4.1). A
 * DHCP client of this host, on another link, has it open too, now or later, so it is shared; and what comes there from
 * ourselves, every answer that we broadcast, is of no interest.
 */
const LINK_PORTS = {
  dhcp: { port: 67, client: false },
  'dhcp-client': { port: 68, client: true },
  proxydhcp: { port: 4011, client: false }
} as const

export type LinkSocketName = keyof typeof LINK_PORTS

const FIRST_FD = 3
/** Connections that may wait to be taken: a whole room asks at once. */
const LISTEN_BACKLOG = 1024
/** As many as some 4 MiB of the kernel's memory would hold. */
const MOST_EARLY_DATAGRAMS = 4096

/**
 * The sockets systemd passed (sd_listen_fds(3)); empty when it passed none or they are meant for another process.
 * AppError `bad-config` for a name that is unknown or there twice.
 */
export function inheritedSockets(env: NodeJS.ProcessEnv, pid: number): InheritedSockets {
  const found = new Map<SocketName, number>()
  const count = Number(env['LISTEN_FDS'] ?? 0)
  if (!(count > 0) || Number(env['LISTEN_PID']) !== pid) return found
  const names = (env['LISTEN_FDNAMES'] ?? '').split(':')
  for (let index = 0; index < count; index++) {
    const name = names[index] as SocketName
    if (!SOCKET_NAMES.includes(name))
      throw new AppError(
        'bad-config',
        `systemd passed a socket named "${name ?? ''}"; FileDescriptorName= of its unit must be one of ${SOCKET_NAMES.join(', ')}`
      )
    if (found.has(name))
      throw new AppError(
        'bad-config',
        `systemd passed two sockets named "${name}"; give each socket unit one Listen line`
      )
    found.set(name, FIRST_FD + index)
  }
  return found
}

/**
 * The sockets of one DHCP port, on `link` and no other: from systemd; else bound to the interface through koffi; else,
 * without koffi, only on a host with a single link. AppError `unsafe-network` with what to do.
 */
export async function listenDhcp(
  link: Link,
  inherited: InheritedSockets,
  name: LinkSocketName = 'dhcp'
): Promise<DatagramSockets> {
  checkLink(link)
  const native = await loadNative()
  const passed = inherited.get(name)
  if (passed !== undefined) return adoptDhcp(passed, name, link, native)
  const { port, client } = LINK_PORTS[name]
  if (native) return bindToDevice(link, port, client, native)
  refuseOtherLinks(link, 'install the optional dependency koffi, or let systemd pass the socket')
  return bindToOnlyLink(link, port, client)
}

/** A datagram socket for unicast to `address` (TFTP, proxyDHCP): from systemd, or bound. AppError `bad-config`. */
export async function listenDatagrams(
  name: 'tftp' | 'proxydhcp',
  where: { address: Ip; port: number },
  inherited: InheritedSockets
): Promise<dgram.Socket> {
  const fd = inherited.get(name)
  return fd === undefined ? bindUdp(where.address, where.port, false) : adoptUdp(fd)
}

/** Where a stream server listens; what `server.listen` of node:net and node:http and `fastify.listen` take. */
export type ListenOptions = { fd: number } | { host: Ip; port: number } | { path: string }

/** The inherited descriptor of that name, or else `own`. */
export function listenOptions(
  name: 'http' | 'api' | 'api-socket',
  own: Exclude<ListenOptions, { fd: number }>,
  inherited: InheritedSockets
): ListenOptions {
  const fd = inherited.get(name)
  return fd === undefined ? own : { fd }
}

/**
 * Lets a stream server listen and waits until it does. A Unix socket that nobody serves any more is replaced. AppError
 * `bad-config` when the place is taken or not allowed.
 */
export async function listenStream(server: net.Server, where: ListenOptions): Promise<void> {
  if ('path' in where) await removeStaleSocket(where.path)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ ...where, backlog: LISTEN_BACKLOG }, () => {
      server.off('error', reject)
      resolve()
    })
  }).catch((error: NodeJS.ErrnoException) => {
    throw new AppError('bad-config', bindFault(placeText(where), error.code ?? error.message))
  })
}

function placeText(where: ListenOptions): string {
  if ('fd' in where) return `descriptor ${where.fd}`
  return 'path' in where ? where.path : `TCP ${where.host}:${where.port}`
}

async function removeStaleSocket(path: string): Promise<void> {
  const refused = await new Promise<boolean>((resolve) => {
    const probe = net.connect(path)
    probe.once('connect', () => {
      probe.destroy()
      resolve(false)
    })
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'))
  })
  if (refused) unlinkSync(path)
}

// The link

/** AppError `unsafe-network` unless the interface is there, is up and has the address. */
function checkLink({ interface: name, address }: Link): void {
  const links = linkNames()
  if (!links.includes(name))
    throw new AppError(
      'unsafe-network',
      `network.interface "${name}" does not exist here; there is ${links.join(', ') || 'no link at all'}. Correct the configuration`
    )
  const addresses = ipv4Addresses(name)
  if (addresses.includes(address)) return
  const has = addresses.length > 0 ? `it has ${addresses.join(', ')}` : 'it has no address, or is down'
  throw new AppError(
    'unsafe-network',
    `network.address ${address} is not on ${name} (${has}); correct the configuration, or give the link the address and set it up`
  )
}

function refuseOtherLinks({ interface: name }: Link, remedy: string): void {
  const others = linkNames().filter((other) => other !== name)
  if (others.length === 0) return
  throw new AppError(
    'unsafe-network',
    `DHCP cannot be held to ${name}, and this host also has ${others.join(', ')}, where it must not be heard: ${remedy}`
  )
}

/** All links but loopback, with or without addresses. */
function linkNames(): string[] {
  const lines = readFileSync('/proc/net/dev', 'utf8').split('\n').slice(2)
  return lines.map((line) => line.split(':')[0]?.trim() ?? '').filter((name) => name !== '' && name !== 'lo')
}

/** In the kernel's order: the first is the one it takes as source when a socket names none. */
function ipv4Addresses(name: string): Ip[] {
  const addresses = networkInterfaces()[name] ?? []
  return addresses.filter(({ family }) => family === 'IPv4').map(({ address }) => address)
}

// The three ways to the DHCP sockets

async function adoptDhcp(
  fd: number,
  name: LinkSocketName,
  link: Link,
  native: Native | null
): Promise<DatagramSockets> {
  const device = native ? native.boundDevice(fd) : ''
  if (device !== link.interface) {
    const remedy = `put BindToDevice=${link.interface} into the socket unit${native ? '' : ' and install the optional dependency koffi, so that it can be checked'}`
    if (device !== '')
      throw new AppError('unsafe-network', `systemd bound the ${name} socket to ${device}: ${remedy}`)
    refuseOtherLinks(link, remedy)
  }
  const first = ipv4Addresses(link.interface)[0]
  if (first !== link.address)
    throw new AppError(
      'unsafe-network',
      `answers on the socket that systemd passed would come from ${first}, the first address of ${link.interface}, not from network.address ${link.address}; make that the first one, or the configured one`
    )
  const { client } = LINK_PORTS[name]
  if (client) native?.filter(fd, notOurOwn())
  const socket = await adoptUdp(fd)
  socket.setBroadcast(true)
  return { receive: [socket], send: socket, ...filterOf(native, client, [fd]) }
}

/** Broadcasts come to the wildcard socket, unicast to the one with the address; both hear `link` alone. */
async function bindToDevice(
  link: Link,
  port: number,
  client: boolean,
  native: Native
): Promise<DatagramSockets> {
  const [all, own] = native.openPair(link, port, client)
  if (client) native.filter(all, notOurOwn())
  const receive = await adoptUdp(all)
  const send = await adoptUdp(own)
  return { receive: [receive, send], send, ...filterOf(native, client, [all, own]) }
}

function filterOf(native: Native | null, client: boolean, fds: number[]): Pick<DatagramSockets, 'filter'> {
  if (!native || client) return {}
  return {
    filter: (program) => fds.every((fd) => native.filter(fd, program))
  }
}

async function bindToOnlyLink(link: Link, port: number, client: boolean): Promise<DatagramSockets> {
  if (!client) {
    // The pair shares its port, and sharing would also let in a server that is there already: so look first.
    const probe = await bindUdp('0.0.0.0', port, false)
    await new Promise<void>((resolve) => probe.close(() => resolve()))
  }
  const all = await bindUdp('0.0.0.0', port, true)
  const send = await bindUdp(link.address, port, true)
  send.setBroadcast(true)
  return { receive: [all, send], send }
}

/** We send to addresses only, and asking the resolver what each of them means costs as much as sending. */
const asItIs: NonNullable<dgram.SocketOptions['lookup']> = (address, _, found) => found(null, address, 4)

async function adoptUdp(fd: number): Promise<dgram.Socket> {
  return openUdp({}, (socket) => socket.bind({ fd }), `descriptor ${fd}`)
}

async function bindUdp(address: Ip, port: number, reuseAddr: boolean): Promise<dgram.Socket> {
  const bind = (socket: dgram.Socket) => socket.bind({ address, port, exclusive: true })
  return openUdp({ reuseAddr }, bind, `UDP ${address}:${port}`)
}

async function openUdp(
  options: { reuseAddr?: boolean },
  bind: (socket: dgram.Socket) => unknown,
  place: string
): Promise<dgram.Socket> {
  const socket = dgram.createSocket({ type: 'udp4', lookup: asItIs, ...options })
  keepUntilHeard(socket)
  await bound(socket, () => bind(socket), place)
  socket.setRecvBufferSize(RECEIVE_BUFFER_BYTES)
  return socket
}

/**
 * Node reads a bound socket whether anybody listens or not. What waited for us while we were restarted, and what comes until all is
 * set up, is kept for the first listener.
 */
function keepUntilHeard(socket: dgram.Socket): void {
  const early: [Buffer, RemoteInfo][] = []
  const keep = (...datagram: [Buffer, RemoteInfo]): void => {
    if (early.length < MOST_EARLY_DATAGRAMS) early.push(datagram)
  }
  const handOver = (event: string): void => {
    if (event !== 'message') return
    socket.off('newListener', handOver)
    socket.off('message', keep)
    // Before anything else is read: the order stays.
    queueMicrotask(() => early.forEach((datagram) => socket.emit('message', ...datagram)))
  }
  socket.on('message', keep)
  socket.on('newListener', handOver)
}

async function bound(socket: dgram.Socket, bind: () => unknown, place: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject)
    socket.once('listening', () => {
      socket.off('error', reject)
      resolve()
    })
    bind()
  }).catch((error: NodeJS.ErrnoException) => {
    throw new AppError('bad-config', bindFault(place, error.code ?? error.message))
  })
}
