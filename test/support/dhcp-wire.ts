// A cable with DHCP clients and relays at one end and a server under test at the other, in namespaces of its own. Whatever the
// server sends is read from its link, so that an answer to an address that nobody has yet is seen as well. Needs root,
// iproute2 and tcpdump.

import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { formatIp, type Ip, type Mac } from '../../src/wire/address.ts'
import { BROADCAST_FLAG, decodeDhcp, encodeDhcp, type DhcpMessage } from '../../src/wire/dhcp.ts'
import { WireError } from '../../src/wire/wire-error.ts'
import { aRequest } from './dhcp.ts'
import type { Datagram } from './dhcp-wire-sender.ts'
import { addNamespace, run, type Namespace } from './namespace.ts'

/** The server's link and address, as seen from its namespace. */
export const LINK = { interface: 'lan', address: '10.1.0.1' }
/** The relay's own address on the server's network. */
export const RELAY: Ip = '10.1.0.2'
const NETWORK_BITS = 16

/** `client`: on the server's own link, without an address unless it `owns` one. `relay`: the router to all other networks. */
export type Sender = 'client' | 'relay'

export type Sent = {
  by: Sender
  /** Source address, which the sender must own; absent: the client's own, or 0.0.0.0. */
  from?: Ip
  fromPort: 67 | 68
  to: 'broadcast' | 'server'
  bytes: Buffer
}

/** One datagram that the server sent. */
export type Heard = {
  /** Where the frame goes, `ff:ff:ff:ff:ff:ff` for everybody. */
  mac: Mac
  /** `address:port`. */
  to: string
  from: string
  bytes: Buffer
  /** Without options when it is no DHCP. */
  message: DhcpMessage
}

export type Wire = {
  /** Where the server is to run, at `LINK`. */
  server: Namespace
  /**
   * Sends, and resolves with what the server sent until it was through with that: a DISCOVER of `sentinel` goes behind it, and what
   * comes before its answer is all there is. Waits a little longer for answers below `atLeast`, which servers may send late.
   * Rejects when the sentinel gets no answer within ten seconds: the server serves nobody any more.
   */
  exchange(sent: Sent, sentinel: Mac, atLeast: number): Promise<Heard[]>
  /** The sender has these addresses from now on, and no others than its first. */
  own(by: Sender, addresses: readonly Ip[]): Promise<void>
  remove(): Promise<void>
}

/** `networks`: the relay's address in each network behind it; the network is the /16 around it. */
export async function layWire(networks: readonly Ip[]): Promise<Wire> {
  const server = await addNamespace('server')
  const ends: Record<Sender, Namespace> = {
    client: await addNamespace('client'),
    relay: await addNamespace('relay')
  }
  await server.run('ip', 'link', 'add', LINK.interface, 'type', 'bridge')
  for (const [name, end] of Object.entries(ends)) {
    await run(
      'ip',
      'link',
      'add',
      name,
      'netns',
      server.name,
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      end.name
    )
    await server.run('ip', 'link', 'set', name, 'master', LINK.interface, 'up')
    await end.run('ip', 'link', 'set', 'eth0', 'up')
  }
  await server.run('ip', 'link', 'set', LINK.interface, 'up')
  await server.run('ip', 'address', 'add', `${LINK.address}/${NETWORK_BITS}`, 'dev', LINK.interface)
  await ends.relay.run('ip', 'address', 'add', `${RELAY}/${NETWORK_BITS}`, 'dev', 'eth0')
  // By this the client sends broadcasts without an address too, from 0.0.0.0.
  await ends.client.run('ip', ...DEFAULT_ROUTE)
  for (const address of networks) {
    await ends.relay.run('ip', 'address', 'add', `${address}/32`, 'dev', 'lo')
    await server.run('ip', 'route', 'add', networkAround(address), 'via', RELAY)
  }

  const senders: Record<Sender, ChildProcess> = {
    client: startSender(ends.client),
    relay: startSender(ends.relay)
  }
  const owned: Record<Sender, readonly Ip[]> = { client: [], relay: [] }
  let heard: Heard[] = []
  let look = () => {}
  const tap = await startTap(server, (found) => {
    heard.push(found)
    look()
  })
  let count = 0

  return {
    server,
    async exchange(sent, sentinel, atLeast) {
      const xid = 0x5e000000 + count++
      const probe = aRequest({ xid, flags: BROADCAST_FLAG, chaddr: sentinel })
      const to = sent.to === 'server' ? LINK.address : '255.255.255.255'
      const datagrams: Datagram[] = [
        { from: sent.from ?? '0.0.0.0', fromPort: sent.fromPort, to, hex: sent.bytes.toString('hex') },
        { from: '0.0.0.0', fromPort: 68, to, hex: encodeDhcp(probe).toString('hex') }
      ]
      senders[sent.by].stdin?.write(JSON.stringify(datagrams) + '\n')
      const isProbe = ({ message }: Heard) => message.xid === xid
      const through = () => heard.some(isProbe)
      const answers = () => heard.filter((one) => !isProbe(one))
      const until = (condition: () => boolean, milliseconds: number) =>
        new Promise<boolean>((resolve) => {
          const end = () => {
            clearTimeout(late)
            look = () => {}
            resolve(condition())
          }
          const late = setTimeout(end, milliseconds)
          look = () => condition() && end()
          look()
        })
      if (!(await until(through, SERVER_ALIVE)))
        throw new Error(`no answer to ${sentinel}: the server is gone`)
      if (atLeast === 0) await sleep(SILENCE)
      else await until(() => answers().length >= atLeast, ANSWER_LATE)
      const found = answers()
      heard = []
      return found
    },
    async own(by, addresses) {
      const change = async (verb: 'add' | 'delete', address: Ip) => {
        const place =
          by === 'client' ? [`${address}/${NETWORK_BITS}`, 'dev', 'eth0'] : [`${address}/32`, 'dev', 'lo']
        await ends[by].run('ip', 'address', verb, ...place)
      }
      for (const address of owned[by]) if (!addresses.includes(address)) await change('delete', address)
      // With the link's last address its routes went as well.
      if (by === 'client' && owned[by].length > 0) await ends.client.run('ip', ...DEFAULT_ROUTE)
      for (const address of addresses) if (!owned[by].includes(address)) await change('add', address)
      owned[by] = addresses
    },
    async remove() {
      for (const child of Object.values(senders)) child.stdin?.end()
      tap.kill('SIGTERM')
      await Promise.all([...Object.values(ends), server].map((namespace) => namespace.remove()))
    }
  }
}

const DEFAULT_ROUTE = ['route', 'replace', 'default', 'dev', 'eth0']
const SERVER_ALIVE = 10_000
const ANSWER_LATE = 300
/** Answers of one moment may leave in another order than that of the requests. */
const SILENCE = 10

const networkAround = (address: Ip): string => address.replace(/\.\d+\.\d+$/, `.0.0/${NETWORK_BITS}`)

function startSender(namespace: Namespace): ChildProcess {
  const child = namespace.spawn(process.execPath, [join(import.meta.dirname, 'dhcp-wire-sender.ts')])
  child.stderr?.on('data', (chunk: Buffer) => process.stderr.write(chunk))
  return child
}

/** Tells of every UDP datagram that leaves by the server's link. */
async function startTap(namespace: Namespace, tell: (heard: Heard) => void): Promise<ChildProcess> {
  const what = ['-i', LINK.interface, '-Q', 'out', '--immediate-mode', '-U', '-w', '-', 'udp']
  const child = namespace.spawn('tcpdump', what)
  let pending = Buffer.alloc(0)
  let atRecord = false
  child.stdout?.on('data', (chunk: Buffer) => {
    pending = Buffer.concat([pending, chunk])
    if (!atRecord && pending.length >= FILE_HEADER) {
      pending = pending.subarray(FILE_HEADER)
      atRecord = true
    }
    while (atRecord && pending.length >= RECORD_HEADER) {
      const end = RECORD_HEADER + pending.readUInt32LE(8)
      if (pending.length < end) return
      tell(readFrame(pending.subarray(RECORD_HEADER, end)))
      pending = pending.subarray(end)
    }
  })
  let said = ''
  while (!said.includes('listening on')) said += String((await once(child.stderr!, 'data'))[0])
  return child
}

// libpcap's file format: a header of 24 bytes, then per packet one of 16 whose third number is the length that follows.
const FILE_HEADER = 24
const RECORD_HEADER = 16
const ETHERNET = 14
const UDP = 8

function readFrame(frame: Buffer): Heard {
  const ip = frame.subarray(ETHERNET)
  const udp = ip.subarray((ip.readUInt8(0) & 15) * 4)
  const bytes = Buffer.from(udp.subarray(UDP, udp.readUInt16BE(4)))
  return {
    mac: frame.toString('hex', 0, 6).replace(/..(?!$)/g, '$&:'),
    to: `${formatIp(ip.readUInt32BE(16))}:${udp.readUInt16BE(2)}`,
    from: `${formatIp(ip.readUInt32BE(12))}:${udp.readUInt16BE(0)}`,
    bytes,
    message: readMessage(bytes)
  }
}

/** Of what is not DHCP, as answers to BOOTP are not, the fields alone. */
function readMessage(bytes: Buffer): DhcpMessage {
  try {
    return decodeDhcp(bytes)
  } catch (error) {
    if (!(error instanceof WireError)) throw error
    const fields = Buffer.concat([bytes.subarray(0, 236), Buffer.alloc(236)]).subarray(0, 236)
    return decodeDhcp(Buffer.concat([fields, Buffer.from('63825363ff', 'hex')]))
  }
}
