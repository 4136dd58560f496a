// Clients that go away in the middle, and senders that forge their address: nothing of them stays, and nobody is flooded.

import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { encodeTftp } from '../../../src/wire/tftp.ts'
import { residentMemory } from '../../support/dhcp-peers.ts'
import { read, serveApart } from './serving.ts'

const CLIENTS = 1000
const STRANGERS = 5000
const REQUEST = encodeTftp(read('mib.efi', { blksize: '1468', tsize: '0' }))
/** Without progress, in milliseconds (src/decide/tftp-transfer.ts). */
const GONE_AFTER = 30_000

const addresses = (network: number, count: number) =>
  Array.from({ length: count }, (_, index) => `127.${network}.${index >> 8}.${index & 255}`)

/** Asks for a file; `heard` gets what comes. */
async function ask(
  address: string,
  port: number,
  heard: (bytes: Buffer, from: number, socket: Socket) => void
): Promise<Socket> {
  const socket = createSocket('udp4')
  socket.on('message', (bytes, from) => heard(bytes, from.port, socket))
  socket.bind(0, address)
  await once(socket, 'listening')
  socket.send(REQUEST, port, '127.0.0.1')
  return socket
}

t.test('a thousand vanish, thousands never were', { timeout: 110_000 }, async (t) => {
  const [vanishing, mute] = [addresses(1, CLIENTS / 2), addresses(2, CLIENTS / 2)]
  const tftp = await serveApart({
    ...{ address: '127.0.0.1', loaders: { 'mib.efi': 2 ** 20 } },
    clients: [...vanishing, ...mute]
  })
  const descriptors = () => readdirSync(`/proc/${tftp.pid}/fd`).length
  const before = { descriptors: descriptors(), memory: residentMemory(tftp.pid).now }

  // They acknowledge the options, get a block, and are gone: their host answers that nobody is there.
  const gone = vanishing.map(
    (address) =>
      new Promise<void>((resolve, reject) => {
        ask(address, tftp.port, (bytes, from, socket) => {
          if (bytes[1] === 6) socket.send(Buffer.from([0, 4, 0, 0]), from, '127.0.0.1')
          else if (bytes[1] === 3) {
            socket.removeAllListeners('message')
            socket.close(() => resolve())
          }
        }).catch(reject)
      })
  )
  await Promise.all(gone)
  const vanished = performance.now()

  // As with a forged source: whoever lives there did not ask, and says nothing.
  const datagrams = new Map(mute.map((address) => [address, 0]))
  const sockets = await Promise.all(
    mute.map((address) =>
      ask(address, tftp.port, () => datagrams.set(address, (datagrams.get(address) as number) + 1))
    )
  )
  let answered = 0
  const strangers = addresses(3, STRANGERS)
  for (let done = 0; done < STRANGERS; done += 500) {
    const some = await Promise.all(
      strangers.slice(done, done + 500).map((address) => ask(address, tftp.port, () => answered++))
    )
    await sleep(100)
    for (const socket of some) socket.close()
  }
  t.equal(answered, 0, 'nothing is sent to an address without a lease')

  const stopped = () => tftp.log.filter(({ msg }) => msg === 'tftp stopped').length
  while (stopped() < CLIENTS && performance.now() - vanished < GONE_AFTER + 5000) await sleep(200)
  t.equal(stopped(), CLIENTS, 'all have ended')
  t.ok(performance.now() - vanished <= GONE_AFTER, `after ${Math.round(performance.now() - vanished)} ms`)
  const most = Math.max(...datagrams.values())
  t.ok(most > 0 && most <= 3, `${most} datagrams at most to one that says nothing`)
  for (const socket of sockets) socket.close()
  const open = descriptors() - before.descriptors
  t.ok(open < 5, `${open} descriptors more than before`)
  const grown = (residentMemory(tftp.pid).now - before.memory) / 1024
  t.ok(grown < 64, `${Math.round(grown)} MiB more than before`)

  // And it serves.
  const size = await new Promise<string>((resolve, reject) => {
    ask(vanishing[0] as string, tftp.port, (bytes, _, socket) => {
      socket.close()
      resolve(bytes.toString('latin1'))
    }).catch(reject)
  })
  t.match(size, `tsize\0${2 ** 20}\0`)
  await tftp.stop()
})
